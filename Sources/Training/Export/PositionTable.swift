import NN
import TensorCore

/// The fixed position table as published: the zero row of the class token, then the patches.
enum PositionTable {
  static func published(grid: Int, width: Int) -> (values: [Float], shape: [Int]) {
    let table = SinCosPositionEmbedding.table(grid: grid, width: width)
    return ([Float](repeating: 0, count: width) + table.values, [1, grid * grid + 1, width])
  }
}
