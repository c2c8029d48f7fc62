import Glibc
import Models
import NN
import TensorCore
import TestSupport
import Testing

/// The heads of linear and attentive probing against values of the official code.
@Suite struct ProbeTests {
  /// Double there, Float here; logits are of size 2, gradients of size 3.
  static let tolerance = 2e-5

  private let probe = AttentiveProbe(width: 16, heads: 2, classes: 5)
  private let parameters: FlatBuffer
  private let gradients: FlatBuffer
  private let pool = ThreadPool(threadCount: 2)
  private let tokens = Tensor(
    (0..<4 * 6 * 16).map { Float(sin(0.11 * Double($0) + 0.5 * sin(0.7 * Double($0)))) },
    shape: [4, 6, 16])

  init() {
    parameters = FlatBuffer(
      for: probe.parameters, allocator: HeapAllocator(), purpose: "parameters")
    gradients = FlatBuffer(
      for: probe.parameters, allocator: HeapAllocator(), purpose: "gradients")
    DeterministicFill.fill(parameters, probe.parameters)
  }

  private func norm(_ name: String) throws -> Double {
    euclideanNorm(gradients.tensor(try #require(probe.parameters.parameter(named: name))).values)
  }

  private func close(_ found: [Float], _ expected: [Double]) -> Bool {
    zip(found, expected).allSatisfy { abs(Double($0) - $1) < Self.tolerance * (1 + abs($1)) }
  }

  @Test func attentiveProbeAgreesWithTheOfficialOne() throws {
    let tape = Tape(parameters: parameters, pool: pool)
    let sink = FlatGradientSink(gradients, for: probe.parameters)
    sink.beginStep()
    let logits = probe.logits(.constant(tokens), .training, reducer: nil, tape)
    let first = Array(logits.value.values.prefix(5))
    #expect(
      close(first, [1.1003193531, 1.6183933103, 1.9262720869, 1.9840079144, 1.7841298747]))
    let (loss, _) = tape.crossEntropy(logits, targets: TokenIndices([0, 3, 1, 4]))
    #expect(abs(loss.value - 2.596112829434) < Self.tolerance)
    tape.backward(from: [(loss.variable, 1)], into: sink)
    sink.endStep()
    for (name, expected) in [
      ("query_token", 3.432168304485), ("attentive_blocks.0.norm_k.weight", 0.602497155009),
      ("attentive_blocks.0.cross_attn.q.weight", 1.021356256205),
      ("head.weight", 2.685898000706), ("attentive_blocks.0.cross_attn.v_bias", 0),
    ] {
      let found = try norm(name)
      #expect(abs(found - expected) < 1e-4 * (1 + expected), "\(name)")
    }
    #expect(
      close(
        Array(probe.norm.runningMean.values.prefix(3)),
        [0.0677388104, -0.0383320254, -0.1394528900]))
    #expect(
      close(
        Array(probe.norm.runningVariance.values.prefix(3)),
        [1.3067119775, 1.2528320182, 1.1332985754]))
    let evaluated = tape.withoutGradient {
      probe.logits(.constant(tokens), .running, reducer: nil, tape)
    }
    #expect(
      close(
        Array(evaluated.value.values.prefix(5)),
        [6.4495644804, 6.3913001974, 5.5001670727, 3.8926404878, 1.7784997387]))
  }

  /// `softmax(LN(q) Wq^T + b, LN(T) Wk^T)` by plain loops.
  @Test func attentionOfTheQuery() throws {
    let tape = Tape(parameters: parameters, pool: pool)
    let found = tape.withoutGradient { probe.probabilities(.constant(tokens), tape) }
    #expect(found.shape == [4, 2, 6])
    func values(_ name: String) throws -> [Double] {
      let parameter = try #require(probe.parameters.parameter(named: name))
      return parameters.tensor(parameter).values.map(Double.init)
    }
    let block = "attentive_blocks.0"
    func normalized(_ x: [Double], _ name: String) throws -> [Double] {
      let mean = x.reduce(0, +) / Double(x.count)
      let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
      let (weight, bias) = (try values("\(name).weight"), try values("\(name).bias"))
      return x.indices.map {
        (x[$0] - mean) / (variance + 1e-6).squareRoot() * weight[$0] + bias[$0]
      }
    }
    func product(_ x: [Double], _ name: String) throws -> [Double] {
      let weight = try values(name)
      return (0..<16).map { row in (0..<16).reduce(0) { $0 + x[$1] * weight[row * 16 + $1] } }
    }
    let bias = try values("\(block).cross_attn.q_bias")
    let q = try product(
      normalized(values("query_token"), "\(block).norm_q"), "\(block).cross_attn.q.weight")
    for image in 0..<4 {
      let keys = try (0..<6).map { token in
        let x = (0..<16).map { Double(tokens.values[(image * 6 + token) * 16 + $0]) }
        return try product(normalized(x, "\(block).norm_k"), "\(block).cross_attn.k.weight")
      }
      for head in 0..<2 {
        let weights = keys.map { key in
          exp(
            (head * 8..<head * 8 + 8).reduce(0) { $0 + (q[$1] + bias[$1]) * key[$1] }
              / 8.0.squareRoot())
        }
        let row = found.values[(image * 2 + head) * 6..<(image * 2 + head + 1) * 6]
        #expect(close(Array(row), weights.map { $0 / weights.reduce(0, +) }))
      }
    }
  }

  /// A head of ViT-B has as many parameters as the official one.
  @Test func attentiveProbeOfTheBaseModel() {
    let probe = AttentiveProbe(width: 768, heads: 12, classes: 1000)
    #expect(probe.parameters.parameterCount == 3_135_976)
  }

  /// Two halves of a batch that add up their sums have the statistics, and the gradients, of the
  /// whole.
  @Test func statisticsOverSeveralParts() throws {
    let probe = LinearProbe(width: 3, classes: 4)
    let x: [Float] = [1, 2, 3, -1, 0, 5, 2, 2, 1, 0, -3, 4]
    let parameters = FlatBuffer(
      for: probe.parameters, allocator: HeapAllocator(), purpose: "parameters")
    DeterministicFill.fill(parameters, probe.parameters)
    let tape = Tape(parameters: parameters, pool: pool)
    let whole = probe.logits(
      .constant(Tensor(x, shape: [4, 3])), .batch, reducer: nil, tape
    ).value.values
    // The first half learns of the second what a reducer would bring.
    let other = OtherHalf(Array(x[6...]), columns: 3)
    let half = probe.logits(
      .constant(Tensor(Array(x[..<6]), shape: [2, 3])), .batch, reducer: other, tape
    ).value.values
    #expect(largestDifference(half, Array(whole[..<8])) < 1e-5)
  }
}

/// Adds the sums of rows that another rank would have.
private final class OtherHalf: BatchReducer {
  private let sums: [Double]

  init(_ x: [Float], columns: Int) {
    var sums = [Double](repeating: 0, count: 2 * columns + 1)
    for (index, value) in x.enumerated() {
      sums[index % columns] += Double(value)
      sums[columns + index % columns] += Double(value) * Double(value)
    }
    sums[2 * columns] = Double(x.count / columns)
    self.sums = sums
  }

  func sum(_ values: UnsafeMutableBufferPointer<Double>) {
    for index in values.indices { values[index] += sums[index] }
  }
}
