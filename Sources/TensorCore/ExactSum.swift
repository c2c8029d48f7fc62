/// A sum of doubles without rounding: an integer of 2,144 bits in pieces.
///
/// Addition of integers is associative, so the result does not depend on the order of the terms,
/// on how they were spread over threads and ranks, or on how partial sums were merged.
///
/// - SeeAlso: Kulisch, "Very fast and exact accumulation of products", Computing 91 (2011).
public struct ExactSum: Sendable, Equatable {
  /// 32 bits a piece; the bit 0 of the first stands for 2^-1074, the smallest double.
  private static let pieceCount = 68
  /// Doubles in `wireValues`.
  public static let wireCount = pieceCount + 1

  private var pieces = [Int64](repeating: 0, count: pieceCount)
  /// Terms that were not finite, at least.
  private var nonFinite: Int64 = 0
  /// Additions since the pieces were last brought into their range.
  private var additions = 0

  public init() {}

  public mutating func add(_ term: Double) {
    guard term.isFinite else {
      nonFinite += 1
      return
    }
    guard term != 0 else { return }
    if additions == 1 << 30 { normalize() }
    additions += 1
    let isNormal = term.exponentBitPattern != 0
    let significand = term.significandBitPattern | (isNormal ? 1 << 52 : 0)
    let position = Int(term.exponentBitPattern) - (isNormal ? 1 : 0)
    let shifted = UInt128(significand) << UInt128(position % 32)
    let sign: Int64 = term < 0 ? -1 : 1
    for offset in 0..<3 {
      let bits = UInt32(truncatingIfNeeded: shifted >> UInt128(32 * offset))
      pieces[position / 32 + offset] += sign * Int64(bits)
    }
  }

  /// The sum rounded to a double; not a number if a term was not finite.
  public var value: Double {
    guard nonFinite == 0 else { return .nan }
    var sum = self
    sum.normalize()
    let isNegative = sum.pieces[ExactSum.pieceCount - 1] < 0
    if isNegative {
      for index in sum.pieces.indices { sum.pieces[index] = -sum.pieces[index] }
      sum.normalize()
    }
    guard let top = sum.pieces.lastIndex(where: { $0 != 0 }) else { return 0 }
    var result = 0.0
    for index in max(0, top - 2)...top {
      result +=
        Double(sign: .plus, exponent: 32 * index - 1074, significand: 1)
        * Double(sum.pieces[index])
    }
    return isNegative ? -result : result
  }

  /// The sum as integers that doubles hold exactly: vectors of 2^20 ranks can be added up without
  /// rounding, in any order.
  public var wireValues: [Double] {
    var sum = self
    sum.normalize()
    return sum.pieces.map(Double.init) + [Double(nonFinite)]
  }

  /// The sum that wire values, or an element-wise sum of such, stand for.
  public init(wireValues: some Collection<Double>) {
    precondition(wireValues.count == ExactSum.wireCount, "not the wire values of one sum")
    pieces = wireValues.dropLast().map { Int64($0) }
    nonFinite = Int64(Array(wireValues)[ExactSum.pieceCount])
    normalize()
  }

  /// Brings all pieces but the last, which has the sign, into 0..<2^32: one form for each value.
  private mutating func normalize() {
    for index in 0..<ExactSum.pieceCount - 1 {
      let carry = pieces[index] >> 32
      pieces[index] &= 0xFFFF_FFFF
      pieces[index + 1] += carry
    }
    additions = 0
  }
}
