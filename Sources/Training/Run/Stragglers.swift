import Interfaces

/// Looks for a host, or a rank where there is one host, that all others wait for.
///
/// A step's own time is what a rank takes for it without its waits for others. Of the last 20 steps
/// the median counts, so that a checkpoint makes nobody slow; a host is as slow as its slowest rank.
struct Stragglers {
  /// Steps of a look.
  static let window = 20
  /// Above the fastest by this share.
  static let limit = 0.1

  /// Own times of a place, of the fastest and of the slowest one.
  struct Finding: Equatable {
    let place: String
    let seconds: Double
    let fastest: String
    let fastestSeconds: Double

    var excess: Double { seconds / fastestSeconds - 1 }

    func sentence(step: Int) -> String {
      "step \(step): \(place) is slow: its own part of a step takes \(milliseconds(seconds)) ms, "
        + "\(Int((excess * 100).rounded())) % more than the fastest (\(fastest), "
        + "\(milliseconds(fastestSeconds)) ms), so that \(milliseconds(seconds - fastestSeconds)) ms "
        + "of every step are lost; ask cae-dist doctor"
    }

    private func milliseconds(_ seconds: Double) -> String {
      let value = seconds * 1e3
      return value < 10 ? "\((value * 10).rounded() / 10)" : "\(Int(value.rounded()))"
    }
  }

  private let layout: RankLayout
  /// Ranks that share cores are slow by turns.
  private let isCrowded: Bool
  private var own: [Double] = []
  private var named: String?

  init(_ layout: RankLayout, threads setting: String) {
    self.layout = layout
    isCrowded = layout.crowd(setting) != nil
  }

  /// After a step. Collective.
  ///
  /// - Returns: On all ranks the slowest and the fastest place at the end of every window.
  mutating func add(_ seconds: Double, in group: any ProcessGroup) throws -> Finding? {
    guard group.worldSize > 1 else { return nil }
    own.append(seconds)
    guard own.count == Stragglers.window else { return nil }
    let median = own.sorted()[own.count / 2]
    own = []
    return finding(try group.gather(median))
  }

  func finding(_ medians: [Double]) -> Finding? {
    let hosts = Set(layout.places.map(\.host)).sorted()
    let places: [(name: String, seconds: Double)] =
      hosts.count == 1
      ? medians.enumerated().map { ("rank \($0)", $1) }
      : hosts.map { host in
        let ranks = medians.indices.filter { layout.places[$0].host == host }
        let slowest = ranks.max { medians[$0] < medians[$1] } ?? ranks[0]
        let rank = ranks.count > 1 ? ", rank \(slowest)" : ""
        return (layout.places[slowest].hostName + rank, medians[slowest])
      }
    guard let slowest = places.max(by: { $0.seconds < $1.seconds }),
      let fastest = places.min(by: { $0.seconds < $1.seconds })
    else { return nil }
    return Finding(
      place: slowest.name, seconds: slowest.seconds, fastest: fastest.name,
      fastestSeconds: fastest.seconds)
  }

  /// A sentence where a place is slow that was not the last time.
  mutating func sentence(_ finding: Finding, step: Int) -> String? {
    guard !isCrowded, finding.excess > Stragglers.limit else {
      named = nil
      return nil
    }
    defer { named = finding.place }
    return named == finding.place ? nil : finding.sentence(step: step)
  }
}
