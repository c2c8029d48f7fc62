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
    public internal(set) var hasWeightDecay: Bool
    /// Factor on the learning rate.
    public internal(set) var learningRateScale = 1.0
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

  /// Gives every parameter a factor on the learning rate, by its name. To be called before there is
  /// an optimizer.
  public func scaleLearningRates(_ scale: (String) -> Double) {
    for index in entries.indices {
      entries[index].learningRateScale = scale(entries[index].parameter.name)
    }
  }

  /// Takes parameters that weight decay would touch out of it. To be called before there is an
  /// optimizer.
  public func exemptFromWeightDecay(_ names: Set<String>) {
    for index in entries.indices where names.contains(entries[index].parameter.name) {
      entries[index].hasWeightDecay = false
    }
  }

  /// Values of a parameter that are summed up together in norms; where ranks share a parameter,
  /// they divide it at multiples of this: the pieces are the same whoever has them.
  public static let chunk = 4096

  /// The chunks, without padding, of a range of the flat layout.
  public func chunks(in range: Range<Int>) -> [Range<Int>] {
    var chunks: [Range<Int>] = []
    var index = max(0, entries.partitioningIndex { $0.parameter.offset > range.lowerBound } - 1)
    while index < entries.count, entries[index].parameter.offset < range.upperBound {
      let (start, count) = (entries[index].parameter.offset, entries[index].parameter.count)
      for first in stride(from: start, to: start + count, by: ParameterTree.chunk) {
        let chunk = (first..<min(start + count, first + ParameterTree.chunk)).clamped(to: range)
        if !chunk.isEmpty { chunks.append(chunk) }
      }
      index += 1
    }
    return chunks
  }

  /// The parameter at a place of the flat layout.
  ///
  /// - Precondition: `place` is in `0..<flatCount`.
  public func parameter(at place: Int) -> Parameter {
    entries[entries.partitioningIndex { $0.parameter.offset > place } - 1].parameter
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

  /// - Precondition: The storage has the length of the tree's layout.
  public init(for tree: ParameterTree, storage: Storage) {
    precondition(storage.count == tree.flatCount, "a buffer of another length")
    count = tree.flatCount
    self.storage = storage
  }

  public var pointer: UnsafeMutablePointer<Float> { storage.pointer }

  /// The memory of a range of places.
  public func memory(_ range: Range<Int>) -> UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(start: pointer + range.lowerBound, count: range.count)
  }

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

/// Values for some ranges of a tree's flat layout, one range after the other: what a rank keeps of
/// gradients or moments where the ranks share the work.
public final class ShardBuffer {
  /// Ascending and disjoint.
  public let ranges: [Range<Int>]
  /// Number of values.
  public let count: Int
  private let storage: Storage
  private let bases: [UnsafeMutablePointer<Float>]

  public init(_ ranges: [Range<Int>], allocator: any MemoryAllocator, purpose: String) {
    self.ranges = ranges
    count = ranges.reduce(0) { $0 + $1.count }
    storage = allocator.allocate(count: count, purpose: purpose)
    var next = storage.pointer
    bases = ranges.map { range in
      defer { next += range.count }
      return next
    }
  }

  /// The ranges of a whole buffer where they are.
  public init(_ ranges: [Range<Int>], of whole: Storage) {
    self.ranges = ranges
    count = ranges.reduce(0) { $0 + $1.count }
    storage = whole
    bases = ranges.map { whole.pointer + $0.lowerBound }
  }

  /// The first value of the range with this number.
  public func pointer(range index: Int) -> UnsafeMutablePointer<Float> { bases[index] }

  /// The memory of each range.
  public var memory: [UnsafeMutableBufferPointer<Float>] {
    zip(bases, ranges).map { UnsafeMutableBufferPointer(start: $0, count: $1.count) }
  }

  /// The value at a place of the flat layout.
  ///
  /// - Precondition: A range has it.
  public func pointer(at place: Int) -> UnsafeMutablePointer<Float> {
    let index = ranges.partitioningIndex { $0.upperBound > place }
    precondition(index < ranges.count && ranges[index].contains(place), "no value at \(place)")
    return bases[index] + (place - ranges[index].lowerBound)
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
