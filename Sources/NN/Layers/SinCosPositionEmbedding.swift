import Glibc
public import TensorCore

/// The fixed two-dimensional position table of CAE and MoCo v3.
///
/// With q = width / 4 and `w_k = 10000^(-k / q)`, the row of patch (r, c) is
/// `[sin(r w), cos(r w), sin(c w), cos(c w)]`: blocks of q channels, the *row* first. (MAE's table
/// has the column first.)
public enum SinCosPositionEmbedding {
  /// - Returns: `[grid * grid, width]`, patches in raster order. The class token has no row: its
  ///   position is zero.
  /// - Precondition: The width is divisible by 4.
  /// - Precision: Float throughout, as the published tables.
  public static func table(grid: Int, width: Int) -> Tensor {
    precondition(width % 4 == 0, "a position table needs a width divisible by 4, not \(width)")
    let quarter = width / 4
    let frequencies = (0..<quarter).map { 1 / Glibc.powf(10000, Float($0) / Float(quarter)) }
    let table = Tensor(uninitialized: [grid * grid, width])
    for row in 0..<grid {
      for column in 0..<grid {
        let line = table.pointer + (row * grid + column) * width
        for (k, frequency) in frequencies.enumerated() {
          line[k] = Glibc.sinf(Float(row) * frequency)
          line[quarter + k] = Glibc.cosf(Float(row) * frequency)
          line[2 * quarter + k] = Glibc.sinf(Float(column) * frequency)
          line[3 * quarter + k] = Glibc.cosf(Float(column) * frequency)
        }
      }
    }
    return table
  }
}
