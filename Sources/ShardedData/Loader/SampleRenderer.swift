import Files
import Interfaces
import TensorCore

/// Makes the normalized views of samples. Not for use from two threads at once.
final class SampleRenderer {
  private let transform: LoaderTransform
  private let seed: UInt64
  private let decoder: SampleDecoder
  private let resampler = Resampler()
  private let colorJitter = ColorJitter()
  private let randAugment = RandAugment()

  init(transform: LoaderTransform, channels: Int, seed: UInt64) {
    self.transform = transform
    self.seed = seed
    decoder = SampleDecoder(channels: channels)
  }

  /// - Parameter outputs: One a view, each `[channels, size, size]`.
  func render(
    _ sample: StoredSample, key: SampleKey, outputs: [UnsafeMutablePointer<Float>],
    laps: inout LoaderLaps
  ) throws(ShardError) {
    try sample.verify()
    laps.lap(.verify)
    let size = try decoder.size(of: sample)
    switch transform {
    case .training(let plan):
      let draw = Augmentation.draw(
        plan: plan, width: size.width, height: size.height, seed: seed, key: key,
        name: sample.key)
      try renderCrop(sample, size, plan, draw, key, outputs, &laps)
    case .evaluation(let views, let cropShare):
      let fits = views.map {
        Fit(width: size.width, height: size.height, size: $0.size, cropShare: cropShare)
      }
      let needed = (fits.map(\.width).max() ?? 0, fits.map(\.height).max() ?? 0)
      let region = try decoder.region(of: sample, box: nil, needed: needed)
      laps.lap(.decode)
      for (number, fit) in fits.enumerated() {
        render(region, isFlipped: false, fit: fit, view: number, output: outputs[number], &laps)
      }
    }
  }

  private func renderCrop(
    _ sample: StoredSample, _ size: (width: Int, height: Int), _ plan: ViewPlan,
    _ draw: AugmentationDraw, _ key: SampleKey, _ outputs: [UnsafeMutablePointer<Float>],
    _ laps: inout LoaderLaps
  ) throws(ShardError) {
    let box = draw.isFlipped ? draw.box.mirrored(inWidth: size.width) : draw.box
    let largest = plan.views.map(\.size).reduce(plan.pictureSize, max)
    var region: DecodedRegion
    if let jitter = draw.jitter {
      // Colours are changed before the crop, and contrast by the mean of the whole image.
      region = try decoder.region(of: sample, box: nil, needed: nil)
      region = DecodedRegion(
        pixels: colorJitter.apply(jitter, to: region.pixels), box: SourceBox(box))
    } else {
      region = try decoder.region(of: sample, box: box, needed: (largest, largest))
    }
    laps.lap(.decode)
    func random(_ stream: RandomStream) -> CounterRandom {
      Augmentation.random(stream, plan: plan, seed: seed, key: key, name: sample.key)
    }
    let operations = plan.randAugment.map { settings in
      var random = random(.randAugment)
      return RandAugment.Draws(settings, random: &random)
    }
    for (number, view) in plan.views.enumerated() {
      let whole = CropBox(left: 0, top: 0, width: view.size, height: view.size)
      render(
        region, isFlipped: draw.isFlipped,
        fit: Fit(width: view.size, height: view.size, window: whole), view: number,
        operations: operations, output: outputs[number], &laps)
      guard plan.randomErasing > 0 else { continue }
      var random = random(.randomErasing)
      RandomErasing.apply(
        to: outputs[number], channels: region.pixels.channels, size: view.size,
        probability: plan.randomErasing, random: &random)
      laps.lap(.normalize)
    }
  }

  private func render(
    _ region: DecodedRegion, isFlipped: Bool, fit: Fit, view number: Int,
    operations: RandAugment.Draws? = nil, output: UnsafeMutablePointer<Float>,
    _ laps: inout LoaderLaps
  ) {
    let view = transform.views[number]
    for first in stride(from: 0, to: region.pixels.channels, by: PixelView.groupSize) {
      var resized = resampler.resize(
        region.pixels.channelGroup(from: first), box: region.box, isFlipped: isFlipped,
        toWidth: fit.width, toHeight: fit.height, window: fit.window, filter: view.filter)
      if let operations { resized = randAugment.apply(operations, to: resized) }
      laps.lap(.resample)
      normalize(
        resized, view: view, first: first, output: output + first * view.size * view.size)
      laps.lap(.normalize)
    }
  }

  /// `(value / 255 - mean) / standardDeviation`, eight pixels at a time.
  ///
  /// - Parameters:
  ///   - pixels: Of 4 bytes each.
  ///   - first: The view's channel that the first byte belongs to.
  ///   - output: `[channels, height, width]`.
  private func normalize(
    _ pixels: PixelView, view: ViewSpecification, first: Int, output: UnsafeMutablePointer<Float>
  ) {
    precondition(pixels.pixelStride == 4, "pixels of \(pixels.pixelStride) bytes")
    let count = pixels.width * pixels.height
    let source = UnsafeRawPointer(pixels.pointer)
    for channel in 0..<pixels.channels {
      let (mean, deviation) = (view.mean[first + channel], view.standardDeviation[first + channel])
      let shift = SIMD8<UInt32>(repeating: UInt32(8 * channel))
      let target = output + channel * count
      var pixel = 0
      while pixel + 8 <= count {
        let words = source.loadUnaligned(fromByteOffset: 4 * pixel, as: SIMD8<UInt32>.self)
        let bytes = SIMD8<Int32>(truncatingIfNeeded: words &>> shift & 0xFF)
        let values = (SIMD8<Float>(bytes) / 255 - mean) / deviation
        UnsafeMutableRawPointer(target + pixel).storeBytes(of: values, as: SIMD8<Float>.self)
        pixel += 8
      }
      while pixel < count {
        target[pixel] = (Float(pixels.pointer[4 * pixel + channel]) / 255 - mean) / deviation
        pixel += 1
      }
    }
  }
}
