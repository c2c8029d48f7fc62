import Glibc
import Interfaces

@testable import ShardedData

/// An image of its own memory, `[height, width, channels]`.
struct TestImage: Equatable {
  var pixels: [UInt8]
  var shape: ImageShape

  subscript(row: Int, column: Int, channel: Int) -> UInt8 {
    get { pixels[(row * shape.width + column) * shape.channels + channel] }
    set { pixels[(row * shape.width + column) * shape.channels + channel] = newValue }
  }

  init(_ pixels: [UInt8], shape: ImageShape) {
    self.pixels = pixels
    self.shape = shape
  }

  init(height: Int, width: Int, channels: Int) {
    shape = ImageShape(height: height, width: width, channels: channels)
    pixels = [UInt8](repeating: 0, count: shape.byteCount)
  }

  /// The channels that a view has, without what pads its pixels.
  init(_ view: PixelView) {
    self.init(height: view.height, width: view.width, channels: view.channels)
    for pixel in 0..<view.height * view.width {
      for channel in 0..<view.channels {
        pixels[pixel * view.channels + channel] = view.pointer[pixel * view.pixelStride + channel]
      }
    }
  }

  func cropped(_ box: CropBox) -> TestImage {
    var result = TestImage(height: box.height, width: box.width, channels: shape.channels)
    for row in 0..<box.height {
      for column in 0..<box.width {
        for channel in 0..<shape.channels {
          result[row, column, channel] = self[box.top + row, box.left + column, channel]
        }
      }
    }
    return result
  }

  var mirrored: TestImage {
    var result = self
    for row in 0..<shape.height {
      for column in 0..<shape.width {
        for channel in 0..<shape.channels {
          result[row, column, channel] = self[row, shape.width - 1 - column, channel]
        }
      }
    }
    return result
  }

  var transposed: TestImage {
    var result = TestImage(height: shape.width, width: shape.height, channels: shape.channels)
    for row in 0..<shape.height {
      for column in 0..<shape.width {
        for channel in 0..<shape.channels {
          result[column, row, channel] = self[row, column, channel]
        }
      }
    }
    return result
  }

  func difference(_ other: TestImage) -> Int {
    guard shape == other.shape else { return .max }
    return zip(pixels, other.pixels).map { abs(Int($0) - Int($1)) }.max() ?? 0
  }
}

/// Pillow's resize as its source has it: weights of 22 fraction bits, integer sums.
enum ReferenceResampler {
  static let fractionBits = 22

  /// - Parameter box: In pixels of the image after the flip.
  static func resize(
    _ image: TestImage, box: SourceBox, isFlipped: Bool, toWidth: Int, toHeight: Int,
    filter: ResampleFilter
  ) -> TestImage {
    let source = isFlipped ? image.mirrored : image
    let (left, top) = (Int(box.left.rounded(.down)), Int(box.top.rounded(.down)))
    let right = Int((box.left + box.width).rounded(.up))
    let bottom = Int((box.top + box.height).rounded(.up))
    let crop = source.cropped(
      CropBox(left: left, top: top, width: right - left, height: bottom - top))
    let wide = horizontal(
      crop, start: box.left - Double(left), length: box.width, size: toWidth, filter: filter)
    return horizontal(
      wide.transposed, start: box.top - Double(top), length: box.height, size: toHeight,
      filter: filter
    ).transposed
  }

  private static func horizontal(
    _ image: TestImage, start: Double, length: Double, size: Int, filter: ResampleFilter
  ) -> TestImage {
    var result = TestImage(
      height: image.shape.height, width: size, channels: image.shape.channels)
    for column in 0..<size {
      let (first, weights) = taps(
        column, inputSize: image.shape.width, start: start, length: length, size: size,
        filter: filter)
      for row in 0..<image.shape.height {
        for channel in 0..<image.shape.channels {
          var sum = 1 << (fractionBits - 1)
          for (tap, weight) in weights.enumerated() {
            sum += Int(image[row, first + tap, channel]) * weight
          }
          result[row, column, channel] = UInt8(min(max(sum >> fractionBits, 0), 255))
        }
      }
    }
    return result
  }

  static func taps(
    _ output: Int, inputSize: Int, start: Double, length: Double, size: Int,
    filter: ResampleFilter
  ) -> (first: Int, weights: [Int]) {
    let scale = length / Double(size)
    let stretch = max(scale, 1)
    let support = (filter == .bicubic ? 2 : 3) * stretch
    let centre = start + (Double(output) + 0.5) * scale
    let first = max(Int(centre - support + 0.5), 0)
    let end = min(Int(centre + support + 0.5), inputSize)
    let values = (first..<end).map {
      weight(filter, at: (Double($0) - centre + 0.5) / stretch)
    }
    let sum = values.reduce(0, +)
    return (
      first,
      values.map { Int(($0 / sum * Double(1 << fractionBits)).rounded(.toNearestOrAwayFromZero)) }
    )
  }

  static func weight(_ filter: ResampleFilter, at position: Double) -> Double {
    let x = abs(position)
    switch filter {
    case .bicubic:
      let a = -0.5
      if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    case .lanczos:
      return x < 3 ? sinc(x) * sinc(x / 3) : 0
    }
  }

  private static func sinc(_ x: Double) -> Double {
    x == 0 ? 1 : sin(x * .pi) / (x * .pi)
  }
}
