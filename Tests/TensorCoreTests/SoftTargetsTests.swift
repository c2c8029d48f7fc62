import Glibc
import TestSupport
import Testing

@testable import TensorCore

@Suite struct SoftTargetsTests {
  private struct Case {
    let logits: [Float]
    let first: [Int32]
    let second: [Int32]
    let share: Double
    let smoothing: Double
    let classes: Int

    var rows: Int { first.count }

    init(rows: Int, classes: Int, share: Double, smoothing: Double) {
      var values = TestValues(1)
      logits = values.floats(rows * classes, in: -5...5)
      first = values.indices(rows, below: classes)
      second = first.reversed()
      (self.share, self.smoothing, self.classes) = (share, smoothing, classes)
    }

    /// `[rows, classes]`, by the definition.
    var dense: [Float] {
      (0..<rows * classes).map { index in
        let (row, column) = (index / classes, Int32(index % classes))
        let off = smoothing / Double(classes)
        let on = 1 - smoothing + off
        let (a, b) = (first[row] == column ? on : off, second[row] == column ? on : off)
        return Float(share * a + (1 - share) * b)
      }
    }

    func withTargets<Result>(_ body: (SoftTargets) -> Result) -> Result {
      first.withUnsafeBufferPointer { first in
        second.withUnsafeBufferPointer { second in
          body(
            SoftTargets(
              first: first.baseAddress!, second: second.baseAddress!, firstShare: share,
              smoothing: smoothing))
        }
      }
    }

    /// Loss, gradient of 0.25 times the sum of rows, rows that are correct.
    func run(_ pool: ThreadPool) -> (loss: Double, gradient: [Float], correct: Int) {
      withTargets { targets in
        var (gradient, logSumExp) = (logits, [Float](repeating: .nan, count: rows))
        let result = CrossEntropyKernel.forward(
          pool, logits: logits, targets: targets, logSumExp: &logSumExp, rows: rows,
          classes: classes)
        CrossEntropyKernel.backward(
          pool, logits: &gradient, targets: targets, logSumExp: logSumExp, scale: 0.25,
          rows: rows, classes: classes)
        return (result.loss, gradient, result.correct)
      }
    }
  }

  @Test(arguments: oddRows, oddColumns)
  func agreesWithDenseTargets(rows: Int, classes: Int) {
    for (share, smoothing) in [(1.0, 0.0), (0.3, 0), (0.75, 0.1), (1, 0.2), (0, 0.1)] {
      let test = Case(rows: rows, classes: classes, share: share, smoothing: smoothing)
      let dense = test.dense
      let expected = CrossEntropyKernel.lossReference(
        logits: test.logits, softTargets: dense, classes: classes)
      var gradient: [Float] = []
      for row in 0..<rows {
        let line = test.logits[row * classes..<(row + 1) * classes].map { exp(Double($0)) }
        let sum = line.reduce(0, +)
        gradient += line.indices.map {
          Float(0.25 * (line[$0] / sum - Double(dense[row * classes + $0])))
        }
      }
      let results = withEveryPool { test.run($0) }
      #expect(abs(results[0].loss - expected) < CrossEntropyKernelTests.lossTolerance)
      #expect(
        largestDifference(results[0].gradient, gradient)
          < CrossEntropyKernelTests.gradientTolerance)
      for other in results {
        #expect(other.loss == results[0].loss && other.correct == results[0].correct)
        #expect(sameBits(other.gradient, results[0].gradient))
      }
    }
  }

  /// Without mixing and smoothing it is the plain loss.
  @Test func oneClassGivesThePlainLoss() {
    let test = Case(rows: 17, classes: 10, share: 1, smoothing: 0)
    let pool = ThreadPool(threadCount: 2)
    var logSumExp = [Float](repeating: 0, count: 17)
    let plain = CrossEntropyKernel.forward(
      pool, logits: test.logits, targets: test.first, logSumExp: &logSumExp, rows: 17,
      classes: 10)
    let soft = test.run(pool)
    #expect(abs(soft.loss - plain.loss) < 1e-14)
    #expect(soft.correct == plain.correct)
  }

  @Test func logitsThatAreNotNumbersReachTheLoss() {
    for bad: Float in [.nan, .infinity] {
      var logits = [Float](repeating: 1, count: 9)
      logits[4] = bad
      var logSumExp: [Float] = [0]
      let test = Case(rows: 1, classes: 9, share: 0.5, smoothing: 0.1)
      let loss = test.withTargets {
        CrossEntropyKernel.forward(
          ThreadPool(threadCount: 1), logits: logits, targets: $0, logSumExp: &logSumExp, rows: 1,
          classes: 9
        ).loss
      }
      #expect(!loss.isFinite)
    }
  }
}

@Suite struct MixingKernelTests {
  @Test(arguments: [1, 2, 5, 6], [1, 7, 2051])
  func blendsWithTheImageFromTheOtherEnd(batch: Int, count: Int) {
    var values = TestValues(3)
    let images = values.floats(batch * count)
    let (own, other) = (Float(0.3), Float(1 - 0.3))
    let expected = images.indices.map { index -> Float in
      let (image, place) = (index / count, index % count)
      let partner = batch - 1 - image
      if partner == image { return images[index] }
      return images[index] * own + images[partner * count + place] * other
    }
    for pool in threadCounts.map({ ThreadPool(threadCount: $0) }) {
      var result = images
      MixingKernel.blend(pool, &result, batch: batch, count: count, share: 0.3)
      #expect(sameBits(result, expected))
    }
  }

  @Test(arguments: [1, 2, 5, 6]) func swapsBoxes(batch: Int) {
    let (channels, height, width) = (2, 5, 7)
    var values = TestValues(4)
    let count = channels * height * width
    let images = values.floats(batch * count)
    for (rows, columns) in [(1..<4, 2..<7), (0..<5, 0..<7), (2..<2, 0..<3)] {
      let expected = images.indices.map { index -> Float in
        let (row, column) = (index / width % height, index % width)
        guard rows.contains(row), columns.contains(column) else { return images[index] }
        return images[(batch - 1 - index / count) * count + index % count]
      }
      for pool in threadCounts.map({ ThreadPool(threadCount: $0) }) {
        var result = images
        MixingKernel.swapBoxes(
          pool, &result, batch: batch, channels: channels, height: height, width: width,
          rows: rows, columns: columns)
        #expect(sameBits(result, expected))
      }
    }
  }
}
