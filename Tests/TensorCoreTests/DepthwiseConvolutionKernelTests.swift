import Glibc
import TestSupport
import Testing

@testable import TensorCore

@Suite struct DepthwiseConvolutionKernelTests {
  /// Sums of 25 products below 4.
  static let tolerance: Float = 4e-6

  @Test(arguments: [(7, 9), (8, 8), (1, 5), (2, 2)], [(3, 1), (3, 2), (5, 1), (5, 2), (1, 2)])
  func agreesWithTheDefinition(image: (Int, Int), form: (Int, Int)) {
    for channels in [1, 8, 11] {
      let sizes = DepthwiseConvolutionKernel.Sizes(
        height: image.0, width: image.1, channels: channels, kernel: form.0, stride: form.1)
      var values = TestValues(3)
      let input = values.floats(2 * image.0 * image.1 * channels)
      let weight = values.floats(form.0 * form.0 * channels)
      let bias = values.floats(channels)
      let expected = DepthwiseConvolutionKernel.reference(
        sizes, batch: 2, input: input, weight: weight, bias: bias)
      let results = withEveryPool { pool in
        var output = [Float](repeating: .nan, count: expected.count)
        DepthwiseConvolutionKernel.forward(
          pool, sizes, batch: 2, input: input, weight: weight, bias: bias, output: &output)
        return output
      }
      #expect(largestDifference(results[0], expected) < Self.tolerance)
      #expect(results.allSatisfy { sameBits($0, results[0]) })
    }
  }

  /// 224 pixels, kernel 3, stride 2: one missing line, below the image.
  @Test func paddingIsThatOfTensorFlow() {
    #expect(SamePadding.length(of: 224, stride: 2) == 112)
    #expect(SamePadding.before(224, kernel: 3, stride: 2) == 0)
    #expect(SamePadding.before(225, kernel: 3, stride: 2) == 1)
    #expect(SamePadding.before(28, kernel: 5, stride: 2) == 1)
    #expect(SamePadding.before(14, kernel: 5, stride: 1) == 2)
    #expect(SamePadding.before(9, kernel: 1, stride: 2) == 0)
  }

  @Test(arguments: [1, 8, 21]) func reluIsCutAtSix(count: Int) {
    let values: [Float] = (0..<count).map { [-1, 0, 3.5, 6, 7][$0 % 5] }
    for result in withEveryPool({ pool in
      var x = values
      ReLU6Kernel.forward(pool, x: &x, count: count)
      return x
    }) {
      #expect(result == values.map { min(max($0, 0), 6) })
    }
  }

  /// OpenAI's approximation, within rounding of a value of size 5.
  @Test(arguments: [1, 8, 1001]) func quickGELU(count: Int) {
    var values = TestValues(1)
    let input = values.floats(count, in: -6...6)
    for result in withEveryPool({ pool in
      var x = input
      GELUKernel.quick(pool, x: &x, count: count)
      return x
    }) {
      let expected = input.map { Float(Double($0) / (1 + exp(-1.702 * Double($0)))) }
      #expect(largestDifference(result, expected) < 2e-6)
    }
  }
}
