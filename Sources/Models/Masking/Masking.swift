public import Interfaces
import TensorCore

public enum MaskKind: String, Codable, Sendable {
  /// Rectangles; see `BlockMasking`.
  case block
  /// Patches drawn uniformly.
  case random
}

/// What the configurations of methods with masks say of them.
public protocol MaskedConfiguration {
  var mask: MaskKind { get }
  var numMaskedPatches: Int { get }
  /// Smallest block of a block mask.
  var minimumMaskBlock: Int { get }
}

/// The masks of a run: functions of the seed and of a sample's key.
public struct Masking: Sendable {
  public let grid: Int
  private let block: BlockMasking?
  private let random: RandomMasking?

  /// - Throws: A sentence for masks that cannot be.
  public init(
    _ configuration: some MaskedConfiguration, grid: Int
  ) throws(ConfigurationError) {
    self.grid = grid
    let count = configuration.numMaskedPatches
    switch configuration.mask {
    case .block:
      guard configuration.minimumMaskBlock > 0 else {
        throw ConfigurationError(
          "method.minimumMaskBlock", "must be at least 1, not \(configuration.minimumMaskBlock)")
      }
      block = try BlockMasking(
        grid: grid, count: count, minimumBlock: configuration.minimumMaskBlock)
      random = nil
    case .random:
      block = nil
      random = try RandomMasking(patches: grid * grid, count: count)
    }
  }

  /// Whether each patch is masked, in raster order.
  public func mask(_ key: SampleKey, seed: UInt64) -> [Bool] {
    var generator = CounterRandom(
      seed: seed, epoch: key.epoch, sample: key.sample, stream: .mask)
    return block?.mask(&generator) ?? random?.mask(&generator) ?? []
  }

  func mask(_ keys: [SampleKey], seed: UInt64) -> PatchMask {
    PatchMask(rows: keys.map { mask($0, seed: seed) })
  }
}
