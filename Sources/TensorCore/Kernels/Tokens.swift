/// Moves of whole token rows.
public enum TokenKernel {
  /// Non-overlapping patches of images as rows for the patch embedding.
  ///
  /// - Parameters:
  ///   - images: `[B, C, S, S]`.
  ///   - positions: `[B, count]`, patch indices `row * grid + column`.
  ///   - output: `[B, count, C p p]`, channel slowest, as a convolution's weight has it.
  public static func extractPatches(
    _ pool: ThreadPool, images: UnsafePointer<Float>, channels: Int, imageSize: Int,
    patchSize: Int, positions: UnsafePointer<Int32>, batch: Int, count: Int,
    output: UnsafeMutablePointer<Float>
  ) {
    let grid = imageSize / patchSize
    let patchCount = channels * patchSize * patchSize
    pool.runSlabs(of: batch * count, as: .dataMovement) { slab, _ in
      for row in slab {
        let position = Int(positions[row])
        let (top, left) = (position / grid * patchSize, position % grid * patchSize)
        let image = images + row / count * channels * imageSize * imageSize
        var target = output + row * patchCount
        for channel in 0..<channels {
          for line in 0..<patchSize {
            let source = image + (channel * imageSize + top + line) * imageSize + left
            target.update(from: source, count: patchSize)
            target += patchSize
          }
        }
      }
    }
  }

  /// `output[b, prefix + j] = x[b, j] + table[positions[b, j]]`; rows before `prefix` are left.
  public static func addPositions(
    _ pool: ThreadPool, x: UnsafePointer<Float>, table: UnsafePointer<Float>,
    positions: UnsafePointer<Int32>, output: UnsafeMutablePointer<Float>, batch: Int, count: Int,
    prefix: Int, columns: Int
  ) {
    pool.runSlabs(of: batch * count, as: .dataMovement) { slab, _ in
      for row in slab {
        let (sample, token) = (row / count, row % count)
        let target = output + (sample * (count + prefix) + prefix + token) * columns
        target.update(from: x + row * columns, count: columns)
        addRow(table + Int(positions[row]) * columns, to: target, count: columns)
      }
    }
  }

  /// Copies `count` rows of every sample: row `sourceStart + j` to row `targetStart + j`.
  public static func copyRows(
    _ pool: ThreadPool, source: UnsafePointer<Float>, sourceRows: Int, sourceStart: Int,
    target: UnsafeMutablePointer<Float>, targetRows: Int, targetStart: Int, batch: Int,
    count: Int, columns: Int
  ) {
    pool.runSlabs(of: batch, as: .dataMovement) { slab, _ in
      for sample in slab {
        (target + (sample * targetRows + targetStart) * columns).update(
          from: source + (sample * sourceRows + sourceStart) * columns, count: count * columns)
      }
    }
  }

  /// `output[b] = mean over t of x[b, start + t]`, x `[B, tokens, C]`, output `[B, C]`.
  ///
  /// - Precision: Float, in the order of tokens.
  public static func mean(
    _ pool: ThreadPool, x: UnsafePointer<Float>, tokens: Int, start: Int,
    output: UnsafeMutablePointer<Float>, batch: Int, columns: Int
  ) {
    let factor = 1 / Float(tokens - start)
    pool.runSlabs(of: batch, as: .elementwise) { slab, _ in
      for sample in slab {
        let sum = output + sample * columns
        sum.update(repeating: 0, count: columns)
        for token in start..<tokens {
          addRow(x + (sample * tokens + token) * columns, to: sum, count: columns)
        }
        VectorMath.map(columns, sum, sum) { $0 * factor }
      }
    }
  }

  /// `dX[b, start + t] = dOutput[b] / (tokens - start)`, and zero before `start`.
  public static func meanBackward(
    _ pool: ThreadPool, dOutput: UnsafePointer<Float>, tokens: Int, start: Int,
    dX: UnsafeMutablePointer<Float>, batch: Int, columns: Int
  ) {
    let factor = 1 / Float(tokens - start)
    pool.runSlabs(of: batch * tokens, as: .elementwise) { slab, _ in
      for row in slab {
        let target = dX + row * columns
        if row % tokens < start {
          target.update(repeating: 0, count: columns)
        } else {
          VectorMath.map(columns, dOutput + row / tokens * columns, target) { $0 * factor }
        }
      }
    }
  }

  /// `target += source`, element-wise.
  public static func add(
    _ pool: ThreadPool, _ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>,
    count: Int
  ) {
    pool.runSlabs(of: count, granule: 1024, as: .elementwise) { slab, _ in
      addRow(source + slab.lowerBound, to: target + slab.lowerBound, count: slab.count)
    }
  }

  /// `target += source` on the calling thread, for single rows.
  public static func addSerially(
    _ source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>, count: Int
  ) {
    addRow(source, to: target, count: count)
  }
}
