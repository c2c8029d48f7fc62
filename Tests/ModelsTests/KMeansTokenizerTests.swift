import Interfaces
import Models
import TensorCore
import TestSupport
import Testing

@Suite struct KMeansTokenizerTests {
  /// Squared distances of 48 standardized values, in Float on one side.
  static let distanceTolerance = 1e-3

  private func view(size: Int, channels: Int = 3) -> ViewSpecification {
    ViewSpecification(
      size: size, filter: .lanczos, mean: [Float](repeating: 0, count: channels),
      standardDeviation: [Float](repeating: 1, count: channels))
  }

  private var patches: StandardizedPatches {
    StandardizedPatches(patchSize: 4, view: view(size: 16))
  }

  private func tokenizer(codes: Int, seed: UInt64 = 1) throws -> KMeansTokenizer {
    var values = TestValues(seed)
    return try KMeansTokenizer(Codebook(values.tensor([codes, 48], in: -2...2)), of: patches)
  }

  private func images(_ count: Int) -> Tensor {
    var values = TestValues(5)
    return values.tensor([count, 3, 16, 16], in: 0...1)
  }

  private func squaredDistance(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Double {
    zip(a, b).reduce(0.0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
  }

  @Test func patchesAreStandardized() {
    let pool = ThreadPool(threadCount: 2)
    let images = images(2)
    let patches = self.patches.vectors(of: images, pool: pool)
    #expect(patches.shape == [32, 48])
    let values = patches.values
    for row in 0..<32 {
      let patch = values[row * 48..<(row + 1) * 48].map(Double.init)
      #expect(abs(patch.reduce(0, +)) < 1e-4)
      #expect(abs(patch.reduce(0) { $0 + $1 * $1 } / 48 - 1) < 1e-3)
    }
    // Row 1 is the patch right of the first, its channels one after the other.
    let raw = (0..<48).map { index -> Float in
      let (channel, y, x) = (index / 16, index % 16 / 4, index % 4)
      return images.values[channel * 256 + y * 16 + 4 + x]
    }
    let mean: Float = raw.reduce(0, +) / 48
    let squares = raw.map { ($0 - mean) * ($0 - mean) }
    let deviation = (squares.reduce(0, +) / 48 + 1e-6).squareRoot()
    let expected = raw.map { ($0 - mean) / deviation }
    #expect(largestDifference(Array(values[48..<96]), expected) < 1e-4)
    // A constant patch has no direction; it must not be divided by zero.
    let flat = StandardizedPatches(patchSize: 4, view: view(size: 4)).vectors(
      of: Tensor(repeating: 0.7, shape: [1, 3, 4, 4]), pool: pool)
    #expect(flat.values.allSatisfy { abs($0) < 1e-3 })
  }

  @Test(arguments: [1, 2, 7, 64, 300])
  func tokensAreTheNearestCodes(codes: Int) throws {
    let tokenizer = try tokenizer(codes: codes)
    let pool = ThreadPool(threadCount: 2)
    // 20 images have 320 patches: more than one slab.
    let images = images(20)
    let tokens = tokenizer.tokens(for: images, pool: pool)
    #expect(tokens.count == 320)
    let patches = self.patches.vectors(of: images, pool: pool).values
    let codebook = tokenizer.codebook.vectors.values
    for (row, token) in tokens.enumerated() {
      let patch = patches[row * 48..<(row + 1) * 48]
      let distances = (0..<codes).map { squaredDistance(patch, codebook[$0 * 48..<($0 + 1) * 48]) }
      #expect(
        distances[Int(token)] - distances.min()! < KMeansTokenizerTests.distanceTolerance)
    }
    #expect(codes < 64 || Set(tokens).count > 20)
  }

  @Test func tokensDependNeitherOnTheBatchNorOnThreads() throws {
    let tokenizer = try tokenizer(codes: 100)
    let images = images(20)
    let all = [1, 2, 3].map {
      tokenizer.tokens(for: images, pool: ThreadPool(threadCount: $0))
    }
    #expect(all[1] == all[0])
    #expect(all[2] == all[0])
    let pool = ThreadPool(threadCount: 2)
    for index in 0..<20 {
      let image = Tensor(
        storage: images.storage, offset: index * 768, shape: [1, 3, 16, 16])
      #expect(
        tokenizer.tokens(for: image, pool: pool) == Array(all[0][index * 16..<(index + 1) * 16]))
    }
  }

  @Test func ofEqualCodesTheFirstIsTaken() throws {
    var values = TestValues(3)
    let code = values.floats(48)
    let codebook = Codebook(Tensor(code.map { -$0 } + code + code + code, shape: [4, 48]))
    let tokens = codebook.nearest(
      to: Tensor(code, shape: [1, 48]), pool: ThreadPool(threadCount: 1))
    #expect(tokens == [1])
  }

  @Test func aCodebookThatDoesNotFitIsRefused() throws {
    let error = #expect(throws: ConfigurationError.self) {
      try KMeansTokenizer(Codebook(Tensor(repeating: 0, shape: [5, 47])), of: patches)
    }
    #expect(error?.keyPath == "method.tokenizer")
    let tokenizer = try tokenizer(codes: 5)
    #expect((tokenizer.vocabularySize, tokenizer.grid) == (5, 4))
  }

  /// A teacher whose features are known: `(3 + token, -4 (3 + token))`, and 0 for the last patch.
  private final class KnownTeacher: FeatureTeacher {
    let width = 2
    let grid = 4
    let flopsPerImage = 0.0
    let view: ViewSpecification

    init(_ view: ViewSpecification) { self.view = view }

    func features(of images: Tensor, pool: ThreadPool) -> Tensor {
      let batch = images.shape[0]
      return Tensor(
        (0..<batch * 17).flatMap { row -> [Float] in
          let token = Float(row % 17)
          return token == 16 ? [0, 0] : [3 + token, -4 * (3 + token)]
        }, shape: [batch, 17, 2])
    }
  }

  @Test func directionsAreThoseOfThePatches() throws {
    let pool = ThreadPool(threadCount: 2)
    let directions = FeatureDirections(KnownTeacher(view(size: 16)))
    #expect((directions.width, directions.grid, directions.view.size) == (2, 4, 16))
    let vectors = directions.vectors(of: images(3), pool: pool)
    #expect(vectors.shape == [48, 2])
    let unit = [1, -4].map { Float($0) / Float(17).squareRoot() }
    for row in 0..<48 {
      let expected = row % 16 == 15 ? [0, 0] : unit
      #expect(
        largestDifference(Array(vectors.values[2 * row..<2 * row + 2]), expected) < 1e-6)
    }
    let tokenizer = try KMeansTokenizer(
      Codebook(Tensor([0, 0] + unit + unit.map { -$0 }, shape: [3, 2])), of: directions)
    let tokens = tokenizer.tokens(for: images(1), pool: pool)
    #expect(tokens == [Int32](repeating: 1, count: 15) + [0])
  }
}
