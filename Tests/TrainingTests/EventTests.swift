import Foundation
import TestSupport
import Testing

@testable import Training

@Suite struct EventTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  @Test(arguments: [
    ("loss", "loss/total"), ("lossAlignment", "loss/alignment"),
    ("validationLoss", "validation/loss"), ("validationLossAlignment", "validation/lossAlignment"),
    ("stepMilliseconds", "time/stepMilliseconds"), ("imagesPerSecond", "time/imagesPerSecond"),
    ("learningRate", "training/learningRate"), ("tokenAccuracy", "training/tokenAccuracy"),
  ])
  func figuresHaveGroups(key: String, tag: String) {
    var record = StepRecord(step: 1)
    record.set(key, 0.5)
    record.set("gradientNorm", .nan)
    #expect(record.scalars.map(\.tag) == [tag] && record.scalars.map(\.value) == [0.5])
  }

  @Test(arguments: [true, false]) func runsWriteEventsUnlessToldNotTo(isOn: Bool) throws {
    let outcome = try tiny.finish { $0.set = ["logging.tensorBoard=\(isOn)"] }
    let events = TemporaryFolder.names(in: outcome.output).filter { $0.hasPrefix("events.out.tf") }
    #expect(events.count == (isOn ? 1 : 0))
  }
}
