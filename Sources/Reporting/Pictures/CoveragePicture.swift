import Interfaces
import Models
import ShardedData
import TensorCore
public import Training

/// How evenly masks and crops cover an image: the mean of many draws, and some masks.
///
/// Block masks cover the grid nearly evenly; random crops, which must lie in the image, leave out its
/// border. Each of the two maps is drawn relative to its own largest value.
public enum CoveragePicture {
  static let caption =
    "How often each patch is masked, how often it lies in the training crop (white: never, darkest: "
    + "most often), and six masks"

  static let draws = 10_000
  private static let (columns, samples) = (4, 6)
  /// Pixels of a map, about.
  private static let side = 160

  /// - Returns: The picture, and its figures as lines.
  /// - Throws: `ConfigurationError` for a method without masks.
  public static func draw(
    _ configuration: ResolvedConfiguration
  ) throws -> (picture: RasterPicture, lines: [String]) {
    let training = configuration.training
    let grid = training.model.grid
    let masks = try MaskDraw(configuration)
    let coverages = [
      coverage(of: masks, draws: draws),
      coverage(of: training.viewPlan([]), grid: grid, draws: draws),
    ]
    let factor = max(1, side / grid)
    var picture = Picture(
      cells: 2 + samples, columns: columns, side: factor * grid, gap: 6, isGray: false)
    for (cell, coverage) in coverages.enumerated() {
      let largest = coverage.max() ?? 1
      picture.draw(cell: cell) { x, y, channel in
        let value = Float(coverage[y / factor * grid + x / factor] / largest)
        return Picture.byte(ColorScale.color(value, of: ColorScale.blues)[channel])
      }
    }
    for sample in 0..<samples {
      let mask = masks.mask(sample: sample)
      picture.draw(cell: 2 + sample) { x, y, _ in
        // Lines between patches.
        let isLine = factor > 4 && (x % factor == 0 || y % factor == 0)
        return isLine ? 160 : mask[y / factor * grid + x / factor] ? 60 : 225
      }
    }
    let lines = zip(["masked", "in the crop"], coverages).map { name, coverage in
      "\(name): \(text(coverage.min() ?? 0)) to \(text(coverage.max() ?? 0)) of "
        + "\(draws) draws, over the patches"
    }
    return (RasterPicture(picture: picture, caption: caption), lines)
  }

  private static func text(_ share: Double) -> String {
    "\((share * 1000).rounded() / 10) %"
  }

  /// For each patch the share of draws that mask it.
  static func coverage(of masks: MaskDraw, draws: Int) -> [Double] {
    var sums = [Int](repeating: 0, count: masks.grid * masks.grid)
    for draw in 0..<draws {
      for (patch, isMasked) in masks.mask(sample: draw).enumerated() where isMasked {
        sums[patch] += 1
      }
    }
    return sums.map { Double($0) / Double(draws) }
  }

  /// For each patch of a square image the mean share of it that lies in the crop.
  static func coverage(of plan: ViewPlan, grid: Int, draws: Int) -> [Double] {
    let cell = 16
    var sums = [Double](repeating: 0, count: grid * grid)
    func shares(_ start: Int, _ length: Int) -> [Double] {
      (0..<grid).map { index in
        let overlap = min(start + length, (index + 1) * cell) - max(start, index * cell)
        return Double(max(0, overlap)) / Double(cell)
      }
    }
    var plan = plan
    plan.fixedViews = 0
    for draw in 0..<draws {
      let box = Augmentation.draw(
        plan: plan, width: grid * cell, height: grid * cell, seed: 0,
        key: SampleKey(epoch: 0, sample: draw)
      ).box
      let (rows, columns) = (shares(box.top, box.height), shares(box.left, box.width))
      for row in 0..<grid where rows[row] > 0 {
        for column in 0..<grid { sums[row * grid + column] += rows[row] * columns[column] }
      }
    }
    return sums.map { $0 / Double(draws) }
  }
}

/// The masks of a configuration.
struct MaskDraw {
  var grid: Int { masking.grid }
  private let seed: UInt64
  private let masking: Masking

  /// - Throws: `ConfigurationError` for a method without masks, and for masks that cannot be.
  init(_ configuration: ResolvedConfiguration) throws(ConfigurationError) {
    guard let masked = try MaskDraw.method(configuration.methodType, of: configuration) else {
      throw ConfigurationError(
        "method.name", "\(configuration.methodType.name) has no masks; cae and cae-v2 have")
    }
    masking = try Masking(masked, grid: configuration.training.model.grid)
    seed = UInt64(configuration.training.run.seed)
  }

  static func hasMasks(_ configuration: ResolvedConfiguration) throws(ConfigurationError) -> Bool {
    try method(configuration.methodType, of: configuration) != nil
  }

  private static func method<Method: PretrainingMethod>(
    _ type: Method.Type, of configuration: ResolvedConfiguration
  ) throws(ConfigurationError) -> (any MaskedConfiguration)? {
    try configuration.methodConfiguration(of: type) as? any MaskedConfiguration
  }

  /// That of a sample in the first epoch, raster order: as training draws it.
  func mask(sample: Int) -> [Bool] {
    masking.mask(SampleKey(epoch: 0, sample: sample), seed: seed)
  }
}
