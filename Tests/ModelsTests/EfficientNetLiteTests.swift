import HDF5
import Interfaces
import TensorCore
import TestSupport
import Testing

@testable import Models

/// A small network of EfficientNet-Lite0's form against Scripts/reference/efficientnet-lite.py.
@Suite struct EfficientNetLiteTests {
  private let file: HDF5File

  init() throws { file = try HDF5File(path: GoldenFile.path("efficientnet-lite.h5"), .readOnly) }

  private func tensor(_ name: String) throws -> Tensor {
    let data = try file.root.dataset(name)
    return Tensor(try data.read(), shape: Shape(data.shape))
  }

  private func weights(without missing: String? = nil) -> NamedTensors {
    NamedTensors(source: "small.h5", key: "method.teacher") {
      [file] (name) throws(ConfigurationError) in
      do {
        guard name != missing, try file.root.exists(name) else { return nil }
        let data = try file.root.dataset(name)
        return Tensor(try data.read(), shape: Shape(data.shape))
      } catch {
        throw ConfigurationError("method.teacher", "\(error)")
      }
    }
  }

  /// Relative to the largest feature, after 33 convolutions in Float.
  @Test func agreesWithTheReference() throws {
    let teacher = try EfficientNetLite(weights(), grid: 3)
    #expect(teacher.width == 14 && teacher.view.size == 48)
    let expected = try tensor("example/features")
    for threads in [1, 2] {
      let found = teacher.features(
        of: try tensor("example/images"), pool: ThreadPool(threadCount: threads))
      #expect(found.shape == expected.shape)
      let largest = expected.values.map(abs).max() ?? 0
      #expect(largestDifference(found.values, expected.values) < 1e-5 * largest)
    }
  }

  @Test func featuresDependOnNeitherBatchNorThreads() throws {
    try expectSameInAnyBatch(try EfficientNetLite(weights(), grid: 3))
  }

  @Test func wrongWeightsAreNamed() {
    for name in ["_conv_stem.weight", "_blocks.3._bn1.running_var", "_blocks.10._bn2.bias"] {
      let error = #expect(throws: ConfigurationError.self) {
        try EfficientNetLite(weights(without: name), grid: 3)
      }
      #expect("\(error, default: "")" == "method.teacher: \(name) is missing in small.h5")
    }
  }
}
