import Files
import Interfaces
import PNGCodec

/// PNG pictures in one folder a class: `FOLDER/CLASS/*.png`, classes and pictures in name order.
public struct ClassFolderSource: ImageSource {
  public let imageShape: ImageShape
  public let classNames: [String]
  public let origin: String
  private let size: Int?
  private let channels: PNGChannels
  private let pictures: [(path: String, label: Int32)]

  /// - Parameters:
  ///   - size: Every picture's shorter side is resized to this (bicubic), then the square in the
  ///     middle is cut out; nil takes pictures as they are, and all have to agree in size.
  ///   - channels: 1 or 3; nil takes those of the first picture.
  /// - Throws: `ShardError` for a folder without class folders or a class without pictures.
  public init(path: String, size: Int? = nil, channels: Int? = nil) throws(ShardError) {
    guard Files.isDirectory(path) else { throw .missing(path: path) }
    if let size, size < 1 { throw .badSource(path: path, reason: "size \(size) is below 1") }
    let names = try ClassFolderSource.list(path).filter { Files.isDirectory("\(path)/\($0)") }
    var pictures: [(path: String, label: Int32)] = []
    for (label, name) in names.enumerated() {
      let files = try ClassFolderSource.list("\(path)/\(name)").filter {
        $0.lowercased().hasSuffix(".png")
      }
      if files.isEmpty {
        throw .badSource(path: path, reason: "the class folder \(name) holds no PNG files")
      }
      pictures += files.map { ("\(path)/\(name)/\($0)", Int32(label)) }
    }
    guard let first = pictures.first else {
      throw .badSource(path: path, reason: "it holds no class folders")
    }
    let wanted = try channels.map { (count) throws(ShardError) in
      guard let channels = PNGChannels(rawValue: count) else {
        throw .badSource(path: path, reason: "\(count) channels are asked for, not 1 or 3")
      }
      return channels
    }
    let picture = try ClassFolderSource.decode(first.path, channels: wanted)
    self.channels = picture.channels == 3 ? .rgb : .gray
    self.size = size
    self.pictures = pictures
    classNames = names
    origin = "class folders of \(path)"
    imageShape = ImageShape(
      height: size ?? picture.height, width: size ?? picture.width, channels: picture.channels)
  }

  public var count: Int { pictures.count }

  public func label(at index: Int) -> Int32 { pictures[index].label }

  public func image(at index: Int) throws(ShardError) -> [UInt8] {
    let path = pictures[index].path
    let picture = try ClassFolderSource.decode(path, channels: channels)
    let shape = ImageShape(
      height: picture.height, width: picture.width, channels: picture.channels)
    if shape == imageShape { return picture.pixels }
    guard let size else {
      throw .badSource(
        path: path,
        reason: "it has \(picture.height) x \(picture.width) pixels, but \(pictures[0].path) has "
          + "\(imageShape.height) x \(imageShape.width); give a size to resize to")
    }
    return fitted(picture.pixels, shape: shape, size: size)
  }

  /// The shorter side resized to `size`, then the middle.
  private func fitted(_ pixels: [UInt8], shape: ImageShape, size: Int) -> [UInt8] {
    let fit = ShorterSideFit(shape: shape, size: size)
    let resized = Resample.resized(
      pixels, shape: shape, toWidth: fit.width, toHeight: fit.height, filter: .bicubic)
    let rowBytes = size * shape.channels
    return (0..<size).flatMap { row in
      let first = ((fit.box.top + row) * fit.width + fit.box.left) * shape.channels
      return resized[first..<first + rowBytes]
    }
  }

  private static func decode(
    _ path: String, channels: PNGChannels?
  ) throws(ShardError) -> PNGImage {
    do throws(PNGError) {
      return try PNGImage(path: path, channels: channels)
    } catch {
      throw .png(error)
    }
  }

  private static func list(_ path: String) throws(ShardError) -> [String] {
    do throws(FileError) {
      return try Files.list(path)
    } catch {
      throw .file(error)
    }
  }
}
