/// The samples of shards of any known layout, to be packed anew: files of other projects as our own,
/// or our own with other options.
public struct ShardSource: ImageSource {
  public let classNames: [String]
  public let origin: String
  private let index: ShardIndex
  private let store: SampleStore
  private let sample = StoredSample()
  private let labels: [Int32]
  private let keys: [String]

  /// Reads the labels and keys of all samples.
  ///
  /// - Throws: `ShardError`, for those that cannot be read, too.
  public init(paths: [String]) throws(ShardError) {
    index = try ShardIndex(paths: paths)
    store = SampleStore(index: index, memoryBudget: -1, retries: .patient)
    var labels: [Int32] = []
    var keys: [String] = []
    for number in 0..<index.count {
      labels.append(try store.label(of: number))
      keys.append(try store.key(of: number))
    }
    self.keys = keys
    // Images without a class get one of their own, behind all others.
    let known = max(index.classNames.count, Int(labels.max() ?? -1) + 1)
    var names = index.classNames.isEmpty ? (0..<known).map(String.init) : index.classNames
    if labels.contains(-1) {
      names.append(unlabelledClass)
      labels = labels.map { $0 < 0 ? Int32(known) : $0 }
    }
    self.labels = labels
    classNames = names
    origin = "shards \(paths.joined(separator: ", "))"
  }

  public var count: Int { index.count }

  public func label(at number: Int) -> Int32 { labels[number] }

  public func key(at number: Int) -> String { keys[number] }

  public func content(at number: Int) throws(ShardError) -> ImageContent {
    try store.read(number, needsKey: false, into: sample)
    try sample.verify()
    switch sample.form {
    case .encoded: return .file(Array(sample.bytes))
    case .interleaved(let shape): return .pixels(Array(sample.bytes), shape)
    case .planar(let shape):
      let (bytes, plane) = (sample.bytes, shape.height * shape.width)
      return .pixels(
        (0..<shape.byteCount).map { bytes[$0 % shape.channels * plane + $0 / shape.channels] },
        shape)
    }
  }
}
