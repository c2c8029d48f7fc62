public import Interfaces
public import TensorCore

/// A codebook of patch vectors: the token of a patch is the nearest code.
///
/// A patch vector (channel slowest) is standardized: `(x - mean) / sqrt(variance + 1e-6)`. The
/// nearest code c minimizes `|c|^2 / 2 - c . x`; of equal ones the first.
public struct KMeansTokenizer: DiscreteTokenizer {
  /// `[vocabulary, C p p]`.
  public let codebook: Tensor
  public let patchSize: Int
  public let view: ViewSpecification
  private let halfSquares: [Float]

  /// Rows of one product with the codebook: fixed, so that tokens do not depend on the batch.
  private static let slab = 256

  /// - Throws: Where codebook and view do not fit each other.
  public init(
    codebook: Tensor, patchSize: Int, view: ViewSpecification
  ) throws(ConfigurationError) {
    let values = view.mean.count * patchSize * patchSize
    guard codebook.shape.rank == 2, codebook.columns == values, patchSize > 0,
      view.size % patchSize == 0
    else {
      throw ConfigurationError(
        "method.tokenizer",
        "a codebook \(codebook.shape) does not fit patches of \(values) values in images of "
          + "\(view.size)")
    }
    self.codebook = codebook
    self.patchSize = patchSize
    self.view = view
    halfSquares = (0..<codebook.rows).map { code in
      let row = UnsafeBufferPointer(start: codebook.pointer + code * values, count: values)
      return row.reduce(0) { $0 + $1 * $1 } / 2
    }
  }

  public var vocabularySize: Int { codebook.rows }
  public var grid: Int { view.size / patchSize }

  public func tokens(for images: Tensor, pool: ThreadPool) -> [Int32] {
    nearestCodes(
      to: KMeansTokenizer.patches(of: images, patchSize: patchSize, pool: pool), pool: pool)
  }

  /// Standardized patch vectors of all patches, `[B * grid * grid, C p p]`.
  public static func patches(of images: Tensor, patchSize: Int, pool: ThreadPool) -> Tensor {
    let (batch, channels, size) = (images.shape[0], images.shape[1], images.shape[2])
    let count = (size / patchSize) * (size / patchSize)
    let values = channels * patchSize * patchSize
    let patches = Tensor(uninitialized: [batch * count, values])
    let positions = (0..<batch).flatMap { _ in (0..<Int32(count)) }
    positions.withUnsafeBufferPointer { indices in
      guard let base = indices.baseAddress else { return }
      TokenKernel.extractPatches(
        pool, images: images.pointer, channels: channels, imageSize: size, patchSize: patchSize,
        positions: base, batch: batch, count: count, output: patches.pointer)
    }
    pool.runSlabs(of: batch * count, as: .dataMovement) { slab, _ in
      for row in slab { standardize(patches.pointer + row * values, count: values) }
    }
    return patches
  }

  /// The nearest code of every row of `vectors`.
  public func nearestCodes(to vectors: Tensor, pool: ThreadPool) -> [Int32] {
    let (rows, values, codes) = (vectors.rows, vectors.columns, codebook.rows)
    let slabs = (rows + KMeansTokenizer.slab - 1) / KMeansTokenizer.slab
    let products = Tensor(uninitialized: [pool.threadCount, KMeansTokenizer.slab, codes])
    // A code is stored as a float: exact far beyond any vocabulary.
    let nearest = Tensor(uninitialized: [max(rows, 1)])
    pool.run(slabs, as: .products) { slab, worker in
      let start = slab * KMeansTokenizer.slab
      let count = min(KMeansTokenizer.slab, rows - start)
      let block = products.pointer + worker * KMeansTokenizer.slab * codes
      BLAS.multiply(
        transposeB: true, m: count, n: codes, k: values, vectors.pointer + start * values,
        lda: values, codebook.pointer, ldb: values, beta: 0, block, ldc: codes)
      for row in 0..<count { nearest.pointer[start + row] = Float(best(block + row * codes)) }
    }
    return (0..<rows).map { Int32(nearest.pointer[$0]) }
  }

  private func best(_ products: UnsafePointer<Float>) -> Int {
    var (code, score) = (0, halfSquares[0] - products[0])
    for candidate in 1..<max(halfSquares.count, 1) {
      let value = halfSquares[candidate] - products[candidate]
      if value < score { (code, score) = (candidate, value) }
    }
    return code
  }

  private static func standardize(_ vector: UnsafeMutablePointer<Float>, count: Int) {
    var (sum, squares): (Float, Float) = (0, 0)
    for index in 0..<count { sum += vector[index] }
    let mean = sum / Float(count)
    for index in 0..<count { squares += (vector[index] - mean) * (vector[index] - mean) }
    let factor = 1 / (squares / Float(count) + 1e-6).squareRoot()
    for index in 0..<count { vector[index] = (vector[index] - mean) * factor }
  }
}
