import Glibc
public import Interfaces
public import TensorCore

/// Block-wise masks with an exact number of masked patches, as CAE draws them.
///
/// Rectangles of random area and aspect are added until exactly `count` patches are masked. BEiT's
/// generator, from which it comes, gives up early and then masks fewer.
public struct BlockMasking: Sendable, Equatable {
  public let grid: Int
  public let count: Int
  /// Smallest area of a rectangle while more than that is left to mask.
  public let minimumBlock: Int

  private static let logAspect = (low: Glibc.log(0.3), high: Glibc.log(1 / 0.3))
  private static let attemptsPerRound = 10
  /// Far beyond what a reachable mask takes (a few rounds).
  private static let maximumRounds = 20_000

  /// - Throws: A sentence where the count is above the patches, or where no sequence of rectangles
  ///   gives it on this grid.
  public init(grid: Int, count: Int, minimumBlock: Int = 16) throws(ConfigurationError) {
    let key = "method.numMaskedPatches"
    guard count > 0, count < grid * grid else {
      throw ConfigurationError(
        key, "must be between 1 and \(grid * grid - 1) of the \(grid * grid) patches, not \(count)")
    }
    self.grid = grid
    self.count = count
    self.minimumBlock = minimumBlock
    for trial in 0..<32 {
      var random = CounterRandom(seed: 0, sample: trial, stream: .mask)
      guard draw(&random) != nil else {
        throw ConfigurationError(
          key,
          "\(count) of \(grid) x \(grid) patches cannot be masked by blocks of at least "
            + "\(minimumBlock); lower method.minimumMaskBlock or use method.mask: random")
      }
    }
  }

  /// One mask, raster order.
  public func mask(_ random: inout CounterRandom) -> [Bool] {
    guard let mask = draw(&random) else {
      preconditionFailure("a block mask of \(count) patches on a grid of \(grid) did not end")
    }
    return mask
  }

  private func draw(_ random: inout CounterRandom) -> [Bool]? {
    var mask = [Bool](repeating: false, count: grid * grid)
    var left = count
    for _ in 0..<BlockMasking.maximumRounds {
      for _ in 0..<BlockMasking.attemptsPerRound {
        let added = addBlock(to: &mask, atMost: left, &random)
        left -= added
        if added > 0 { break }
      }
      if left == 0 { return mask }
    }
    return nil
  }

  /// Tries one rectangle; returns how many patches it masked, 0 where it was not taken.
  private func addBlock(
    to mask: inout [Bool], atMost left: Int, _ random: inout CounterRandom
  ) -> Int {
    let area = random.uniform(Double(minimumBlock), Double(left))
    let aspect = Glibc.exp(
      random.uniform(BlockMasking.logAspect.low, BlockMasking.logAspect.high))
    let height = Int((area * aspect).squareRoot().rounded(.toNearestOrEven))
    let width = Int((area / aspect).squareRoot().rounded(.toNearestOrEven))
    guard width < grid, height < grid else { return 0 }
    let top = random.integer(below: grid - height + 1)
    let left0 = random.integer(below: grid - width + 1)
    var cells: [Int] = []
    for row in top..<top + height {
      for column in left0..<left0 + width where !mask[row * grid + column] {
        cells.append(row * grid + column)
      }
    }
    guard !cells.isEmpty, cells.count <= left else { return 0 }
    for cell in cells { mask[cell] = true }
    return cells.count
  }
}

/// Masks of exactly `count` patches drawn uniformly.
public struct RandomMasking: Sendable, Equatable {
  public let patches: Int
  public let count: Int

  public init(patches: Int, count: Int) throws(ConfigurationError) {
    guard count > 0, count < patches else {
      throw ConfigurationError(
        "method.numMaskedPatches",
        "must be between 1 and \(patches - 1) of the \(patches) patches, not \(count)")
    }
    self.patches = patches
    self.count = count
  }

  public func mask(_ random: inout CounterRandom) -> [Bool] {
    var mask = [Bool](repeating: false, count: patches)
    // Floyd's sampling: `count` draws for a uniform subset.
    for last in patches - count..<patches {
      let candidate = random.integer(below: last + 1)
      mask[mask[candidate] ? last : candidate] = true
    }
    return mask
  }
}
