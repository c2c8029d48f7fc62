import DataParallel
import Interfaces

/// Hosts of one kind, and how a step is divided among their ranks.
struct ClusterLayout: Encodable, Sendable, Equatable {
  var hosts: Int
  var ranksPerHost: Int
  /// Kernel threads of a rank.
  var threads: Int
  var coresPerHost: Int
  /// Of the link of a host in each direction.
  var linkGbit: Double
  /// Images of one forward and backward.
  var microBatch: Int
  /// Micro-batches of a rank in a step.
  var accumulation: Int
  var sharding: Sharding

  var ranks: Int { hosts * ranksPerHost }
  var globalBatch: Int { ranks * microBatch * accumulation }

  var text: String {
    "\(hosts) x \(ranksPerHost) ranks x \(threads) threads, micro-batch \(microBatch), accumulation "
      + "\(accumulation), sharding \(sharding.rawValue)"
  }
}
