import Glibc
import TestSupport
import Testing

@testable import TensorCore

@Suite struct CrossEntropyKernelTests {
  /// Log-sum-exp of logits of size 5 in Float: a few steps of 5e-7.
  static let lossTolerance = 2e-6
  /// Probabilities below 1 from exponentials that are good to 2e-7 and a rounded log-sum-exp.
  static let gradientTolerance: Float = 2e-6

  private func forward(
    _ pool: ThreadPool, _ logits: [Float], _ targets: [Int32]
  ) -> (result: CrossEntropyKernel.Result, logSumExp: [Float]) {
    var logSumExp = [Float](repeating: .nan, count: targets.count)
    let result = CrossEntropyKernel.forward(
      pool, logits: logits, targets: targets, logSumExp: &logSumExp, rows: targets.count,
      classes: logits.count / targets.count)
    return (result, logSumExp)
  }

  @Test(arguments: oddRows, oddColumns + [1000])
  func forwardAgreesWithItsReference(rows: Int, classes: Int) {
    var values = TestValues(1)
    let logits = values.floats(rows * classes, in: -5...5)
    let targets = values.indices(rows, below: classes)
    let expected = CrossEntropyKernel.lossReference(
      logits: logits, targets: targets, classes: classes)
    let correct = (0..<rows).count { row in
      let line = Array(logits[row * classes..<(row + 1) * classes])
      return line.firstIndex(of: line.max()!) == Int(targets[row])
    }
    let results = withEveryPool { forward($0, logits, targets) }
    for (result, logSumExp) in results {
      #expect(abs(result.loss - expected) < CrossEntropyKernelTests.lossTolerance)
      #expect(result.correct == correct)
      #expect(result.loss == results[0].result.loss)
      #expect(sameBits(logSumExp, results[0].logSumExp))
    }
  }

  @Test(arguments: oddRows, oddColumns)
  func backwardIsSoftmaxMinusOneHot(rows: Int, classes: Int) {
    var values = TestValues(2)
    let logits = values.floats(rows * classes, in: -5...5)
    let targets = values.indices(rows, below: classes)
    let scale: Float = 0.25
    var expected = [Float]()
    for row in 0..<rows {
      let line = logits[row * classes..<(row + 1) * classes].map { Glibc.exp(Double($0)) }
      let sum = line.reduce(0, +)
      for column in 0..<classes {
        let oneHot = Int(targets[row]) == column ? 1.0 : 0
        expected.append(Float(0.25 * (line[column] / sum - oneHot)))
      }
    }
    let results = withEveryPool { pool in
      let (_, logSumExp) = forward(pool, logits, targets)
      var gradient = logits
      CrossEntropyKernel.backward(
        pool, logits: &gradient, targets: targets, logSumExp: logSumExp, scale: scale, rows: rows,
        classes: classes)
      return gradient
    }
    #expect(largestDifference(results[0], expected) < CrossEntropyKernelTests.gradientTolerance)
    #expect(results.allSatisfy { sameBits($0, results[0]) })
  }

  @Test func ofEqualLogitsTheFirstIsTheAnswer() {
    let pool = ThreadPool(threadCount: 1)
    let logits: [Float] = [1, 7, 3, 7, 7, 0, 2, 5, 7, 1]
    for target in 0..<10 {
      #expect(forward(pool, logits, [Int32(target)]).result.correct == (target == 1 ? 1 : 0))
    }
    let equal = forward(pool, [Float](repeating: 3, count: 20), [0, 1]).result
    #expect(equal.correct == 1)
    #expect(abs(equal.loss - Glibc.log(10.0)) < CrossEntropyKernelTests.lossTolerance)
  }

  @Test func extremeLogitsStayFinite() {
    let pool = ThreadPool(threadCount: 1)
    let huge: Float = 1e30
    let logits: [Float] = [huge, -huge, 0, -huge, huge, 0, 1e4, -1e4, 0]
    let (result, logSumExp) = forward(pool, logits, [0, 1, 0])
    #expect(result.loss == 0)
    #expect(result.correct == 3)
    #expect(logSumExp == [huge, huge, 1e4])
    var gradient = logits
    CrossEntropyKernel.backward(
      pool, logits: &gradient, targets: [0, 1, 0], logSumExp: logSumExp, scale: 1, rows: 3,
      classes: 3)
    #expect(gradient.allSatisfy { abs($0) < CrossEntropyKernelTests.gradientTolerance })
    #expect(forward(pool, [0, 1e4], [0]).result.loss == 1e4)
  }

  /// The trainer stops on a loss that is not finite: it must not be lost on the way.
  @Test(arguments: [3, 8, 17]) func logitsThatAreNotNumbersReachTheLoss(classes: Int) {
    let pool = ThreadPool(threadCount: 1)
    for place in 0..<classes {
      for bad: Float in [.nan, .infinity] {
        var logits = [Float](repeating: 1, count: classes)
        logits[place] = bad
        #expect(!forward(pool, logits, [0]).result.loss.isFinite, "\(bad) at \(place)")
      }
    }
  }
}

@Suite struct MeanSquaredErrorKernelTests {
  /// Differences are rounded to Float before they are squared.
  static let relativeTolerance = 1e-6

  @Test(arguments: [1, 7, 8, 9, 1000, 65_536, 65_537, 200_003])
  func agreesWithTheDefinition(count: Int) {
    var values = TestValues(1)
    let (prediction, target) = (values.floats(count), values.floats(count))
    let expected =
      zip(prediction, target).reduce(0.0) {
        $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1))
      } / Double(count)
    let losses = withEveryPool {
      MeanSquaredErrorKernel.forward($0, prediction: prediction, target: target, count: count)
    }
    #expect(abs(losses[0] - expected) < MeanSquaredErrorKernelTests.relativeTolerance * expected)
    #expect(losses.allSatisfy { $0 == losses[0] })
    let gradient = zip(prediction, target).map { 2 * 3 * ($0 - $1) / Float(count) }
    let old = values.floats(count)
    for accumulate in [false, true] {
      for pool in threadCounts.map({ ThreadPool(threadCount: $0) }) {
        var result = accumulate ? old : old.map { _ in .nan }
        MeanSquaredErrorKernel.backward(
          pool, prediction: prediction, target: target, scale: 3, dPrediction: &result,
          accumulate: accumulate, count: count)
        let sum = accumulate ? zip(old, gradient).map { $0 + $1 } : gradient
        #expect(largestDifference(result, sum) < 2e-6)
      }
    }
  }
}

@Suite struct CosineKernelTests {
  /// A cosine is rounded to Float once.
  static let tolerance = 1e-7

  @Test func rowsOfZerosDoNoHarm() {
    let pool = ThreadPool(threadCount: 1)
    let (zero, other): ([Float], [Float]) = ([0, 0, 0], [1, 2, 2])
    for (prediction, target) in [(zero, other), (other, zero), (zero, zero)] {
      var (cosines, gradient): ([Float], [Float]) = ([.nan], prediction)
      let counts = CosineKernel.Rows(tokens: 1, counted: 0..<1)
      let loss = CosineKernel.forward(
        pool, prediction: prediction, target: target, cosines: &cosines, rows: 1, columns: 3,
        counts: counts)
      CosineKernel.backward(
        pool, prediction: &gradient, target: target, cosines: cosines, scale: 1, rows: 1,
        columns: 3, counts: counts)
      #expect(loss == 1 && gradient.allSatisfy(\.isFinite))
    }
  }

  @Test(arguments: [(3, 4, 0..<4), (2, 5, 1..<3), (7, 1, 0..<1)], [1, 7, 8, 24, 513])
  func agreesWithTheDefinition(size: (Int, Int, Range<Int>), columns: Int) {
    let (batch, tokens, counted) = size
    let rows = batch * tokens
    var values = TestValues(5)
    let (prediction, target) = (values.floats(rows * columns), values.floats(rows * columns))
    let counts = CosineKernel.Rows(tokens: tokens, counted: counted)
    func product(_ a: [Float], _ b: [Float], _ row: Int) -> Double {
      (row * columns..<(row + 1) * columns).reduce(0) { $0 + Double(a[$1]) * Double(b[$1]) }
    }
    func cosine(_ row: Int) -> Double {
      product(prediction, target, row)
        / (product(prediction, prediction, row) * product(target, target, row)).squareRoot()
    }
    let chosen = (0..<rows).filter { counted.contains($0 % tokens) }
    let expected = chosen.reduce(0) { $0 + 1 - cosine($1) } / Double(chosen.count)
    let results = withEveryPool { pool -> (loss: Double, gradient: [Float]) in
      var cosines = [Float](repeating: .nan, count: rows)
      let loss = CosineKernel.forward(
        pool, prediction: prediction, target: target, cosines: &cosines, rows: rows,
        columns: columns, counts: counts)
      var gradient = prediction
      CosineKernel.backward(
        pool, prediction: &gradient, target: target, cosines: cosines, scale: 3, rows: rows,
        columns: columns, counts: counts)
      return (loss, gradient)
    }
    for result in results {
      #expect(abs(result.loss - expected) < CosineKernelTests.tolerance)
      #expect(result.loss == results[0].loss && sameBits(result.gradient, results[0].gradient))
    }
    for row in 0..<rows {
      let length = product(prediction, prediction, row).squareRoot()
      let other = product(target, target, row).squareRoot()
      for column in 0..<columns {
        let place = row * columns + column
        let wanted =
          chosen.contains(row)
          ? -3 * (Double(target[place]) / other - cosine(row) * Double(prediction[place]) / length)
            / length / Double(chosen.count) : 0
        #expect(abs(Double(results[0].gradient[place]) - wanted) < 1e-6 * max(1, 3 / length))
      }
    }
  }
}
