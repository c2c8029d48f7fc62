/// A rectangle of whole pixels of an image.
public struct CropBox: Equatable, Hashable, Sendable {
  public var left: Int
  public var top: Int
  public var width: Int
  public var height: Int

  public init(left: Int, top: Int, width: Int, height: Int) {
    self.left = left
    self.top = top
    self.width = width
    self.height = height
  }

  /// The box of the given size in the middle of an image.
  public init(centredIn imageWidth: Int, _ imageHeight: Int, width: Int, height: Int) {
    self.init(
      left: (imageWidth - width) / 2, top: (imageHeight - height) / 2, width: width,
      height: height)
  }

  /// Where the box lies in the mirrored image.
  public func mirrored(inWidth imageWidth: Int) -> CropBox {
    CropBox(left: imageWidth - left - width, top: top, width: width, height: height)
  }
}
