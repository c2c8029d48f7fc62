/// What a thread's time in a kernel is spent on.
public enum KernelKind: String, CaseIterable, Sendable {
  case products
  case attention
  case norms
  case activations
  case elementwise
  case loss
  case optimizer
  case dataMovement
}

/// Adds up the time of a pool's threads by kind. Reads the clock a few times a task, so only
/// benchmarks and traces switch it on.
public final class KernelClock: @unchecked Sendable {
  // Sendable: each worker touches its own row only; `seconds` is read between runs.
  private let rows: UnsafeMutablePointer<Double>
  private let threadCount: Int
  /// Of each worker.
  private let tracks: [Timeline.Track]
  /// Values of a row: the last reading, then the kinds; padded against false sharing.
  private static let stride = 16

  /// - Parameter timeline: Also records what each worker does when.
  public init(threadCount: Int, timeline: Timeline? = nil) {
    self.threadCount = threadCount
    tracks = (0..<threadCount).compactMap { timeline?.track("kernel thread \($0)") }
    rows = .allocate(capacity: threadCount * KernelClock.stride)
    rows.initialize(repeating: 0, count: threadCount * KernelClock.stride)
  }

  deinit { rows.deallocate() }

  /// Starts a worker's lap.
  func start(_ worker: Int) { rows[worker * KernelClock.stride] = KernelClock.now() }

  /// Books the time since the last reading.
  func lap(_ worker: Int, _ kind: KernelKind) {
    let row = rows + worker * KernelClock.stride
    let now = KernelClock.now()
    if !tracks.isEmpty { tracks[worker].add(kind.rawValue, from: row[0], to: now) }
    row[1 + kind.index] += now - row[0]
    row[0] = now
  }

  /// Seconds of each kind, summed over the threads.
  public func seconds(_ kind: KernelKind) -> Double {
    (0..<threadCount).reduce(0) { $0 + rows[$1 * KernelClock.stride + 1 + kind.index] }
  }

  /// Seconds that the calling thread has spent in kernels.
  public var secondsInKernelsOfCaller: Double {
    KernelKind.allCases.reduce(0) { $0 + rows[1 + $1.index] }
  }

  private static func now() -> Double { Timeline.now() }
}

extension KernelKind {
  fileprivate var index: Int {
    switch self {
    case .products: 0
    case .attention: 1
    case .norms: 2
    case .activations: 3
    case .elementwise: 4
    case .loss: 5
    case .optimizer: 6
    case .dataMovement: 7
    }
  }
}
