import Glibc
import TestSupport
import Testing

@testable import TensorCore

@Suite struct VectorMathTests {
  /// The documented bounds; what is measured is 1.2e-7 and 3.3e-7.
  static let exponentialRelativeError = 2e-7
  static let errorFunctionAbsoluteError = 4e-7

  private func exponential(_ x: Float) -> Float { VectorMath.exp(Lanes(repeating: x))[0] }

  private func errorFunction(_ x: Float) -> Float { VectorMath.erf(Lanes(repeating: x))[0] }

  @Test func exponentialOverItsWholeRange() {
    var worst = 0.0
    for step in 0...350_000 {
      let x = min(-87 + 0.0005 * Float(step), 88)
      let exact = Glibc.exp(Double(x))
      worst = max(worst, abs(Double(exponential(x)) - exact) / exact)
    }
    #expect(worst < VectorMathTests.exponentialRelativeError)
  }

  @Test func exponentialAtItsEnds() {
    #expect(exponential(0) == 1)
    for x: Float in [-88, -1000, -.greatestFiniteMagnitude, -.infinity] {
      #expect((0..<1.7e-38).contains(exponential(x)))
    }
    #expect(exponential(.infinity) >= exponential(88))
    #expect(exponential(.nan).isNaN)
  }

  @Test func errorFunctionOverItsWholeRange() {
    var worst = 0.0
    for step in 0...900_000 {
      let x = -4.5 + 0.00001 * Float(step)
      worst = max(worst, abs(Double(errorFunction(x)) - Glibc.erf(Double(x))))
    }
    #expect(worst < VectorMathTests.errorFunctionAbsoluteError)
    for x: Float in [100, .greatestFiniteMagnitude, .infinity] {
      #expect(abs(Double(errorFunction(x)) - 1) < VectorMathTests.errorFunctionAbsoluteError)
      #expect(errorFunction(-x) == -errorFunction(x))
    }
    #expect(errorFunction(0) == 0)
    #expect(errorFunction(.nan).isNaN)
  }

  @Test func aValueDoesNotDependOnItsPlaceInTheRow() {
    var values = TestValues(1)
    let x = values.floats(64, in: -4...4)
    let expected = x.map { exponential($0) }
    for count in 1...64 {
      var y = [Float](repeating: 0, count: count)
      VectorMath.map(count, x, &y) { VectorMath.exp($0) }
      #expect(sameBits(y, Array(expected.prefix(count))))
    }
  }

  @Test(arguments: oddColumns)
  func rowHelpersAgreeWithPlainLoops(count: Int) {
    var values = TestValues(2)
    let (a, b) = (values.floats(count), values.floats(count))
    // Sums of at most 64 terms below 1 (below e for the exponentials).
    #expect(maximum(a, count: count) == a.max())
    let product = zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
    #expect(abs(Double(dot(a, b, count: count)) - product) < 1e-5)
    var row = a
    let sum = exponentiate(&row, minus: 0.5, count: count)
    let exact = a.map { Glibc.exp(Double($0) - 0.5) }
    #expect(largestDifference(row, exact.map { Float($0) }) < 1e-6)
    #expect(abs(Double(sum) - exact.reduce(0, +)) < 1e-4)
  }
}

@Suite struct GELUKernelTests {
  /// erf is good to 3e-7 and is multiplied by half of an x below 8.
  static let tolerance: Float = 2e-6

  @Test(arguments: oddColumns)
  func forwardAgreesWithItsReference(count: Int) {
    var values = TestValues(3)
    let x = values.floats(count, in: -8...8)
    var y = [Float](repeating: 0, count: count)
    GELUKernel.forward(x, &y, count: count)
    #expect(largestDifference(y, GELUKernel.forwardReference(x)) < GELUKernelTests.tolerance)
  }

  @Test(arguments: oddRows, oddColumns)
  func backwardAgreesWithTheDefinition(rows: Int, columns: Int) {
    var values = TestValues(4)
    let count = rows * columns
    let (x, upstream) = (values.floats(count, in: -6...6), values.floats(count))
    let expected = zip(x, upstream).map { x, upstream in
      let x = Double(x)
      let cumulative = 0.5 * (1 + Glibc.erf(x / 2.0.squareRoot()))
      let density = Glibc.exp(-x * x / 2) / (2 * Double.pi).squareRoot()
      return Float(Double(upstream) * (cumulative + x * density))
    }
    let results = withEveryPool { pool in
      var dY = upstream
      GELUKernel.backward(pool, x: x, dY: &dY, count: count)
      return dY
    }
    #expect(largestDifference(results[0], expected) < GELUKernelTests.tolerance)
    #expect(results.allSatisfy { sameBits($0, results[0]) })
  }
}
