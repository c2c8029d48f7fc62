import Files
import Foundation
import Interfaces
import ShardedData

/// A picture of pixels with what is to be said about it.
public struct RasterPicture {
  let picture: Picture
  /// A sentence that names what is drawn where.
  public let caption: String

  /// Writes a PNG file, or an SVG file that holds one, by the name's ending.
  public func write(to path: String) throws {
    switch try PictureFormat(path: path) {
    case .png: try picture.write(to: path)
    case .svg:
      let bytes = try png(beside: path)
      let size = "width=\"\(picture.width)\" height=\"\(picture.height)\""
      let data = Data(bytes).base64EncodedString()
      let svg = """
        <svg xmlns="http://www.w3.org/2000/svg" \(size) viewBox="0 0 \(picture.width) \
        \(picture.height)"><title>\(HTML.escape(caption))</title><image \(size) \
        style="image-rendering:pixelated" href="data:image/png;base64,\(data)"/></svg>

        """
      try Files.writeAtomically(Array(svg.utf8), to: path)
    }
  }

  private func png(beside path: String) throws -> [UInt8] {
    let file = "\(path).\(ProcessInfo.processInfo.processIdentifier).png"
    defer { try? Files.remove(file) }
    try picture.write(to: file)
    return try Files.read(file)
  }
}

/// What a picture's file is, by its name.
enum PictureFormat {
  case png
  case svg

  init(path: String) throws(ConfigurationError) {
    let name = path.lowercased()
    if name.hasSuffix(".png") {
      self = .png
    } else if name.hasSuffix(".svg") {
      self = .svg
    } else {
      throw ConfigurationError("--output", "\(path) must end with .png or .svg")
    }
  }
}

/// Colours of a scale from 0 to 1.
enum ColorScale {
  typealias Color = SIMD3<Float>

  /// White to dark blue.
  static let blues: [Color] = [
    [255, 255, 255], [158, 202, 225], [49, 130, 189], [8, 48, 107],
  ]
  /// Dark to light over red.
  static let heat: [Color] = [
    [0, 0, 10], [85, 15, 109], [187, 55, 84], [249, 142, 8], [252, 255, 164],
  ]

  /// The colour at a place, linear between the scale's own.
  static func color(_ value: Float, of scale: [Color]) -> Color {
    let place = min(max(value, 0), 1) * Float(scale.count - 1)
    let index = min(Int(place), scale.count - 2)
    return scale[index] + (scale[index + 1] - scale[index]) * (place - Float(index))
  }
}
