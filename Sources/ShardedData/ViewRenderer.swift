public import Interfaces

/// What the loader does to each image.
public enum LoaderTransform: Equatable, Sendable {
  /// Random flip and crop, then every view of the crop.
  case training(ViewPlan)
  /// No randomness: the shorter side is resized to the view's size, then the middle is cut out.
  case evaluation([ViewSpecification])

  public var views: [ViewSpecification] {
    switch self {
    case .training(let plan): return plan.views
    case .evaluation(let views): return views
    }
  }
}

/// Makes the normalized views of images of one shape.
///
/// Not for use from two threads at once.
final class ViewRenderer {
  private let transform: LoaderTransform
  private let shape: ImageShape
  private let seed: UInt64
  private let resampler = Resampler()
  /// One a view: `(value / 255 - mean) / standardDeviation` for each channel and byte, `[C, 256]`.
  private let tables: [[Float]]

  init(transform: LoaderTransform, shape: ImageShape, seed: UInt64) {
    self.transform = transform
    self.shape = shape
    self.seed = seed
    tables = transform.views.map { view in
      zip(view.mean, view.standardDeviation).flatMap { mean, deviation in
        (0..<256).map { (Float($0) / 255 - mean) / deviation }
      }
    }
  }

  /// - Parameters:
  ///   - image: `[height, width, channels]`.
  ///   - outputs: One a view, each `[channels, size, size]`.
  func render(
    _ image: UnsafePointer<UInt8>, key: SampleKey, outputs: [UnsafeMutablePointer<Float>]
  ) {
    switch transform {
    case .training(let plan):
      let draw = Augmentation.draw(
        plan: plan, width: shape.width, height: shape.height, seed: seed, key: key)
      resampler.crop(image, shape: shape, draw: draw)
      for (index, view) in plan.views.enumerated() {
        let planes = resampler.resize(
          toWidth: view.size, toHeight: view.size, filter: view.filter)
        let whole = CropBox(left: 0, top: 0, width: view.size, height: view.size)
        normalize(
          planes, width: view.size, height: view.size, box: whole, table: tables[index],
          output: outputs[index])
      }
    case .evaluation(let views):
      let box = CropBox(left: 0, top: 0, width: shape.width, height: shape.height)
      resampler.crop(image, shape: shape, draw: AugmentationDraw(isFlipped: false, box: box))
      for (index, view) in views.enumerated() {
        let fit = ShorterSideFit(shape: shape, size: view.size)
        let planes = resampler.resize(
          toWidth: fit.width, toHeight: fit.height, filter: view.filter)
        normalize(
          planes, width: fit.width, height: fit.height, box: fit.box, table: tables[index],
          output: outputs[index])
      }
    }
  }

  private func normalize(
    _ planes: UnsafePointer<UInt8>, width: Int, height: Int, box: CropBox, table: [Float],
    output: UnsafeMutablePointer<Float>
  ) {
    table.withUnsafeBufferPointer { table in
      for channel in 0..<shape.channels {
        for row in 0..<box.height {
          let source = planes + (channel * height + box.top + row) * width + box.left
          let target = output + (channel * box.height + row) * box.width
          for column in 0..<box.width {
            target[column] = table[channel * 256 + Int(source[column])]
          }
        }
      }
    }
  }
}

/// The size an image gets when its shorter side becomes `size`, and the square in its middle.
struct ShorterSideFit: Equatable {
  let width: Int
  let height: Int
  let box: CropBox

  init(shape: ImageShape, size: Int) {
    let shorter = min(shape.width, shape.height)
    width = shape.width == shorter ? size : size * shape.width / shorter
    height = shape.height == shorter ? size : size * shape.height / shorter
    box = CropBox(centredIn: width, height, width: size, height: size)
  }
}
