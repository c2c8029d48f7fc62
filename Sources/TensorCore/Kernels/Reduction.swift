import Glibc

/// Names of C functions that would otherwise hide behind methods of the same name.
enum CLibrary {
  static func exp(_ x: Double) -> Double { Glibc.exp(x) }
  static func log(_ x: Double) -> Double { Glibc.log(x) }
}

@inline(__always)
func logarithm(_ x: Float) -> Float { Glibc.logf(x) }

@inline(__always)
func maximum(_ row: UnsafePointer<Float>, count: Int) -> Float {
  var largest = row[0]
  var index = 0
  if count >= laneCount {
    var lanes = row.lanes(0)
    index = laneCount
    while index + laneCount <= count {
      let next = row.lanes(index)
      lanes = lanes.replacing(with: next, where: next .> lanes)
      index += laneCount
    }
    largest = lanes.max()
  }
  for rest in index..<max(count, index) where row[rest] > largest { largest = row[rest] }
  return largest
}

/// `row = exp(row - shift)`; returns the sum.
@inline(__always)
@discardableResult
func exponentiate(_ row: UnsafeMutablePointer<Float>, minus shift: Float, count: Int) -> Float {
  var sums = Lanes.zero
  var index = 0
  while index + laneCount <= count {
    let value = VectorMath.exp(row.lanes(index) - shift)
    row.setLanes(index, value)
    sums += value
    index += laneCount
  }
  var total = sums.total
  for rest in index..<count {
    row[rest] = VectorMath.exp(Lanes(repeating: row[rest] - shift))[0]
    total += row[rest]
  }
  return total
}

@inline(__always)
func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int) -> Float {
  var sums = Lanes.zero
  var index = 0
  while index + laneCount <= count {
    sums = sums.addingProduct(a.lanes(index), b.lanes(index))
    index += laneCount
  }
  var total = sums.total
  for rest in index..<count { total += a[rest] * b[rest] }
  return total
}

/// Sums over long vectors: fixed chunks, each in Double, added in order, so that the result does
/// not depend on the number of threads.
public enum ReductionKernel {
  static let chunk = 1 << 16

  /// `sum x_i^2`. Infinite or not a number exactly if an element is (or if it overflows Double).
  public static func squaredNorm(
    _ pool: ThreadPool, _ x: UnsafePointer<Float>, count: Int
  ) -> Double {
    sum(pool, count: count, as: .optimizer) { range in
      var sums = (SIMD4<Double>.zero, SIMD4<Double>.zero)
      var index = range.lowerBound
      while index + laneCount <= range.upperBound {
        let lanes = x.lanes(index)
        let low = SIMD4<Double>(lanes.lowHalf)
        let high = SIMD4<Double>(lanes.highHalf)
        sums.0 = sums.0.addingProduct(low, low)
        sums.1 = sums.1.addingProduct(high, high)
        index += laneCount
      }
      var total = (sums.0 + sums.1).sum()
      for rest in index..<range.upperBound { total += Double(x[rest]) * Double(x[rest]) }
      return total
    }
  }

  static func sum(
    _ pool: ThreadPool, count: Int, as kind: KernelKind, _ part: (Range<Int>) -> Double
  ) -> Double {
    let chunks = (count + chunk - 1) / chunk
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: max(chunks, 1)) { partials in
      let base = partials.baseAddress
      pool.run(chunks, as: kind) { index, _ in
        base?[index] = part(index * chunk..<min(count, (index + 1) * chunk))
      }
      return partials.prefix(chunks).reduce(0, +)
    }
  }
}
