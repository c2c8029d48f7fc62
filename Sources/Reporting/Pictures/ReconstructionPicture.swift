import Interfaces
import Models
import NN
import ShardedData
import TensorCore
import Training

/// What CAE predicts of masked patches: the most likely token of each, as the tokenizer's decoder, or
/// the patch of the k-means codebook, shows it.
///
/// - SeeAlso: CAE, arXiv:2202.03026, the figures of reconstructions.
public enum ReconstructionPicture {
  static let caption =
    "Masked images, what the model predicts, and the originals; patches of a k-means codebook have "
    + "no brightness and no contrast of their own and get those of the visible patches around them"

  /// - Parameters:
  ///   - path: A checkpoint, a run with one, or a merged file.
  ///   - decoder: File of the DALL-E decoder; needed for that tokenizer alone.
  public static func draw(_ path: String, decoder: String?) throws -> RasterPicture {
    let checkpoint = try EncoderCheckpoint(path: path)
    let configuration = checkpoint.configuration
    let training = configuration.training
    guard configuration.methodType == CAE.self else {
      throw ConfigurationError(
        "method.name", "\(configuration.methodType.name) predicts no patches that could be drawn")
    }
    let masks = try MaskDraw(configuration)
    let tokenizer = try TokenizerFile.open(
      configuration.methodValue("tokenizer") ?? "", channels: training.model.channels,
      grid: training.model.grid)
    if let codes = tokenizer as? KMeansTokenizer, !(codes.vectors is StandardizedPatches) {
      throw ConfigurationError(
        "method.tokenizer", "its codes are of a teacher's features, which cannot be drawn")
    }
    let images = try SampleImages(training)
    let pool = ThreadPool(
      threadCount: ThreadCount.resolve("auto", cores: RankLayout.coresOfProcess))
    let rows = images.keys.map { masks.mask(sample: $0.sample) }
    let tokens = try predictions(
      checkpoint, images, rows, vocabularySize: tokenizer.vocabularySize, pool)
    let painter: any TokenPainter
    switch (tokenizer, decoder) {
    case (let tokenizer as KMeansTokenizer, nil):
      painter = CodebookPainter(tokenizer, images: images, masked: rows, tokens: tokens)
    case (let tokenizer as DALLETokenizer, let file?):
      let decoder = try TokenizerFile.decoder(file, of: tokenizer.encoder)
      painter = DecodedPainter(
        decoder.images(
          of: completed(
            tokenizer.tokens(
              for: try SampleImages(training, view: tokenizer.view).tensor, pool: pool),
            rows, by: tokens),
          grid: tokenizer.grid, pool: pool), size: images.size)
    case (is DALLETokenizer, nil):
      throw ConfigurationError(
        "--decoder", "the tokens of the DALL-E encoder are seen through its decoder; name that file"
      )
    default:
      throw ConfigurationError("--decoder", "is for the tokens of the DALL-E encoder; leave it out")
    }
    return RasterPicture(
      picture: draw(images, rows, painter, grid: training.model.grid), caption: caption)
  }

  /// The most likely tokens of the masked patches, image by image, in ascending order of patches.
  private static func predictions(
    _ checkpoint: EncoderCheckpoint, _ images: SampleImages, _ masked: [[Bool]],
    vocabularySize: Int, _ pool: ThreadPool
  ) throws -> [Int32] {
    let tree = ParameterTree()
    let network = CAENetwork(
      checkpoint.configuration.training.model,
      try checkpoint.configuration.methodConfiguration(of: CAE.self),
      vocabularySize: vocabularySize, in: tree)
    let parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    try checkpoint.load(tree, into: parameters)
    let tape = Tape(parameters: parameters, pool: pool)
    let mask = PatchMask(rows: masked)
    let context = ForwardContext(
      tape: tape, keys: images.keys,
      step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let logits = tape.withoutGradient {
      // The loss is not looked at, whatever the targets.
      network.forward(
        images: images.tensor, mask: mask,
        targets: TokenIndices([Int32](repeating: 0, count: mask.masked.count)), context
      ).logits.value
    }
    return (0..<mask.masked.count).map { row in
      let values = UnsafeBufferPointer(
        start: logits.pointer + row * vocabularySize, count: vocabularySize)
      return Int32(values.indices.max { values[$0] < values[$1] } ?? 0)
    }
  }

  /// Tokens of whole images with predictions in the masked places.
  private static func completed(
    _ tokens: [Int32], _ masked: [[Bool]], by predictions: [Int32]
  ) -> [Int32] {
    var next = predictions.makeIterator()
    return zip(tokens, masked.joined()).map { token, isMasked in
      isMasked ? next.next() ?? token : token
    }
  }

  private static func draw(
    _ images: SampleImages, _ masked: [[Bool]], _ painter: any TokenPainter, grid: Int
  ) -> Picture {
    let (count, factor) = (masked.count, images.enlargement)
    let patch = images.size / grid
    var picture = Picture(
      cells: 3 * count, columns: count, side: images.size * factor, gap: 4, isGray: false)
    for image in 0..<count {
      func brightness(_ x: Int, _ y: Int, _ channel: Int) -> Float {
        images.brightness(image, x: x / factor, y: y / factor, channel: channel)
      }
      func isMasked(_ x: Int, _ y: Int) -> Bool {
        masked[image][y / factor / patch * grid + x / factor / patch]
      }
      picture.draw(cell: image) { x, y, channel in
        isMasked(x, y) ? 128 : Picture.byte(255 * brightness(x, y, channel))
      }
      picture.draw(cell: count + image) { x, y, channel in
        let isDrawn = isMasked(x, y) || painter.paintsVisible
        let value =
          isDrawn
          ? painter.brightness(image, x: x / factor, y: y / factor, channel: channel)
          : brightness(x, y, channel)
        return Picture.byte(255 * value)
      }
      picture.draw(cell: 2 * count + image) { x, y, channel in
        Picture.byte(255 * brightness(x, y, channel))
      }
    }
    return picture
  }
}

/// Makes pixels of tokens.
protocol TokenPainter {
  /// Whether visible patches are shown as their tokens, too.
  var paintsVisible: Bool { get }

  /// The brightness of a pixel of the encoder's picture, in [0, 1].
  func brightness(_ image: Int, x: Int, y: Int, channel: Int) -> Float
}

/// Pictures that a decoder has made.
struct DecodedPainter: TokenPainter {
  private let images: Tensor
  private let size: Int
  let paintsVisible = true

  /// - Parameters:
  ///   - images: `[B, 3, D, D]` in [0, 1].
  ///   - size: S of the encoder's pictures.
  init(_ images: Tensor, size: Int) { (self.images, self.size) = (images, size) }

  func brightness(_ image: Int, x: Int, y: Int, channel: Int) -> Float {
    let side = images.shape[3]
    let row = (image * 3 + channel) * side + y * side / size
    return withExtendedLifetime(images) { images.pointer[row * side + x * side / size] }
  }
}

/// Patches of a codebook, `mean + deviation x code`. Codes are standardized patches: mean and
/// deviation are those of visible patches, weighted by the inverse cube of their distance.
struct CodebookPainter: TokenPainter {
  let paintsVisible = false
  private let tokenizer: KMeansTokenizer
  private let patch: Int
  private let grid: Int
  /// Of each patch of each image: its predicted code, or -1.
  private var codes: [Int]
  /// Of each patch of each image, in the tokenizer's normalization.
  private var moments: [SIMD2<Float>] = []

  init(_ tokenizer: KMeansTokenizer, images: SampleImages, masked: [[Bool]], tokens: [Int32]) {
    self.tokenizer = tokenizer
    grid = tokenizer.grid
    patch = images.size / tokenizer.grid
    var next = tokens.makeIterator()
    codes = masked.joined().map { $0 ? Int(next.next() ?? 0) : -1 }
    for (image, mask) in masked.enumerated() {
      let visible = mask.indices.filter { !mask[$0] }
      let own = visible.map { moments(images, image, patch: $0) }
      moments += mask.indices.map { CodebookPainter.around($0, visible, own, grid: grid) }
    }
  }

  /// Mean and deviation of a patch, as the tokenizer would standardize it.
  private func moments(_ images: SampleImages, _ image: Int, patch index: Int) -> SIMD2<Float> {
    let channels = tokenizer.view.mean.count
    var (sum, squares) = (Float(0), Float(0))
    for channel in 0..<channels {
      for place in 0..<patch * patch {
        let (x, y) = (index % grid * patch + place % patch, index / grid * patch + place / patch)
        let pixel = images.brightness(image, x: x, y: y, channel: channel)
        let value =
          (pixel - tokenizer.view.mean[channel]) / tokenizer.view.standardDeviation[channel]
        sum += value
        squares += value * value
      }
    }
    let count = Float(channels * patch * patch)
    let mean = sum / count
    return [mean, max(0, squares / count - mean * mean).squareRoot()]
  }

  /// The mean of `own`, which are the moments of the patches `visible`, by their distance to a patch.
  static func around(
    _ patch: Int, _ visible: [Int], _ own: [SIMD2<Float>], grid: Int
  ) -> SIMD2<Float> {
    var (sum, total) = (SIMD2<Float>(), Float(0))
    for (other, value) in zip(visible, own) {
      let (dx, dy) = (Float(other % grid - patch % grid), Float(other / grid - patch / grid))
      let squared = dx * dx + dy * dy
      if squared == 0 { return value }
      let weight = 1 / (squared * squared.squareRoot())
      sum += value * weight
      total += weight
    }
    return total > 0 ? sum / total : [0, 1]
  }

  func brightness(_ image: Int, x: Int, y: Int, channel: Int) -> Float {
    let index = image * grid * grid + y / patch * grid + x / patch
    let channel = min(channel, tokenizer.view.mean.count - 1)
    let size = tokenizer.view.size / grid
    let (row, column) = (y % patch * size / patch, x % patch * size / patch)
    let place = (channel * size + row) * size + column
    let code = withExtendedLifetime(tokenizer.codebook.vectors) {
      codes[index] < 0
        ? 0 : tokenizer.codebook.vectors.pointer[codes[index] * tokenizer.codebook.width + place]
    }
    let value = moments[index][0] + moments[index][1] * code
    return value * tokenizer.view.standardDeviation[channel] + tokenizer.view.mean[channel]
  }
}
