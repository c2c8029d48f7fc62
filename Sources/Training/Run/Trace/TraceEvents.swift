import Foundation
import TensorCore

/// Spans of a rank as events of Chrome's trace format, one a line.
///
/// - SeeAlso: Trace Event Format, chromium.org: complete events (X) nest on a thread, asynchronous
///   ones (b, e) may overlap; times are microseconds.
struct TraceEvents {
  private(set) var text = ""
  private let rank: Int
  /// What the rank's clock shows when the trace begins.
  private let origin: Double

  /// - Parameter host: Its name.
  init(rank: Int, host: String, origin: Double) {
    self.rank = rank
    self.origin = origin
    metadata("process_name", track: 0, name: "rank \(rank) on \(host)")
    line("\"name\":\"process_sort_index\",\"ph\":\"M\",\"tid\":0,\"args\":{\"sort_index\":\(rank)}")
  }

  /// Tracks without spans are left out.
  mutating func add(_ tracks: [(track: String, spans: [Timeline.Span])]) {
    for (number, (track, spans)) in tracks.enumerated() where !spans.isEmpty {
      metadata("thread_name", track: number, name: track)
      for (index, span) in spans.enumerated() { add(span, index: index, track: number) }
    }
  }

  private mutating func add(_ span: Timeline.Span, index: Int, track: Int) {
    let number = span.number.map { ",\"args\":{\"number\":\($0)}" } ?? ""
    let (start, length) = (microseconds(span.start - origin), microseconds(span.end - span.start))
    guard span.isInFlight else {
      line(
        "\"name\":\"\(span.name)\",\"ph\":\"X\",\"tid\":\(track),\"ts\":\(start),\"dur\":\(length)\(number)"
      )
      return
    }
    let identity =
      "\"name\":\"\(span.name)\",\"cat\":\"exchange\",\"id\":\"\(rank).\(index)\",\"tid\":\(track)"
    line("\(identity),\"ph\":\"b\",\"ts\":\(start)\(number)")
    line("\(identity),\"ph\":\"e\",\"ts\":\(microseconds(span.end - origin))")
  }

  private mutating func metadata(_ kind: String, track: Int, name: String) {
    // A host may have any name.
    let text =
      (try? JSONEncoder().encode(name)).map { String(decoding: $0, as: UTF8.self) } ?? "\"\""
    line("\"name\":\"\(kind)\",\"ph\":\"M\",\"tid\":\(track),\"args\":{\"name\":\(text)}")
  }

  private mutating func line(_ fields: String) { text += "{\"pid\":\(rank),\(fields)},\n" }

  private func microseconds(_ seconds: Double) -> String { String(format: "%.3f", seconds * 1e6) }
}
