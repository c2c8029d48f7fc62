import DataParallel
import Files
import Foundation
import Interfaces
import Models
import TensorCore
import Training

/// `cae-dist plan --calibrate`: what this machine does in real training steps of two models, alone and
/// with all cores busy, and what it adds up, sends, copies and writes.
public struct MachineCalibration {
  /// Images of a step.
  private static let batch = 8
  private static let steps = 3
  /// A rank of CAE-B takes less.
  private static let bytesOfRank = 3 << 30
  private static let vectorCount = 16 << 20
  private static let socketBytes = 256 << 20

  private let log: (String) -> Void
  private let cores: Int

  /// - Parameter log: Gets a line before each part.
  public static func run(log: @escaping (String) -> Void) throws -> MachineRates {
    try MachineCalibration(log).run()
  }

  private init(_ log: @escaping (String) -> Void) {
    self.log = log
    let most = SystemMemory.bytes("MemAvailable") / MachineCalibration.bytesOfRank
    let all = ThreadCount.resolve("auto", cores: RankLayout.coresOfProcess)
    cores = min(all, max(1, most))
    if cores < all { log("only \(cores) of \(all) cores at once, since memory is short") }
  }

  private func run() throws -> MachineRates {
    let models = try ["small", "base"].map { name in
      log("training steps of CAE-\(name), on one core and on \(cores)")
      return try model(name)
    }
    log("memory, sockets and the disk")
    let (copy, write) = try storage()
    return MachineRates(
      processor: MachineCalibration.processor, kernels: BLAS.coreName, cores: cores,
      models: models, addBytesPerSecond: adding(),
      socketSecondsPerByte: try LoopbackTransfer.secondsPerByte(
        bytes: MachineCalibration.socketBytes),
      copyBytesPerSecond: copy, writeBytesPerSecond: write)
  }

  private static var processor: String {
    let text = (try? Files.readText("/proc/cpuinfo")) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("model name") }
    return line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) }
      ?? "unknown"
  }

  // MARK: Steps

  private func model(_ name: String) throws -> MachineRates.Model {
    let setup = try BenchmarkSetup(model: name, imageSize: 224, threads: 1, overrides: [])
    let work = StepWork(setup)
    let batch = MachineCalibration.batch
    let alone = try measure(name, ranks: 1, threads: 1)
    let parts = try measure(name, ranks: 1, threads: 1, microBatch: batch / 4)
    let crowd = try measure(name, ranks: cores, threads: 1)
    let team = try measure(name, ranks: 1, threads: cores)
    // Three micro-batches more, of the same images.
    let further = max(0, parts.seconds - alone.seconds) / 3
    let own = rates(alone, work, parametersOfRank: work.parameters, ofMicroBatch: further)
    var loaded = rates(
      crowd, work, parametersOfRank: work.parameters / cores, ofMicroBatch: further)
    // There it has the waits for other ranks in it.
    loaded[StepWork.other] = own[StepWork.other]
    // What a rank of many threads would take if they never waited for each other.
    let kernels = KernelKind.allCases.reduce(0) { $0 + (crowd.breakdown[$1.rawValue] ?? 0) }
    let other = alone.breakdown[StepWork.other] ?? 0
    let share = kernels / Double(cores)
    return MachineRates.Model(
      width: setup.model.embedDim, alone: own, loaded: loaded,
      microBatch: further / Double(work.parameters),
      synchronization: max(1, (team.seconds * 1e3 - other) / share))
  }

  private struct Measured: Sendable {
    let seconds: Double
    let breakdown: [String: Double]
  }

  /// The median step.
  private func measure(
    _ name: String, ranks: Int, threads: Int, microBatch: Int? = nil
  ) throws -> Measured {
    let options = StepBenchmark.Options(
      model: name, batch: MachineCalibration.batch, threads: threads, imageSize: 224,
      repeats: MachineCalibration.steps,
      overrides: microBatch.map { ["parallelism.microBatchSize=\($0)"] } ?? [])
    let results = try ThreadProcessGroup.run(count: ranks) { group throws(any Error) -> Measured in
      let steps = try StepBenchmark.steps(options, group: group)
      return Measured(
        seconds: steps.seconds.sorted()[steps.seconds.count / 2], breakdown: steps.breakdown)
    }
    MemoryPool.shared.trim()
    return results[0]
  }

  /// Seconds for a unit of work of one thread.
  ///
  /// - Parameter ofMicroBatch: Seconds of the products that do not depend on the images.
  private func rates(
    _ measured: Measured, _ work: StepWork, parametersOfRank: Int, ofMicroBatch: Double
  ) -> [String: Double] {
    var rates: [String: Double] = [:]
    for (kind, whole) in measured.breakdown {
      let milliseconds =
        kind == KernelKind.products.rawValue ? whole - ofMicroBatch * 1e3 : whole
      let units =
        StepWork.ofUpdate.contains(kind)
        ? Double(parametersOfRank)
        : (work.ofImage[kind] ?? 0) * Double(MachineCalibration.batch)
      if units > 0 { rates[kind] = max(0, milliseconds) / 1e3 / units }
    }
    return rates
  }

  // MARK: Memory and disk

  private func adding() -> Double {
    let count = MachineCalibration.vectorCount
    let memory = (0..<3).map { _ in
      HeapAllocator().allocate(count: count, purpose: "calibration")
    }
    for storage in memory { storage.pointer.update(repeating: 1, count: count) }
    let seconds = withExtendedLifetime(memory) {
      best {
        TreeSumKernel.sum(
          .sum(.leaf(0), .leaf(1)), of: memory.prefix(2).map { UnsafePointer($0.pointer) },
          into: memory[2].pointer, count: count)
      }
    }
    return Double(2 * count * MemoryLayout<Float>.stride) / seconds
  }

  private func storage() throws -> (copy: Double, write: Double) {
    let count = MachineCalibration.vectorCount
    let bytes = Double(count * MemoryLayout<Float>.stride)
    let memory = (0..<2).map { _ in
      HeapAllocator().allocate(count: count, purpose: "calibration")
    }
    for storage in memory { storage.pointer.update(repeating: 1, count: count) }
    // The kernels see pointers, which do not keep the memory.
    defer { withExtendedLifetime(memory) {} }
    let pool = ThreadPool(threadCount: cores)
    let source = UnsafeBufferPointer(start: memory[0].pointer, count: count)
    let copy = best { StateCopy.run([source], to: memory[1].pointer, pool) }
    let path = "\(DataHome.path)/.calibration-\(ProcessInfo.processInfo.processIdentifier)"
    try Files.makeDirectory(DataHome.path)
    try Files.write([], to: path)
    defer { try? Files.remove(path) }
    let file = try WritableFile(path: path)
    let started = ProcessInfo.processInfo.systemUptime
    try file.write(UnsafeRawBufferPointer(source), at: 0)
    try file.synchronize()
    return (bytes / copy, bytes / (ProcessInfo.processInfo.systemUptime - started))
  }

  /// Seconds of the quickest of three.
  private func best(_ body: () -> Void) -> Double {
    (0..<3).map { _ in
      let started = ProcessInfo.processInfo.systemUptime
      body()
      return ProcessInfo.processInfo.systemUptime - started
    }.min() ?? 0
  }
}
