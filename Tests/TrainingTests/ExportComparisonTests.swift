import Artifacts
import Glibc
import Interfaces
import Models
import NN
import TensorCore
import Testing

@testable import Training

/// What `Scripts/reference/timm-features.py` has written.
private let golden = getenv("CAE_TIMM_GOLDEN").map { String(cString: $0) }

/// The features of an exported encoder against those that timm computes from the same file.
@Suite(.enabled(if: golden != nil)) struct ExportComparisonTests {
  @Test func featuresAgreeWithTimm() throws {
    let reader = try ArtifactReader(path: try #require(golden))
    let imported = try ImportedModel(path: try reader.string("weights"), .init())
    let model = imported.configuration.training.model
    let tree = ParameterTree()
    let encoder = VisionTransformer("encoder", model, scheme: .xavier, in: tree)
    let parameters = FlatBuffer(for: tree, allocator: HeapAllocator(), purpose: "parameters")
    for entry in tree.entries {
      let values = try imported.values(entry.parameter.name)
      for (index, value) in values.enumerated() {
        parameters.pointer(entry.parameter)[index] = value
      }
    }
    let images = try reader.tensor("images")
    let tape = Tape(parameters: parameters, pool: ThreadPool(threadCount: 1))
    let context = ForwardContext(
      tape: tape, keys: [], step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false))
    let patches = (0..<images.shape[0]).flatMap { _ in (0..<model.patchCount).map(Int32.init) }
    let found = tape.withoutGradient {
      encoder(images, patches: patches, context, branch: 0)
    }.value.values
    let expected = try reader.tensor("features").values
    #expect(found.count == expected.count)
    let largest = zip(found, expected).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
    let magnitude = expected.map(abs).max() ?? 0
    print("largest difference from timm \(largest), of values up to \(magnitude)")
    #expect(largest <= 1e-4 * max(1, magnitude))
  }
}
