import DataParallel
import Foundation
public import Interfaces
import NN
import Training

/// `cae-dist plan`: memory and time of a run on a cluster, without running it.
public struct ClusterPlan: Encodable, Sendable {
  public struct Options: Sendable {
    public var model = "base"
    public var imageSize = 224
    public var hosts = 1
    public var ranksPerHost = 1
    public var coresPerHost = 1
    /// Kernel threads of a rank; nil: its cores.
    public var threads: Int?
    public var microBatch: Int?
    public var accumulation: Int?
    /// Images of an update; nil: what follows from the others.
    public var globalBatch: Int?
    public var linkGbit = 10.0
    /// Of a host.
    public var memoryBytes = 0
    /// Of an epoch.
    public var images = 1_281_167
    /// Of a stored image.
    public var imageBytes = 110_000
    /// `section.key=value` of a run's configuration.
    public var overrides: [String] = []

    public init() {}
  }

  /// What a run of an epoch comes to.
  struct Epoch: Encodable, Sendable {
    let steps: Int
    let hours: Double
    /// From the shards, of a host.
    let dataMegabytesPerSecond: Double
    /// That decode them, of a host.
    let decodingCores: Double
    let checkpointBytes: Int
    /// Copy that training waits for, and when it is on the disk, at this machine's rate for each host.
    let checkpointStallMilliseconds: Double
    let checkpointSeconds: Double
  }

  let layout: ClusterLayout
  let time: StepTime
  let epoch: Epoch
  let memory: [MemoryPlan.Kind: MemoryPlan.Bytes]
  let sum: MemoryPlan.Bytes
  let memoryOfHostBytes: Int
  /// Whether a host has the memory.
  let fits: Bool
  /// The quickest layout of the same hosts and global batch that fits, and its time; nil where none does.
  let best: Layout?
  /// As many hosts with the same work for each, and with the same global batch.
  public let scaling: [ScalingPoint]
  /// Where the rates are from.
  let calibration: String

  struct Layout: Encodable, Sendable {
    let layout: ClusterLayout
    let time: StepTime
    let bytesOfHost: Int
  }

  /// CPU time of decoding and cutting an image: docs/performance.md.
  static let decodingSeconds = 1.1e-3

  /// - Throws: Where the options describe no run.
  public static func make(
    _ options: Options, rates: MachineRates, calibration: String
  ) throws(ConfigurationError) -> ClusterPlan {
    try ClusterPlan(LayoutSearch(options, rates), calibration)
  }

  private init(_ search: LayoutSearch, _ calibration: String) throws(ConfigurationError) {
    let (options, rates) = (search.options, search.rates)
    layout = try search.given()
    time = search.time(layout)
    let plan = try search.memory(layout)
    (memory, sum) = (plan.memory, plan.sum)
    memoryOfHostBytes = options.memoryBytes
    fits = plan.sum.perHost <= options.memoryBytes
    best = search.best(globalBatch: layout.globalBatch)
    scaling = ScalingPoint.upTo1024Hosts(layout, search)
    self.calibration = calibration
    let rate = time.imagesPerSecond / Double(layout.hosts)
    let state = 12.0 * Double(search.work.parameters)
    epoch = Epoch(
      steps: options.images / layout.globalBatch,
      hours: Double(options.images) / time.imagesPerSecond / 3600,
      dataMegabytesPerSecond: rate * Double(options.imageBytes) / 1e6,
      decodingCores: rate * ClusterPlan.decodingSeconds, checkpointBytes: Int(state),
      checkpointStallMilliseconds: state / Double(layout.hosts) / rates.copyBytesPerSecond * 1e3,
      checkpointSeconds: state / Double(layout.hosts) / rates.writeBytesPerSecond)
  }

  // MARK: Text

  /// For people.
  public var lines: [String] {
    MemoryPlan.lines(memory, sum) + [
      String(
        format: "a host has %.1f GB, the run takes %.1f GB: %@", Double(memoryOfHostBytes) / 1e9,
        Double(sum.perHost) / 1e9, fits ? "it fits" : "it does not fit"),
      "", "\(layout.text): global batch \(layout.globalBatch)",
      String(
        format: "step %.0f ms: compute %.0f, update %.0f, adding up %.0f, waiting for links %.0f",
        time.stepMilliseconds, time.computeMilliseconds, time.updateMilliseconds,
        time.addingMilliseconds, time.exposedCommunicationMilliseconds),
      exchangeLine,
      String(
        format: "%.1f images/s, efficiency %.3f; most of a step is %@", time.imagesPerSecond,
        time.efficiency, time.bottleneck.rawValue),
      String(
        format:
          "an epoch of %d steps takes %.1f hours; a host reads %.1f MB/s and decodes on %.2f cores",
        epoch.steps, epoch.hours, epoch.dataMegabytesPerSecond, epoch.decodingCores),
      String(
        format: "a checkpoint of %.1f GB: training waits %.0f ms, on the disk after %.1f s",
        Double(epoch.checkpointBytes) / 1e9, epoch.checkpointStallMilliseconds,
        epoch.checkpointSeconds),
      bestLine, "rates: \(calibration)",
    ]
  }

  private var exchangeLine: String {
    guard layout.hosts > 1 else { return "one host: nothing crosses a link" }
    return String(
      format:
        "exchange: %.1f MB over each host's link of %g Gbit/s, %.0f ms, of which %.0f beside backward",
      time.exchangedBytes / 1e6, layout.linkGbit, time.exchangeMilliseconds,
      time.overlappedMilliseconds)
  }

  private var bestLine: String {
    guard let best else {
      return "no layout of these hosts fits; take more hosts, or activationCheckpointing: blocks"
    }
    return String(
      format: "best layout found: %@: %.1f images/s, %.1f GB a host", best.layout.text,
      best.time.imagesPerSecond, Double(best.bytesOfHost) / 1e9)
  }
}

/// A number of hosts and what it brings.
public struct ScalingPoint: Encodable, Sendable {
  public let hosts: Int
  /// With the same work for each rank.
  public let weakImagesPerSecond: Double
  /// Against one host.
  public let weakEfficiency: Double
  /// With the same global batch; nil where it cannot be divided so far.
  public let strongImagesPerSecond: Double?
  public let strongEfficiency: Double?

  static func upTo1024Hosts(_ layout: ClusterLayout, _ search: LayoutSearch) -> [ScalingPoint] {
    func alone(_ accumulation: Int) -> Double {
      var one = layout
      (one.hosts, one.accumulation) = (1, accumulation)
      return search.time(one).imagesPerSecond
    }
    let all = layout.accumulation * layout.hosts
    return (0...10).map { power in
      var weak = layout
      weak.hosts = 1 << power
      let rate = search.time(weak).imagesPerSecond
      var strong: Double?
      if all % weak.hosts == 0 {
        var divided = weak
        divided.accumulation = all / weak.hosts
        strong = search.time(divided).imagesPerSecond
      }
      let hosts = Double(weak.hosts)
      return ScalingPoint(
        hosts: weak.hosts, weakImagesPerSecond: rate,
        weakEfficiency: rate / hosts / alone(layout.accumulation),
        strongImagesPerSecond: strong, strongEfficiency: strong.map { $0 / hosts / alone(all) })
    }
  }

  /// A table of them.
  public static func lines(_ points: [ScalingPoint]) -> [String] {
    ["hosts   images/s weak  efficiency   images/s strong  efficiency"]
      + points.map { point in
        let strong =
          point.strongImagesPerSecond.map { String(format: "%17.1f", $0) } ?? "                -"
        let efficiency =
          point.strongEfficiency.map { String(format: "%12.3f", $0) } ?? "           -"
        return String(
          format: "%5d %15.1f %11.3f", point.hosts, point.weakImagesPerSecond, point.weakEfficiency)
          + strong + efficiency
      }
  }
}
