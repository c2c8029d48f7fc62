import HDF5
import Interfaces
import TestSupport

@testable import ShardedData

/// A case of a file made by Scripts/reference/make-resample-golden.py.
struct GoldenImage {
  let name: String
  let image: TestImage
  let parameters: [Double]
  let expected: TestImage

  static let file = GoldenFile.path("resample.h5")

  /// Calls `body` with every case of a kind.
  ///
  /// - Returns: How many there are.
  static func each(
    _ kind: String, in path: String = file, _ body: (GoldenImage) throws -> Void
  ) throws -> Int {
    let root = try HDF5File(path: path, .readOnly).root
    var count = 0
    while true {
      let digits = String(count)
      let name = kind + String(repeating: "0", count: 3 - digits.count) + digits
      guard try root.exists(name + "-image") else { return count }
      try body(
        GoldenImage(
          name: name, image: read(root.dataset(name + "-image")),
          parameters: root.dataset(name + "-parameters").read(),
          expected: read(root.dataset(name + "-expected"))))
      count += 1
    }
  }

  private static func read(_ dataset: HDF5Dataset) throws -> TestImage {
    let shape = ImageShape(
      height: dataset.shape[0], width: dataset.shape[1], channels: dataset.shape[2])
    return TestImage(try dataset.read(), shape: shape)
  }

  private static let filters: [ResampleFilter] = [.bicubic, .lanczos]

  // MARK: What the project makes of a case

  /// Of a `resize` case.
  var filter: ResampleFilter { GoldenImage.filters[Int(parameters[7])] }

  /// Of a `resize` case.
  func resized(by resampler: Resampler) -> TestImage {
    let box = SourceBox(
      left: parameters[0], top: parameters[1], width: parameters[2], height: parameters[3])
    return resampler.resized(
      image, flippedBox: box, isFlipped: parameters[4] == 1, toWidth: Int(parameters[5]),
      toHeight: Int(parameters[6]), filter: filter)
  }

  /// Of a `middle` case.
  func middle(by resampler: Resampler) -> TestImage {
    let fit = Fit(
      width: image.shape.width, height: image.shape.height, size: Int(parameters[0]),
      cropShare: parameters[1])
    let box = CropBox(left: 0, top: 0, width: image.shape.width, height: image.shape.height)
    return resampler.resized(
      image, flippedBox: SourceBox(box), isFlipped: false, toWidth: fit.width,
      toHeight: fit.height, window: fit.window, filter: GoldenImage.filters[Int(parameters[2])])
  }

  /// Of a `jitter` case.
  func jittered(by jitter: ColorJitter) -> TestImage {
    let factors = parameters[0..<3].map { Float($0) }
    let draw = ColorJitterDraw(
      brightness: factors[0], contrast: factors[1], saturation: factors[2],
      order: parameters[3...].map { ColorOperation.allCases[Int($0)] })
    return image.pixels.withUnsafeBufferPointer { pixels in
      TestImage(jitter.apply(draw, to: PixelView(pixels.baseAddress!, shape: image.shape)))
    }
  }
}

extension Resampler {
  /// A resize of up to four channels.
  ///
  /// - Parameter flippedBox: In pixels of the image after the flip.
  func resized(
    _ image: TestImage, flippedBox: SourceBox, isFlipped: Bool, toWidth: Int, toHeight: Int,
    window: CropBox? = nil, filter: ResampleFilter
  ) -> TestImage {
    var box = flippedBox
    if isFlipped { box.left = Double(image.shape.width) - box.left - box.width }
    return image.pixels.withUnsafeBufferPointer { pixels in
      TestImage(
        resize(
          PixelView(pixels.baseAddress!, shape: image.shape), box: box, isFlipped: isFlipped,
          toWidth: toWidth, toHeight: toHeight, window: window, filter: filter))
    }
  }
}
