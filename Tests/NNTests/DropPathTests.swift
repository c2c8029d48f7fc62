import Interfaces
import TensorCore
import TestSupport
import Testing

@testable import NN

@Suite struct DropPathTests {
  private func scales(
    rate: Double, branch: Int, count: Int = 20_000, epoch: Int = 0, seed: UInt64 = 1,
    isTraining: Bool = true
  ) -> [Float]? {
    let context = ForwardContext(
      tape: TapeModel().tape(),
      keys: (0..<count).map { SampleKey(epoch: epoch, sample: $0) },
      step: StepInfo(step: 0, totalSteps: 1, seed: seed, isTraining: isTraining))
    return context.dropPathScale(rate: rate, branch: branch)?.values
  }

  @Test(arguments: [0.1, 0.5, 0.9])
  func branchesAreDroppedAtTheirRateAndScaledUp(rate: Double) throws {
    let values = try #require(scales(rate: rate, branch: 0))
    #expect(values.allSatisfy { $0 == 0 || $0 == Float(1 / (1 - rate)) })
    let share = Double(values.count { $0 == 0 }) / 20_000
    // Five standard deviations of a share.
    #expect(abs(share - rate) < 5 * (rate * (1 - rate) / 20_000).squareRoot())
  }

  @Test func drawsDependOnSeedEpochSampleAndBranch() throws {
    let base = try #require(scales(rate: 0.5, branch: 0))
    #expect(scales(rate: 0.5, branch: 0) == base)
    let others = [
      scales(rate: 0.5, branch: 1), scales(rate: 0.5, branch: 1000),
      scales(rate: 0.5, branch: 0, epoch: 1), scales(rate: 0.5, branch: 0, seed: 2),
    ]
    for other in others {
      let equal = zip(base, try #require(other)).count { $0 == $1 }
      // Independent draws agree in half of the samples: five standard deviations.
      #expect(abs(equal - 10_000) < 354)
    }
    // A sample's draw does not depend on its batch.
    #expect(scales(rate: 0.5, branch: 0, count: 7) == Array(base.prefix(7)))
  }

  @Test func nothingIsDroppedOutsideOfTraining() {
    #expect(scales(rate: 0.5, branch: 0, isTraining: false) == nil)
    #expect(scales(rate: 0, branch: 0) == nil)
  }

  @Test func ratesRiseLinearlyFromZero() {
    let rates = (0..<12).map { linearRate(0.1, $0, of: 12) }
    #expect(rates[0] == 0)
    #expect(abs(rates[1] - 0.00909090909) < 1e-10)
    #expect(rates[11] == 0.1)
    #expect(linearRate(0.1, 0, of: 1) == 0)
  }
}

@Suite struct SinCosPositionEmbeddingTests {
  /// Arguments up to 13 times a frequency that is rounded to Float.
  static let tolerance: Float = 2e-6

  /// Values of the official code at width 768 on a grid of 14.
  @Test(arguments: [
    (row: 0, column: 1, channel: 0, value: Float(0)), (0, 1, 192, 1), (0, 1, 384, 0.84147096),
    (0, 1, 385, 0.81525064), (0, 1, 576, 0.54030234), (1, 0, 0, 0.84147096),
    (1, 0, 192, 0.54030234), (1, 0, 384, 0), (1, 0, 576, 1), (2, 5, 0, 0.90929741),
    (2, 5, 1, 0.94423676), (2, 5, 192, -0.41614684), (2, 5, 384, -0.95892429),
    (2, 5, 576, 0.2836622),
  ])
  func agreesWithTheOfficialTable(spot: (row: Int, column: Int, channel: Int, value: Float)) {
    let table = SinCosPositionEmbedding.table(grid: 14, width: 768)
    #expect(table.shape == [196, 768])
    let value = table.values[(spot.row * 14 + spot.column) * 768 + spot.channel]
    #expect(abs(value - spot.value) < SinCosPositionEmbeddingTests.tolerance)
  }

  @Test func aWidthThatIsNoMultipleOfFourStopsTheProgram() async {
    await #expect(processExitsWith: .failure) {
      _ = SinCosPositionEmbedding.table(grid: 2, width: 6)
    }
  }
}
