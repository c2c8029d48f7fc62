import Foundation

/// How long the program has been running.
public struct JobClock: Sendable {
  private let now: @Sendable () -> Double
  private let started: Double

  /// Starts now.
  public init() { self.init { ProcessInfo.processInfo.systemUptime } }

  /// - Parameter now: Seconds that only increase.
  init(now: @escaping @Sendable () -> Double) {
    self.now = now
    started = now()
  }

  public var seconds: Double { now() - started }
}
