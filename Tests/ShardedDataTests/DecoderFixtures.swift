import HDF5
import JPEGCodec
import TensorCore
import TestSupport

@testable import ShardedData

/// Golden file made by Scripts/reference/make-decoder-golden.py.
enum DecoderFixtures {
  struct Pixels: Equatable {
    let width: Int
    let height: Int
    let channels: Int
    let values: [UInt8]
  }

  static func file(_ name: String) throws -> [UInt8] {
    try root().dataset("\(name)-file").read()
  }

  static func pixels(_ name: String) throws -> Pixels {
    let dataset = try root().dataset(name)
    return Pixels(
      width: dataset.shape[1], height: dataset.shape[0], channels: dataset.shape[2],
      values: try dataset.read())
  }

  /// Names of all picture files.
  static func names() throws -> [String] {
    try root().memberNames().filter { $0.hasSuffix("-file") }.map { String($0.dropLast(5)) }
  }

  /// Whether Pillow's pixels of a picture file are there.
  static func hasPixels(_ name: String) throws -> Bool {
    try root().exists("\(name)-expected")
  }

  private static func root() throws -> HDF5Group {
    try HDF5File(path: GoldenFile.path("decoder.h5"), .readOnly).root
  }
}

extension DecoderFixtures.Pixels {
  /// A copy without the padding of pixels.
  init(_ view: PixelView) {
    width = view.width
    height = view.height
    channels = view.channels
    values = (0..<view.width * view.height).flatMap { pixel in
      (0..<view.channels).map { view.pointer[pixel * view.pixelStride + $0] }
    }
  }

  init(_ pixels: JPEGPixels) {
    let count = pixels.pixelStride == 1 ? 1 : 3
    self.init(
      PixelView(
        pointer: pixels.pointer, width: pixels.region.width, height: pixels.region.height,
        channels: count, pixelStride: pixels.pixelStride))
  }

  func part(left: Int, top: Int, width: Int, height: Int) -> Self {
    let rows = (top..<top + height).flatMap { row in
      let first = (row * self.width + left) * channels
      return values[first..<first + width * channels]
    }
    return Self(width: width, height: height, channels: channels, values: rows)
  }

  /// The largest difference of two samples; nil if the sizes differ.
  func difference(from other: Self) -> Int? {
    guard width == other.width, height == other.height, channels == other.channels else {
      return nil
    }
    return zip(values, other.values).map { abs(Int($0) - Int($1)) }.max()
  }
}

extension CounterRandom {
  /// A box within an image.
  mutating func box(width: Int, height: Int) -> CropBox {
    let (w, h) = (integer(below: width) + 1, integer(below: height) + 1)
    return CropBox(
      left: integer(below: width - w + 1), top: integer(below: height - h + 1), width: w,
      height: h)
  }
}
