public import NN
public import TensorCore

/// Compares gradients of the tape with central differences of the objective.
///
/// Along a direction d of random signs, `g . d` must be
/// `(8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h` with `f(t) = objective(x + t d)`, which is exact
/// up to terms of order `h^4`.
public struct GradientCheck {
  /// What one tensor came out with.
  public struct Finding: Sendable, CustomStringConvertible {
    public let name: String
    public let direction: Int
    public let analytic: Double
    public let numeric: Double
    /// Of the gradient; the size of `g . d` for a typical direction.
    public let norm: Double

    public var relativeError: Double {
      abs(analytic - numeric) / max(abs(numeric), norm, .leastNormalMagnitude)
    }

    public var description: String {
      "\(name), direction \(direction): tape \(analytic), differences \(numeric), norm \(norm)"
    }
  }

  /// Objectives are computed in Float: their noise of about 1e-7 over a step of 1e-2 leaves two to
  /// three digits of a derivative of size 0.01, and a wrong rule is off in the first.
  public static let tolerance = 1e-2

  private static let step: Float = 1e-2
  private static let directions = 3

  private let tree: ParameterTree
  private let parameters: FlatBuffer
  private let pool: ThreadPool
  private let objective: (Tape, [Variable]) -> ScalarVariable

  /// - Parameters:
  ///   - parameters: Values of `tree`; changed during the check and restored.
  ///   - objective: Records on the tape; must be the same function of its inputs every time.
  public init(
    _ tree: ParameterTree, _ parameters: FlatBuffer, pool: ThreadPool,
    objective: @escaping (Tape, [Variable]) -> ScalarVariable
  ) {
    self.tree = tree
    self.parameters = parameters
    self.pool = pool
    self.objective = objective
  }

  /// Checks the gradients of all leaves and of all parameters.
  ///
  /// - Parameter inspect: Sees the tape after forward, before it is played.
  public func findings(
    inputs: [Tensor], inspect: (Tape) -> Void = { _ in }
  ) -> [Finding] {
    let tape = Tape(parameters: parameters, pool: pool)
    let gradients = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "gradients")
    // Backward may overwrite a leaf (cross-entropy does): play on copies.
    let leaves = inputs.map { tape.input($0.copy()) }
    let loss = objective(tape, leaves)
    inspect(tape)
    let arrived = tape.backward(
      from: [(loss.variable, 1)], into: FlatGradientSink(gradients, for: tree), of: leaves)
    var findings: [Finding] = []
    for (index, input) in inputs.enumerated() {
      let gradient = arrived[index]?.values ?? [Float](repeating: 0, count: input.count)
      findings += check("input \(index)", input, gradient, inputs)
    }
    for entry in tree.entries {
      let parameter = entry.parameter
      findings += check(
        parameter.name, parameters.tensor(parameter), gradients.tensor(parameter).values, inputs)
    }
    return findings
  }

  private func check(
    _ name: String, _ tensor: Tensor, _ gradient: [Float], _ inputs: [Tensor]
  ) -> [Finding] {
    (0..<GradientCheck.directions).map { direction in
      var random = CounterRandom(seed: 17, sample: direction, stream: .synthetic)
      let signs = gradient.map { _ in random.uniform() < 0.5 ? Float(-1) : 1 }
      let analytic = zip(gradient, signs).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      let h = GradientCheck.step
      func change(_ step: Float) -> Double {
        value(moving: tensor, by: step, signs, inputs)
          - value(moving: tensor, by: -step, signs, inputs)
      }
      return Finding(
        name: name, direction: direction, analytic: analytic,
        numeric: (8 * change(h) - change(2 * h)) / (12 * Double(h)),
        norm: euclideanNorm(gradient))
    }
  }

  /// The objective with `tensor` moved along the direction; the tensor is restored.
  private func value(
    moving tensor: Tensor, by step: Float, _ signs: [Float], _ inputs: [Tensor]
  ) -> Double {
    let saved = tensor.values
    for index in saved.indices { tensor.pointer[index] = saved[index] + step * signs[index] }
    defer { for index in saved.indices { tensor.pointer[index] = saved[index] } }
    let tape = Tape(parameters: parameters, pool: pool)
    return tape.withoutGradient { objective(tape, inputs.map { Variable.constant($0) }) }.value
  }
}
