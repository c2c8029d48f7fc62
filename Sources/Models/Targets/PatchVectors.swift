public import Interfaces
public import TensorCore

/// What a k-means tokenizer makes of an image before it looks for the nearest codes: a vector of each
/// patch.
public protocol PatchVectors: Sendable {
  /// Values of a vector.
  var width: Int { get }
  /// Patches along one side of the image.
  var grid: Int { get }
  /// The picture that it wants of a crop.
  var view: ViewSpecification { get }
  /// Patches of an image that a mini-batch learns from, at most: few, so that it sees many images,
  /// where an image costs little.
  var perImage: Int { get }
  /// `[B * grid * grid, width]`, in raster order, of images `[B, C, S, S]` made by `view`.
  func vectors(of images: Tensor, pool: ThreadPool) -> Tensor
}

/// Pixels of the patches, channel slowest, standardized: `(x - mean) / sqrt(variance + 1e-6)`.
public struct StandardizedPatches: PatchVectors {
  public let patchSize: Int
  public let view: ViewSpecification

  /// - Precondition: The patches fill the view.
  public init(patchSize: Int, view: ViewSpecification) {
    precondition(view.size % patchSize == 0, "patches of \(patchSize) in \(view.size) pixels")
    (self.patchSize, self.view) = (patchSize, view)
  }

  public var width: Int { view.mean.count * patchSize * patchSize }
  public var grid: Int { view.size / patchSize }
  public var perImage: Int { 16 }

  public func vectors(of images: Tensor, pool: ThreadPool) -> Tensor {
    let (batch, channels, size) = (images.shape[0], images.shape[1], images.shape[2])
    let (count, width) = (grid * grid, width)
    let patches = Tensor(uninitialized: [batch * count, width])
    let positions = (0..<batch).flatMap { _ in (0..<Int32(count)) }
    positions.withUnsafeBufferPointer { indices in
      guard let base = indices.baseAddress else { return }
      TokenKernel.extractPatches(
        pool, images: images.pointer, channels: channels, imageSize: size, patchSize: patchSize,
        positions: base, batch: batch, count: count, output: patches.pointer)
    }
    pool.runSlabs(of: batch * count, as: .dataMovement) { slab, _ in
      for row in slab {
        StandardizedPatches.standardize(patches.pointer + row * width, count: width)
      }
    }
    return patches
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

/// Directions of a teacher's features of the patches, `x / |x|`: the nearest code is then the one of
/// the largest cosine, but for the codes' lengths.
public struct FeatureDirections: PatchVectors {
  public let teacher: any FeatureTeacher

  public init(_ teacher: any FeatureTeacher) { self.teacher = teacher }

  public var width: Int { teacher.width }
  public var grid: Int { teacher.grid }
  public var view: ViewSpecification { teacher.view }
  public var perImage: Int { 64 }

  public func vectors(of images: Tensor, pool: ThreadPool) -> Tensor {
    let (batch, count, width) = (images.shape[0], grid * grid, width)
    let features = teacher.features(of: images, pool: pool)
    let vectors = Tensor(uninitialized: [batch * count, width])
    pool.runSlabs(of: batch * count, as: .dataMovement) { slab, _ in
      for row in slab {
        // The feature of the whole image comes first.
        let source = features.pointer + (row + row / count + 1) * width
        let target = vectors.pointer + row * width
        var squares: Float = 0
        for index in 0..<width { squares += source[index] * source[index] }
        let factor = squares > 0 ? 1 / squares.squareRoot() : 0
        for index in 0..<width { target[index] = factor * source[index] }
      }
    }
    return vectors
  }
}
