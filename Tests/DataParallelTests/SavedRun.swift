import Files
import Foundation
import Interfaces
import NN
import TensorCore
import TestSupport

@testable import DataParallel

/// A run whose state is made of odd shapes and of any bits, saved by some ranks and loaded by others.
struct SavedRun: Sendable {
  static let header = CheckpointHeader(
    step: 12, samplesSeen: 192, samplerPosition: 192,
    configuration: "run: {seed: 7}\n# caf\u{E9}\n",
    programVersion: "0.0.0-test", libraries: "none", recentLosses: [1.5, 0.1], recentNorms: [3])
  static let shapes: [(String, Shape)] = [
    ("encoder.weight", [3, 5]), ("encoder.bias", [5]), ("mask_token", [1, 1, 4]), ("head", [2, 7]),
    ("patch", [16, 3, 7, 7]), ("large", [301, 257]),
  ]

  var shapes = SavedRun.shapes
  /// Of the buffer, whose values are the last of `State`.
  var bufferName = "teacher.centre"
  var bufferShape: Shape = [2, 3]
  /// One a rank.
  var hosts = [0]
  var options = ExchangeOptions()
  var isAsynchronous = true
  /// Happens on the last rank.
  var fault: WriteFault?

  init(hosts: [Int] = [0], sharding: Sharding = .none) {
    self.hosts = hosts
    options.sharding = sharding
    options.bucketBytes = 1 << 15
  }

  var tree: ParameterTree {
    let tree = ParameterTree()
    for (name, shape) in shapes { _ = tree.add(name, shape, .constant(0)) }
    return tree
  }

  /// The whole state, tensor by tensor and in the order of the layout, as bits.
  struct State: Equatable, Sendable, CustomStringConvertible {
    var tensors: [[UInt32]]

    // A failed expectation need not show all values.
    var description: String { "a state of \(tensors.count) tensors" }

    /// Among the bits are NaNs with a payload, subnormal numbers and -0.
    init(seed: UInt64, counts: [Int]) {
      var random = CounterRandom(seed: seed, stream: .synthetic)
      tensors = counts.map { count in
        [Float(-0.0).bitPattern] + (1..<count).map { _ in random.nextUInt32() }
      }
    }

    init(_ tensors: [[UInt32]]) { self.tensors = tensors }
  }

  func state(seed: UInt64) -> State {
    let counts = shapes.map(\.1.count)
    return State(seed: seed, counts: counts + counts + counts + [bufferShape.count])
  }

  /// The ranks of a run with a state.
  private func run<Value: Sendable>(
    _ state: State,
    _ body:
      @escaping @Sendable (DistributedOptimizer, [NamedBuffer], any ProcessGroup) throws -> Value
  ) throws -> [Value] {
    try ThreadProcessGroup.run(count: hosts.count, hosts: hosts) { [self] group in
      let stallGuard = StallGuard()
      stallGuard.limit(to: 15)
      let optimizer = try DistributedOptimizer(
        tree, AdamWConfiguration(), options, microBatches: 1, group: group,
        stallGuard: stallGuard, pool: ThreadPool(threadCount: 2))
      let centre = Tensor(repeating: 0, shape: bufferShape)
      let buffers = [NamedBuffer(name: bufferName, tensor: centre)]
      set(state, optimizer, centre)
      try optimizer.didLoad()
      return try body(optimizer, buffers, group)
    }
  }

  private func set(_ state: State, _ optimizer: DistributedOptimizer, _ centre: Tensor) {
    let parameters = optimizer.tree.entries.map(\.parameter)
    for (index, parameter) in parameters.enumerated() {
      for (kind, shard) in [optimizer.moments.first, optimizer.moments.second].enumerated() {
        let bits = state.tensors[(kind + 1) * parameters.count + index]
        let places = parameter.offset..<parameter.offset + parameter.count
        for place in shard.ranges.map({ $0.clamped(to: places) }).joined() {
          shard.pointer(at: place).pointee = Float(bitPattern: bits[place - parameter.offset])
        }
      }
      guard optimizer.writesParameters else { continue }
      for (place, bits) in state.tensors[index].enumerated() {
        optimizer.parameters.pointer(parameter)[place] = Float(bitPattern: bits)
      }
    }
    for (place, bits) in state.tensors[3 * parameters.count].enumerated() {
      centre.pointer[place] = Float(bitPattern: bits)
    }
  }

  /// Saves the state that belongs to a seed.
  ///
  /// - Parameter change: Of the state, right after the save has begun.
  /// - Returns: The checkpoint.
  @discardableResult
  func save(
    to folder: String, seed: UInt64 = 1, step: Int = header.step, keepLast: Int = 9,
    damaged: Set<Int> = [], change: UInt64? = nil
  ) throws -> String {
    let header = CheckpointHeader(
      step: step, samplesSeen: step * 16, samplerPosition: step * 16,
      configuration: SavedRun.header.configuration, programVersion: SavedRun.header.programVersion,
      libraries: "none", recentLosses: [1.5, 0.1], recentNorms: [3])
    return try run(state(seed: seed)) { [self] optimizer, buffers, group in
      var options = CheckpointSaver.Options(folder: folder)
      options.isAsynchronous = isAsynchronous
      options.keepLast = keepLast
      options.damaged = damaged
      let saver = CheckpointSaver(
        options, optimizer, buffers: buffers, group: group, pool: ThreadPool(threadCount: 2))
      try saver.begin(header, fault: group.rank == group.worldSize - 1 ? fault : nil)
      if let change {
        // Not before all have their copies: a host's ranks have one copy of the parameters.
        try group.barrier()
        set(state(seed: change), optimizer, buffers[0].tensor)
      }
      var path: String?
      while path == nil {
        while try group.allReduceMaximum([saver.isWriting ? 1 : 0])[0] > 0 { usleep(500) }
        if try group.allReduceMaximum([saver.failure == nil ? 0 : 1])[0] > 0 {
          let failure = saver.failure
          saver.abandon()
          try group.barrier()
          if group.rank == 0 { CheckpointFolder(folder).removeLeftovers() }
          try group.barrier()
          if let failure { throw failure }
          return ""
        }
        path = try saver.advance()
      }
      return path ?? ""
    }[0]
  }

  /// Loads a checkpoint into ranks that have another state.
  ///
  /// - Returns: The whole state, and what each rank has read.
  func load(_ path: String) throws -> (state: State, reports: [LoadReport]) {
    let results = try run(state(seed: 1_000)) { optimizer, buffers, group in
      let result = Result { () throws -> LoadReport in
        try CheckpointReader(path: path).load(into: optimizer, buffers, rank: group.rank)
      }
      // As in a run: what one rank finds ends the loading of all.
      let hasFailed = if case .failure = result { 1.0 } else { 0.0 }
      let report: LoadReport? =
        try group.allReduceMaximum([hasFailed])[0] > 0 && hasFailed == 0 ? nil : result.get()
      guard let report else {
        return (State([]), LoadReport(bytesRead: 0, bytesNeeded: 0, forgetsRoundingErrors: false))
      }
      try optimizer.didLoad()
      let moments = try ExchangeScenario.moments(of: optimizer, group)
      let parameters = optimizer.tree.entries.map(\.parameter)
      let flat = [optimizer.parameters.values, moments.first, moments.second]
      let tensors = flat.flatMap { values in
        parameters.map { values[$0.offset..<$0.offset + $0.count].map(\.bitPattern) }
      }
      try group.barrier()
      return (State(tensors + [buffers[0].tensor.values.map(\.bitPattern)]), report)
    }
    for result in results where result.0 != results[0].0 {
      throw CheckpointError.io(path: path, reason: "ranks have loaded different states")
    }
    return (results[0].0, results.map(\.1))
  }

  /// The error of opening and loading a checkpoint.
  func failure(_ path: String) -> CheckpointError? {
    do {
      _ = try load(path)
      return nil
    } catch {
      return error as? CheckpointError ?? .io(path: path, reason: "\(error)")
    }
  }
}
