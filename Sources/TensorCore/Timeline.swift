import Glibc
import Synchronization

/// Records what the threads of a rank do when, while it is switched on; else it costs the reading of
/// a flag.
public final class Timeline: Sendable {
  /// A while, in seconds of the host's clock that only increases.
  public struct Span: Sendable {
    public let name: String
    /// Of what it is done with, such as a bucket.
    public let number: Int?
    public let start: Double
    public let end: Double
    /// Whether it may overlap with others of its track, which otherwise nest.
    public let isInFlight: Bool
  }

  /// What one thread does.
  public final class Track: Sendable {
    /// What stands before its row.
    public let name: String
    private let timeline: Timeline
    private let spans = Mutex<[Span]>([])

    fileprivate init(_ name: String, _ timeline: Timeline) {
      self.name = name
      self.timeline = timeline
    }

    /// Runs `body`, which may throw, as a span.
    public func span<Result, Failure: Error>(
      _ name: String, number: Int? = nil, _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
      guard timeline.isOn else { return try body() }
      let start = Timeline.now()
      defer { add(name, number: number, from: start) }
      return try body()
    }

    /// Records a span that ends now.
    ///
    /// - Parameter start: By `Timeline.now`.
    public func add(
      _ name: String, number: Int? = nil, from start: Double, isInFlight: Bool = false
    ) {
      guard timeline.isOn else { return }
      record(name, number, start, Timeline.now(), isInFlight)
    }

    /// Records one that has ended.
    func add(_ name: String, from start: Double, to end: Double) {
      if timeline.isOn { record(name, nil, start, end, false) }
    }

    private func record(
      _ name: String, _ number: Int?, _ start: Double, _ end: Double, _ isInFlight: Bool
    ) {
      let span = Span(name: name, number: number, start: start, end: end, isInFlight: isInFlight)
      spans.withLock { $0.append(span) }
    }

    fileprivate func take() -> [Span] {
      spans.withLock { spans in
        defer { spans = [] }
        return spans
      }
    }
  }

  private let flag = Atomic<Bool>(false)
  private let tracks = Mutex<[Track]>([])

  public init() {}

  /// A new track, shown below those before it.
  public func track(_ name: String) -> Track {
    let track = Track(name, self)
    tracks.withLock { $0.append(track) }
    return track
  }

  /// Whether spans are recorded.
  public var isOn: Bool { flag.load(ordering: .relaxed) }

  /// Begins to record, on all tracks.
  public func start() { flag.store(true, ordering: .relaxed) }

  /// Ends it. Spans that are under way are lost.
  ///
  /// - Returns: What was recorded, track by track, in the order of their ends.
  public func stop() -> [(track: String, spans: [Span])] {
    flag.store(false, ordering: .relaxed)
    return tracks.withLock { $0.map { ($0.name, $0.take()) } }
  }

  /// Seconds of the host's clock that only increases.
  public static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}

extension Timeline.Track? {
  /// Runs `body`, as a span where there is a track.
  public func span<Result, Failure: Error>(
    _ name: String, number: Int? = nil, _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard let self else { return try body() }
    return try self.span(name, number: number, body)
  }
}
