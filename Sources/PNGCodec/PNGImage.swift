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
    try self.init(begun: &image, status: status, name: path, channels: channels)
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
        try PNGImage(begun: &image, status: status, name: name, channels: channels)
      }
    }
    self = try result.get()
  }

  /// Width and height of a file's content, from what stands before the pixels.
  ///
  /// - Throws: `PNGError` for a damaged header or a picture that is too large.
  public static func size(
    of bytes: UnsafeRawBufferPointer, name: String
  ) throws(PNGError) -> (width: Int, height: Int) {
    var image = emptyImage()
    let status = png_image_begin_read_from_memory(&image, bytes.baseAddress, bytes.count)
    try checkHeader(&image, status: status, name: name)
    png_image_free(&image)
    return (Int(image.width), Int(image.height))
  }

  /// Decodes a file's content into somebody's memory.
  ///
  /// - Parameter output: Room for `[height, width, channels]`, of the sizes that `size` gives;
  ///   what it holds after an error is undefined.
  public static func decode(
    _ bytes: UnsafeRawBufferPointer, name: String, channels: PNGChannels,
    to output: UnsafeMutableBufferPointer<UInt8>
  ) throws(PNGError) {
    var image = emptyImage()
    let status = png_image_begin_read_from_memory(&image, bytes.baseAddress, bytes.count)
    try checkHeader(&image, status: status, name: name)
    let count = Int(image.width) * Int(image.height) * channels.rawValue
    precondition(output.count == count, "room for \(output.count) of \(count) bytes")
    try finish(&image, name: name, channels: channels.rawValue, output: output.baseAddress)
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

  private init(
    begun image: inout png_image, status: Int32, name: String, channels: PNGChannels?
  ) throws(PNGError) {
    try PNGImage.checkHeader(&image, status: status, name: name)
    let isColour = image.format & UInt32(PNG_FORMAT_FLAG_COLOR) != 0
    let channels = channels ?? (isColour ? .rgb : .gray)
    let (width, height) = (Int(image.width), Int(image.height))
    let count = width * height * channels.rawValue
    var result = Result<Void, PNGError>.success(())
    // Not zeros: a small damaged file would have much memory touched before it is found out.
    let pixels = [UInt8](unsafeUninitializedCapacity: count) { buffer, initializedCount in
      result = Result { () throws(PNGError) in
        try PNGImage.finish(
          &image, name: name, channels: channels.rawValue, output: buffer.baseAddress)
        initializedCount = count
      }
    }
    try result.get()
    self.init(width: width, height: height, channels: channels, pixels: pixels)
  }

  private static func checkHeader(
    _ image: inout png_image, status: Int32, name: String
  ) throws(PNGError) {
    try check(image, status: status, name: name)
    let (width, height) = (Int(image.width), Int(image.height))
    guard width * height <= maximumPixels else {
      png_image_free(&image)
      throw PNGError(
        operation: .read, path: name,
        reason: "\(width) x \(height) pixels are more than the \(maximumPixels) allowed")
    }
  }

  private static func finish(
    _ image: inout png_image, name: String, channels: Int, output: UnsafeMutablePointer<UInt8>?
  ) throws(PNGError) {
    image.format = format(channels: channels)
    // Otherwise samples of 16 bits without a gamma are taken for linear light.
    image.flags |= UInt32(PNG_IMAGE_FLAG_16BIT_sRGB)
    var white = png_color(red: 255, green: 255, blue: 255)
    let rowBytes = Int32(image.width) * Int32(channels)
    let finished = png_image_finish_read(&image, &white, output, rowBytes, nil)
    try check(image, status: finished, name: name)
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
