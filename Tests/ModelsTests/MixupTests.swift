import HDF5
import Interfaces
import NN
import TensorCore
import TestSupport
import Testing

@testable import Models

/// A case of Scripts/reference/augmentations.py.
private struct GoldenMix {
  let images: Tensor
  let expected: [Float]
  let labels: [Int32]
  let targets: [Float]
  let logits: Tensor
  let gradient: [Float]
  let parameters: [Double]

  init(_ number: Int) throws {
    let root = try HDF5File(path: GoldenFile.path("augmentations.h5"), .readOnly).root
    func dataset(_ name: String) throws -> HDF5Dataset {
      try root.dataset("mix00\(number)-\(name)")
    }
    func tensor(_ name: String) throws -> Tensor {
      let data = try dataset(name)
      return Tensor(try data.read(), shape: Shape(data.shape))
    }
    images = try tensor("image")
    expected = try dataset("expected").read()
    labels = try dataset("labels").read()
    targets = try dataset("targets").read()
    logits = try tensor("logits")
    gradient = try dataset("gradient").read()
    parameters = try dataset("parameters").read()
  }

  var draw: MixupDraw {
    guard parameters[0] == 1 else { return .mixup(share: parameters[1]) }
    return MixupDraw(
      cutMixShare: parameters[1], row: Int(parameters[2]), column: Int(parameters[3]),
      height: images.shape[2], width: images.shape[3])
  }
}

@Suite struct MixupTests {
  /// Images to the bit; the share, and the loss and its gradient within rounding.
  @Test(arguments: 0..<5) func equalsTimmOnTheSameDraws(number: Int) throws {
    let golden = try GoldenMix(number)
    let draw = golden.draw
    let pool = ThreadPool(threadCount: 2)
    let images = golden.images.copy()
    draw.apply(to: images, pool: pool)
    #expect(largestDifference(images.values, golden.expected) == 0)
    #expect(abs(draw.share - golden.parameters[4]) < 1e-15)

    let model = TapeParts(pool)
    let logits = model.tape.input(golden.logits.copy())
    let loss = model.tape.crossEntropy(
      logits, targets: draw.targets(labels: golden.labels, smoothing: golden.parameters[5])
    ).loss
    #expect(abs(loss.value - golden.parameters[6]) < 1e-6)
    let gradient = model.tape.backward(
      from: [(loss.variable, 1)], into: model.sink, of: [logits])[0]
    #expect(largestDifference(gradient?.values ?? [], golden.gradient) < 1e-6)
  }

  private struct TapeParts {
    let tape: Tape
    let sink: FlatGradientSink

    init(_ pool: ThreadPool) {
      let tree = ParameterTree()
      let buffer = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "nothing")
      tape = Tape(parameters: buffer, pool: pool)
      sink = FlatGradientSink(buffer, for: tree)
    }
  }

  // MARK: Draws

  private func draws(
    _ configuration: MixupConfiguration = MixupConfiguration(), count: Int = 4000
  ) -> [MixupDraw] {
    (0..<count).map {
      MixupDraw(
        configuration, seed: 1, key: SampleKey(epoch: $0 / 4, sample: $0 % 4), imageSize: 32)
    }
  }

  @Test func halfOfTheBatchesAreCut() {
    let draws = draws()
    var cut: [Double] = []
    var blended: [Double] = []
    for draw in draws {
      switch draw {
      case .none: Issue.record("nothing is mixed")
      case .mixup(let share): blended.append(share)
      case .cutMix(let rows, let columns, let share):
        cut.append(share)
        #expect(share == 1 - Double(rows.count * columns.count) / 1024)
        #expect(rows.lowerBound >= 0 && rows.upperBound <= 32)
        #expect(columns.lowerBound >= 0 && columns.upperBound <= 32)
      }
    }
    #expect(abs(cut.count - 2000) < 150)
    // Beta(0.8, 0.8) has variance 1 / (4 * 2.6).
    let variance = blended.reduce(0) { $0 + ($1 - 0.5) * ($1 - 0.5) } / Double(blended.count)
    #expect(abs(variance - 0.09615) < 0.01)
    // Cutting off at the border raises the mean above 1/2.
    #expect(cut.reduce(0, +) / Double(cut.count) > 0.55)
  }

  @Test func eitherCanBeOff() {
    for draw in draws(MixupConfiguration(cutMixAlpha: 0), count: 50) {
      guard case .mixup = draw else {
        Issue.record("\(draw)")
        continue
      }
    }
    for draw in draws(MixupConfiguration(mixupAlpha: 0), count: 50) {
      guard case .cutMix = draw else {
        Issue.record("\(draw)")
        continue
      }
    }
    let none = draws(MixupConfiguration(mixupAlpha: 0, cutMixAlpha: 0), count: 2)
    #expect(none == [.none, .none] && none[0].share == 1)
  }

  @Test func drawsDependOnSeedEpochAndSample() {
    func draw(_ seed: UInt64, _ epoch: Int, _ sample: Int) -> MixupDraw {
      MixupDraw(
        MixupConfiguration(cutMixAlpha: 0), seed: seed,
        key: SampleKey(epoch: epoch, sample: sample),
        imageSize: 8)
    }
    #expect(draw(1, 2, 3) == draw(1, 2, 3))
    let others = [draw(1, 2, 3), draw(2, 2, 3), draw(1, 3, 3), draw(1, 2, 4)]
    #expect(Set(others.map(\.share)).count == 4)
  }
}
