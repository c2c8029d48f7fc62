import DataParallel
import Interfaces
import Models
import TensorCore
import Training

/// How long a training step takes, from what it has to do and the rates of a machine.
///
/// Kernels: work of each kind times its measured time for a unit, between that of one busy core and
/// that of all, over the threads of a rank. Update: the parameters that a rank owns. Exchange: what a
/// host's link has to carry, of which the backward pass that completes the gradients hides as much as
/// it lasts; adding up and TCP take cores away where none is free.
struct StepTime: Encodable, Sendable, Equatable {
  /// What takes most of a step.
  enum Bottleneck: String, Encodable, Sendable {
    case products, otherKernels, update, exchange
  }

  let stepMilliseconds: Double
  let imagesPerSecond: Double
  /// Forward and backward of all micro-batches of a rank.
  let computeMilliseconds: Double
  /// AdamW, of a rank.
  let updateMilliseconds: Double
  /// What the link of a host carries in a step, and how long.
  let exchangedBytes: Double
  let exchangeMilliseconds: Double
  /// Of it, beside backward.
  let overlappedMilliseconds: Double
  /// The rest, in which ranks wait.
  let exposedCommunicationMilliseconds: Double
  /// Adding up and TCP, where they take cores from the kernels.
  let addingMilliseconds: Double
  /// Compute and update over the step.
  let efficiency: Double
  let bottleneck: Bottleneck

  /// TCP's share of a link's rate that payload has: 116 to 120 of 125 MB/s at 1 Gbit/s.
  private static let goodput = 0.94
  /// Of a message between hosts.
  private static let latency = 1e-4

  init(_ layout: ClusterLayout, _ setup: BenchmarkSetup, _ work: StepWork, _ rates: MachineRates) {
    let host = Host(layout, rates, width: setup.model.embedDim)
    // What backward does not find, it computes again: one forward pass of three parts.
    let isRepeated = setup.parallelism.activationCheckpointing == .blocks
    let repeated = isRepeated ? work.backwardShare / 2 : 0
    let micro = host.microBatchSeconds(work, images: layout.microBatch, repeated: repeated)
    let compute = Double(layout.accumulation) * micro.total
    let update = host.updateSeconds(work, exchange: setup.exchange)
    let traffic = Traffic(layout, setup.exchange, parameters: work.parameters)
    let rate = layout.linkGbit * 1e9 / 8 * StepTime.goodput
    let round = traffic.bytesOfRound / rate + StepTime.latency * traffic.messagesOfRound
    let gather = traffic.gatheredBytes / rate
    // The last bucket is complete when backward is over.
    let tail = min(round, traffic.tailBytes / rate + 2 * StepTime.latency)
    let backward = (work.backwardShare + repeated) / (1 + repeated)
    let window = setup.exchange.overlaps ? micro.total * backward : 0
    let rounds = Double(traffic.rounds)
    let exposed =
      layout.hosts > 1 ? rounds * max(tail, round - window) + gather : 0
    let total = layout.hosts > 1 ? rounds * round + gather : 0
    let adding = host.addingSeconds(traffic, rates)
    let step = compute + update + adding + exposed
    stepMilliseconds = step * 1e3
    imagesPerSecond = Double(layout.globalBatch) / step
    (computeMilliseconds, updateMilliseconds) = (compute * 1e3, update * 1e3)
    exchangedBytes = layout.hosts > 1 ? rounds * traffic.bytesOfRound + traffic.gatheredBytes : 0
    exchangeMilliseconds = total * 1e3
    overlappedMilliseconds = (total - exposed) * 1e3
    exposedCommunicationMilliseconds = exposed * 1e3
    addingMilliseconds = adding * 1e3
    efficiency = (compute + update) / step
    let products = Double(layout.accumulation) * micro.products
    let parts: [(Bottleneck, Double)] = [
      (.products, products), (.otherKernels, compute - products), (.update, update),
      (.exchange, exposed + adding),
    ]
    bottleneck = parts.max { $0.1 < $1.1 }?.0 ?? .products
  }

  /// What a rank of a host computes in which time.
  private struct Host {
    let layout: ClusterLayout
    let model: MachineRates.Model
    let calibratedCores: Int
    /// From one busy core, 0, to all, 1.
    let load: Double
    /// By how much ranks that share cores are slower.
    let crowding: Double

    init(_ layout: ClusterLayout, _ rates: MachineRates, width: Int) {
      self.layout = layout
      model = rates.model(ofWidth: width)
      calibratedCores = rates.cores
      let busy = layout.ranksPerHost * layout.threads
      load =
        layout.coresPerHost > 1
        ? min(1, Double(busy - 1) / Double(layout.coresPerHost - 1)) : (busy > 1 ? 1 : 0)
      crowding = max(1, Double(busy) / Double(layout.coresPerHost))
    }

    /// Of one thread.
    func seconds(_ kind: String, _ units: Double) -> Double {
      let (alone, loaded) = (model.alone[kind] ?? 0, model.loaded[kind] ?? 0)
      return units * (alone + load * (loaded - alone)) * crowding
    }

    /// By how much a rank's threads take longer than their share, since they wait for each other.
    var synchronization: Double {
      guard layout.threads > 1 else { return 1 }
      let share = Double(layout.threads - 1) / Double(max(1, calibratedCores - 1))
      return 1 + (model.synchronization - 1) * min(1, share)
    }

    /// - Parameter repeated: Share of it that is done a second time.
    func microBatchSeconds(
      _ work: StepWork, images: Int, repeated: Double
    ) -> (total: Double, products: Double) {
      var (kernels, other, products) = (0.0, 0.0, 0.0)
      for (kind, units) in work.ofImage {
        let seconds = seconds(kind, units * Double(images)) * (1 + repeated)
        if kind == StepWork.other { other += seconds } else { kernels += seconds }
        if kind == KernelKind.products.rawValue { products = seconds }
      }
      let own = model.microBatch * Double(work.parameters) * crowding
      let factor = synchronization / Double(layout.threads)
      return ((kernels + own) * factor + other, products * factor)
    }

    func updateSeconds(_ work: StepWork, exchange: ExchangeOptions) -> Double {
      // Ranks of a host divide what it updates; sharding divides it among all hosts.
      let hosts = layout.sharding == .none ? 1 : layout.hosts
      let isShared = exchange.sharesMemory || layout.sharding != .none
      let ranks = isShared ? layout.ranksPerHost : 1
      let own = Double(work.parameters) / Double(hosts * ranks)
      return seconds(KernelKind.optimizer.rawValue, own) * synchronization / Double(layout.threads)
    }

    /// Where all cores compute, what they do for the exchange makes the step longer.
    func addingSeconds(_ traffic: Traffic, _ rates: MachineRates) -> Double {
      guard layout.ranks > 1 else { return 0 }
      let own = traffic.addedBytes / rates.addBytesPerSecond
      let sent = Double(traffic.rounds) * traffic.bytesOfRound + traffic.gatheredBytes
      let sockets = layout.hosts > 1 ? sent * rates.socketSecondsPerByte : 0
      let cores = Double(min(layout.coresPerHost, max(1, layout.ranksPerHost)))
      let busy = layout.ranksPerHost * layout.threads
      return busy >= layout.coresPerHost ? (own + sockets) / cores : 0
    }
  }

  /// Bytes of a host in a step.
  private struct Traffic {
    /// Sums that are made in a step.
    let rounds: Int
    /// Over the link in each direction.
    let bytesOfRound: Double
    let messagesOfRound: Double
    let tailBytes: Double
    /// Parameters, after the update.
    let gatheredBytes: Double
    /// That are read to be added up.
    let addedBytes: Double

    init(_ layout: ClusterLayout, _ exchange: ExchangeOptions, parameters: Int) {
      let others = Double(layout.hosts - 1) / Double(layout.hosts)
      let values = Double(parameters)
      let wire = exchange.wire == .bfloat16 ? 2.0 : 4.0
      rounds = layout.sharding == .gradients ? layout.accumulation : 1
      // To the owners, and where every host needs all sums, back.
      let crossings = layout.sharding == .none ? 2.0 : 1.0
      bytesOfRound = crossings * others * values * wire
      gatheredBytes = layout.sharding == .none ? 0 : others * values * 4
      let bucket = Double(exchange.bucketBytes)
      messagesOfRound = values * 4 / bucket
      tailBytes = crossings * others * bucket * wire / 4
      let inHost = layout.ranksPerHost > 1 ? Double(layout.ranksPerHost) * values * 4 : 0
      let betweenHosts = layout.hosts > 1 ? values * 4 : 0
      addedBytes = Double(rounds) * (inHost + betweenHosts)
    }
  }
}
