import HDF5

/// Writes a shard of pixels of one shape.
public final class RawShardWriter: ShardWriter {
  public var path: String { draft.path }
  public var count: Int { draft.labels.count }
  let imageShape: ImageShape
  private let draft: ShardDraft
  private let spool: SampleSpool

  public init(
    folder: String, fileName: String, imageShape: ImageShape, description: ShardDescription
  ) throws(ShardError) {
    draft = try ShardDraft(folder: folder, fileName: fileName, description: description)
    spool = try SampleSpool(path: draft.temporaryPath + "-bytes")
    self.imageShape = imageShape
  }

  /// - Precondition: The image has the shape of all.
  public func append(
    _ image: ImageContent, label: Int32, key: String
  ) throws(ShardError) {
    guard case .pixels(let pixels, let shape) = image, shape == imageShape else {
      preconditionFailure("an image for \(path) that has not \(imageShape)")
    }
    precondition(pixels.count == shape.byteCount, "\(pixels.count) bytes for \(shape)")
    try draft.append(label: label, key: key)
    try spool.append(pixels)
  }

  public func finish(skipped: [String]) throws(ShardError) {
    precondition(count > 0, "\(path) without samples")
    let extents = [imageShape.height, imageShape.width, imageShape.channels]
    let rows = ShardFormat.chunkRows(imageShape: imageShape, count: count)
    let images = try storing { () throws(HDF5Error) in
      try draft.file.root.createDataset(
        ShardFormat.images, of: UInt8.self, shape: [count] + extents,
        options: DatasetOptions(chunk: [rows] + extents, isPreallocated: true))
    }
    // Whole chunks, so that none is read back and written twice.
    try spool.copy(unit: rows * imageShape.byteCount) { (block, start) throws(HDF5Error) in
      try images.write(
        from: block, start: [start / imageShape.byteCount, 0, 0, 0],
        count: [block.count / imageShape.byteCount] + extents)
    }
    try draft.finish(checksums: spool.checksums, skipped: skipped)
  }
}
