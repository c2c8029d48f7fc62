import Files
import Glibc
import Interfaces
import Testing

@testable import ShardedData

/// A file of real photographs, made by `make-resample-golden.py --photos`; too large to be kept.
private let photographs = getenv("CAE_RESAMPLE_GOLDEN").map { String(cString: $0) }

@Suite(.enabled(if: photographs != nil)) struct PhotographTests {
  /// Differences from Pillow, in steps of 8 bits.
  private struct Differences {
    var cases = 0
    var values = 0
    var sum = 0
    var largest = 0

    mutating func add(_ result: TestImage, _ expected: TestImage) {
      cases += 1
      values += result.pixels.count
      largest = max(largest, result.difference(expected))
      sum += zip(result.pixels, expected.pixels).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }
    }

    func print(_ name: String) {
      let mean = Double(sum) / Double(max(values, 1))
      Swift.print("\(name): \(cases) cases, largest difference \(largest), mean \(mean)")
    }
  }

  @Test func resizesAgreeWithPillow() throws {
    let path = try #require(photographs)
    let resampler = Resampler()
    var differences: [ResampleFilter: Differences] = [:]
    _ = try GoldenImage.each("resize", in: path) { golden in
      differences[golden.filter, default: Differences()].add(
        golden.resized(by: resampler), golden.expected)
    }
    for filter in [ResampleFilter.bicubic, .lanczos] {
      let found = try #require(differences[filter])
      found.print(filter.rawValue)
      #expect(found.largest <= ResampleTests.tolerance)
    }
  }

  @Test func middlesAgreeWithTorchvision() throws {
    let path = try #require(photographs)
    let resampler = Resampler()
    var found = Differences()
    let count = try GoldenImage.each("middle", in: path) {
      found.add($0.middle(by: resampler), $0.expected)
    }
    found.print("middle, bicubic")
    #expect(count > 0 && found.largest <= ResampleTests.tolerance)
  }

  @Test func jitterEqualsPillow() throws {
    let path = try #require(photographs)
    let jitter = ColorJitter()
    let count = try GoldenImage.each("jitter", in: path) { golden in
      #expect(golden.jittered(by: jitter) == golden.expected, "\(golden.name)")
    }
    #expect(count > 0)
  }
}

/// A folder of real photographs, JPEG; too large to be kept.
private let photographFolder = getenv("CAE_PHOTOGRAPHS").map { String(cString: $0) }

/// What it changes that large crops are decoded at reduced size.
@Suite(.enabled(if: photographFolder != nil)) struct ReducedDecodingTests {
  @Test func cropsDifferLittle() throws {
    let folder = try #require(photographFolder)
    let (decoder, resampler) = (ImageDecoder(channels: 3), Resampler())
    let plan = ViewPlan(
      cropScale: 0.08...1, cropAspect: 0.75...(4.0 / 3), flipProbability: 0, views: [])
    var (crops, reduced, values, sum, largest) = (0, 0, 0, 0, 0)
    for name in try Files.list(folder) where name.hasSuffix(".jpg") {
      let bytes = try Files.read("\(folder)/\(name)")
      for number in 0..<8 {
        try bytes.withUnsafeBytes { bytes in
          let size = try decoder.size(of: bytes)
          let box = Augmentation.draw(
            plan: plan, width: size.width, height: size.height, seed: 1,
            key: SampleKey(epoch: 0, sample: number)
          ).box
          crops += 1
          if ImageDecoder.denominator(box, needed: (224, 224)) == 1 { return }
          reduced += 1
          func resized(_ needed: (width: Int, height: Int)?) throws -> [UInt8] {
            let region = try decoder.decode(bytes, box: box, needed: needed)
            let result = resampler.resize(
              region.pixels, box: region.box, toWidth: 224, toHeight: 224, filter: .bicubic)
            return (0..<224 * 224 * 3).map { result.pointer[$0 / 3 * 4 + $0 % 3] }
          }
          for (one, other) in zip(try resized(nil), try resized((224, 224))) {
            values += 1
            sum += abs(Int(one) - Int(other))
            largest = max(largest, abs(Int(one) - Int(other)))
          }
        }
      }
    }
    let mean = Double(sum) / Double(max(values, 1))
    print("reduced: \(reduced) of \(crops) crops, largest difference \(largest), mean \(mean)")
    #expect(reduced > 0 && mean < 1)
  }
}
