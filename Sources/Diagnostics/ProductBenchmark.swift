import Foundation
public import Interfaces
import Models
import TensorCore

/// `cae-dist bench gemm`: rates of a step's dense products alone, with the threads and slabs of
/// the step.
public struct ProductBenchmark {
  public struct Report: Encodable, Sendable {
    /// One dense layer at the batch: GFLOP/s of its three products.
    public struct Layer: Encodable, Sendable {
      public let rows: Int
      public let inputs: Int
      public let outputs: Int
      /// How often a step has it.
      public let count: Int
      public let forward: Double
      public let inputGradient: Double
      public let weightGradient: Double
    }

    public let layers: [Layer]
    /// FLOP-weighted harmonic mean over all of them.
    public let gflops: Double

    public var lines: [String] {
      ["    rows  inputs outputs  count   forward  d input  d weight  GFLOP/s"]
        + layers.map {
          String(
            format: "%8d %7d %7d %6d %9.1f %8.1f %9.1f", $0.rows, $0.inputs, $0.outputs, $0.count,
            $0.forward, $0.inputGradient, $0.weightGradient)
        } + [String(format: "all: %.1f GFLOP/s", gflops)]
    }
  }

  /// Runs of each product, of which the median counts.
  private static let repeats = 5
  private let cost: StepCost
  private let batch: Int
  private let pool: ThreadPool

  init(_ cost: StepCost, batch: Int, pool: ThreadPool) {
    self.cost = cost
    self.batch = batch
    self.pool = pool
  }

  /// - Throws: Where the options describe no model.
  public static func run(
    model: String, batch: Int, threads: Int, imageSize: Int
  ) throws(ConfigurationError) -> Report {
    guard batch > 0 else { throw ConfigurationError("--batch", "must be above 0") }
    let setup = try BenchmarkSetup(
      model: model, imageSize: imageSize, threads: threads, overrides: [])
    return ProductBenchmark(
      setup.cost, batch: batch, pool: ThreadPool(threadCount: setup.threads)
    ).run()
  }

  func run() -> Report {
    var (flops, seconds) = (0.0, 0.0)
    let order = cost.trained.sorted {
      ($0.key.rows, $0.key.inputs, $0.key.outputs) < ($1.key.rows, $1.key.inputs, $1.key.outputs)
    }
    let layers = order.map { layer, count in
      let times = measure(layer)
      let work = 2 * Double(layer.rows * batch) * Double(layer.inputs) * Double(layer.outputs)
      flops += Double(count) * 3 * work
      seconds += Double(count) * times.reduce(0, +)
      let rates = times.map { work / $0 / 1e9 }
      return Report.Layer(
        rows: layer.rows * batch, inputs: layer.inputs, outputs: layer.outputs, count: count,
        forward: rates[0], inputGradient: rates[1], weightGradient: rates[2])
    }
    return Report(layers: layers, gflops: flops / seconds / 1e9)
  }

  /// Seconds of forward, input gradient and weight gradient.
  private func measure(_ layer: StepCost.DenseLayer) -> [Double] {
    let (rows, inputs, outputs) = (layer.rows * batch, layer.inputs, layer.outputs)
    let x = Tensor(repeating: 0.5, shape: [rows, inputs])
    let y = Tensor(repeating: 0.5, shape: [rows, outputs])
    let weight = Tensor(repeating: 0.5, shape: [outputs, inputs])
    // The kernels see pointers, which do not keep the memory.
    return withExtendedLifetime((x, y, weight)) {
      [
        median {
          LinearKernel.forward(
            pool, x: x.pointer, weight: weight.pointer, bias: [], y: y.pointer, activated: nil,
            rows: rows, inputs: inputs, outputs: outputs)
        },
        median {
          LinearKernel.backwardInput(
            pool, dY: y.pointer, weight: weight.pointer, dX: x.pointer, accumulate: false,
            rows: rows, inputs: inputs, outputs: outputs)
        },
        median {
          LinearKernel.backwardWeight(
            pool, dY: y.pointer, x: x.pointer, dWeight: weight.pointer, beta: 0, rows: rows,
            inputs: inputs, outputs: outputs)
        },
      ]
    }
  }

  private func median(_ body: () -> Void) -> Double {
    let times = (0..<ProductBenchmark.repeats).map { _ in
      let started = ProcessInfo.processInfo.systemUptime
      body()
      return ProcessInfo.processInfo.systemUptime - started
    }
    return times.sorted()[ProductBenchmark.repeats / 2]
  }
}
