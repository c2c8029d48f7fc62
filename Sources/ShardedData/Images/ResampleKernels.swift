/// The two passes of `Resampler`.
enum ResampleKernels {
  /// Float sums round half up, as Pillow's do, if they begin a little above zero: the bias is above
  /// their error and far below a step.
  private static let bias: Float = 0x1p-15
  /// Adding 1.5 x 2^23 leaves the nearest integer in the low bits.
  private static let magic: Float = 12_582_912

  /// The limits come last: before a sum they would be no single instruction.
  @inline(__always)
  private static func rounded(_ sum: SIMD8<Float>) -> SIMD8<Float> {
    limited(sum + magic - magic, 0, 255)
  }

  @inline(__always)
  private static func limited(
    _ value: SIMD8<Float>, _ lower: Float, _ upper: Float
  ) -> SIMD8<Float> {
    let (low, high) = (SIMD8(repeating: lower), SIMD8(repeating: upper))
    let raised = value.replacing(with: low, where: value .< low)
    return raised.replacing(with: high, where: high .< raised)
  }

  /// Four rows at once: `output[r, o] = sum over taps of input[first(o) + t, r] x weight(o, t)`.
  ///
  /// - Parameters:
  ///   - input: `[inputs, 4 rows, 4 channels]`, from the table's first input on.
  ///   - output: `[4 rows, rowLanes]`, rounded to 8 bits; four lanes beyond an odd count are zero.
  static func horizontal(
    _ input: UnsafePointer<Float>, table: ResampleTable, output: UnsafeMutablePointer<Float>,
    rowLanes: Int
  ) {
    let tapCount = table.tapCount
    let first = table.first
    let origin = table.inputs.lowerBound
    var weights = table.weights
    var target = output
    // Two pixels, so that whole registers are rounded and stored.
    for index in stride(from: 0, to: table.count, by: 2) {
      var source0 = input + (Int(first[index]) &- origin) &* 16
      var source1 = input + (Int(first[index &+ 1]) &- origin) &* 16
      var (upper0, lower0) = (SIMD8(repeating: bias), SIMD8(repeating: bias))
      var (upper1, lower1) = (upper0, lower0)
      for _ in 0..<tapCount {
        let weight0 = SIMD8(repeating: weights[0])
        let weight1 = SIMD8(repeating: weights[tapCount])
        upper0.addProduct(source0.lanes(0), weight0)
        lower0.addProduct(source0.lanes(8), weight0)
        upper1.addProduct(source1.lanes(0), weight1)
        lower1.addProduct(source1.lanes(8), weight1)
        weights += 1
        source0 += 16
        source1 += 16
      }
      weights += tapCount
      target.setLanes(0, rounded(SIMD8(lowHalf: upper0.lowHalf, highHalf: upper1.lowHalf)))
      target.setLanes(
        rowLanes, rounded(SIMD8(lowHalf: upper0.highHalf, highHalf: upper1.highHalf)))
      target.setLanes(
        rowLanes &* 2, rounded(SIMD8(lowHalf: lower0.lowHalf, highHalf: lower1.lowHalf)))
      target.setLanes(
        rowLanes &* 3, rounded(SIMD8(lowHalf: lower0.highHalf, highHalf: lower1.highHalf)))
      target += 8
    }
  }

  /// `output[i] = sum over taps of sources[t][i] x weights[t]`, rounded to 8 bits.
  ///
  /// - Parameters:
  ///   - lanes: A multiple of 8. Up to 32 bytes are stored at once, so that up to 31 beyond are
  ///     written.
  static func vertical(
    _ sources: UnsafePointer<UnsafePointer<Float>>, count: Int, weights: UnsafePointer<Float>,
    lanes: Int, output: UnsafeMutablePointer<UInt8>
  ) {
    var index = 0
    while index + 32 <= lanes {
      var (a, b) = (SIMD8(repeating: bias), SIMD8(repeating: bias))
      var (c, d) = (a, b)
      for tap in 0..<count {
        let source = sources[tap] + index
        let weight = SIMD8(repeating: weights[tap])
        a.addProduct(source.lanes(0), weight)
        b.addProduct(source.lanes(8), weight)
        c.addProduct(source.lanes(16), weight)
        d.addProduct(source.lanes(24), weight)
      }
      output.setBytes(index, a)
      output.setBytes(index + 8, b)
      output.setBytes(index + 16, c)
      output.setBytes(index + 24, d)
      index += 32
    }
    while index < lanes {
      var sum = SIMD8(repeating: bias)
      for tap in 0..<count {
        sum.addProduct((sources[tap] + index).lanes(0), SIMD8(repeating: weights[tap]))
      }
      output.setBytes(index, sum)
      index += 8
    }
  }

  /// The nearest bytes.
  @inline(__always)
  fileprivate static func bytes(_ sum: SIMD8<Float>) -> SIMD8<UInt8> {
    let value = limited(sum + magic, magic, magic + 255)
    return SIMD8<UInt8>(truncatingIfNeeded: unsafeBitCast(value, to: SIMD8<UInt32>.self))
  }
}

extension UnsafePointer where Pointee == Float {
  /// Eight floats from index `index`, any alignment.
  @inline(__always)
  func lanes(_ index: Int) -> SIMD8<Float> {
    UnsafeRawPointer(self + index).loadUnaligned(as: SIMD8<Float>.self)
  }
}

extension UnsafeMutablePointer where Pointee == Float {
  @inline(__always)
  func setLanes(_ index: Int, _ value: SIMD8<Float>) {
    UnsafeMutableRawPointer(self + index).storeBytes(of: value, as: SIMD8<Float>.self)
  }
}

extension UnsafeMutablePointer where Pointee == UInt8 {
  @inline(__always)
  fileprivate func setBytes(_ index: Int, _ sum: SIMD8<Float>) {
    UnsafeMutableRawPointer(self + index).storeBytes(
      of: ResampleKernels.bytes(sum), as: SIMD8<UInt8>.self)
  }
}
