import Files
import Foundation
import SwiftProtobuf
import TestSupport
import Testing

@testable import EventFiles

@Suite struct EventFileTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder("events") }

  // MARK: Checksum

  /// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
  @Test func checksumsOfTheStandard() {
    let numbers = (0..<32).map { UInt8($0) }
    #expect(MaskedCRC32C.unmasked([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(MaskedCRC32C.unmasked([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(MaskedCRC32C.unmasked(numbers) == 0x46DD_794E)
    #expect(MaskedCRC32C.unmasked(numbers.reversed()) == 0x113F_DB5C)
    #expect(MaskedCRC32C.unmasked("123456789".utf8) == 0xE306_9283)
    #expect(MaskedCRC32C.unmasked([]) == 0)
  }

  // MARK: Frame

  @Test(arguments: [0, 1, 255, 256, 70_000]) func recordsReadBack(count: Int) throws {
    let data = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 31) }
    let frame = RecordFrame.bytes(of: data)
    #expect(frame.count == count + 16)
    #expect(Array(frame.prefix(2)) == [UInt8(count & 0xFF), UInt8(count >> 8 & 0xFF)])
    let record = try #require(RecordFrame.read([9, 9, 9] + frame + frame, at: 3))
    #expect(Array(record.data) == data && record.end == 3 + frame.count)
  }

  @Test func damageIsSeenInEveryByte() {
    let frame = RecordFrame.bytes(of: Array("a record".utf8))
    for place in frame.indices {
      var damaged = frame
      damaged[place] ^= 0x20
      #expect(RecordFrame.read(damaged, at: 0) == nil, "byte \(place)")
      #expect(RecordFrame.read(Array(frame[..<place]), at: 0) == nil, "cut at \(place)")
    }
  }

  // MARK: Events

  private func events(_ name: String) throws -> [TensorBoardEvent] {
    let bytes = try Files.read(folder.file(name))
    var (events, place): ([TensorBoardEvent], Int) = ([], 0)
    while let record = RecordFrame.read(bytes, at: place) {
      events.append(try TensorBoardEvent(serializedBytes: Array(record.data)))
      place = record.end
    }
    #expect(place == bytes.count, "\(name) ends with \(bytes.count - place) bytes of no record")
    return events
  }

  private func write(after step: Int, time: Double, steps: Range<Int>) throws {
    let file = try EventFile(folder: folder.path, continuingAfter: step, time: time)
    for step in steps {
      try file.append(
        step: step, time: time + Double(step),
        scalars: [("loss/total", 1 / Double(step)), ("time/stepMilliseconds", 20)])
    }
    try file.synchronize()
  }

  @Test func eventsReadBack() throws {
    try write(after: 0, time: 1_700_000_000.5, steps: 1..<4)
    let names = TemporaryFolder.names(in: folder.path)
    try #require(names.count == 1 && names[0].hasPrefix("events.out.tfevents.1700000000."))
    let events = try events(names[0])
    try #require(events.count == 5)
    #expect(events[0].fileVersion == "brain.Event:2" && events[0].step == 0)
    #expect(events[1].sessionLog.status == .start && events[1].step == 1)
    for (step, event) in zip(1..., events.dropFirst(2)) {
      #expect(event.step == Int64(step))
      #expect(event.wallTime == 1_700_000_000.5 + Double(step))
      #expect(event.summary.value.map(\.tag) == ["loss/total", "time/stepMilliseconds"])
      #expect(event.summary.value.map(\.simpleValue) == [Float(1 / Double(step)), 20])
    }
  }

  /// Bytes as the format's description has them, by hand.
  @Test func bytesAreThoseOfTheFormat() throws {
    var event = TensorBoardEvent()
    (event.wallTime, event.step) = (1, 300)
    event.summary.value = [.with { ($0.tag, $0.simpleValue) = ("a", 2) }]
    let bytes: [UInt8] = try event.serializedBytes()
    let time: [UInt8] = [0x09, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F]
    let value: [UInt8] = [0x0A, 1, 0x61, 0x15, 0, 0, 0, 0x40]
    #expect(bytes == time + [0x10, 0xAC, 0x02, 0x2A, 10, 0x0A, 8] + value)
  }

  /// Readers take a value without a field for none.
  @Test func zeroIsWritten() throws {
    let value = TensorBoardSummary.Value.with { ($0.tag, $0.simpleValue) = ("a", 0) }
    let bytes: [UInt8] = try value.serializedBytes()
    #expect(bytes == [0x0A, 1, 0x61, 0x15, 0, 0, 0, 0])
  }

  @Test(arguments: [0, 2, 4, 9]) func resumedRunsCutWhatWasAfter(step: Int) throws {
    try write(after: 0, time: 1_700_000_000, steps: 1..<6)
    let first = TemporaryFolder.names(in: folder.path)[0]
    // A killed run has left half a record.
    try AppendingFile(path: folder.file(first)).append([UInt8](repeating: 7, count: 21))
    try write(after: step, time: 1_700_000_100, steps: step + 1..<step + 3)
    let names = TemporaryFolder.names(in: folder.path)
    #expect(names.count == 2 && names[0] == first)
    let old = try events(first).filter { !$0.summary.value.isEmpty }.map { Int($0.step) }
    #expect(old == Array(1..<6).filter { $0 <= step })
    let new = try events(names[1])
    #expect(new[1].sessionLog.status == .start && new[1].step == Int64(step + 1))
    #expect(new.dropFirst(2).map { Int($0.step) } == [step + 1, step + 2])
  }
}
