import Glibc
import Synchronization

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

/// Sums over long vectors.
public enum ReductionKernel {
  /// Adds `sum x_i^2` of each chunk to an exact sum: each chunk's in Double, so that the total is a
  /// function of the chunks alone, not of threads, nor of who has which chunk.
  ///
  /// What is not finite in a chunk makes the total not a number.
  public static func addSquaredNorms(
    _ pool: ThreadPool, of chunks: [UnsafeBufferPointer<Float>], to total: inout ExactSum
  ) {
    // Some 16 chunks a task, or handing tasks out costs more than they do.
    let tasks = (chunks.count + 15) / 16
    withUnsafeTemporaryAllocation(of: Double.self, capacity: max(chunks.count, 1)) { partials in
      let base = partials.baseAddress
      pool.run(tasks, as: .optimizer) { task, _ in
        for index in task * 16..<min(chunks.count, (task + 1) * 16) {
          base?[index] = squaredNorm(chunks[index])
        }
      }
      for partial in partials.prefix(chunks.count) { total.add(partial) }
    }
  }

  private static func squaredNorm(_ chunk: UnsafeBufferPointer<Float>) -> Double {
    guard let x = chunk.baseAddress else { return 0 }
    var sums = (SIMD4<Double>.zero, SIMD4<Double>.zero)
    var index = 0
    while index + laneCount <= chunk.count {
      let lanes = x.lanes(index)
      let low = SIMD4<Double>(lanes.lowHalf)
      let high = SIMD4<Double>(lanes.highHalf)
      sums.0 = sums.0.addingProduct(low, low)
      sums.1 = sums.1.addingProduct(high, high)
      index += laneCount
    }
    var total = (sums.0 + sums.1).sum()
    for rest in index..<chunk.count { total += Double(x[rest]) * Double(x[rest]) }
    return total
  }

  /// Whether all values are finite.
  public static func isFinite(
    _ pool: ThreadPool, _ x: UnsafePointer<Float>, count: Int
  ) -> Bool {
    // Waking the others costs more than a small range.
    guard count > 1 << 16 else { return largestPattern(x, 0..<count) < 0x7F80_0000 }
    let largest = Mutex(UInt32(0))
    pool.runSlabs(of: count, granule: 1024, as: .optimizer) { slab, _ in
      let pattern = largestPattern(x, slab)
      largest.withLock { $0 = max($0, pattern) }
    }
    return largest.withLock { $0 } < 0x7F80_0000
  }

  /// The largest bit pattern without sign: an exponent of all ones is above all finite ones.
  private static func largestPattern(_ x: UnsafePointer<Float>, _ range: Range<Int>) -> UInt32 {
    var largest = SIMD8<UInt32>.zero
    var index = range.lowerBound
    while index + laneCount <= range.upperBound {
      let bits = unsafeBitCast(x.lanes(index), to: SIMD8<UInt32>.self) & 0x7FFF_FFFF
      largest = largest.replacing(with: bits, where: bits .> largest)
      index += laneCount
    }
    var top = largest.max()
    for rest in index..<range.upperBound { top = max(top, x[rest].bitPattern & 0x7FFF_FFFF) }
    return top
  }

  /// The sum of what `part` makes of fixed chunks, in Double and in order, so that it does not
  /// depend on the number of threads.
  static func sum(
    _ pool: ThreadPool, count: Int, as kind: KernelKind, _ part: (Range<Int>) -> Double
  ) -> Double {
    let chunk = 1 << 16
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
