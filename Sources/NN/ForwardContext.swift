public import Interfaces
public import TensorCore

/// What a forward pass needs beside its input: the tape, and whose random draws to make.
public struct ForwardContext {
  public let tape: Tape
  public let keys: [SampleKey]
  public let step: StepInfo

  public init(tape: Tape, keys: [SampleKey], step: StepInfo) {
    self.tape = tape
    self.keys = keys
    self.step = step
  }

  /// Stochastic depth: a factor for each sample, 0 with probability `rate`, else 1 / (1 - rate).
  ///
  /// - Parameter branch: Names the draw: two branches of a model never share one.
  /// - Returns: `[B]`, or nil where nothing is dropped.
  public func dropPathScale(rate: Double, branch: Int) -> Tensor? {
    guard step.isTraining, rate > 0 else { return nil }
    let keep = 1 - rate
    let factors = keys.map { key in
      var random = CounterRandom(
        seed: step.seed, epoch: key.epoch, sample: key.sample, stream: .dropPath(branch: branch))
      return random.uniform() < keep ? Float(1 / keep) : 0
    }
    return Tensor(factors, shape: [factors.count])
  }
}
