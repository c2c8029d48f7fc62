import Files
import HDF5

/// Reads the precomputed targets of one data shard.
final class TargetShardReader {
  let path: String
  let description: TargetDescription
  private let identity: String
  private let targets: HDF5Dataset

  /// - Throws: `ShardError` for a file that holds none.
  init(path: String) throws(ShardError) {
    self.path = path
    let file = try ShardFile(path: path)
    let root = file.root
    guard let kind = try TargetShardReader.kind(of: root) else {
      throw .badTargets(
        path: path, reason: "it does not hold any; cae-dist tokenizer encode makes such files")
    }
    let version = try storing { () throws(HDF5Error) in
      try root.integerAttribute("formatVersion")
    }
    guard version == TargetFormat.version else {
      throw .badTargets(
        path: path, reason: "they are of format \(version), not \(TargetFormat.version)")
    }
    (description, identity) = try storing { () throws(HDF5Error) in
      let size = try root.integerAttribute(kind.sizeKind)
      let content: TargetDescription.Content =
        switch kind {
        case .tokens: .tokens(vocabularySize: size)
        case .features: .features(width: size)
        }
      return (
        TargetDescription(
          content, grid: try root.integerAttribute("grid"),
          views: try root.integerAttribute("views"),
          settings: try root.stringAttribute("settings"),
          source: try root.stringAttribute(kind.sourceKind),
          pictureSize: try root.integerAttribute("pictureSize")),
        try root.stringAttribute(TargetFormat.shard)
      )
    }
    try description.requirePossible(path: path)
    targets = try file.dataset(kind.kind)
    let expected = [description.views] + description.extents
    let type: ElementType =
      switch kind {
      case .tokens: .uint16
      case .features: .float32
      }
    guard targets.elementType == type, Array(targets.shape.dropFirst()) == expected else {
      throw .wrongShape(
        path: path, dataset: kind.kind, found: targets.shape,
        expected:
          "[samples, \(expected.map { "\($0)" }.joined(separator: ", "))] of \(type)")
    }
  }

  /// Nil: the file holds no targets. The sizes of the content mean nothing.
  static func kind(of root: HDF5Group) throws(ShardError) -> TargetDescription.Content? {
    try storing { () throws(HDF5Error) in
      guard try root.hasAttribute("kind") else { return nil }
      let kind = try root.stringAttribute("kind")
      return [.tokens(vocabularySize: 0), .features(width: 0)].first { $0.kind == kind }
    }
  }

  /// Images that have targets.
  var images: Int { targets.shape[0] }

  /// - Throws: Where the targets are not those of a shard's pictures.
  func require(_ wanted: TargetDescription, of shard: ShardHeader) throws(ShardError) {
    let current = try TargetFormat.identity(of: shard)
    let difference =
      description.difference(from: wanted)
      ?? (identity == current ? nil : ("shard", identity, current))
    if let (what, found, expected) = difference {
      throw .staleTargets(
        path: path, shard: shard.path, what: what, found: found, expected: expected)
    }
    guard targets.shape[0] == shard.count else {
      throw .wrongShape(
        path: path, dataset: description.content.kind, found: targets.shape,
        expected: "[\(shard.count)]")
    }
  }

  /// The tokens of one picture.
  func read(
    row: Int, view: Int, into buffer: UnsafeMutableBufferPointer<Int32>
  ) throws(ShardError) {
    try readingTargets { () throws(HDF5Error) in
      try targets.read(into: buffer, start: [row, view, 0], count: [1, 1, buffer.count])
    }
    guard buffer.allSatisfy({ $0 >= 0 && $0 < description.content.size }) else {
      throw .badTargets(
        path: path,
        reason: "a token of sample \(row) is not below the vocabulary of "
          + "\(description.content.size)")
    }
  }

  /// The features of one picture.
  func read(
    row: Int, view: Int, into buffer: UnsafeMutableBufferPointer<Float>
  ) throws(ShardError) {
    try readingTargets { () throws(HDF5Error) in
      try targets.read(
        into: buffer, start: [row, view, 0, 0], count: [1, 1] + description.extents)
    }
    guard buffer.allSatisfy(\.isFinite) else {
      throw .badTargets(path: path, reason: "a feature of sample \(row) is not finite")
    }
  }
}

extension TargetShardReader {
  /// Runs calls on HDF5 that read targets: what the system does not let pass is damage.
  private func readingTargets(_ body: () throws(HDF5Error) -> Void) throws(ShardError) {
    do throws(HDF5Error) {
      try body()
    } catch {
      if error.isSystemFailure { throw .storage(error) }
      throw .badTargets(
        path: path, reason: "\(error); remove it, and cae-dist tokenizer encode computes it again")
    }
  }

  /// Reads all features, and throws where one is damaged or not finite.
  func checkFeatures() throws(ShardError) {
    let block = UnsafeMutableBufferPointer<Float>.allocate(capacity: description.valuesOfView)
    defer { block.deallocate() }
    for row in 0..<images {
      for view in 0..<description.views { try read(row: row, view: view, into: block) }
    }
  }

  /// Tokens that are read at once, about.
  private static let blockTokens = 1 << 16

  /// Adds how often each token occurs.
  ///
  /// - Precondition: A count for each token of the vocabulary.
  func count(into counts: inout [Int]) throws(ShardError) {
    let (views, size) = (description.views, description.valuesOfView)
    let rows = min(images, max(1, TargetShardReader.blockTokens / (views * size)))
    var block = [UInt16](repeating: 0, count: rows * views * size)
    for first in stride(from: 0, to: images, by: max(rows, 1)) {
      let count = min(rows, images - first)
      try readingTargets { () throws(HDF5Error) in
        try block.withUnsafeMutableBufferPointer { (buffer) throws(HDF5Error) in
          try targets.read(
            into: UnsafeMutableBufferPointer(rebasing: buffer[..<(count * views * size)]),
            start: [first, 0, 0], count: [count, views, size])
        }
      }
      for token in block[..<(count * views * size)] {
        guard Int(token) < counts.count else {
          throw .badTargets(
            path: path,
            reason: "it holds the token \(token), but the vocabulary has \(counts.count)")
        }
        counts[Int(token)] += 1
      }
    }
  }
}
