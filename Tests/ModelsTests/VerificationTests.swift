import Artifacts
import Diagnostics
import Glibc
import HDF5
import TensorCore
import TestSupport
import Testing

/// The files are made by Scripts/reference.
@Suite struct VerificationTests {
  static let files = ["cae-v1-tiny.h5", "cae-v1-uneven.h5", "cae-v2-tiny.h5"]

  @Test(arguments: files, [1, 2])
  func theReferencesAreMet(file: String, threadCount: Int) throws {
    let report = try Verification.run(
      path: GoldenFile.path(file), pool: ThreadPool(threadCount: threadCount))
    #expect(report.passed, "\(report)")
    #expect(report.loss.value <= VerificationReport.limits.loss)
    #expect(report.output.value <= VerificationReport.limits.output)
    #expect(report.gradient.value <= VerificationReport.limits.gradient)
    #expect(report.trajectory.value <= VerificationReport.limits.trajectory)
    // Something was compared: Float never meets Double everywhere.
    for worst in [report.loss, report.output, report.gradient, report.trajectory] {
      #expect(worst.value > 0 && worst.name != "-")
    }
  }

  /// A copy of a reference in a folder that goes away with it.
  private struct Copy {
    let folder: TemporaryFolder
    let path: String

    init() throws {
      folder = try TemporaryFolder("verification")
      path = folder.file("reference.h5")
      let source = try #require(fopen(GoldenFile.path("cae-v1-uneven.h5"), "r"))
      let target = try #require(fopen(path, "w"))
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      while case let count = fread(&buffer, 1, buffer.count, source), count > 0 {
        try #require(fwrite(buffer, 1, count, target) == count)
      }
      fclose(source)
      try #require(fclose(target) == 0)
    }

    /// Replaces one value of a dataset.
    func change(_ dataset: String, at index: Int, by change: Float) throws {
      let file = try HDF5File(path: path, .readWrite)
      let dataset = try file.root.dataset(dataset)
      var values = try dataset.read(as: Float.self)
      values[index] += change
      try dataset.write(values)
      try file.close()
    }
  }

  private func run(_ path: String) throws -> VerificationReport {
    try Verification.run(path: path, pool: ThreadPool(threadCount: 1))
  }

  @Test(arguments: [
    "weights/mask_token", "weights/encoder.blocks.0.attn.qkv.weight",
    "weights/regresser.regressor_blocks.0.norm2_cross.weight", "weights/decoder.head.bias",
  ])
  func anotherWeightIsNoticed(dataset: String) throws {
    let copy = try Copy()
    #expect(try run(copy.path).passed)
    try copy.change(dataset, at: 3, by: 0.05)
    let report = try run(copy.path)
    #expect(!report.passed)
    #expect(report.gradient.value > VerificationReport.limits.gradient)
  }

  @Test func anotherExpectationIsNoticedByItsName() throws {
    let gradient = try Copy()
    try gradient.change("expected/gradients/decoder.head.bias", at: 0, by: 0.01)
    let report = try run(gradient.path)
    #expect(!report.passed)
    #expect(report.gradient.name == "decoder.head.bias")
    #expect(report.loss.value <= VerificationReport.limits.loss)

    let trajectory = try Copy()
    try trajectory.change("trajectory/losses", at: 2, by: 0.01)
    #expect(try run(trajectory.path).trajectory.name == "loss of step 2")
  }

  /// Comparisons with a value that is not a number are false: it must not be taken for agreement,
  /// nor be forgotten when the next value is fine.
  @Test func valuesThatAreNotNumbersNeverAgree() throws {
    let output = try Copy()
    try output.change("expected/latent_target", at: 0, by: .nan)
    #expect(try !run(output.path).passed)

    let gradient = try Copy()
    try gradient.change("expected/gradients/mask_token", at: 0, by: .nan)
    #expect(try !run(gradient.path).passed)
  }

  @Test func filesThatCannotBeRunAreRefusedInASentence() throws {
    let missing = "/nonexistent/reference.h5"
    let error = #expect(throws: VerificationError.self) { try run(missing) }
    #expect(error?.description.contains(missing) == true)
    let folder = try TemporaryFolder("verification")
    let text = try folder.write("no reference", to: "text.h5")
    let damaged = #expect(throws: VerificationError.self) { try run(text) }
    #expect(damaged?.description.contains(text) == true)
    // A weight of another shape, and attributes that describe another model.
    let copy = try Copy()
    let file = try HDF5File(path: copy.path, .readWrite)
    try file.root.setAttribute("embed_dim", 7)
    try file.close()
    let other = #expect(throws: VerificationError.self) { try run(copy.path) }
    #expect(other?.description.contains("embedDim") == true)
  }
}
