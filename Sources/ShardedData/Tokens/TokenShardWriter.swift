import Files
import HDF5

/// Writes the tokens of a data shard, block by block, and goes on where a killed writer stopped.
///
/// Blocks are gathered in a plain file, each behind its hash: what was not written to its end is
/// recognized and written again.
public final class TokenShardWriter {
  public let path: String
  /// Samples whose tokens are there.
  public private(set) var count = 0
  private let description: TokenDescription
  private let shard: ShardHeader
  private let identity: String
  private let spoolPath: String
  private let spool: AppendingFile

  /// Samples of a block, but for the last one.
  public static let blockSamples = 64

  /// - Parameter folder: Made if it is missing.
  /// - Throws: `ShardError` for a vocabulary of more than 65536 tokens, too.
  public init(
    _ description: TokenDescription, of shard: ShardHeader, in folder: String
  ) throws(ShardError) {
    guard description.vocabularySize <= TokenFormat.largestVocabulary else {
      throw .badSource(
        path: shard.path,
        reason: "tokens of \(description.vocabularySize) kinds do not fit two bytes")
    }
    (self.description, self.shard) = (description, shard)
    path = TokenFormat.path(of: shard, in: folder)
    identity = try TokenFormat.identity(of: shard)
    let name = path.split(separator: "/").last ?? ""
    spoolPath = "\(folder)/.\(name).partial"
    let header = TokenShardWriter.header(description, identity)
    let (spoolPath, block) = (spoolPath, TokenShardWriter.blockSamples * description.rowBytes)
    (spool, count) = try handling { () throws(FileError) in
      try Files.makeDirectory(folder)
      let valid = TokenShardWriter.validBytes(
        spoolPath, header: header, blockBytes: block, totalBytes: shard.count * description.rowBytes
      )
      if valid == 0 {
        try Files.write(header, to: spoolPath)
      } else {
        try Files.truncate(spoolPath, toSize: valid)
      }
      let blocks = max(0, valid - header.count) / (block + 8)
      let rest = max(0, valid - header.count) % (block + 8)
      let samples =
        blocks * TokenShardWriter.blockSamples
        + (rest > 8 ? (rest - 8) / description.rowBytes : 0)
      return (try AppendingFile(path: spoolPath), samples)
    }
  }

  /// Whether the tokens of a shard are complete.
  ///
  /// - Throws: `ShardError.staleTokens` where they are there, but of other settings.
  public static func isComplete(
    _ description: TokenDescription, of shard: ShardHeader, in folder: String
  ) throws(ShardError) -> Bool {
    let path = TokenFormat.path(of: shard, in: folder)
    guard Files.exists(path) else { return false }
    try TokenShardReader(path: path).require(description, of: shard)
    return true
  }

  /// Adds the tokens of the next samples, `[samples, views, grid x grid]`.
  ///
  /// - Precondition: As many as `blockSamples`, or all that are left.
  public func append(_ tokens: [UInt16]) throws(ShardError) {
    let size = description.views * description.tokensOfView
    let samples = tokens.count / size
    precondition(
      tokens.count % size == 0
        && samples == min(TokenShardWriter.blockSamples, shard.count - count),
      "\(tokens.count) tokens after \(count) samples of \(shard.path)")
    var bytes = [UInt8](repeating: 0, count: 8)
    for token in tokens {
      bytes.append(UInt8(truncatingIfNeeded: token))
      bytes.append(UInt8(truncatingIfNeeded: token >> 8))
    }
    bytes.replaceSubrange(0..<8, with: TokenShardWriter.hash(bytes[8...]))
    try handling { () throws(FileError) in try spool.append(bytes) }
    count += samples
  }

  /// Makes the file of what was gathered.
  ///
  /// - Precondition: All samples have their tokens.
  public func finish() throws(ShardError) {
    precondition(count == shard.count, "\(count) of \(shard.count) samples for \(path)")
    let partial = spoolPath + "-file"
    let bytes = try handling { () throws(FileError) in try Files.read(spoolPath) }
    let valid = TokenShardWriter.validBytes(
      spoolPath, header: TokenShardWriter.header(description, identity),
      blockBytes: TokenShardWriter.blockSamples * description.rowBytes,
      totalBytes: shard.count * description.rowBytes)
    guard valid == bytes.count else {
      throw .badTokens(
        path: spoolPath, reason: "it is not what was written; remove it and encode again")
    }
    try storing { () throws(HDF5Error) in try writeFile(partial, bytes) }
    try handling { () throws(FileError) in
      try Files.synchronize(partial)
      try Files.rename(partial, to: path)
      try Files.remove(spoolPath)
    }
  }

  private func writeFile(_ partial: String, _ bytes: [UInt8]) throws(HDF5Error) {
    let file = try HDF5File(path: partial, .create)
    try file.root.setAttribute("kind", TokenFormat.kind)
    try file.root.setAttribute("formatVersion", TokenFormat.version)
    try file.root.setAttribute("grid", description.grid)
    try file.root.setAttribute("vocabularySize", description.vocabularySize)
    try file.root.setAttribute("views", description.views)
    try file.root.setAttribute("settings", description.settings)
    try file.root.setAttribute("tokenizer", description.tokenizer)
    try file.root.setAttribute("pictureSize", description.pictureSize)
    try file.root.setAttribute(TokenFormat.shard, identity)
    let extents = [description.views, description.tokensOfView]
    var tokens: [UInt16] = []
    tokens.reserveCapacity(shard.count * extents[0] * extents[1])
    var offset = TokenShardWriter.header(description, identity).count
    while offset < bytes.count {
      let samples = min(
        TokenShardWriter.blockSamples, shard.count - tokens.count / (extents[0] * extents[1]))
      let end = offset + 8 + samples * description.rowBytes
      for place in stride(from: offset + 8, to: end, by: 2) {
        tokens.append(UInt16(bytes[place]) | UInt16(bytes[place + 1]) << 8)
      }
      offset = end
    }
    let rows = TokenFormat.chunkRows(description, count: shard.count)
    try file.root.write(
      tokens, to: TokenFormat.tokens, shape: [shard.count] + extents,
      options: DatasetOptions(chunk: [rows] + extents, fletcher32: true))
    try file.close()
  }

  // MARK: The gathering file

  private static func header(_ description: TokenDescription, _ identity: String) -> [UInt8] {
    Array("\(description)\n\(identity)\n".utf8)
  }

  /// How many bytes of the gathering file are good.
  private static func validBytes(
    _ path: String, header: [UInt8], blockBytes: Int, totalBytes: Int
  ) -> Int {
    guard let bytes = try? Files.read(path), bytes.starts(with: header) else { return 0 }
    var (offset, left) = (header.count, totalBytes)
    while left > 0 {
      let size = min(blockBytes, left)
      guard offset + 8 + size <= bytes.count,
        Array(bytes[offset..<offset + 8]) == hash(bytes[(offset + 8)..<(offset + 8 + size)])
      else { break }
      offset += 8 + size
      left -= size
    }
    return offset
  }

  private static func hash(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
    var hash = Hash64()
    bytes.withUnsafeBytes { hash.update($0) }
    let value = hash.finalize()
    return (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }
}

extension TokenDescription {
  /// Bytes of a sample's tokens.
  fileprivate var rowBytes: Int { 2 * views * tokensOfView }
}
