import Testing

@testable import Diagnostics

@Suite struct ClusterPlanTests {
  /// Round figures: a thread does 100 GFLOP/s alone and 80 beside others.
  private static func rates(products: (Double, Double) = (100e9, 80e9)) -> MachineRates {
    func model(_ width: Int) -> MachineRates.Model {
      func units(_ flops: Double) -> [String: Double] {
        ["products": 1 / flops, "attention": 2 / flops, "optimizer": 4e-9, "other": 1e-11]
      }
      return MachineRates.Model(
        width: width, alone: units(products.0), loaded: units(products.1), microBatch: 1e-10,
        synchronization: 1.1)
    }
    return MachineRates(
      processor: "test", kernels: "test", cores: 2, models: [model(384), model(768)],
      addBytesPerSecond: 5e9, socketSecondsPerByte: 5e-10, copyBytesPerSecond: 5e9,
      writeBytesPerSecond: 1e9)
  }

  private func plan(
    rates: MachineRates = rates(), _ change: (inout ClusterPlan.Options) -> Void
  ) throws -> ClusterPlan {
    var options = ClusterPlan.Options()
    (options.model, options.coresPerHost, options.memoryBytes) = ("small", 8, 256 << 30)
    change(&options)
    return try ClusterPlan.make(options, rates: rates, calibration: "test")
  }

  @Test func productsAreTheirWorkOverTheirRate() throws {
    let one = try plan { ($0.threads, $0.microBatch) = (1, 4) }
    // 29.4 GFLOP an image by the contract of the model table, attention at half the rate.
    let seconds = one.time.computeMilliseconds / 1e3
    #expect(seconds > 4 * 29.4e9 / 100e9 && seconds < 4 * 29.4e9 / 100e9 * 1.2)
    #expect(one.time.exposedCommunicationMilliseconds == 0)
    #expect(one.time.bottleneck == .products)
    let two = try plan { ($0.threads, $0.microBatch, $0.accumulation) = (1, 4, 2) }
    #expect(abs(two.time.computeMilliseconds / one.time.computeMilliseconds - 2) < 1e-9)
    #expect(two.time.updateMilliseconds == one.time.updateMilliseconds)
  }

  @Test func busyCoresAreSlowerAndCrowdedOnesShare() throws {
    let alone = try plan { ($0.threads, $0.microBatch) = (1, 4) }
    let full = try plan { ($0.ranksPerHost, $0.threads, $0.microBatch) = (8, 1, 4) }
    #expect(full.time.computeMilliseconds > 1.2 * alone.time.computeMilliseconds)
    #expect(full.time.computeMilliseconds < 1.3 * alone.time.computeMilliseconds)
    let crowded = try plan { ($0.ranksPerHost, $0.threads, $0.microBatch) = (16, 1, 4) }
    let ratio = crowded.time.computeMilliseconds / full.time.computeMilliseconds
    #expect(abs(ratio - 2) < 1e-9)
    #expect(alone.layout.threads == 1)
    #expect(try plan { $0.ranksPerHost = 2 }.layout.threads == 4)
  }

  /// Every byte crosses a link 2 (H - 1) / H times.
  @Test func aHostsLinkCarriesWhatTheExchangeSends() throws {
    let parameters = Double(try plan { _ in }.epoch.checkpointBytes) / 12
    for hosts in [2, 4, 16] {
      let plan = try plan { ($0.hosts, $0.linkGbit) = (hosts, 1) }
      let bytes = 2 * Double(hosts - 1) / Double(hosts) * parameters * 4
      #expect(abs(plan.time.exchangedBytes / bytes - 1) < 1e-9)
      let half = try self.plan {
        ($0.hosts, $0.linkGbit, $0.overrides) = (hosts, 1, ["parallelism.wire=bfloat16"])
      }
      #expect(abs(half.time.exchangedBytes / bytes - 0.5) < 1e-9)
    }
    #expect(try plan { $0.ranksPerHost = 8 }.time.exchangedBytes == 0)
  }

  @Test func backwardHidesWhatItLasts() throws {
    func exposed(_ gbit: Double, _ set: [String] = []) throws -> Double {
      try plan { ($0.hosts, $0.linkGbit, $0.overrides) = (2, gbit, set) }
        .time.exposedCommunicationMilliseconds
    }
    let (fast, slow) = (try exposed(100), try exposed(0.05))
    #expect(fast < 10)
    #expect(slow > 1000)
    #expect(try exposed(1, ["parallelism.overlap=false"]) > exposed(1))
    let bound = try plan { ($0.hosts, $0.linkGbit) = (2, 0.01) }
    #expect(bound.time.bottleneck == .exchange)
    #expect(bound.time.efficiency < 0.5)
  }

  @Test func theBestLayoutFits() throws {
    let roomy = try plan { ($0.model, $0.hosts, $0.globalBatch) = ("large", 4, 256) }
    #expect(roomy.fits)
    let best = try #require(roomy.best)
    #expect(best.layout.globalBatch == 256)
    #expect(best.layout.ranksPerHost * best.layout.threads == 8)
    #expect(best.time.imagesPerSecond >= roomy.time.imagesPerSecond)
    let tight = try plan {
      ($0.model, $0.hosts, $0.globalBatch, $0.memoryBytes) = ("large", 4, 256, 8 << 30)
    }
    #expect(try #require(tight.best).bytesOfHost <= 8 << 30)
    let none = try plan { ($0.model, $0.globalBatch, $0.memoryBytes) = ("large", 64, 1 << 30) }
    #expect(!none.fits)
    #expect(none.best == nil)
    #expect(none.lines.contains { $0.contains("no layout") })
  }

  @Test func scalingGoesUpTo1024Hosts() throws {
    let plan = try plan { ($0.hosts, $0.globalBatch, $0.linkGbit) = (8, 256, 1) }
    #expect(plan.scaling.map(\.hosts) == (0...10).map { 1 << $0 })
    #expect(plan.scaling[0].weakEfficiency == 1)
    #expect(plan.scaling.allSatisfy { (0.01...1.0001).contains($0.weakEfficiency) })
    let strong = plan.scaling.compactMap(\.strongEfficiency)
    #expect(zip(strong, strong.dropFirst()).allSatisfy { $0 >= $1 })
    #expect(ScalingPoint.lines(plan.scaling).count == 12)
  }

  @Test func optionsThatAreNone() {
    let mistakes: [(String, (inout ClusterPlan.Options) -> Void)] = [
      ("--hosts", { $0.hosts = 0 }), ("--micro-batch", { $0.microBatch = 5000 }),
      ("--link-gbit", { $0.linkGbit = 0 }),
      ("--global-batch", { ($0.ranksPerHost, $0.globalBatch) = (8, 100) }),
      ("--micro-batch", { ($0.microBatch, $0.globalBatch) = (3, 16) }),
      ("--accumulation", { ($0.accumulation, $0.microBatch, $0.globalBatch) = (3, 4, 16) }),
      ("--model", { $0.model = "huge" }),
    ]
    for (name, change) in mistakes {
      let error = #expect(throws: (any Error).self) { _ = try plan(change) }
      #expect("\(error as Any)".contains(name))
    }
  }

  @Test func ratesAreBetweenThoseOfTheWidths() {
    var rates = Self.rates()
    rates.models[1].alone["products"] = 4 * (rates.models[0].alone["products"] ?? 0)
    let (low, high) = (rates.model(ofWidth: 192), rates.model(ofWidth: 1024))
    #expect(low.alone == rates.models[0].alone)
    #expect(high.alone == rates.models[1].alone)
    let middle = rates.model(ofWidth: 543).alone["products"] ?? 0
    #expect(middle > low.alone["products"]! && middle < high.alone["products"]!)
  }

  /// A kind without a rate would cost nothing.
  @Test func theRatesWithoutACalibrationAreComplete() throws {
    let setup = try BenchmarkSetup(model: "base", imageSize: 224, threads: 1, overrides: [])
    for model in MachineRates.reference.models {
      for kind in Array(StepWork(setup).ofImage.keys) + ["optimizer"] {
        #expect((model.alone[kind] ?? 0) > 0 && (model.loaded[kind] ?? 0) > 0, "\(kind)")
      }
    }
  }

  @Test func whatBackwardComputesAgainTakesTime() throws {
    func compute(_ set: [String]) throws -> Double {
      try plan { ($0.threads, $0.overrides) = (1, set) }.time.computeMilliseconds
    }
    let ratio = try compute(["parallelism.activationCheckpointing=blocks"]) / compute([])
    #expect((1.2...1.4).contains(ratio))
  }
}
