public import TensorCore

/// A trained tensor: its name, shape and place in the flat buffers. Where its bytes are is the
/// business of whoever owns the buffers.
public struct Parameter: Sendable {
  public let index: Int
  public let name: String
  public let shape: Shape
  /// First element in the flat buffers; a multiple of 16 floats, one cache line.
  public let offset: Int

  public var count: Int { shape.count }
}

/// All parameters of a model in the order of their registration, laid out in one flat buffer.
///
/// The optimizer, the exchange and the checkpoint see only this; they know no layers.
public final class ParameterTree {
  /// What belongs to a parameter beside its bytes.
  public struct Entry {
    public let parameter: Parameter
    public let initializer: Initializer
    public let hasWeightDecay: Bool
  }

  public private(set) var entries: [Entry] = []
  /// Length of a flat buffer, padding included.
  public private(set) var flatCount = 0
  private var names: Set<String> = []

  public init() {}

  /// Adds a parameter.
  ///
  /// - Parameter weightDecay: By default all tensors of more than one dimension whose name does
  ///   not end in `.bias` are decayed: weights, the class token and the mask query, but no norm,
  ///   bias or layer scale.
  /// - Precondition: The name is new.
  public func add(
    _ name: String, _ shape: Shape, _ initializer: Initializer, weightDecay: Bool? = nil
  ) -> Parameter {
    precondition(names.insert(name).inserted, "parameter \(name) is registered twice")
    let parameter = Parameter(
      index: entries.count, name: name, shape: shape, offset: flatCount)
    entries.append(
      Entry(
        parameter: parameter, initializer: initializer,
        hasWeightDecay: weightDecay ?? (shape.rank > 1 && !name.hasSuffix(".bias"))))
    flatCount += (shape.count + 15) / 16 * 16
    return parameter
  }

  /// Number of trained values, without padding.
  public var parameterCount: Int { entries.reduce(0) { $0 + $1.parameter.count } }

  public func parameter(named name: String) -> Parameter? {
    entries.first { $0.parameter.name == name }?.parameter
  }
}

/// One flat buffer with a value for each element of a tree: parameters, gradients or moments.
public final class FlatBuffer {
  public let storage: Storage
  public let count: Int

  public init(for tree: ParameterTree, allocator: any MemoryAllocator, purpose: String) {
    count = tree.flatCount
    storage = allocator.allocate(count: tree.flatCount, purpose: purpose)
  }

  public var pointer: UnsafeMutablePointer<Float> { storage.pointer }

  public func pointer(_ parameter: Parameter) -> UnsafeMutablePointer<Float> {
    storage.pointer + parameter.offset
  }

  /// A view of one parameter, sharing the memory.
  public func tensor(_ parameter: Parameter) -> Tensor {
    Tensor(storage: storage, offset: parameter.offset, shape: parameter.shape)
  }

  /// Draws the initial value of every parameter: a function of (seed, name) only, so adding a
  /// parameter changes no other.
  public func initialize(_ tree: ParameterTree, seed: UInt64) {
    for entry in tree.entries {
      var hash: UInt64 = 0xCBF2_9CE4_8422_2325
      for byte in entry.parameter.name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
      var random = CounterRandom(
        seed: seed, sample: Int(truncatingIfNeeded: hash), stream: .initialization)
      entry.initializer.fill(
        UnsafeMutableBufferPointer(
          start: pointer(entry.parameter), count: entry.parameter.count), &random)
    }
  }
}

/// State that a method saves in checkpoints but does not train: a teacher, a centre, a table.
public struct NamedBuffer: Sendable {
  public let name: String
  public let tensor: Tensor

  public init(name: String, tensor: Tensor) {
    self.name = name
    self.tensor = tensor
  }
}
