import Interfaces
import Models
import NN
import ShardedData
import TensorCore
import Training

/// What the class token looks at: in the encoder's last block its softmax over the patches, the mean
/// over heads, for whole images without a mask. Or what the query of an attentive probe looks at.
///
/// - SeeAlso: CAE, arXiv:2202.03026, figures 6 and 7; the region: Caron et al., arXiv:2104.14294.
public enum AttentionPicture {
  static let caption =
    "Images, and below them the attention of the class token in the last encoder block, averaged "
    + "over the heads; the line encloses the patches that have half of it"
  static let probeCaption =
    "Images, and below them the attention of the attentive probe's query, averaged over the heads; "
    + "the line encloses the patches that have half of it"

  /// - Parameters:
  ///   - path: A checkpoint, a run with one, or a merged file.
  ///   - head: Of an attentive probe; nil: the class token is looked at.
  public static func draw(_ path: String, head: String? = nil) throws -> RasterPicture {
    let checkpoint = try EncoderCheckpoint(path: path)
    let training = checkpoint.configuration.training
    let images = try SampleImages(training)
    let tree = ParameterTree()
    let encoder = VisionTransformer("encoder", training.model, scheme: .xavier, in: tree)
    let parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    try checkpoint.load(tree, into: parameters)
    let pool = ThreadPool(
      threadCount: ThreadCount.resolve("auto", cores: RankLayout.coresOfProcess))
    let tape = Tape(parameters: parameters, pool: pool)
    let context = ForwardContext(
      tape: tape, keys: images.keys,
      step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let probe = try head.map { try SavedProbe(path: $0, model: training.model, pool: pool) }
    let probabilities = tape.withoutGradient {
      probe?.attention(over: encoder.tokens(of: images.tensor, context))
        ?? encoder.classTokenAttention(images.tensor, context)
    }
    let maps = (0..<images.keys.count).map { AttentionMap(probabilities, image: $0) }
    return RasterPicture(
      picture: draw(images, maps), caption: head == nil ? caption : probeCaption)
  }

  private static func draw(_ images: SampleImages, _ maps: [AttentionMap]) -> Picture {
    let (count, factor) = (maps.count, images.enlargement)
    let side = images.size * factor
    var picture = Picture(cells: 2 * count, columns: count, side: side, gap: 4, isGray: false)
    for (image, map) in maps.enumerated() {
      picture.draw(cell: image) { x, y, channel in
        Picture.byte(
          255 * images.brightness(image, x: x / factor, y: y / factor, channel: channel))
      }
      picture.draw(cell: count + image) { x, y, channel in
        if map.isContour(x: x, y: y, side: side) { return 255 }
        let gray = (0..<3).reduce(Float(0)) {
          $0 + images.brightness(image, x: x / factor, y: y / factor, channel: $1) / 3
        }
        let place = (Float(x) + 0.5) / Float(side)
        let heat = ColorScale.color(
          map.value(at: place, (Float(y) + 0.5) / Float(side)), of: ColorScale.heat)
        return Picture.byte(0.7 * heat[channel] + 0.3 * 255 * gray)
      }
    }
    return picture
  }
}

/// The attention of one image over its patches.
struct AttentionMap {
  let grid: Int
  /// Of all patches, sum 1, raster order.
  let weights: [Float]
  /// The patches that have half of it, the largest weights.
  let region: [Bool]

  /// - Parameter probabilities: `[B, heads, 1 + patches]`, of the class token, itself first.
  init(_ probabilities: Tensor, image: Int) {
    let (heads, tokens) = (probabilities.shape[1], probabilities.shape[2])
    let start = probabilities.pointer + image * heads * tokens
    let sums = withExtendedLifetime(probabilities) {
      (1..<tokens).map { token in
        (0..<heads).reduce(Float(0)) { $0 + start[$1 * tokens + token] }
      }
    }
    self.init(weights: sums)
  }

  /// - Parameter weights: Of a square of patches; divided by their sum.
  init(weights: [Float]) {
    let total = weights.reduce(0, +)
    self.weights = weights.map { $0 / total }
    grid = Int(Double(weights.count).squareRoot())
    region = AttentionMap.region(of: self.weights)
  }

  /// Sorted ascending and added up, the weights from where the sum passes a half.
  static func region(of weights: [Float]) -> [Bool] {
    var (sum, region) = (Float(0), [Bool](repeating: false, count: weights.count))
    for index in weights.indices.sorted(by: { (weights[$0], $0) < (weights[$1], $1) }) {
      sum += weights[index]
      region[index] = sum > 0.5
    }
    return region
  }

  /// Bilinear between the middles of patches, relative to the largest weight.
  ///
  /// - Parameters:
  ///   - x: From 0 to 1, left to right. - y: Top to bottom.
  func value(at x: Float, _ y: Float) -> Float {
    func neighbours(_ place: Float) -> (Int, Int, Float) {
      let position = min(max(place * Float(grid) - 0.5, 0), Float(grid - 1))
      let low = min(Int(position), grid - 1)
      return (low, min(low + 1, grid - 1), position - Float(low))
    }
    let (left, right, u) = neighbours(x)
    let (top, bottom, v) = neighbours(y)
    func row(_ row: Int) -> Float {
      weights[row * grid + left] * (1 - u) + weights[row * grid + right] * u
    }
    return (row(top) * (1 - v) + row(bottom) * v) / (weights.max() ?? 1)
  }

  /// Whether a pixel of the picture is at the border of the region: in it, within two pixels of a
  /// patch that is not, or of the image's edge.
  func isContour(x: Int, y: Int, side: Int) -> Bool {
    func isInside(_ x: Int, _ y: Int) -> Bool {
      guard (0..<side).contains(x), (0..<side).contains(y) else { return false }
      return region[y * grid / side * grid + x * grid / side]
    }
    guard isInside(x, y) else { return false }
    return [(-2, 0), (2, 0), (0, -2), (0, 2)].contains { !isInside(x + $0.0, y + $0.1) }
  }
}
