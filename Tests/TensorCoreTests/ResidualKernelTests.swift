import TestSupport
import Testing

@testable import TensorCore

@Suite struct ResidualKernelTests {
  /// A product of three values below 2, or a sum of 65 of them.
  static let tolerance: Float = 2e-5

  struct Case {
    let rows: Int
    let columns: Int
    let rowsPerSample: Int
    let x: [Float]
    let branch: [Float]
    let dOutput: [Float]
    let gamma: [Float]?
    let scale: [Float]?

    init(rows: Int, columns: Int, hasGamma: Bool, hasScale: Bool) {
      var values = TestValues(1)
      (self.rows, self.columns) = (rows, columns)
      rowsPerSample = rows == 65 ? 13 : max(rows / 2, 1)
      x = values.floats(rows * columns)
      branch = values.floats(rows * columns)
      dOutput = values.floats(rows * columns)
      gamma = hasGamma ? values.floats(columns) : nil
      let samples = (rows + rowsPerSample - 1) / rowsPerSample
      scale = hasScale ? (0..<samples).map { $0 % 2 == 0 ? 1.25 : 0 } : nil
    }

    func factor(_ row: Int, _ column: Int) -> Float {
      (gamma?[column] ?? 1) * (scale?[row / rowsPerSample] ?? 1)
    }

    func each(_ body: (_ row: Int, _ column: Int, _ index: Int) -> Float) -> [Float] {
      (0..<rows * columns).map { body($0 / columns, $0 % columns, $0) }
    }

    /// Calls with pointers that are nil where there is no layer scale or no factor.
    func withOptions(_ body: (UnsafePointer<Float>?, UnsafePointer<Float>?) -> Void) {
      (gamma ?? []).withUnsafeBufferPointer { gamma in
        (scale ?? []).withUnsafeBufferPointer { scale in
          body(
            gamma.isEmpty ? nil : gamma.baseAddress, scale.isEmpty ? nil : scale.baseAddress)
        }
      }
    }
  }

  @Test(arguments: oddRows, oddColumns)
  func forwardAddsTheScaledBranch(rows: Int, columns: Int) {
    for options in 0..<4 {
      let test = Case(
        rows: rows, columns: columns, hasGamma: options & 1 == 1, hasScale: options & 2 == 2)
      let expected = test.each { test.x[$2] + test.factor($0, $1) * test.branch[$2] }
      let results = withEveryPool { pool in
        var output = test.x.map { _ in Float.nan }
        test.withOptions { gamma, scale in
          ResidualKernel.forward(
            pool, x: test.x, branch: test.branch, gamma: gamma, sampleScale: scale,
            rowsPerSample: test.rowsPerSample, output: &output, rows: rows, columns: columns)
        }
        return output
      }
      #expect(largestDifference(results[0], expected) < ResidualKernelTests.tolerance)
      #expect(results.allSatisfy { sameBits($0, results[0]) })
    }
  }

  @Test(arguments: oddRows, oddColumns)
  func backwardAgreesWithTheDefinition(rows: Int, columns: Int) {
    for (options, beta) in [(0, Float(0)), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1)] {
      let test = Case(
        rows: rows, columns: columns, hasGamma: options & 1 == 1, hasScale: options & 2 == 2)
      let dBranch = test.each { test.factor($0, $1) * test.dOutput[$2] }
      let dGamma = (0..<columns).map { column in
        (0..<rows).reduce(2 * beta) { sum, row in
          let index = row * columns + column
          let scale = test.scale?[row / test.rowsPerSample] ?? 1
          return sum + scale * test.branch[index] * test.dOutput[index]
        }
      }
      let results = withEveryPool { backward($0, test, beta: beta) }
      #expect(largestDifference(results[0].branch, dBranch) < ResidualKernelTests.tolerance)
      if test.gamma != nil {
        #expect(largestDifference(results[0].gamma, dGamma) < ResidualKernelTests.tolerance)
      }
      #expect(results.allSatisfy { sameBits($0.branch, results[0].branch) })
      #expect(results.allSatisfy { sameBits($0.gamma, results[0].gamma) })
    }
  }

  /// dGamma starts from 2 with beta 1, from not-a-number with beta 0.
  private func backward(
    _ pool: ThreadPool, _ test: Case, beta: Float
  ) -> (branch: [Float], gamma: [Float]) {
    var dBranch = test.x.map { _ in Float.nan }
    var dGamma = [Float](repeating: beta == 0 ? .nan : 2, count: test.columns)
    dGamma.withUnsafeMutableBufferPointer { dGamma in
      test.withOptions { gamma, scale in
        ResidualKernel.backward(
          pool, dOutput: test.dOutput, branch: test.branch, gamma: gamma, sampleScale: scale,
          rowsPerSample: test.rowsPerSample, dBranch: &dBranch,
          dGamma: gamma == nil ? nil : dGamma.baseAddress, beta: beta, rows: test.rows,
          columns: test.columns)
      }
    }
    return (dBranch, dGamma.map { $0 })
  }
}
