/// Moves and choices over images that stand channels last, `[B, H, W, C]`.
public enum ImageKernel {
  /// `[B, rows, columns]` to `[B, columns, rows]`: channels last from channels first, and back.
  public static func transpose(
    _ pool: ThreadPool, _ source: UnsafePointer<Float>, batch: Int, rows: Int, columns: Int,
    into target: UnsafeMutablePointer<Float>
  ) {
    pool.runSlabs(of: batch * rows, as: .dataMovement) { slab, _ in
      for index in slab {
        let (image, row) = index.quotientAndRemainder(dividingBy: rows)
        let plane = target + image * rows * columns + row
        for column in 0..<columns { plane[column * rows] = source[index * columns + column] }
      }
    }
  }

  /// Maximum of each 2 x 2 pixels, `[B, H / 2, W / 2, C]`; an odd last line or column is dropped.
  public static func maximumPool(
    _ pool: ThreadPool, _ source: UnsafePointer<Float>, batch: Int, height: Int, width: Int,
    channels: Int, into target: UnsafeMutablePointer<Float>
  ) {
    let (lines, columns) = (height / 2, width / 2)
    pool.runSlabs(of: batch * lines, as: .dataMovement) { slab, _ in
      for index in slab {
        let (image, line) = index.quotientAndRemainder(dividingBy: lines)
        let upper = source + (image * height + 2 * line) * width * channels
        for column in 0..<columns {
          let first = upper + 2 * column * channels
          maximum(
            first, first + channels, first + width * channels, first + (width + 1) * channels,
            into: target + (index * columns + column) * channels, count: channels)
        }
      }
    }
  }

  /// Every pixel four times, `[B, 2 H, 2 W, C]`.
  public static func upsample(
    _ pool: ThreadPool, _ source: UnsafePointer<Float>, batch: Int, height: Int, width: Int,
    channels: Int, into target: UnsafeMutablePointer<Float>
  ) {
    pool.runSlabs(of: batch * 2 * height, as: .dataMovement) { slab, _ in
      for index in slab {
        // Lines of all images count on: two of the target for each of the source.
        let line = source + index / 2 * width * channels
        let output = target + index * 2 * width * channels
        for column in 0..<2 * width {
          (output + column * channels).update(
            from: line + column / 2 * channels, count: channels)
        }
      }
    }
  }

  /// The index of each row's largest value, of equal ones the first. What is not a number is never
  /// the largest; a row without numbers gives 0.
  public static func largestOfRows(
    _ pool: ThreadPool, _ values: UnsafePointer<Float>, rows: Int, columns: Int,
    into indices: UnsafeMutablePointer<Int32>
  ) {
    pool.runSlabs(of: rows, as: .elementwise) { slab, _ in
      for row in slab { indices[row] = Int32(largest(values + row * columns, count: columns)) }
    }
  }

  private static func largest(_ row: UnsafePointer<Float>, count: Int) -> Int {
    var lanes = Lanes(repeating: -.infinity)
    var index = 0
    while index + laneCount <= count {
      let value = row.lanes(index)
      lanes.replace(with: value, where: value .> lanes)
      index += laneCount
    }
    var best = -Float.infinity
    for lane in 0..<laneCount where lanes[lane] > best { best = lanes[lane] }
    while index < count {
      if row[index] > best { best = row[index] }
      index += 1
    }
    for index in 0..<count where row[index] == best { return index }
    return 0
  }

  @inline(__always)
  private static func maximum(
    _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafePointer<Float>,
    _ d: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>, count: Int
  ) {
    var index = 0
    while index + laneCount <= count {
      let upper = larger(a.lanes(index), b.lanes(index))
      target.setLanes(index, larger(upper, larger(c.lanes(index), d.lanes(index))))
      index += laneCount
    }
    while index < count {
      target[index] = max(max(a[index], b[index]), max(c[index], d[index]))
      index += 1
    }
  }

  @inline(__always)
  private static func larger(_ a: Lanes, _ b: Lanes) -> Lanes {
    a.replacing(with: b, where: b .> a)
  }
}
