/// Two-dimensional convolutions of stride 1 with zero padding `(k - 1) / 2`, channels last.
///
/// `result[y, x, o] = bias[o] + sum_{i, j, c} weight[i, j, c, o] input[y + i - p, x + j - p, c]`
/// with `p = (k - 1) / 2`; what lies outside of the image is 0. Input `[B, H, W, inputs]`, output
/// `[B, H, W, outputs]`, weight `[k k inputs, outputs]`: see `rearranged`.
///
/// Lines of the output are cut into blocks. What a block sees of the input is gathered, a part of
/// the sum at a time, into scratch memory that stays in the core's cache, and multiplied there.
///
/// - Precision: Float. The blocks of an image depend on the sizes alone, so that an image gives the
///   same bits in any batch and on any number of threads.
/// - SeeAlso: Chellapilla et al., "High Performance Convolutional Neural Networks for Document
///   Processing", IWFHR 2006 (convolution as a matrix product).
public enum ConvolutionKernel {
  /// Sizes of one convolution.
  public struct Sizes: Equatable, Sendable {
    public var height: Int
    public var width: Int
    public var inputs: Int
    public var outputs: Int
    /// Odd.
    public var kernel: Int

    public init(height: Int, width: Int, inputs: Int, outputs: Int, kernel: Int) {
      precondition(kernel % 2 == 1, "a kernel of \(kernel) has no middle")
      self.height = height
      self.width = width
      self.inputs = inputs
      self.outputs = outputs
      self.kernel = kernel
    }

    /// Products that one output value sums up.
    var depth: Int { kernel * kernel * inputs }

    /// Floating-point operations of one image.
    public var flops: Double { 2 * Double(height * width) * Double(depth) * Double(outputs) }
  }

  /// - Parameters:
  ///   - activatesInput: Whether `max(x, 0)` of the input is taken.
  ///   - residual: `[B, H, W, outputs]`, may be `output`: then `output = residual + gain result`.
  ///     Without it `output = gain result`.
  ///   - output: Neither the input nor a part of it.
  public static func forward(
    _ pool: ThreadPool, _ sizes: Sizes, batch: Int, input: UnsafePointer<Float>,
    activatesInput: Bool, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>,
    residual: UnsafePointer<Float>? = nil, gain: Float = 1, output: UnsafeMutablePointer<Float>
  ) {
    let blocks = ConvolutionBlocks(sizes, batch: batch)
    let gathers = activatesInput || sizes.kernel > 1
    let scratch = Tensor(
      uninitialized: gathers ? [pool.threadCount, blocks.rows * blocks.depth] : [0])
    pool.run(blocks.count, as: .products) { task, worker in
      let block = blocks[task]
      let start = block.firstRow * sizes.outputs + block.columns.lowerBound
      fill(output + start, block, sizes, bias: bias, residual.map { $0 + start }, gain: gain)
      pool.clock?.lap(worker, .elementwise)
      func multiply(_ rows: UnsafePointer<Float>, stride: Int, terms: Range<Int>) {
        BLAS.multiply(
          m: block.rowCount, n: block.columns.count, k: terms.count, alpha: gain, rows,
          lda: stride, weight + terms.lowerBound * sizes.outputs + block.columns.lowerBound,
          ldb: sizes.outputs, beta: 1, output + start, ldc: sizes.outputs)
      }
      guard gathers else {
        multiply(
          input + block.firstRow * sizes.inputs, stride: sizes.inputs, terms: 0..<sizes.inputs)
        return
      }
      let rows = scratch.pointer + worker * scratch.columns
      let image = input + block.image * sizes.height * sizes.width * sizes.inputs
      for first in stride(from: 0, to: sizes.depth, by: blocks.depth) {
        let terms = first..<min(sizes.depth, first + blocks.depth)
        gather(image, block.lines, terms, sizes, activates: activatesInput, into: rows)
        pool.clock?.lap(worker, .dataMovement)
        multiply(rows, stride: terms.count, terms: terms)
        pool.clock?.lap(worker, .products)
      }
    }
  }

  /// Weights `[outputs, inputs, k, k]`, as they are published, as `[k k inputs, outputs]`.
  public static func rearranged(
    _ weight: UnsafePointer<Float>, outputs: Int, inputs: Int, kernel: Int,
    into result: UnsafeMutablePointer<Float>
  ) {
    let taps = kernel * kernel
    for output in 0..<outputs {
      for input in 0..<inputs {
        let source = weight + (output * inputs + input) * taps
        for tap in 0..<taps { result[(tap * inputs + input) * outputs + output] = source[tap] }
      }
    }
  }

  /// What the products are added to: `residual + gain bias`.
  private static func fill(
    _ output: UnsafeMutablePointer<Float>, _ block: ConvolutionBlocks.Block, _ sizes: Sizes,
    bias: UnsafePointer<Float>, _ residual: UnsafePointer<Float>?, gain: Float
  ) {
    let (bias, count) = (bias + block.columns.lowerBound, block.columns.count)
    for row in 0..<block.rowCount {
      let (target, start) = (output + row * sizes.outputs, row * sizes.outputs)
      var column = 0
      while column + laneCount <= count {
        let kept = residual.map { $0.lanes(start + column) } ?? .zero
        target.setLanes(column, kept.addingProduct(Lanes(repeating: gain), bias.lanes(column)))
        column += laneCount
      }
      while column < count {
        target[column] = (residual.map { $0[start + column] } ?? 0)
          .addingProduct(gain, bias[column])
        column += 1
      }
    }
  }

  /// The columns `terms` of the matrix that has a row for each output pixel of `lines`, and in it
  /// the pixels under the kernel, line by line.
  ///
  /// The pixels under one line of the kernel are neighbours in the input as well, channels
  /// included: they are copied in one run, of which only the ends can lie outside of the image.
  private static func gather(
    _ image: UnsafePointer<Float>, _ lines: Range<Int>, _ terms: Range<Int>, _ sizes: Sizes,
    activates: Bool, into rows: UnsafeMutablePointer<Float>
  ) {
    let (padding, run) = (sizes.kernel / 2, sizes.kernel * sizes.inputs)
    let lineCount = sizes.width * sizes.inputs
    for kernelLine in terms.lowerBound / run...(terms.upperBound - 1) / run {
      let part = terms.clamped(to: kernelLine * run..<(kernelLine + 1) * run)
      var target = rows + (part.lowerBound - terms.lowerBound)
      for line in lines {
        let y = line + kernelLine - padding
        guard (0..<sizes.height).contains(y) else {
          for _ in 0..<sizes.width {
            target.update(repeating: 0, count: part.count)
            target += terms.count
          }
          continue
        }
        let source = image + y * lineCount
        var start = part.lowerBound - kernelLine * run - padding * sizes.inputs
        for _ in 0..<sizes.width {
          copy(source, start, lineCount, to: target, count: part.count, activates: activates)
          target += terms.count
          start += sizes.inputs
        }
      }
    }
  }

  /// Copies `line[start ..< start + count]`, zeros where that is outside of `0 ..< lineCount`.
  @inline(__always)
  private static func copy(
    _ line: UnsafePointer<Float>, _ start: Int, _ lineCount: Int,
    to target: UnsafeMutablePointer<Float>, count: Int, activates: Bool
  ) {
    let first = min(max(0, -start), count)
    let end = max(first, min(count, lineCount - start))
    if first > 0 { target.update(repeating: 0, count: first) }
    if end < count { (target + end).update(repeating: 0, count: count - end) }
    let source = line + start
    guard activates else {
      var index = first
      while index + laneCount <= end {
        target.setLanes(index, source.lanes(index))
        index += laneCount
      }
      while index < end {
        target[index] = source[index]
        index += 1
      }
      return
    }
    var index = first
    while index + laneCount <= end {
      let value = source.lanes(index)
      target.setLanes(index, value.replacing(with: Lanes.zero, where: value .< 0))
      index += laneCount
    }
    while index < end {
      target[index] = source[index] < 0 ? 0 : source[index]
      index += 1
    }
  }
}

/// How the outputs of a convolution are cut into tasks.
struct ConvolutionBlocks {
  struct Block {
    let image: Int
    /// Lines of the image.
    let lines: Range<Int>
    /// Channels of the output.
    let columns: Range<Int>
    /// Counted over the images.
    let firstRow: Int
    let rowCount: Int
  }

  /// Output pixels of a block: enough for a product to run at its full rate.
  private static let wantedRows = 400
  /// Output channels of a block: fewer would gather the same too often, more would leave few tasks
  /// where images are small.
  private static let wantedColumns = 256
  /// Floats that a worker gathers at once: with what the product packs it fits a cache of 1 MiB.
  private static let scratch = 1 << 17

  private let sizes: ConvolutionKernel.Sizes
  private let batch: Int
  private let lines: Int
  private let lineBlocks: Int
  private let columns: Int
  private let columnBlocks: Int
  /// Terms of the sum that are gathered at once.
  let depth: Int

  init(_ sizes: ConvolutionKernel.Sizes, batch: Int) {
    self.sizes = sizes
    self.batch = batch
    let most = max(1, ConvolutionBlocks.wantedRows / max(sizes.width, 1))
    lines = ConvolutionBlocks.share(of: sizes.height, atMost: most, granule: 1)
    lineBlocks = (sizes.height + lines - 1) / lines
    columns = ConvolutionBlocks.share(
      of: sizes.outputs, atMost: ConvolutionBlocks.wantedColumns, granule: 16)
    columnBlocks = (sizes.outputs + columns - 1) / columns
    depth = ConvolutionBlocks.share(
      of: sizes.depth,
      atMost: max(64, ConvolutionBlocks.scratch / max(lines * sizes.width, 1)), granule: 16)
  }

  var count: Int { batch * lineBlocks * columnBlocks }

  /// Output pixels of a block, at most.
  var rows: Int { lines * sizes.width }

  subscript(_ task: Int) -> Block {
    let (rest, columnBlock) = task.quotientAndRemainder(dividingBy: columnBlocks)
    let (image, lineBlock) = rest.quotientAndRemainder(dividingBy: lineBlocks)
    let first = lineBlock * lines
    let end = min(sizes.height, first + lines)
    let start = columnBlock * columns
    return Block(
      image: image, lines: first..<end, columns: start..<min(sizes.outputs, start + columns),
      firstRow: (image * sizes.height + first) * sizes.width,
      rowCount: (end - first) * sizes.width)
  }

  /// The size of even parts of `count` that have at most `limit`, rounded up to a granule.
  private static func share(of count: Int, atMost limit: Int, granule: Int) -> Int {
    let parts = max(1, (count + limit - 1) / limit)
    let even = max(1, (count + parts - 1) / parts)
    return (even + granule - 1) / granule * granule
  }
}
