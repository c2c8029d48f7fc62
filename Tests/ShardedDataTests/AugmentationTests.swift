import Interfaces
import Testing

@testable import ShardedData

@Suite struct AugmentationTests {
  private func plan(
    scale: ClosedRange<Double> = 0.08...1, aspect: ClosedRange<Double> = 0.75...(4.0 / 3),
    flip: Double = 0.5
  ) -> ViewPlan {
    ViewPlan(cropScale: scale, cropAspect: aspect, flipProbability: flip, views: [])
  }

  private func draws(
    _ plan: ViewPlan, width: Int, height: Int, count: Int = 2000
  ) -> [AugmentationDraw] {
    (0..<count).map {
      Augmentation.draw(
        plan: plan, width: width, height: height, seed: 1, key: SampleKey(epoch: 0, sample: $0))
    }
  }

  @Test(arguments: [(28, 28), (224, 224), (100, 60), (33, 64)])
  func boxesLieInTheImageAndKeepTheirAreaAndAspect(width: Int, height: Int) {
    for draw in draws(plan(), width: width, height: height) {
      let box = draw.box
      #expect(box.left >= 0 && box.left + box.width <= width)
      #expect(box.top >= 0 && box.top + box.height <= height)
      // Rounding moves a side by up to half a pixel.
      let (w, h) = (Double(box.width), Double(box.height))
      #expect((w + 0.5) * (h + 0.5) >= 0.08 * Double(width * height))
      #expect((w + 0.5) / (h - 0.5) >= 0.75 && (w - 0.5) / (h + 0.5) <= 4.0 / 3)
    }
  }

  /// Fixed views are functions of the name and of the epoch modulo their number, not of the seed,
  /// nor of where in a data set the image stands.
  @Test func fixedViewsBelongToTheImage() {
    var plan = plan()
    plan.fixedViews = 3
    func draw(_ name: String, epoch: Int, sample: Int = 0, seed: UInt64 = 1) -> AugmentationDraw {
      Augmentation.draw(
        plan: plan, width: 100, height: 60, seed: seed,
        key: SampleKey(epoch: epoch, sample: sample), name: name)
    }
    let views = (0..<6).map { draw("a/1.jpg", epoch: $0) }
    #expect(Array(views[..<3]) == Array(views[3...]))
    #expect(views[0] != views[1] && views[1] != views[2])
    #expect(draw("a/1.jpg", epoch: 1, sample: 77, seed: 5) == views[1])
    #expect(draw("a/2.jpg", epoch: 1) != views[1])
  }

  @Test func offsetsReachBothBorders() {
    // 27 of 28 pixels: offsets 0 and 1 both have to come, and nothing else.
    let plan = plan(scale: 0.93...0.93, aspect: 1...1)
    let boxes = draws(plan, width: 28, height: 28).map(\.box)
    #expect(Set(boxes.map(\.width)) == [27])
    #expect(Set(boxes.map(\.left)) == [0, 1])
    #expect(Set(boxes.map(\.top)) == [0, 1])
  }

  @Test func flipsComeAsOftenAsAskedFor() {
    let share = draws(plan(flip: 0.3), width: 28, height: 28, count: 10_000).count { $0.isFlipped }
    #expect(abs(share - 3000) < 200)
    #expect(draws(plan(flip: 0), width: 28, height: 28).allSatisfy { !$0.isFlipped })
    #expect(draws(plan(flip: 1), width: 28, height: 28).allSatisfy { $0.isFlipped })
  }

  @Test func aScaleOfOneTakesASquareWhole() {
    let boxes = draws(plan(scale: 1...1, aspect: 1...1), width: 28, height: 28).map(\.box)
    #expect(Set(boxes) == [CropBox(left: 0, top: 0, width: 28, height: 28)])
  }

  @Test func whatNeverFitsFallsBackToTheMiddle() {
    // A square of the whole area fits into no oblong image.
    let never = plan(scale: 1...1, aspect: 1...1)
    #expect(
      draws(never, width: 100, height: 60, count: 1)[0].box
        == CropBox(left: 20, top: 0, width: 60, height: 60))
    #expect(
      draws(never, width: 60, height: 101, count: 1)[0].box
        == CropBox(left: 0, top: 20, width: 60, height: 60))
    // Inside the range: the whole image.
    #expect(
      Augmentation.fallback(aspect: 0.5...2, width: 100, height: 60)
        == CropBox(left: 0, top: 0, width: 100, height: 60))
  }

  /// One draw of area and aspect, cut off at the image: a square of the whole area of an oblong
  /// image keeps the shorter side and is placed along the longer.
  @Test func clampedCropsAreCutOffAtTheImage() {
    var clamped = plan(scale: 1...1, aspect: 1...1)
    clamped.cropSampling = .clamped
    let boxes = draws(clamped, width: 100, height: 60).map(\.box)
    // sqrt(6000) = 77.46.
    #expect(Set(boxes.map(\.width)) == [77])
    #expect(Set(boxes.map(\.height)) == [60])
    #expect(Set(boxes.map(\.left)) == Set(0...23))
    clamped.cropScale = 0.08...1
    clamped.cropAspect = 0.75...(4.0 / 3)
    for draw in draws(clamped, width: 33, height: 64) {
      #expect(draw.box.left >= 0 && draw.box.left + draw.box.width <= 33)
      #expect(draw.box.top >= 0 && draw.box.top + draw.box.height <= 64)
    }
    // Where the first attempt fits, both ways of sampling give the same box.
    var rejecting = clamped
    rejecting.cropSampling = .rejection
    rejecting.cropScale = 0.2...0.4
    clamped.cropScale = 0.2...0.4
    #expect(
      draws(rejecting, width: 60, height: 60) == draws(clamped, width: 60, height: 60))
  }

  @Test func drawsDependOnSeedEpochAndSampleOnly() {
    func draw(seed: UInt64, epoch: Int, sample: Int) -> AugmentationDraw {
      Augmentation.draw(
        plan: plan(), width: 224, height: 224, seed: seed,
        key: SampleKey(epoch: epoch, sample: sample))
    }
    #expect(draw(seed: 1, epoch: 2, sample: 3) == draw(seed: 1, epoch: 2, sample: 3))
    let others = [
      draw(seed: 1, epoch: 2, sample: 3), draw(seed: 2, epoch: 2, sample: 3),
      draw(seed: 1, epoch: 3, sample: 3), draw(seed: 1, epoch: 2, sample: 4),
    ]
    #expect(Set(others.map(\.box)).count == others.count)
  }
}
