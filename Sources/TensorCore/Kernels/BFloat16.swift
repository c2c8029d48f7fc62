/// Two-byte floats for the wire: the upper half of a Float, rounded to nearest, ties to even.
public enum BFloat16Kernel {
  /// `wire = bfloat16(values + residual)`, `residual = values + residual - wire`: what rounding took
  /// away is added the next time, so that it is not lost over many steps.
  ///
  /// Runs on the calling thread.
  ///
  /// - SeeAlso: Seide et al., "1-Bit Stochastic Gradient Descent", Interspeech 2014 (error
  ///   feedback).
  public static func encode(
    _ values: UnsafePointer<Float>, residual: UnsafeMutablePointer<Float>,
    into wire: UnsafeMutablePointer<UInt16>, count: Int
  ) {
    var index = 0
    while index < count {
      let whole = index + laneCount <= count
      let exact =
        whole
        ? values.lanes(index) + residual.lanes(index)
        : Lanes(repeating: values[index] + residual[index])
      let bits = rounded(unsafeBitCast(exact, to: SIMD8<UInt32>.self))
      let error = exact - unsafeBitCast(bits &<< 16, to: Lanes.self)
      if whole {
        residual.setLanes(index, error)
        UnsafeMutableRawPointer(wire + index).storeBytes(
          of: SIMD8<UInt16>(truncatingIfNeeded: bits), as: SIMD8<UInt16>.self)
        index += laneCount
      } else {
        (residual[index], wire[index]) = (error[0], UInt16(truncatingIfNeeded: bits[0]))
        index += 1
      }
    }
  }

  /// `values = wire`, exactly. Runs on the calling thread.
  public static func decode(
    _ wire: UnsafePointer<UInt16>, into values: UnsafeMutablePointer<Float>, count: Int
  ) {
    var index = 0
    while index + laneCount <= count {
      let bits = SIMD8<UInt32>(
        truncatingIfNeeded: UnsafeRawPointer(wire + index).loadUnaligned(as: SIMD8<UInt16>.self))
      values.setLanes(index, unsafeBitCast(bits &<< 16, to: Lanes.self))
      index += laneCount
    }
    while index < count {
      values[index] = Float(bitPattern: UInt32(wire[index]) << 16)
      index += 1
    }
  }

  /// The upper halves. What is not a number stays so: rounding could carry it to infinity.
  @inline(__always)
  private static func rounded(_ bits: SIMD8<UInt32>) -> SIMD8<UInt32> {
    let isNaN = (bits & 0x7FFF_FFFF) .> 0x7F80_0000
    let odd = (bits &>> 16) & 1
    let upper = (bits &+ 0x7FFF &+ odd) &>> 16
    return upper.replacing(with: (bits &>> 16) | 0x40, where: isNaN)
  }
}
