import Glibc

/// Linear warm-up from 0, then half a cosine: what CAE, BEiT and MAE call their schedule.
///
/// The first step has rate 0 and the last warm-up step `peak` already; step i of the remaining n
/// has `minimum + (peak - minimum) (1 + cos(pi i / n)) / 2`, which never quite reaches `minimum`.
public struct WarmupCosineSchedule: Sendable, Equatable {
  public let peak: Double
  public let minimum: Double
  public let warmupSteps: Int
  public let totalSteps: Int

  public init(peak: Double, minimum: Double, warmupSteps: Int, totalSteps: Int) {
    self.peak = peak
    self.minimum = minimum
    self.warmupSteps = warmupSteps
    self.totalSteps = totalSteps
  }

  public func value(at step: Int) -> Double {
    if step < warmupSteps {
      return warmupSteps == 1 ? 0 : peak * Double(step) / Double(warmupSteps - 1)
    }
    let length = max(totalSteps - warmupSteps, 1)
    let phase = Double.pi * Double(step - warmupSteps) / Double(length)
    return minimum + 0.5 * (peak - minimum) * (1 + cos(phase))
  }
}

/// Linear warm-up from 0, then half a cosine down to 0, by the fractional epoch e: `peak e / warmup`,
/// then `peak (1 + cos(pi (e - warmup) / (epochs - warmup))) / 2`.
///
/// - SeeAlso: MAE's and MoCo v3's linear probes.
public struct EpochSchedule: Sendable, Equatable {
  public let peak: Double
  public let warmupEpochs: Double
  public let epochs: Double

  public init(peak: Double, warmupEpochs: Double, epochs: Double) {
    self.peak = peak
    self.warmupEpochs = warmupEpochs
    self.epochs = epochs
  }

  public func value(at epoch: Double) -> Double {
    if epoch < warmupEpochs { return peak * epoch / warmupEpochs }
    let phase = Double.pi * (epoch - warmupEpochs) / max(epochs - warmupEpochs, 1e-9)
    return 0.5 * peak * (1 + cos(min(phase, Double.pi)))
  }
}
