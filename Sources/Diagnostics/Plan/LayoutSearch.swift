import DataParallel
import Interfaces

/// Layouts of a plan's hosts: the one that was asked for, and the quickest one that fits.
struct LayoutSearch {
  let options: ClusterPlan.Options
  let rates: MachineRates
  let work: StepWork
  /// Of one micro-batch and of sharding as the configuration has it.
  private let setup: BenchmarkSetup

  init(_ options: ClusterPlan.Options, _ rates: MachineRates) throws(ConfigurationError) {
    for (name, value, limit) in [
      ("--hosts", options.hosts, 4096), ("--ranks-per-host", options.ranksPerHost, 4096),
      ("--cores-per-host", options.coresPerHost, 4096),
      ("--micro-batch", options.microBatch ?? 1, 4096),
      ("--accumulation", options.accumulation ?? 1, 4096), ("--threads", options.threads ?? 1, 64),
      ("--global-batch", options.globalBatch ?? 1, 1 << 24), ("--images", options.images, 1 << 40),
    ] where !(1...limit).contains(value) {
      throw ConfigurationError(name, "must be between 1 and \(limit), not \(value)")
    }
    guard options.linkGbit > 0, options.linkGbit.isFinite else {
      throw ConfigurationError("--link-gbit", "must be above 0, not \(options.linkGbit)")
    }
    self.options = options
    self.rates = rates
    setup = try BenchmarkSetup(
      model: options.model, imageSize: options.imageSize, threads: options.threads ?? 1,
      overrides: options.overrides)
    work = StepWork(setup)
  }

  /// The layout of the options.
  func given() throws(ConfigurationError) -> ClusterLayout {
    let threads = options.threads ?? max(1, min(64, options.coresPerHost / options.ranksPerHost))
    var layout = ClusterLayout(
      hosts: options.hosts, ranksPerHost: options.ranksPerHost, threads: threads,
      coresPerHost: options.coresPerHost, linkGbit: options.linkGbit,
      microBatch: options.microBatch ?? 16, accumulation: options.accumulation ?? 1,
      sharding: setup.exchange.sharding)
    guard let batch = options.globalBatch else { return layout }
    guard batch % layout.ranks == 0 else {
      throw ConfigurationError(
        "--global-batch", "\(batch) is not divided by \(layout.ranks) ranks")
    }
    let own = batch / layout.ranks
    let micro = options.microBatch ?? LayoutSearch.divisors(of: own).last { $0 <= 16 } ?? 1
    guard own % micro == 0 else {
      throw ConfigurationError(
        "--micro-batch", "\(micro) does not divide the \(own) images of a rank and step")
    }
    (layout.microBatch, layout.accumulation) = (micro, own / micro)
    guard options.accumulation.map({ $0 == layout.accumulation }) ?? true else {
      throw ConfigurationError(
        "--accumulation", "is \(layout.accumulation) by --global-batch; give one of the two")
    }
    return layout
  }

  func time(_ layout: ClusterLayout) -> StepTime { StepTime(layout, setup, work, rates) }

  func memory(_ layout: ClusterLayout) throws(ConfigurationError) -> MemoryPlan {
    try MemoryPlan.make(
      MemoryPlan.Options(
        model: options.model, hosts: layout.hosts, ranksPerHost: layout.ranksPerHost,
        microBatch: layout.microBatch, accumulation: layout.accumulation,
        imageSize: options.imageSize, threads: layout.threads,
        overrides: options.overrides + ["parallelism.sharding=\(layout.sharding.rawValue)"]))
  }

  /// The quickest layout with the same global batch that fits into memory.
  func best(globalBatch: Int) -> ClusterPlan.Layout? {
    let given = (try? given()).map { [$0] } ?? []
    let ordered = (given + candidates(globalBatch: globalBatch)).map { ($0, time($0)) }
      .sorted { $0.1.imagesPerSecond > $1.1.imagesPerSecond }
    for (layout, time) in ordered {
      guard let plan = try? memory(layout), plan.sum.perHost <= options.memoryBytes else {
        continue
      }
      return ClusterPlan.Layout(layout: layout, time: time, bytesOfHost: plan.sum.perHost)
    }
    return nil
  }

  private func candidates(globalBatch: Int) -> [ClusterLayout] {
    let ranks = LayoutSearch.divisors(of: options.coresPerHost).filter {
      options.coresPerHost / $0 <= 64 && globalBatch % ($0 * options.hosts) == 0
    }
    return ranks.flatMap { ranksPerHost -> [ClusterLayout] in
      let own = globalBatch / (ranksPerHost * options.hosts)
      return LayoutSearch.divisors(of: own).filter { $0 <= 64 }.flatMap { micro in
        Sharding.allCases.map {
          ClusterLayout(
            hosts: options.hosts, ranksPerHost: ranksPerHost,
            threads: options.coresPerHost / ranksPerHost, coresPerHost: options.coresPerHost,
            linkGbit: options.linkGbit, microBatch: micro, accumulation: own / micro, sharding: $0)
        }
      }
    }
  }

  private static func divisors(of number: Int) -> [Int] {
    (1...min(number, 4096)).filter { number % $0 == 0 }
  }
}
