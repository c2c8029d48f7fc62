import Files
import HDF5

/// Reads the precomputed tokens of one data shard.
final class TokenShardReader {
  let path: String
  let description: TokenDescription
  private let identity: String
  private let tokens: HDF5Dataset

  /// - Throws: `ShardError` for a file that is no token file.
  init(path: String) throws(ShardError) {
    self.path = path
    let file = try ShardFile(path: path)
    let root = file.root
    guard try TokenShardReader.isTokens(root) else {
      throw .badTokens(
        path: path, reason: "it does not hold any; cae-dist tokenizer encode makes such files")
    }
    let version = try storing { () throws(HDF5Error) in
      try root.integerAttribute("formatVersion")
    }
    guard version == TokenFormat.version else {
      throw .badTokens(
        path: path, reason: "they are of format \(version), not \(TokenFormat.version)")
    }
    (description, identity) = try storing { () throws(HDF5Error) in
      (
        TokenDescription(
          grid: try root.integerAttribute("grid"),
          vocabularySize: try root.integerAttribute("vocabularySize"),
          views: try root.integerAttribute("views"),
          settings: try root.stringAttribute("settings"),
          tokenizer: try root.stringAttribute("tokenizer"),
          pictureSize: try root.integerAttribute("pictureSize")),
        try root.stringAttribute(TokenFormat.shard)
      )
    }
    guard (1...TokenFormat.largestExtent).contains(description.grid),
      (1...TokenFormat.largestExtent).contains(description.views),
      (1...TokenFormat.largestPicture).contains(description.pictureSize),
      (1...TokenFormat.largestVocabulary).contains(description.vocabularySize)
    else {
      throw .badTokens(
        path: path,
        reason: "\(description.views) views of \(description.grid) x \(description.grid) tokens of "
          + "\(description.vocabularySize) kinds cannot be")
    }
    tokens = try file.dataset(TokenFormat.tokens)
    let expected = [description.views, description.tokensOfView]
    guard tokens.elementType == .uint16, Array(tokens.shape.dropFirst()) == expected else {
      throw .wrongShape(
        path: path, dataset: TokenFormat.tokens, found: tokens.shape,
        expected: "[samples, \(description.views), \(description.tokensOfView)] of uint16")
    }
  }

  static func isTokens(_ root: HDF5Group) throws(ShardError) -> Bool {
    try storing { () throws(HDF5Error) in
      guard try root.hasAttribute("kind") else { return false }
      return try root.stringAttribute("kind") == TokenFormat.kind
    }
  }

  /// Images that have tokens.
  var images: Int { tokens.shape[0] }

  /// - Throws: Where the tokens are not those of a shard's pictures.
  func require(_ wanted: TokenDescription, of shard: ShardHeader) throws(ShardError) {
    let current = try TokenFormat.identity(of: shard)
    let difference =
      description.difference(from: wanted)
      ?? (identity == current ? nil : ("shard", identity, current))
    if let (what, found, expected) = difference {
      throw .staleTokens(
        path: path, shard: shard.path, what: what, found: found, expected: expected)
    }
    guard tokens.shape[0] == shard.count else {
      throw .wrongShape(
        path: path, dataset: TokenFormat.tokens, found: tokens.shape, expected: "[\(shard.count)]")
    }
  }

  /// The tokens of one picture.
  func read(
    row: Int, view: Int, into buffer: UnsafeMutableBufferPointer<Int32>
  ) throws(ShardError) {
    try reading(path: path, row: row) { () throws(HDF5Error) in
      try tokens.read(into: buffer, start: [row, view, 0], count: [1, 1, buffer.count])
    }
    guard buffer.allSatisfy({ $0 >= 0 && $0 < description.vocabularySize }) else {
      throw .badTokens(
        path: path,
        reason: "a token of sample \(row) is not below the vocabulary of "
          + "\(description.vocabularySize)")
    }
  }
}

extension TokenShardReader {
  /// Tokens that are read at once, about.
  private static let blockTokens = 1 << 16

  /// Adds how often each token occurs.
  ///
  /// - Precondition: A count for each token of the vocabulary.
  func count(into counts: inout [Int]) throws(ShardError) {
    let (views, size) = (description.views, description.tokensOfView)
    let rows = min(images, max(1, TokenShardReader.blockTokens / (views * size)))
    var block = [UInt16](repeating: 0, count: rows * views * size)
    for first in stride(from: 0, to: images, by: max(rows, 1)) {
      let count = min(rows, images - first)
      do throws(HDF5Error) {
        try block.withUnsafeMutableBufferPointer { (buffer) throws(HDF5Error) in
          try tokens.read(
            into: UnsafeMutableBufferPointer(rebasing: buffer[..<(count * views * size)]),
            start: [first, 0, 0], count: [count, views, size])
        }
      } catch {
        throw .badTokens(
          path: path, reason: "\(error); remove it, and cae-dist tokenizer encode computes it again"
        )
      }
      for token in block[..<(count * views * size)] {
        guard Int(token) < counts.count else {
          throw .badTokens(
            path: path,
            reason: "it holds the token \(token), but the vocabulary has \(counts.count)")
        }
        counts[Int(token)] += 1
      }
    }
  }
}

/// The precomputed tokens of a data set.
public struct TokenIndex: Sendable {
  public let description: TokenDescription
  fileprivate let paths: [String]

  /// Looks at all token files.
  ///
  /// - Parameters:
  ///   - views, settings: Of the run; a file of others is an error.
  /// - Throws: `ShardError`, also where a file is missing.
  public init(
    folder: String, of index: ShardIndex, views: Int, settings: String
  ) throws(ShardError) {
    var first: TokenDescription?
    var paths: [String] = []
    for shard in index.shards {
      let path = TokenFormat.path(of: shard, in: folder)
      guard Files.exists(path) else { throw .noTokens(path: path, shard: shard.path) }
      let reader = try TokenShardReader(path: path)
      var wanted = first ?? reader.description
      (wanted.views, wanted.settings) = (views, settings)
      try reader.require(wanted, of: shard)
      first = first ?? reader.description
      paths.append(path)
    }
    guard let first else { throw .noShards(path: folder) }
    (description, self.paths) = (first, paths)
  }
}

/// Brings tokens by sample number. For one thread.
final class TokenStore {
  private let tokens: TokenIndex
  private let index: ShardIndex
  private var readers: [Int: TokenShardReader] = [:]

  init(_ tokens: TokenIndex, _ index: ShardIndex) {
    (self.tokens, self.index) = (tokens, index)
  }

  var tokensOfView: Int { tokens.description.tokensOfView }

  func read(
    sample: Int, epoch: Int, into buffer: UnsafeMutableBufferPointer<Int32>
  ) throws(ShardError) {
    let (shard, row) = index.location(of: sample)
    try reader(of: shard).read(
      row: row, view: epoch % tokens.description.views, into: buffer)
  }

  private func reader(of shard: Int) throws(ShardError) -> TokenShardReader {
    if let reader = readers[shard] { return reader }
    // Few shards are read at a time; an index of thousands must not keep them all open.
    if readers.count == 32 { readers.removeAll() }
    let reader = try TokenShardReader(path: tokens.paths[shard])
    readers[shard] = reader
    return reader
  }
}
