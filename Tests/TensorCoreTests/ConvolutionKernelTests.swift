import TestSupport
import Testing

@testable import TensorCore

@Suite struct ConvolutionKernelTests {
  typealias Sizes = ConvolutionKernel.Sizes

  /// Sums of up to some thousand products below 1: a few hundred roundings of 2^-24 each.
  static let tolerance: Float = 1e-4

  /// A case: sizes, batch, and why it is there.
  static let cases: [(Sizes, batch: Int)] = {
    var cases: [(Sizes, batch: Int)] = []
    for kernel in [1, 3, 7] {
      for (height, width) in [(1, 1), (1, 5), (5, 1), (4, 7), (9, 9)] {
        for (inputs, outputs) in [(1, 1), (3, 8), (5, 17), (16, 33)] {
          cases.append(
            (
              Sizes(
                height: height, width: width, inputs: inputs, outputs: outputs, kernel: kernel), 2
            ))
        }
      }
    }
    // Several blocks of lines, of columns and of the sum; a line longer than a block.
    cases.append((Sizes(height: 25, width: 40, inputs: 7, outputs: 9, kernel: 3), 2))
    cases.append((Sizes(height: 2, width: 3, inputs: 20, outputs: 600, kernel: 3), 3))
    cases.append((Sizes(height: 20, width: 20, inputs: 75, outputs: 5, kernel: 3), 1))
    cases.append((Sizes(height: 3, width: 500, inputs: 3, outputs: 4, kernel: 7), 1))
    return cases
  }()

  /// By the definition, in Double; weight `[outputs, inputs, k, k]`.
  private func reference(
    _ sizes: Sizes, batch: Int, _ input: [Float], activates: Bool, _ weight: [Float],
    _ bias: [Float]
  ) -> [Float] {
    let (height, width, k) = (sizes.height, sizes.width, sizes.kernel)
    var output: [Float] = []
    for image in 0..<batch {
      for (y, x) in pairs(height, width) {
        for channel in 0..<sizes.outputs {
          var sum = Double(bias[channel])
          for (i, j) in pairs(k, k) {
            let (row, column) = (y + i - (k - 1) / 2, x + j - (k - 1) / 2)
            guard (0..<height).contains(row), (0..<width).contains(column) else { continue }
            for c in 0..<sizes.inputs {
              let value = input[((image * height + row) * width + column) * sizes.inputs + c]
              let factor = weight[((channel * sizes.inputs + c) * k + i) * k + j]
              sum += Double(activates ? max(value, 0) : value) * Double(factor)
            }
          }
          output.append(Float(sum))
        }
      }
    }
    return output
  }

  private func pairs(_ a: Int, _ b: Int) -> [(Int, Int)] {
    (0..<a).flatMap { left in (0..<b).map { (left, $0) } }
  }

  private func rearranged(_ weight: [Float], _ sizes: Sizes) -> [Float] {
    var result = [Float](repeating: .nan, count: weight.count)
    ConvolutionKernel.rearranged(
      weight, outputs: sizes.outputs, inputs: sizes.inputs, kernel: sizes.kernel, into: &result)
    return result
  }

  @Test(arguments: cases.indices)
  func agreesWithTheDefinitionOnAnyThreads(index: Int) {
    let (sizes, batch) = Self.cases[index]
    var values = TestValues(UInt64(index))
    let pixels = batch * sizes.height * sizes.width
    let input = values.floats(pixels * sizes.inputs)
    let weight = values.floats(sizes.outputs * sizes.depth)
    let bias = values.floats(sizes.outputs)
    let residual = values.floats(pixels * sizes.outputs)
    let packed = rearranged(weight, sizes)
    for activates in [false, true] {
      let plain = reference(
        sizes, batch: batch, input, activates: activates, weight, bias)
      let results = withEveryPool { pool in
        var output = [Float](repeating: .nan, count: plain.count)
        ConvolutionKernel.forward(
          pool, sizes, batch: batch, input: input, activatesInput: activates, weight: packed,
          bias: bias, output: &output)
        return output
      }
      let label: Comment = "\(sizes), activates \(activates)"
      #expect(largestDifference(results[0], plain) < Self.tolerance, label)
      #expect(results.allSatisfy { sameBits($0, results[0]) }, label)

      var sum = residual
      sum.withUnsafeMutableBufferPointer { sum in
        ConvolutionKernel.forward(
          ThreadPool(threadCount: 2), sizes, batch: batch, input: input,
          activatesInput: activates, weight: packed, bias: bias,
          residual: UnsafePointer(sum.baseAddress!), gain: 0.25, output: sum.baseAddress!)
      }
      let expected = zip(residual, plain).map { $0 + 0.25 * $1 }
      #expect(largestDifference(sum, expected) < Self.tolerance, label)
    }
  }

  /// Blocks never cross images.
  @Test func anImageGivesTheSameBitsInAnyBatch() {
    let sizes = Sizes(height: 11, width: 13, inputs: 24, outputs: 40, kernel: 3)
    var values = TestValues(4)
    let input = values.floats(5 * 143 * 24)
    let weight = rearranged(values.floats(40 * sizes.depth), sizes)
    let bias = values.floats(40)
    let pool = ThreadPool(threadCount: 2)
    func run(_ input: [Float], batch: Int) -> [Float] {
      var output = [Float](repeating: .nan, count: batch * 143 * 40)
      ConvolutionKernel.forward(
        pool, sizes, batch: batch, input: input, activatesInput: true, weight: weight,
        bias: bias, output: &output)
      return output
    }
    let all = run(input, batch: 5)
    for image in 0..<5 {
      let alone = run(Array(input[image * 143 * 24..<(image + 1) * 143 * 24]), batch: 1)
      #expect(sameBits(alone, Array(all[image * 143 * 40..<(image + 1) * 143 * 40])))
    }
  }

  /// Every output belongs to one block, and blocks are as large as they say at most.
  @Test(arguments: cases.indices)
  func blocksCoverEveryOutputOnce(index: Int) {
    let (sizes, batch) = Self.cases[index]
    let blocks = ConvolutionBlocks(sizes, batch: batch)
    var seen = [Int](repeating: 0, count: batch * sizes.height * sizes.width * sizes.outputs)
    for task in 0..<blocks.count {
      let block = blocks[task]
      #expect(block.rowCount <= blocks.rows)
      #expect(block.rowCount == block.lines.count * sizes.width)
      for row in block.firstRow..<block.firstRow + block.rowCount {
        for column in block.columns { seen[row * sizes.outputs + column] += 1 }
      }
    }
    #expect(seen.allSatisfy { $0 == 1 })
  }
}
