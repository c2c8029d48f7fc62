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

  private func tokenizer(codes: Int, seed: UInt64 = 1) throws -> KMeansTokenizer {
    var values = TestValues(seed)
    return try KMeansTokenizer(
      codebook: values.tensor([codes, 48], in: -2...2), patchSize: 4, view: view(size: 16))
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
    let patches = KMeansTokenizer.patches(of: images, patchSize: 4, pool: pool)
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
    let flat = KMeansTokenizer.patches(
      of: Tensor(repeating: 0.7, shape: [1, 3, 4, 4]), patchSize: 4, pool: pool)
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
    let patches = KMeansTokenizer.patches(of: images, patchSize: 4, pool: pool).values
    let codebook = tokenizer.codebook.values
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
    let tokenizer = try KMeansTokenizer(
      codebook: Tensor(code.map { -$0 } + code + code + code, shape: [4, 48]), patchSize: 4,
      view: view(size: 16))
    let tokens = tokenizer.nearestCodes(
      to: Tensor(code, shape: [1, 48]), pool: ThreadPool(threadCount: 1))
    #expect(tokens == [1])
  }

  @Test func aCodebookThatDoesNotFitIsRefused() throws {
    for (shape, size) in [([5, 47], 16), ([5, 48], 18), ([240], 16)] as [(Shape, Int)] {
      let error = #expect(throws: ConfigurationError.self) {
        try KMeansTokenizer(
          codebook: Tensor(repeating: 0, shape: shape), patchSize: 4, view: view(size: size))
      }
      #expect(error?.keyPath == "method.tokenizer")
    }
    let tokenizer = try tokenizer(codes: 5)
    #expect((tokenizer.vocabularySize, tokenizer.grid) == (5, 4))
  }
}
