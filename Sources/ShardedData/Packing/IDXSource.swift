/// Gray images and labels in two IDX files, plain or compressed with gzip, as MNIST and
/// Fashion-MNIST come.
public struct IDXSource: ImageSource {
  public let imageShape: ImageShape
  public let classNames: [String]
  public let origin: String
  private let images: IDXFile
  private let labels: IDXFile

  /// - Parameter classNames: The name of each label; nil names them by number.
  /// - Throws: `ShardError` for a file that is not IDX or is cut off, for files of different
  ///   counts, and for a label without a name.
  public init(
    images imagesPath: String, labels labelsPath: String, classNames: [String]? = nil
  ) throws(ShardError) {
    images = try IDXFile(path: imagesPath, rank: 3)
    labels = try IDXFile(path: labelsPath, rank: 1)
    origin = "IDX \(imagesPath)"
    imageShape = ImageShape(
      height: images.dimensions[1], width: images.dimensions[2], channels: 1)
    guard images.dimensions[0] == labels.dimensions[0] else {
      throw .badSource(
        path: imagesPath,
        reason: "it has \(images.dimensions[0]) images, but \(labelsPath) has "
          + "\(labels.dimensions[0]) labels")
    }
    guard images.dimensions[0] > 0, imageShape.byteCount > 0 else {
      throw .badSource(path: imagesPath, reason: "it holds no pixels")
    }
    let largest = Int(labels.bytes[labels.start...].max() ?? 0)
    self.classNames = classNames ?? (0...largest).map(String.init)
    guard largest < self.classNames.count else {
      throw .badSource(
        path: labelsPath,
        reason: "it has the label \(largest), but only \(self.classNames.count) class names are "
          + "given")
    }
  }

  public var count: Int { images.dimensions[0] }

  public func label(at index: Int) -> Int32 { Int32(labels.bytes[labels.start + index]) }

  public func content(at index: Int) -> ImageContent {
    let first = images.start + index * imageShape.byteCount
    return .pixels(Array(images.bytes[first..<first + imageShape.byteCount]), imageShape)
  }
}
