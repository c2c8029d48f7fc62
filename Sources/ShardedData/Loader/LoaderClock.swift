import Glibc
import Synchronization

/// A stage of what the loader does to a sample.
public enum LoaderStage: Int, CaseIterable, Sendable {
  /// Bytes from the shard, by the reading thread; what follows is done by decode threads.
  case read
  case verify
  /// Pixels of the crop; of the whole image where the format does not allow less.
  case decode
  case resample
  case normalize
}

/// Adds up the time of the loader's threads by stage.
public final class LoaderClock: Sendable {
  private let nanoseconds = Mutex([UInt64](repeating: 0, count: LoaderStage.allCases.count))

  /// Seconds that all threads together spent on a stage.
  public func seconds(_ stage: LoaderStage) -> Double {
    nanoseconds.withLock { Double($0[stage.rawValue]) * 1e-9 }
  }

  /// Adds what a thread has measured.
  func add(_ laps: LoaderLaps) {
    nanoseconds.withLock { sums in
      for stage in LoaderStage.allCases { sums[stage.rawValue] += laps.nanoseconds[stage.rawValue] }
    }
  }
}

/// The time of one thread by stage, for a while.
struct LoaderLaps {
  private(set) var nanoseconds: InlineArray<5, UInt64> = InlineArray(repeating: 0)
  private var last = LoaderLaps.now()

  /// Books the time since the last call to a stage.
  mutating func lap(_ stage: LoaderStage) {
    let now = LoaderLaps.now()
    nanoseconds[stage.rawValue] += now - last
    last = now
  }

  /// Begins anew: the time since the last call was nobody's.
  mutating func skip() { last = LoaderLaps.now() }

  static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
  }
}
