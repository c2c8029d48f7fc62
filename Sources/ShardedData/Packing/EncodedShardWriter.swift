import HDF5

/// Writes a shard of image files.
public final class EncodedShardWriter: ShardWriter {
  public var path: String { draft.path }
  public var count: Int { draft.labels.count }
  private let draft: ShardDraft
  private let spool: SampleSpool

  public init(
    folder: String, fileName: String, description: ShardDescription
  ) throws(ShardError) {
    draft = try ShardDraft(folder: folder, fileName: fileName, description: description)
    spool = try SampleSpool(path: draft.temporaryPath + "-bytes")
  }

  public func append(
    _ image: ImageContent, label: Int32, key: String
  ) throws(ShardError) {
    guard case .file(let bytes) = image else {
      preconditionFailure("pixels for \(path), a shard of files")
    }
    try draft.append(label: label, key: key)
    try spool.append(bytes)
  }

  public func finish(skipped: [String]) throws(ShardError) {
    precondition(count > 0, "\(path) without samples")
    let root = draft.file.root
    let bytes = try storing { () throws(HDF5Error) in
      try root.write(
        spool.offsets, to: ShardFormat.offsets, shape: [count + 1],
        options: DatasetOptions(fletcher32: true))
      return try root.createDataset(ShardFormat.bytes, of: UInt8.self, shape: [spool.byteCount])
    }
    try spool.copy(unit: 1) { (block, start) throws(HDF5Error) in
      try bytes.write(from: block, start: [start], count: [block.count])
    }
    try draft.finish(checksums: spool.checksums, skipped: skipped)
  }
}
