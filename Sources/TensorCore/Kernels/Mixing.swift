/// Mixes every image of a batch with the one as far from the other end, in place.
///
/// The image in the middle of an odd batch is its own partner and stays.
public enum MixingKernel {
  /// `x_i = share x_i + (1 - share) x_(B - 1 - i)`, x `[B, count]`; products and sum rounded each.
  public static func blend(
    _ pool: ThreadPool, _ images: UnsafeMutablePointer<Float>, batch: Int, count: Int,
    share: Double
  ) {
    let (own, other) = (Float(share), Float(1 - share))
    for image in 0..<batch / 2 {
      let (a, b) = (images + image * count, images + (batch - 1 - image) * count)
      pool.runSlabs(of: count, granule: 1024, as: .elementwise) { slab, _ in
        for index in slab {
          let (left, right) = (a[index], b[index])
          a[index] = left * own + right * other
          b[index] = right * own + left * other
        }
      }
    }
  }

  /// Swaps a rectangle between partners, x `[B, channels, height, width]`.
  public static func swapBoxes(
    _ pool: ThreadPool, _ images: UnsafeMutablePointer<Float>, batch: Int, channels: Int,
    height: Int, width: Int, rows: Range<Int>, columns: Range<Int>
  ) {
    pool.run(batch / 2 * channels, as: .dataMovement) { task, _ in
      let (image, channel) = (task / channels, task % channels)
      let a = images + (image * channels + channel) * height * width
      let b = images + ((batch - 1 - image) * channels + channel) * height * width
      for row in rows {
        for place in row * width + columns.lowerBound..<row * width + columns.upperBound {
          (a[place], b[place]) = (b[place], a[place])
        }
      }
    }
  }
}
