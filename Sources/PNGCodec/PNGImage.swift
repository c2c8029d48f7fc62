internal import CPNG

/// Number of channels of a decoded picture.
public enum PNGChannels: Int, Sendable {
  case gray = 1
  case rgb = 3
}

/// A picture of 8-bit samples, `[height, width, channels]` row-major.
public struct PNGImage: Equatable, Sendable {
  /// Larger pictures are refused: a small damaged file could ask for any amount of memory.
  public static let maximumPixels = 100_000_000

  public let width: Int
  public let height: Int
  /// 1 (gray) or 3 (red, green, blue).
  public let channels: Int
  public let pixels: [UInt8]

  /// - Precondition: `pixels` holds `height x width x channels` bytes.
  public init(width: Int, height: Int, channels: PNGChannels, pixels: [UInt8]) {
    precondition(
      pixels.count == width * height * channels.rawValue,
      "\(pixels.count) bytes for \(height) x \(width) x \(channels.rawValue)")
    self.width = width
    self.height = height
    self.channels = channels.rawValue
    self.pixels = pixels
  }

  /// Decodes a file.
  ///
  /// Palettes are expanded, samples of 16 bits reduced to 8, transparent pixels laid on white.
  ///
  /// - Parameter channels: Converts to gray or colour; nil keeps what the file has.
  /// - Throws: `PNGError` for a file that is missing, damaged, cut off or too large.
  public init(path: String, channels: PNGChannels? = nil) throws(PNGError) {
    var image = PNGImage.emptyImage()
    let status = png_image_begin_read_from_file(&image, path)
    self = try PNGImage.decode(&image, status: status, name: path, channels: channels)
  }

  /// Decodes a file's content; `name` stands for its path in errors.
  public init(
    bytes: [UInt8], name: String, channels: PNGChannels? = nil
  ) throws(PNGError) {
    // The library keeps the pointer until the picture is read, hence the closure around both.
    let result = bytes.withUnsafeBytes { source -> Result<PNGImage, PNGError> in
      var image = PNGImage.emptyImage()
      let status = png_image_begin_read_from_memory(&image, source.baseAddress, source.count)
      return Result { () throws(PNGError) in
        try PNGImage.decode(&image, status: status, name: name, channels: channels)
      }
    }
    self = try result.get()
  }

  /// Writes the picture, replacing a file of that name.
  public func write(path: String) throws(PNGError) {
    var image = PNGImage.emptyImage()
    image.width = UInt32(width)
    image.height = UInt32(height)
    image.format = PNGImage.format(channels: channels)
    let status = pixels.withUnsafeBytes {
      png_image_write_to_file(&image, path, 0, $0.baseAddress, Int32(width * channels), nil)
    }
    guard status != 0 else {
      throw PNGError(operation: .write, path: path, reason: PNGImage.message(of: image))
    }
  }

  private static func decode(
    _ image: inout png_image, status: Int32, name: String, channels: PNGChannels?
  ) throws(PNGError) -> PNGImage {
    try check(image, status: status, name: name)
    let (width, height) = (Int(image.width), Int(image.height))
    guard width * height <= maximumPixels else {
      png_image_free(&image)
      throw PNGError(
        operation: .read, path: name,
        reason: "\(width) x \(height) pixels are more than the \(maximumPixels) allowed")
    }
    let isColour = image.format & UInt32(PNG_FORMAT_FLAG_COLOR) != 0
    let count = channels?.rawValue ?? (isColour ? 3 : 1)
    image.format = format(channels: count)
    // Otherwise samples of 16 bits without a gamma are taken for linear light.
    image.flags |= UInt32(PNG_IMAGE_FLAG_16BIT_sRGB)
    var white = png_color(red: 255, green: 255, blue: 255)
    var pixels = [UInt8](repeating: 0, count: width * height * count)
    let finished = pixels.withUnsafeMutableBytes {
      png_image_finish_read(&image, &white, $0.baseAddress, Int32(width * count), nil)
    }
    try check(image, status: finished, name: name)
    return PNGImage(
      width: width, height: height, channels: count == 3 ? .rgb : .gray, pixels: pixels)
  }

  /// Errors, and warnings too: a warning means that pixels may be wrong. Only a colour profile
  /// that the library dislikes is passed over, since many good files carry one.
  private static func check(_ image: png_image, status: Int32, name: String) throws(PNGError) {
    let text = message(of: image)
    if status != 0, image.warning_or_error == 0 || text.hasPrefix("iCCP") { return }
    var failed = image
    png_image_free(&failed)
    throw PNGError(operation: .read, path: name, reason: text)
  }

  private static func emptyImage() -> png_image {
    var image = png_image()
    image.version = UInt32(PNG_IMAGE_VERSION)
    return image
  }

  private static func format(channels: Int) -> UInt32 {
    channels == 3 ? UInt32(PNG_FORMAT_FLAG_COLOR) : 0
  }

  private static func message(of image: png_image) -> String {
    withUnsafeBytes(of: image.message) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}
