import TestSupport
import Testing

@testable import TensorCore

@Suite struct BFloat16KernelTests {
  /// Half a unit in the last of 8 places: the largest relative rounding error of a normal number.
  static let relativeError: Float = 0x1p-8

  /// The nearer of the two neighbours, and of equally near ones the even one.
  private func reference(_ value: Float) -> UInt16 {
    let bits = value.bitPattern
    let (lower, remainder) = (UInt16(bits >> 16), bits & 0xFFFF)
    if remainder == 0x8000 { return lower % 2 == 0 ? lower : lower + 1 }
    return remainder < 0x8000 ? lower : lower + 1
  }

  private func encode(_ values: [Float], residual: inout [Float]) -> [UInt16] {
    // One more, which must stay.
    var wire = [UInt16](repeating: 0xABCD, count: values.count + 1)
    BFloat16Kernel.encode(values, residual: &residual, into: &wire, count: values.count)
    #expect(wire.last == 0xABCD)
    return wire.dropLast()
  }

  private func decode(_ wire: [UInt16]) -> [Float] {
    var values = [Float](repeating: 77, count: wire.count + 1)
    BFloat16Kernel.decode(wire, into: &values, count: wire.count)
    #expect(values.last == 77)
    return values.dropLast()
  }

  /// Every upper half, subnormal and infinite ones among them, with lower halves around the ties.
  @Test func roundsToNearestEven() {
    for lower: UInt32 in [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF] {
      let values = (0...UInt32(0xFFFF)).map { Float(bitPattern: $0 << 16 | lower) }
      // The zero that changes no zero's sign when it is added.
      var residual = [Float](repeating: -0.0, count: values.count)
      let wire = encode(values, residual: &residual)
      let decoded = decode(wire)
      var wrong: [Float] = []
      for (index, value) in values.enumerated() {
        let back = decoded[index]
        let isRight =
          value.isNaN
          ? back.isNaN : wire[index] == reference(value) && back.bitPattern == back.upperHalf
        if !isRight { wrong.append(value) }
        // Of what was finite nothing is lost.
        if back.isFinite, Double(back) + Double(residual[index]) != Double(value) {
          wrong.append(value)
        }
      }
      #expect(wrong.isEmpty)
    }
  }

  @Test func specialValues() {
    let values: [Float] = [
      .infinity, -.infinity, .nan, -.nan, .signalingNaN, Float(bitPattern: 0x7F80_0001), 0, -0.0,
      .greatestFiniteMagnitude, -.greatestFiniteMagnitude, .leastNonzeroMagnitude,
      Float(bitPattern: 0x3F80_8000), Float(bitPattern: 0x3F81_8000),
    ]
    var residual = [Float](repeating: -0.0, count: values.count)
    let decoded = decode(encode(values, residual: &residual))
    #expect(decoded[0] == .infinity && decoded[1] == -.infinity)
    #expect((2...5).allSatisfy { decoded[$0].isNaN })
    #expect(sameBits(Array(decoded[6...7]), [0, -0.0]))
    #expect(decoded[8] == .infinity && decoded[9] == -.infinity)
    #expect(decoded[10] == 0 && residual[10] == .leastNonzeroMagnitude)
    // Ties: down to the even 1, up to the even 1 + 2 / 128.
    #expect(decoded[11] == 1 && decoded[12] == 1 + 2.0 / 128)
  }

  @Test func decodingIsExactForAllPatterns() {
    let wire = (0...UInt16.max).map { $0 }
    #expect(decode(wire).map(\.bitPattern) == wire.map { UInt32($0) << 16 })
  }

  @Test(arguments: [0, 1, 7, 8, 9, 15, 17, 1023, 1025])
  func aValueDoesNotDependOnItsPlaceInTheRow(count: Int) {
    var source = TestValues(5)
    let (values, start) = (source.floats(count), source.floats(count, in: -0.01...0.01))
    var residual = start
    let wire = encode(values, residual: &residual)
    for index in 0..<count {
      let exact = values[index] + start[index]
      #expect(wire[index] == reference(exact))
      #expect(residual[index] == exact - Float(bitPattern: UInt32(wire[index]) << 16))
      #expect(abs(residual[index]) <= BFloat16KernelTests.relativeError * abs(exact))
    }
  }

  /// What rounding takes away comes later: values and the last residual add up to the inputs.
  @Test func errorFeedbackLosesNothing() {
    let (count, rounds) = (1003, 200)
    var source = TestValues(6)
    var residual = [Float](repeating: 0, count: count)
    var (sent, given) = ([Double](repeating: 0, count: count), [Double](repeating: 0, count: count))
    for _ in 0..<rounds {
      let values = source.floats(count)
      let decoded = decode(encode(values, residual: &residual))
      for index in 0..<count {
        sent[index] += Double(decoded[index])
        given[index] += Double(values[index])
      }
    }
    // Each round adds a value below 1 and a residual below 2^-8 in Float: half a unit of 2^-24 in
    // the worst case, and the sums here are exact to 1e-13.
    let bound = Double(rounds) * 0x1p-24
    for index in 0..<count {
      #expect(abs(sent[index] + Double(residual[index]) - given[index]) <= bound)
    }
  }

  /// A constant that is no bfloat16: without feedback its error would stay what it is.
  @Test func errorFeedbackMakesTheMeanRight() {
    let (value, rounds) = (Float(1.003), 256)
    var residual: [Float] = [0]
    var sum = 0.0
    for _ in 0..<rounds { sum += Double(decode(encode([value], residual: &residual))[0]) }
    let without = abs(Double(Float(bitPattern: UInt32(reference(value)) << 16)) - Double(value))
    #expect(without > 0.002)
    // One residual, at most half a unit of 2^-7, over all rounds; and their sums' rounding.
    #expect(abs(sum / Double(rounds) - Double(value)) <= 0x1p-8 / Double(rounds) + 0x1p-24)
  }
}

extension Float {
  /// The bits that a bfloat16 keeps.
  fileprivate var upperHalf: UInt32 { bitPattern & 0xFFFF_0000 }
}
