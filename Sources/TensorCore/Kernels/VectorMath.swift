/// Eight floats, one 256-bit register.
typealias Lanes = SIMD8<Float>
let laneCount = 8

extension UnsafePointer where Pointee == Float {
  /// Eight floats from index `index`, any alignment.
  @inline(__always)
  func lanes(_ index: Int) -> Lanes {
    UnsafeRawPointer(self + index).loadUnaligned(as: Lanes.self)
  }
}

extension UnsafeMutablePointer where Pointee == Float {
  @inline(__always)
  func lanes(_ index: Int) -> Lanes {
    UnsafeRawPointer(self + index).loadUnaligned(as: Lanes.self)
  }

  @inline(__always)
  func setLanes(_ index: Int, _ value: Lanes) {
    UnsafeMutableRawPointer(self + index).storeBytes(of: value, as: Lanes.self)
  }
}

extension SIMD8 where Scalar == Float {
  /// The sum in the fixed order ((0+4)+(2+6)) + ((1+5)+(3+7)).
  @inline(__always)
  var total: Float {
    let four = lowHalf + highHalf
    let two = four.lowHalf + four.highHalf
    return two[0] + two[1]
  }
}

/// Elementary functions on lanes. The same bits for the same input, wherever the lane stands.
enum VectorMath {
  /// `e^x`, relative error below 2e-7 in [-87, 88]; smaller inputs give e^-87, about 0.
  ///
  /// - SeeAlso: Cephes `expf` (range reduction by ln 2 in two parts, polynomial of degree 6).
  @inline(__always)
  static func exp(_ input: Lanes) -> Lanes {
    let low = Lanes(repeating: -87)
    let high = Lanes(repeating: 88)
    var x = input.replacing(with: low, where: input .< low)
    x = x.replacing(with: high, where: x .> high)
    // Rounding by a magic number: adding 1.5 x 2^23 leaves the integer in the low bits.
    let magic = Lanes(repeating: 12_582_912)
    let shifted = magic.addingProduct(x, Lanes(repeating: 1.442_695_04))
    let n = shifted - magic
    x = x.addingProduct(n, Lanes(repeating: -0.693_359_375))
    x = x.addingProduct(n, Lanes(repeating: 2.121_944_40e-4))
    var y = Lanes(repeating: 1.987_569_15e-4)
    y = Lanes(repeating: 1.398_199_95e-3).addingProduct(y, x)
    y = Lanes(repeating: 8.333_451_91e-3).addingProduct(y, x)
    y = Lanes(repeating: 4.166_579_59e-2).addingProduct(y, x)
    y = Lanes(repeating: 1.666_666_55e-1).addingProduct(y, x)
    y = Lanes(repeating: 5.000_000_12e-1).addingProduct(y, x)
    y = (x + 1).addingProduct(y, x * x)
    let exponent = unsafeBitCast(shifted, to: SIMD8<Int32>.self) &<< 23
    let bits = unsafeBitCast(y, to: SIMD8<Int32>.self) &+ exponent
    return unsafeBitCast(bits, to: Lanes.self)
  }

  /// The error function, absolute error below 4e-7: a rational approximation on [-3.92, 3.92],
  /// beyond which Float erf is 1 but for the last bit.
  @inline(__always)
  static func erf(_ input: Lanes) -> Lanes {
    let limit = Lanes(repeating: 3.92)
    var x = input.replacing(with: limit, where: input .> limit)
    x = x.replacing(with: -limit, where: x .< -limit)
    let square = x * x
    var p = Lanes(repeating: -2.726_142_258e-10)
    p = Lanes(repeating: 2.770_681_425e-08).addingProduct(p, square)
    p = Lanes(repeating: -2.101_024_021e-06).addingProduct(p, square)
    p = Lanes(repeating: -5.692_506_395e-05).addingProduct(p, square)
    p = Lanes(repeating: -7.349_906_303e-04).addingProduct(p, square)
    p = Lanes(repeating: -2.954_599_809e-03).addingProduct(p, square)
    p = Lanes(repeating: -1.609_603_333e-02).addingProduct(p, square)
    var q = Lanes(repeating: -1.456_607_185e-05)
    q = Lanes(repeating: -2.133_740_553e-04).addingProduct(q, square)
    q = Lanes(repeating: -1.682_826_974e-03).addingProduct(q, square)
    q = Lanes(repeating: -7.373_329_167e-03).addingProduct(q, square)
    q = Lanes(repeating: -1.426_473_905e-02).addingProduct(q, square)
    return x * p / q
  }

  /// Runs `body` over whole lanes, then once over the padded remainder, so that a value's result
  /// does not depend on its distance from the end of the row.
  @inline(__always)
  static func map(
    _ count: Int, _ source: UnsafePointer<Float>, _ destination: UnsafeMutablePointer<Float>,
    _ body: (Lanes) -> Lanes
  ) {
    var index = 0
    while index + laneCount <= count {
      destination.setLanes(index, body(source.lanes(index)))
      index += laneCount
    }
    guard index < count else { return }
    var rest = Lanes.zero
    for lane in 0..<(count - index) { rest[lane] = source[index + lane] }
    rest = body(rest)
    for lane in 0..<(count - index) { destination[index + lane] = rest[lane] }
  }
}
