/// The curves of a run's metrics.
struct ReportCharts {
  private let metrics: MetricsTable

  init(_ metrics: MetricsTable) { self.metrics = metrics }

  /// Figures that a chart of their own or a table shows, or that only number the steps.
  private static let placed: Set<String> = [
    "epoch", "samplesSeen", "learningRate", "gradientNorm", "tokenAccuracy",
    "validationTokenAccuracy", "imagesPerSecond", "stepMilliseconds", "dataWaitMilliseconds",
    "exposedCommunicationMilliseconds", "checkpointStallMilliseconds", "slowestOwnMilliseconds",
    "fastestOwnMilliseconds", "skipped",
  ]
  /// Shares of images: of neighbours, of a classifier.
  private static let accuracies = [
    "accuracy", "validationAccuracy", "validationTop1", "validationTop5", "knnTop1", "knnTop5",
  ]

  /// What is learned: losses, accuracies, gradient norm and learning rate.
  var learning: [LineChart] {
    [
      chart("Loss", "weighted sum of its parts", ["loss", "validationLoss"]),
      chart("Parts of the loss", "unweighted", parts(of: "loss")),
      chart("Held-out loss", "no augmentation", parts(of: "validationLoss")),
      tokenAccuracy, accuracy, learningRate,
      chart("Gradient norm", "before clipping", ["gradientNorm"], minimum: 0),
    ].compactMap(\.self) + others
  }

  /// Of the loss: the two pictures of `cae-dist picture loss`.
  var essentials: [LineChart] {
    [chart("Loss", "weighted sum of its parts", ["loss", "validationLoss"]), learningRate]
      .compactMap(\.self)
  }

  /// Where the time goes.
  var time: [LineChart] {
    let step = metrics["stepMilliseconds"]
    let shares = [
      ("exchange", "exposedCommunicationMilliseconds"), ("data", "dataWaitMilliseconds"),
    ].compactMap { name, key -> LineChart.Line? in
      let wait = metrics[key]
      guard wait.count == step.count, !wait.isEmpty else { return nil }
      let values = zip(wait.values, step.values).map { $1 > 0 ? 100 * $0 / $1 : 0 }
      return LineChart.Line(name: name, series: Series(steps: wait.steps, values: values))
    }
    return [
      chart("Throughput", "images/s, all ranks", ["imagesPerSecond"], minimum: 0),
      shares.isEmpty
        ? nil
        : LineChart(
          title: "Waiting, of the slowest rank", quantity: "% of the step", lines: shares,
          minimum: 0
        ),
      chart("Duration of a step", "ms, slowest rank", ["stepMilliseconds"], minimum: 0),
      chart(
        "Own time of a step", "ms, without waits for others",
        ["slowestOwnMilliseconds", "fastestOwnMilliseconds"], minimum: 0, hasMarks: true),
      chart(
        "Waiting for checkpoints", "ms", ["checkpointStallMilliseconds"], minimum: 0, hasMarks: true
      ),
    ].compactMap(\.self)
  }

  private var tokenAccuracy: LineChart? {
    shares(
      "Token accuracy", "% of the masked patches", ["tokenAccuracy", "validationTokenAccuracy"])
  }

  private var accuracy: LineChart? {
    shares("Accuracy", "% of the images", ReportCharts.accuracies)
  }

  private func shares(_ title: String, _ quantity: String, _ names: [String]) -> LineChart? {
    let lines = names.compactMap { name in
      line(name, metrics[name].mapped { 100 * $0 }, hasMarks: name.contains(/^validation|^knn/))
    }
    return lines.isEmpty
      ? nil : LineChart(title: title, quantity: quantity, lines: lines, minimum: 0)
  }

  private var learningRate: LineChart? {
    let series = metrics["learningRate"]
    guard !series.isEmpty else { return nil }
    return LineChart(
      title: "Learning rate", quantity: "per update",
      lines: [LineChart.Line(name: "learningRate", series: series, isSmooth: true)], minimum: 0)
  }

  /// Scalars of a method that nobody here knows, a chart each.
  private var others: [LineChart] {
    metrics.names.filter {
      !ReportCharts.placed.contains($0) && !ReportCharts.accuracies.contains($0)
        && !$0.hasPrefix("loss") && !$0.hasPrefix("validationLoss")
    }.compactMap { chart($0, "as logged", [$0]) }
  }

  private func parts(of name: String) -> [String] {
    let isHeldOut = name != "loss"
    let parts = metrics.names.filter { $0.hasPrefix(name) && $0 != name }
    // A method with a single part logs the same curve twice.
    return isHeldOut ? [name] + parts : parts
  }

  private func chart(
    _ title: String, _ quantity: String, _ names: [String], minimum: Double? = nil,
    hasMarks: Bool = false
  ) -> LineChart? {
    let lines = names.compactMap {
      line($0, metrics[$0], hasMarks: hasMarks || $0.hasPrefix("validation"))
    }
    return lines.isEmpty
      ? nil : LineChart(title: title, quantity: quantity, lines: lines, minimum: minimum)
  }

  private func line(_ name: String, _ series: Series, hasMarks: Bool) -> LineChart.Line? {
    series.isEmpty ? nil : LineChart.Line(name: name, series: series, hasMarks: hasMarks)
  }
}
