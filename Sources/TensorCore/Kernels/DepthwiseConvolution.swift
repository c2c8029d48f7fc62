/// Convolutions of every channel by itself, channels last, with the padding of TensorFlow's `SAME`.
///
/// `result[y, x, c] = bias[c] + sum_{i, j} weight[i, j, c] input[s y + i - p, s x + j - q, c]`; what lies
/// outside of the image is 0. Of the `P = max((ceil(H / s) - 1) s + k - H, 0)` missing lines `p = P / 2`
/// lie above the image, the others below; columns likewise.
public enum DepthwiseConvolutionKernel {
  public struct Sizes: Equatable, Sendable {
    public var height: Int
    public var width: Int
    public var channels: Int
    public var kernel: Int
    public var stride: Int

    public init(height: Int, width: Int, channels: Int, kernel: Int, stride: Int) {
      (self.height, self.width, self.channels) = (height, width, channels)
      (self.kernel, self.stride) = (kernel, stride)
    }

    public var outputHeight: Int { SamePadding.length(of: height, stride: stride) }
    public var outputWidth: Int { SamePadding.length(of: width, stride: stride) }
  }

  /// - Parameters:
  ///   - input: `[B, H, W, C]`. - weight: `[k, k, C]`. - output: `[B, H', W', C]`.
  /// - Precision: Float, lines and columns of the kernel in order.
  public static func forward(
    _ pool: ThreadPool, _ sizes: Sizes, batch: Int, input: UnsafePointer<Float>,
    weight: UnsafePointer<Float>, bias: UnsafePointer<Float>, output: UnsafeMutablePointer<Float>
  ) {
    let (lines, columns, channels) = (sizes.outputHeight, sizes.outputWidth, sizes.channels)
    let top = SamePadding.before(sizes.height, kernel: sizes.kernel, stride: sizes.stride)
    let left = SamePadding.before(sizes.width, kernel: sizes.kernel, stride: sizes.stride)
    pool.runSlabs(of: batch * lines, as: .products) { slab, _ in
      for line in slab {
        let image = input + line / lines * sizes.height * sizes.width * channels
        let y = line % lines * sizes.stride - top
        for x in 0..<columns {
          let result = output + (line * columns + x) * channels
          result.update(from: bias, count: channels)
          let first = x * sizes.stride - left
          for i in max(0, -y)..<min(sizes.kernel, sizes.height - y) {
            for j in max(0, -first)..<min(sizes.kernel, sizes.width - first) {
              addProducts(
                image + ((y + i) * sizes.width + first + j) * channels,
                weight + (i * sizes.kernel + j) * channels, to: result, count: channels)
            }
          }
        }
      }
    }
  }

  @inline(__always)
  private static func addProducts(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, to sum: UnsafeMutablePointer<Float>,
    count: Int
  ) {
    var index = 0
    while index + laneCount <= count {
      sum.setLanes(index, sum.lanes(index).addingProduct(a.lanes(index), b.lanes(index)))
      index += laneCount
    }
    while index < count {
      sum[index].addProduct(a[index], b[index])
      index += 1
    }
  }

  /// By the definition, in Double.
  public static func reference(
    _ sizes: Sizes, batch: Int, input: [Float], weight: [Float], bias: [Float]
  ) -> [Float] {
    let top = SamePadding.before(sizes.height, kernel: sizes.kernel, stride: sizes.stride)
    let left = SamePadding.before(sizes.width, kernel: sizes.kernel, stride: sizes.stride)
    var output: [Float] = []
    for image in 0..<batch {
      for y in 0..<sizes.outputHeight {
        for x in 0..<sizes.outputWidth {
          for c in 0..<sizes.channels {
            var sum = Double(bias[c])
            for i in 0..<sizes.kernel {
              for j in 0..<sizes.kernel {
                let (line, column) = (y * sizes.stride + i - top, x * sizes.stride + j - left)
                guard (0..<sizes.height).contains(line), (0..<sizes.width).contains(column) else {
                  continue
                }
                let place = ((image * sizes.height + line) * sizes.width + column) * sizes.channels
                sum +=
                  Double(input[place + c])
                  * Double(weight[(i * sizes.kernel + j) * sizes.channels + c])
              }
            }
            output.append(Float(sum))
          }
        }
      }
    }
    return output
  }
}

/// TensorFlow's padding `SAME` along one side.
public enum SamePadding {
  public static func length(of input: Int, stride: Int) -> Int { (input + stride - 1) / stride }

  /// Zeros before the input.
  public static func before(_ input: Int, kernel: Int, stride: Int) -> Int {
    max((length(of: input, stride: stride) - 1) * stride + kernel - input, 0) / 2
  }
}

/// `min(max(x, 0), 6)`.
public enum ReLU6Kernel {
  /// In place, split over the threads.
  public static func forward(_ pool: ThreadPool, x: UnsafeMutablePointer<Float>, count: Int) {
    pool.runSlabs(of: count, granule: 64, as: .elementwise) { slab, _ in
      let start = x + slab.lowerBound
      VectorMath.map(slab.count, start, start) {
        $0.replacing(with: 0, where: $0 .< 0).replacing(with: 6, where: $0 .> 6)
      }
    }
  }
}
