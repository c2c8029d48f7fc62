/// What ranks tell each other at the end of every step, beside whether one has failed: each is true
/// for all where it is for one.
struct StepFlags: Equatable {
  /// A rank has given up what the ranks were doing together, which so does not count.
  var isGivenUp = false
  /// A rank was asked to stop the run.
  var isStopRequested = false
  /// The first rank sees the time limit coming.
  var isTimeOver = false
  /// A rank is writing its part of a checkpoint.
  var isWriting = false

  /// All of them. A new flag is added here, and nowhere else.
  private static let paths: [any WritableKeyPath<StepFlags, Bool> & Sendable] = [
    \.isGivenUp, \.isStopRequested, \.isTimeOver, \.isWriting,
  ]

  init() {}

  /// From the largest values over ranks.
  init(values: some Collection<Double>) {
    for (path, value) in zip(StepFlags.paths, values) { self[keyPath: path] = value > 0 }
  }

  /// As numbers of a collective.
  var values: [Double] { StepFlags.paths.map { self[keyPath: $0] ? 1 : 0 } }
}
