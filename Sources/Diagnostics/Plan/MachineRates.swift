import Files
import Foundation
import Interfaces
import Models
import NN
import TensorCore
import Training

/// What a machine does, for plans: measured by `cae-dist plan --calibrate`.
public struct MachineRates: Codable, Sendable, Equatable {
  /// Of a thread in training steps of a model, by kind of kernel and for what is outside of kernels:
  /// seconds for a unit of `StepWork`.
  struct Model: Codable, Sendable, Equatable {
    var width: Int
    /// While one core of the machine computes.
    var alone: [String: Double]
    /// While all do.
    var loaded: [String: Double]
    /// Of every micro-batch, for each parameter: gradients are added to those that are there.
    var microBatch: Double
    /// By how much a rank of as many threads as cores takes longer than its share of the kernels.
    var synchronization: Double
  }

  var processor: String
  var kernels: String
  /// That computed where all did.
  var cores: Int
  /// By width.
  var models: [Model]
  /// Gradients of several ranks, read and added up by one thread.
  var addBytesPerSecond: Double
  /// CPU time of both ends of a TCP connection for a byte.
  var socketSecondsPerByte: Double
  /// State to memory, by all cores.
  var copyBytesPerSecond: Double
  /// To the disk, with fsync.
  var writeBytesPerSecond: Double

  /// Where calibrations are, unless another file is named.
  public static var defaultPath: String { "\(DataHome.path)/calibration.json" }

  /// Reads a calibration.
  public init(path: String) throws {
    do {
      let bytes = Data(try Files.read(path))
      self = try JSONDecoder().decode(MachineRates.self, from: bytes)
    } catch let error as FileError {
      throw error
    } catch {
      throw ConfigurationError(
        "--calibration", "\(path) is not a calibration; make one with cae-dist plan --calibrate")
    }
    guard !models.isEmpty, cores > 0 else {
      throw ConfigurationError("--calibration", "\(path) has no rates; measure them anew")
    }
  }

  /// Keeps it for `init(path:)`.
  public func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    if let slash = path.lastIndex(of: "/") { try Files.makeDirectory(String(path[..<slash])) }
    try Files.writeAtomically(Array(try encoder.encode(self)), to: path)
  }

  init(
    processor: String, kernels: String, cores: Int, models: [Model], addBytesPerSecond: Double,
    socketSecondsPerByte: Double, copyBytesPerSecond: Double, writeBytesPerSecond: Double
  ) {
    self.processor = processor
    self.kernels = kernels
    self.cores = cores
    self.models = models
    self.addBytesPerSecond = addBytesPerSecond
    self.socketSecondsPerByte = socketSecondsPerByte
    self.copyBytesPerSecond = copyBytesPerSecond
    self.writeBytesPerSecond = writeBytesPerSecond
  }

  /// Between the measured widths, and that of the nearest beyond them.
  func model(ofWidth width: Int) -> Model {
    let sorted = models.sorted { $0.width < $1.width }
    guard let above = sorted.first(where: { $0.width >= width }) else { return sorted.last! }
    guard let below = sorted.last(where: { $0.width <= width }), below.width < above.width else {
      return above
    }
    let share =
      log(Double(width) / Double(below.width)) / log(Double(above.width) / Double(below.width))
    func mix(_ first: Double, _ second: Double) -> Double { first + share * (second - first) }
    func mix(_ first: [String: Double], _ second: [String: Double]) -> [String: Double] {
      first.merging(second) { mix($0, $1) }
    }
    return Model(
      width: width, alone: mix(below.alone, above.alone), loaded: mix(below.loaded, above.loaded),
      microBatch: mix(below.microBatch, above.microBatch),
      synchronization: mix(below.synchronization, above.synchronization))
  }
}

/// Amounts of work by kind, of one image and of one update.
struct StepWork {
  /// What is outside of kernels.
  static let other = "other"
  /// Kinds that are done once a step, whatever the images.
  static let ofUpdate: Set<String> = [KernelKind.optimizer.rawValue]

  let ofImage: [String: Double]
  let parameters: Int
  /// Share of the forward and backward passes that is backward.
  let backwardShare: Double

  init(_ setup: BenchmarkSetup) {
    let cost = setup.cost
    let tree = ParameterTree()
    _ = CAENetwork(
      setup.model, setup.method, vocabularySize: BenchmarkSetup.vocabularySize, in: tree)
    parameters = tree.flatCount
    var work = [
      KernelKind.products.rawValue: cost.flopsPerImage - cost.attentionFlopsPerImage,
      KernelKind.attention.rawValue: cost.attentionFlopsPerImage,
      KernelKind.loss.rawValue:
        Double(setup.method.numMaskedPatches * BenchmarkSetup.vocabularySize),
    ]
    for kind in [KernelKind.norms, .activations, .elementwise, .dataMovement] {
      work[kind.rawValue] = cost.blockValuesPerImage
    }
    work[StepWork.other] = cost.blockValuesPerImage
    ofImage = work
    let trained = cost.trained.reduce(0) { sum, layer in
      sum + Double(layer.value) * 2
        * Double(layer.key.rows * layer.key.inputs) * Double(layer.key.outputs)
    }
    backwardShare = min(1, 2 * trained / (cost.flopsPerImage - cost.attentionFlopsPerImage))
  }
}

extension MachineRates {
  /// Rates for a plan, and where they are from: a file that is named, this machine's own, or those of
  /// the machine that cae-dist was made on.
  public static func load(_ path: String?) throws -> (rates: MachineRates, source: String) {
    if let path { return (try MachineRates(path: path), path) }
    guard Files.exists(defaultPath) else {
      return (
        reference,
        "of \(reference.summary); for your machine's own, call cae-dist plan --calibrate"
      )
    }
    return (try MachineRates(path: defaultPath), defaultPath)
  }

  /// One line for people.
  public var summary: String {
    let rate = models.last.flatMap { $0.loaded[KernelKind.products.rawValue] }.map { 1 / $0 / 1e9 }
    return "\(processor), \(cores) cores, kernels \(kernels), "
      + String(format: "%.0f GFLOP/s a core in products", rate ?? 0)
  }
}
