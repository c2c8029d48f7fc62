public import TensorCore

/// A value on the tape.
///
/// Constants and everything computed without gradient have no identity and get no gradient.
public struct Variable {
  public let value: Tensor
  let id: Int?
  /// What a record that needs the value again keeps of it.
  let saved: SavedValue

  public var shape: Shape { value.shape }
  public var needsGradient: Bool { id != nil }

  init(_ value: Tensor, id: Int?, saved: SavedValue? = nil) {
    self.value = value
    self.id = id
    self.saved = saved ?? .kept(value)
  }

  /// A value that gets no gradient.
  public static func constant(_ value: Tensor) -> Variable { Variable(value, id: nil) }

  /// The same value without its history.
  public var detached: Variable { Variable(value, id: nil) }

  /// The same elements under another shape; gradients flow to the same place.
  public func reshaped(_ shape: Shape) -> Variable { Variable(value.reshaped(shape), id: id) }
}

/// Where backward puts gradients of parameters.
///
/// The plain sink adds into one flat buffer. A deterministic one takes each micro-batch alone, a
/// sharded one lends buckets that are reduced and used again; both stand behind this same seam.
public protocol GradientSink: AnyObject {
  /// Lends the place of a parameter's gradient: the kernel computes `new + beta * old`.
  func accumulate(
    _ parameter: Parameter, _ body: (_ gradient: UnsafeMutablePointer<Float>, _ beta: Float) -> Void
  )

  /// No further contribution of this backward pass will come.
  func didComplete(_ parameter: Parameter)
}

/// Adds every contribution straight into one flat buffer.
///
/// The first contribution of a step overwrites, so the buffer is never cleared as a whole.
public final class FlatGradientSink: GradientSink {
  public let buffer: FlatBuffer
  private let tree: ParameterTree
  private var isWritten: [Bool]

  public init(_ buffer: FlatBuffer, for tree: ParameterTree) {
    self.buffer = buffer
    self.tree = tree
    isWritten = Array(repeating: false, count: tree.entries.count)
  }

  /// Begins a new sum.
  public func beginStep() {
    for index in isWritten.indices { isWritten[index] = false }
  }

  /// Ends a sum: gradients that nothing has contributed to become zero.
  public func endStep() {
    for entry in tree.entries where !isWritten[entry.parameter.index] {
      buffer.pointer(entry.parameter).update(repeating: 0, count: entry.parameter.count)
    }
  }

  public func accumulate(
    _ parameter: Parameter, _ body: (UnsafeMutablePointer<Float>, Float) -> Void
  ) {
    body(buffer.pointer(parameter), isWritten[parameter.index] ? 1 : 0)
    isWritten[parameter.index] = true
  }

  public func didComplete(_ parameter: Parameter) {}
}

/// Records fused operations during forward and plays their gradient rules backwards.
///
/// Nodes hold only what their rule needs. Backward drops each node as soon as its rule has run, so
/// activations go back to the pool while gradients are being made.
public final class Tape {
  public let pool: ThreadPool
  let parameters: FlatBuffer
  private(set) var nodes: [Node] = []
  private var variableCount = 0
  private var isRecording = true
  /// Recorded uses of each parameter that backward has not seen yet.
  private var pendingUses: [Int: Int] = [:]
  /// Whether `checkpointed` keeps only the inputs of its body: memory for time.
  public var keepsBlockInputsOnly = false
  /// Parameters used by the body of `checkpointed` that is running.
  private var observedParameters: [Parameter]?

  public init(parameters: FlatBuffer, pool: ThreadPool) {
    self.parameters = parameters
    self.pool = pool
  }

  /// Runs `body` without recording: its activations are freed as they go out of scope.
  public func withoutGradient<Result>(_ body: () throws -> Result) rethrows -> Result {
    let outer = isRecording
    isRecording = false
    defer { isRecording = outer }
    return try body()
  }

  /// A part of the model whose activations may be dropped and made again in backward, where
  /// `keepsBlockInputsOnly` says so.
  ///
  /// `body` must depend on its arguments, parameters and constants only. Numbers are the same bits
  /// either way: backward runs the same operations, stochastic depth being drawn from keys.
  ///
  /// - SeeAlso: Chen et al., arXiv:1604.06174.
  public func checkpointed(
    _ inputs: [Variable], _ body: @escaping ([Variable]) -> Variable
  ) -> Variable {
    guard keepsBlockInputsOnly, isRecording, observedParameters == nil else { return body(inputs) }
    observedParameters = []
    let output = withoutGradient { body(inputs) }
    let parameters = observedParameters ?? []
    observedParameters = nil
    return record(
      output.value,
      .recomputed(RecomputedRecord(inputs: inputs, body: body, parameters: parameters)))
  }

  /// A leaf that gets a gradient, for checks of the rules.
  public func input(_ value: Tensor) -> Variable { Variable(value, id: newIdentity()) }

  /// Plays all rules backwards from `seeds`, which are d(objective)/d(variable) for scalar
  /// variables, and empties the tape.
  ///
  /// - Returns: Gradients of the variables in `of`, for checks; nil where none arrived.
  @discardableResult
  public func backward(
    from seeds: [(Variable, Float)], into sink: any GradientSink, of inputs: [Variable] = []
  ) -> [Tensor?] {
    let keepsInputsOnly = keepsBlockInputsOnly
    // What is recorded during backward is played next: nothing is gained by dropping it again.
    keepsBlockInputsOnly = false
    defer { keepsBlockInputsOnly = keepsInputsOnly }
    var pass = BackwardPass(tape: self, sink: sink)
    for (variable, seed) in seeds {
      guard let id = variable.id else { continue }
      pass.give(id, Tensor(repeating: seed, shape: [1]))
    }
    while let node = nodes.popLast() {
      if let gradient = pass.take(node.output) {
        GradientRules.apply(node.operation, gradient: gradient, &pass)
      }
      for parameter in node.operation.parameters { finishUse(of: parameter, sink) }
    }
    let gradients = inputs.map { $0.id.flatMap { pass.take($0) } }
    reset()
    return gradients
  }

  /// Drops everything recorded.
  public func reset() {
    nodes.removeAll(keepingCapacity: true)
    pendingUses.removeAll(keepingCapacity: true)
    variableCount = 0
  }

  /// Whether an operation with these inputs and parameters has to be recorded.
  func records(_ inputs: [Variable], _ parameters: [Parameter] = []) -> Bool {
    observedParameters?.append(contentsOf: parameters)
    return isRecording && (!parameters.isEmpty || inputs.contains { $0.id != nil })
  }

  /// - Parameter saved: How records make the value again; by default they keep it.
  func record(
    _ value: Tensor, _ operation: Operation, saved: SavedValue? = nil
  ) -> Variable {
    let id = newIdentity()
    for parameter in operation.parameters { pendingUses[parameter.index, default: 0] += 1 }
    nodes.append(Node(operation: operation, output: id))
    return Variable(value, id: id, saved: saved)
  }

  private func newIdentity() -> Int {
    defer { variableCount += 1 }
    return variableCount
  }

  private func finishUse(of parameter: Parameter, _ sink: any GradientSink) {
    let left = (pendingUses[parameter.index] ?? 1) - 1
    pendingUses[parameter.index] = left
    if left == 0 { sink.didComplete(parameter) }
  }
}

/// A recorded operation and the variable it made.
struct Node {
  let operation: Operation
  let output: Int
}

/// Gradients of variables while a tape is played backwards.
struct BackwardPass {
  let tape: Tape
  let sink: any GradientSink
  /// By variable; a table, since backward may record more of them.
  private var gradients: [Int: Tensor] = [:]

  init(tape: Tape, sink: any GradientSink) {
    self.tape = tape
    self.sink = sink
  }

  var pool: ThreadPool { tape.pool }

  /// The complete gradient of a variable, which leaves the table.
  mutating func take(_ id: Int) -> Tensor? {
    gradients.removeValue(forKey: id)
  }

  /// Adds a whole gradient whose memory the caller gives up.
  mutating func give(_ id: Int?, _ gradient: Tensor) {
    guard let id else { return }
    guard let existing = gradients[id] else {
      gradients[id] = gradient
      return
    }
    TokenKernel.add(pool, gradient.pointer, to: existing.pointer, count: gradient.count)
  }

  /// Where a kernel writes the gradient of a variable: fresh memory, or the gradient so far, to
  /// which it has to add. Nil where nobody wants it.
  mutating func destination(_ id: Int?, _ shape: Shape) -> (tensor: Tensor, accumulate: Bool)? {
    guard let id else { return nil }
    if let existing = gradients[id] { return (existing, true) }
    let tensor = Tensor(uninitialized: shape)
    gradients[id] = tensor
    return (tensor, false)
  }
}
