/// Values over steps, in order of the steps.
struct Series: Equatable {
  private(set) var steps: [Double] = []
  private(set) var values: [Double] = []

  var count: Int { steps.count }
  var isEmpty: Bool { steps.isEmpty }

  mutating func append(step: Double, value: Double) {
    steps.append(step)
    values.append(value)
  }

  init() {}

  init(steps: [Double], values: [Double]) {
    precondition(steps.count == values.count, "\(steps.count) steps, \(values.count) values")
    (self.steps, self.values) = (steps, values)
  }

  /// Each value by a function of it.
  func mapped(_ transform: (Double) -> Double) -> Series {
    Series(steps: steps, values: values.map(transform))
  }

  /// An exponential moving average without a bias to its start: with `a = 1 / window`,
  /// `m = (1 - a) m + a x`, `w = (1 - a) w + a`, value `m / w`.
  func smoothed(window: Double) -> Series {
    let share = 1 / max(1, window)
    var (mean, weight) = (0.0, 0.0)
    return mapped { value in
      mean += share * (value - mean)
      weight += share * (1 - weight)
      return mean / weight
    }
  }

  /// What a picture of `columns` pixels can show: of the values in a column the smallest and the
  /// largest, in the order they have. Shorter series are left as they are.
  func downsampled(columns: Int, over range: ClosedRange<Double>) -> Series {
    guard count > 2 * columns, range.upperBound > range.lowerBound else { return self }
    let scale = Double(columns) / (range.upperBound - range.lowerBound)
    var result = Series()
    var start = 0
    while start < count {
      let column = Int((steps[start] - range.lowerBound) * scale)
      var (end, low, high) = (start, start, start)
      while end < count, Int((steps[end] - range.lowerBound) * scale) == column {
        if values[end] < values[low] { low = end }
        if values[end] > values[high] { high = end }
        end += 1
      }
      for index in low == high ? [low] : [min(low, high), max(low, high)] {
        result.append(step: steps[index], value: values[index])
      }
      start = end
    }
    return result
  }
}
