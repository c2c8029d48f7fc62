import Interfaces
import TensorCore
import Testing

@testable import Models

@Suite struct BlockMaskingTests {
  private func mask(_ masking: BlockMasking, _ sample: Int) -> [Bool] {
    var random = CounterRandom(seed: 9, sample: sample, stream: .mask)
    return masking.mask(&random)
  }

  @Test(arguments: [
    (grid: 14, count: 98, minimumBlock: 16), (14, 75, 16), (7, 24, 4), (14, 1, 16), (14, 15, 16),
    (14, 16, 16), (14, 17, 16), (14, 195, 16), (14, 98, 1), (16, 128, 16), (7, 24, 16), (8, 32, 4),
    (4, 8, 4), (4, 8, 16), (3, 4, 1), (2, 2, 1),
  ])
  func everyMaskHasTheExactCount(size: (grid: Int, count: Int, minimumBlock: Int)) throws {
    let masking = try BlockMasking(
      grid: size.grid, count: size.count, minimumBlock: size.minimumBlock)
    for sample in 0..<200 {
      let mask = mask(masking, sample)
      #expect(mask.count == size.grid * size.grid)
      #expect(mask.count(where: \.self) == size.count)
    }
  }

  /// Another implementation never reaches the last row and column: an exclusive end of its draw.
  @Test(arguments: [(14, 98, 16), (14, 75, 16), (7, 24, 4)])
  func everyPatchIsReached(size: (Int, Int, Int)) throws {
    let masking = try BlockMasking(grid: size.0, count: size.1, minimumBlock: size.2)
    var seen = [Int](repeating: 0, count: size.0 * size.0)
    let masks = 2000
    for sample in 0..<masks {
      for (patch, isMasked) in mask(masking, sample).enumerated() where isMasked {
        seen[patch] += 1
      }
    }
    // Corners are the rarest, but far from never; the distribution has the grid's symmetries.
    #expect(seen.allSatisfy { $0 > masks / 50 }, "\(seen)")
    let (grid, last) = (size.0, size.0 - 1)
    let corners = [0, last, grid * last, grid * last + last].map { seen[$0] }
    // Five standard deviations of the difference of two counts at a share of at most 1/2.
    #expect(Double(corners.max()! - corners.min()!) < 5 * (2 * 0.25 * Double(masks)).squareRoot())
  }

  @Test func masksAreBlocks() throws {
    // Of random masks of half the patches, 364 pairs of neighbours differ in 182 on average.
    let masking = try BlockMasking(grid: 14, count: 98)
    for sample in 0..<50 {
      let mask = mask(masking, sample)
      let borders = (0..<14 * 13).reduce(0) { count, index in
        let (line, place) = (index / 13, index % 13)
        let across = mask[line * 14 + place] != mask[line * 14 + place + 1]
        let down = mask[place * 14 + line] != mask[(place + 1) * 14 + line]
        return count + (across ? 1 : 0) + (down ? 1 : 0)
      }
      #expect(borders < 120)
    }
  }

  @Test func aMaskIsAFunctionOfItsKey() throws {
    let masking = try BlockMasking(grid: 14, count: 98)
    #expect((0..<20).allSatisfy { mask(masking, $0) == mask(masking, $0) })
    #expect(Set((0..<20).map { mask(masking, $0) }).count == 20)
  }

  @Test func countsOutOfRangeAreRefusedInASentence() {
    for (grid, count) in [(14, 0), (14, 196), (4, 16), (3, 9), (14, -1)] {
      let error = #expect(throws: ConfigurationError.self) {
        try BlockMasking(grid: grid, count: count)
      }
      #expect(
        error?.description
          == "method.numMaskedPatches: must be between 1 and \(grid * grid - 1) of the "
          + "\(grid * grid) patches, not \(count)")
    }
  }

  @Test(arguments: [(3, 8), (4, 15), (2, 3)])
  func countsThatNoBlocksReachAreRefusedInASentence(grid: Int, count: Int) {
    let error = #expect(throws: ConfigurationError.self) {
      try BlockMasking(grid: grid, count: count)
    }
    #expect(
      error?.description
        == "method.numMaskedPatches: \(count) of \(grid) x \(grid) patches cannot be masked by "
        + "blocks of at least 16; lower method.minimumMaskBlock or use method.mask: random")
  }
}

@Suite struct RandomMaskingTests {
  @Test(arguments: [(196, 98), (196, 1), (196, 195), (5, 2), (2, 1)])
  func everyMaskHasTheExactCountAndEveryPatchItsShare(patches: Int, count: Int) throws {
    let masking = try RandomMasking(patches: patches, count: count)
    var seen = [Int](repeating: 0, count: patches)
    let masks = 4000
    for sample in 0..<masks {
      var random = CounterRandom(seed: 2, sample: sample, stream: .mask)
      let mask = masking.mask(&random)
      #expect(mask.count(where: \.self) == count)
      for (patch, isMasked) in mask.enumerated() where isMasked { seen[patch] += 1 }
    }
    let share = Double(count) / Double(patches)
    let expected = share * Double(masks)
    // Five standard deviations; a mask of one of 196 is rare enough to allow one more.
    let limit = 5 * (expected * (1 - share)).squareRoot() + 1
    #expect(seen.allSatisfy { abs(Double($0) - expected) < limit }, "\(seen)")
  }

  /// All ten pairs of five patches come equally often: chi-square, 99.99 % quantile of 9 degrees.
  @Test func allSubsetsAreEquallyLikely() throws {
    let masking = try RandomMasking(patches: 5, count: 2)
    var seen: [[Bool]: Int] = [:]
    for sample in 0..<10_000 {
      var random = CounterRandom(seed: 3, sample: sample, stream: .mask)
      seen[masking.mask(&random), default: 0] += 1
    }
    #expect(seen.count == 10)
    let chiSquare = seen.values.reduce(0.0) { $0 + Double(($1 - 1000) * ($1 - 1000)) / 1000 }
    #expect(chiSquare < 33.8, "\(seen.values)")
  }

  @Test func countsOutOfRangeAreRefused() {
    for count in [0, 16, 17] {
      #expect(throws: ConfigurationError.self) { try RandomMasking(patches: 16, count: count) }
    }
  }
}

@Suite struct PatchMaskTests {
  @Test func indicesAreAscendingWithinAnImage() {
    let mask = PatchMask(rows: [[true, false, true, false], [false, true, true, false]])
    #expect((mask.batch, mask.visibleCount, mask.maskedCount) == (2, 2, 2))
    #expect(mask.visible == [1, 3, 0, 3])
    #expect(mask.masked == [0, 2, 1, 2])
  }

  @Test func unequalCountsStopTheProgram() async {
    await #expect(processExitsWith: .failure) {
      _ = PatchMask(rows: [[true, false], [true, true]])
    }
  }
}
