internal import CJPEG

/// Decodes JPEG files: sequential and progressive, gray, colour and CMYK.
///
/// Pixels are those of libjpeg-turbo with its accurate integer transform and smooth ("fancy")
/// upsampling, as Pillow gives them, whatever part of a picture is asked for. Only the smoothing of
/// blocks of unfinished progressive files is off: it would depend on the part.
///
/// Damaged and hostile files are errors. Of a sequential file only what lies before the end of the
/// asked part is read, and so found to be damaged.
///
/// Keeps its memory from one picture to the next. Not for use from two threads at once.
public final class JPEGDecoder {
  /// Larger pictures are refused: a small damaged file could ask for any amount of memory.
  public static let maximumPixels = 100_000_000
  /// Scans of a progressive file, of which common ones have about ten. A few bytes make one, and
  /// each costs a pass over the picture.
  static let maximumScans = 500
  /// Bounds the scans of large pictures further: 20 at `maximumPixels`.
  static let maximumPixelsOfAllScans = 2_000_000_000

  private let state: UnsafeMutablePointer<cjpeg_decoder>
  private let pixels = GrowingMemory()
  private let row = GrowingMemory()

  public init() {
    state = .allocate(capacity: 1)
    state.initialize(to: cjpeg_decoder())
  }

  deinit { state.deallocate() }

  /// Reads a file's header alone.
  public func header(of bytes: UnsafeRawBufferPointer) throws(JPEGError) -> JPEGHeader {
    defer { cjpeg_end(state) }
    try begin(bytes, keepsExif: true)
    let info = state.pointee.info
    return JPEGHeader(
      width: Int(info.image_width), height: Int(info.image_height),
      components: Int(info.num_components), isProgressive: info.progressive_mode != 0,
      orientation: orientation)
  }

  /// Decodes a picture or a part of it, at full or at reduced size.
  ///
  /// A pixel of the picture reduced by `d` covers `d x d` of its pixels; those at the right and
  /// lower edge may reach over it.
  ///
  /// - Parameters:
  ///   - region: In pixels of the full picture; the result has all pixels of the reduced one that
  ///     touch it. Nil: everything.
  ///   - denominator: 1, 2, 4 or 8.
  ///   - isGray: Brightness of 1 byte a pixel, otherwise colour of 4 bytes.
  /// - Precondition: The region is not empty and lies within the picture.
  public func decode(
    _ bytes: UnsafeRawBufferPointer, region: JPEGRegion? = nil, denominator: Int = 1, isGray: Bool
  ) throws(JPEGError) -> JPEGPixels {
    precondition([1, 2, 4, 8].contains(denominator), "a JPEG at 1/\(denominator) of its size")
    defer { cjpeg_end(state) }
    try begin(bytes, keepsExif: false)
    let (width, height) = (
      Int(state.pointee.info.image_width), Int(state.pointee.info.image_height)
    )
    let region = region ?? JPEGRegion(left: 0, top: 0, width: width, height: height)
    precondition(
      region.left >= 0 && region.top >= 0 && region.width > 0 && region.height > 0
        && region.left + region.width <= width && region.top + region.height <= height,
      "\(region) does not lie in \(width) x \(height) pixels")
    try start(denominator: denominator, isGray: isGray)
    return try read(region.reduced(by: denominator), isGray: isGray)
  }

  // MARK: Steps

  private func begin(
    _ bytes: UnsafeRawBufferPointer, keepsExif: Bool
  ) throws(JPEGError) {
    let start = bytes.bindMemory(to: UInt8.self).baseAddress
    try check(cjpeg_begin(state, start, UInt(bytes.count), keepsExif ? 1 : 0))
    let info = state.pointee.info
    let (width, height) = (Int(info.image_width), Int(info.image_height))
    guard width * height <= JPEGDecoder.maximumPixels else {
      throw JPEGError(
        reason: "\(width) x \(height) pixels are more than the \(JPEGDecoder.maximumPixels) allowed"
      )
    }
    guard [1, 3, 4].contains(info.num_components) else {
      throw JPEGError(reason: "it has \(info.num_components) colour components, not 1, 3 or 4")
    }
  }

  private func start(denominator: Int, isGray: Bool) throws(JPEGError) {
    let pixels = Int(state.pointee.info.image_width) * Int(state.pointee.info.image_height)
    state.pointee.maximum_scans = Int32(
      min(JPEGDecoder.maximumScans, JPEGDecoder.maximumPixelsOfAllScans / pixels))
    state.pointee.info.scale_num = 1
    state.pointee.info.scale_denom = UInt32(denominator)
    state.pointee.info.do_block_smoothing = 0
    state.pointee.info.out_color_space =
      isCMYK ? JCS_CMYK : isGray ? JCS_GRAYSCALE : JCS_EXT_RGBX
    try check(cjpeg_start(state))
  }

  private func read(_ region: JPEGRegion, isGray: Bool) throws(JPEGError) -> JPEGPixels {
    let columns = try crop(to: region.left..<region.left + region.width)
    if region.top > 0 { try check(cjpeg_skip_rows(state, UInt32(region.top))) }
    let stride = isGray ? 1 : 4
    let rowBytes = region.width * stride
    let output = try pixels.reserve(rowBytes * region.height)
    let isDirect = columns.count == region.width && !isCMYK
    let line = try row.reserve(columns.count * 4)
    for index in 0..<region.height {
      let target = output + index * rowBytes
      try check(cjpeg_read_row(state, isDirect ? target : line))
      let first = region.left - columns.lowerBound
      if isCMYK {
        CMYK.convert(line + first * 4, count: region.width, isGray: isGray, to: target)
      } else if !isDirect {
        target.update(from: line + first * stride, count: rowBytes)
      }
    }
    return JPEGPixels(pointer: output, region: region, pixelStride: stride)
  }

  /// Has the given columns decoded, and a unit more on each side: upsampling looks at neighbours.
  /// (Of rows, the library itself decodes as many more as it needs.)
  private func crop(to columns: Range<Int>) throws(JPEGError) -> Range<Int> {
    let width = Int(state.pointee.info.output_width)
    let unit = Int(state.pointee.info.max_h_samp_factor * cjpeg_block_size(state))
    let first = max(columns.lowerBound - columns.lowerBound % unit - unit, 0)
    let last = min((columns.upperBound + unit - 1) / unit * unit + unit, width)
    if first == 0, last == width { return 0..<width }
    var left = UInt32(first)
    var count = UInt32(last - first)
    try check(cjpeg_crop(state, &left, &count))
    return Int(left)..<Int(left + count)
  }

  private var isCMYK: Bool { state.pointee.info.num_components == 4 }

  /// That of the first segment with EXIF data.
  private var orientation: Int {
    var marker = state.pointee.info.marker_list
    while let segment = marker?.pointee {
      let content = UnsafeRawBufferPointer(start: segment.data, count: Int(segment.data_length))
      if let orientation = ExifOrientation.read(content) { return orientation }
      marker = segment.next
    }
    return 1
  }

  private func check(_ success: Int32) throws(JPEGError) {
    if success != 0 { return }
    throw JPEGError(failures: state.pointee.failures, maximumScans: state.pointee.maximum_scans)
  }
}

extension JPEGRegion {
  fileprivate func reduced(by denominator: Int) -> JPEGRegion {
    let right = (left + width + denominator - 1) / denominator
    let bottom = (top + height + denominator - 1) / denominator
    return JPEGRegion(
      left: left / denominator, top: top / denominator, width: right - left / denominator,
      height: bottom - top / denominator)
  }
}

extension JPEGError {
  init(failures: cjpeg_failures, maximumScans: Int32 = 0) {
    let text = withUnsafeBytes(of: failures.text) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
    switch Int(failures.failure) {
    case Int(CJPEG_DAMAGED):
      self.init(reason: "the JPEG data is damaged or cut off: \(text)")
    case Int(CJPEG_TOO_MANY_SCANS):
      self.init(reason: "it has more than the \(maximumScans) scans allowed for its size")
    default:
      self.init(reason: "the JPEG data cannot be read: \(text)")
    }
  }
}
