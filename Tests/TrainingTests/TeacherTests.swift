import DataParallel
import Files
import Interfaces
import Models
import ShardedData
import TestSupport
import Testing

@testable import Training

/// CAE v2 with a small teacher, on colour images.
@Suite struct TeacherTests {
  private let tiny: TinyRun
  private let teacher = GoldenFile.path("efficientnet-lite.h5")

  /// 48 images of 16 x 16 pixels.
  init() throws {
    tiny = try TinyRun()
    let images = SyntheticImages(
      count: 48, imageShape: ImageShape(height: 16, width: 16, channels: 3), seed: 1)
    _ = try ShardPacker(
      images, to: tiny.folder.file("colour"), name: "images",
      options: PackOptions(format: .raw(size: nil, channels: 3))
    ).packAll()
  }

  private func yaml(_ method: String = "") -> String {
    tiny.yaml(
      method: """
        {
          name: cae-v2, mask: random, numMaskedPatches: 8, decoderDim: 16, decoderHeads: 2,
          regressorDepth: 1, teacher: "\(teacher)"\(method) }
        """)
  }

  private var colours: [String] {
    [
      "data.train=[\"\(tiny.folder.file("colour"))\"]", "model.channels=3",
      "data.mean=[0.5, 0.5, 0.5]", "data.standardDeviation=[0.25, 0.25, 0.25]",
    ]
  }

  @Test func learnsFromItsTeacher() throws {
    let finished = try tiny.finish {
      $0.yaml = yaml()
      $0.ranks = 2
      $0.set = colours + ["schedule.epochs=20", "optimizer.learningRate=0.01"]
    }
    let metrics = try finished.metrics()
    #expect(metrics.count == 60 && metrics[0].keys.contains("lossLatent"))
    let (first, last) = (metrics[0]["loss"] ?? .nan, metrics[59]["loss"] ?? .nan)
    #expect((0.5...1.5).contains(first), "features of random weights are at right angles")
    #expect(last < first - 0.3)
    #expect(abs((metrics[59]["cosine"] ?? .nan) + last - 1) < 1e-9)
  }

  @Test func theSameBitsOnAnyNumberOfRanksAndAfterAStop() throws {
    func hash(_ name: String, ranks: Int, stopAfter: Int = .max) throws -> String {
      try tiny.finish {
        ($0.output, $0.ranks, $0.stopAfter) = (name, ranks, stopAfter)
        $0.yaml = yaml()
        $0.set = colours + ["parallelism.deterministic=true"]
      }.hash()
    }
    let whole = try hash("one", ranks: 1)
    #expect(try hash("four", ranks: 4) == whole)
    #expect(try hash("parts", ranks: 2, stopAfter: 3) != whole)
    #expect(try hash("parts", ranks: 2) == whole)
  }

  /// The encoder is judged like any other.
  @Test func itsEncoderIsEvaluatedAndExported() throws {
    let run = try tiny.finish {
      $0.yaml = yaml()
      $0.set = colours
    }.output
    var request = EvaluationRequest(.nearestNeighbours(count: 3), checkpoint: run)
    request.train = [tiny.folder.file("colour")]
    request.validation = request.train
    var result: EvaluationResult?
    try Evaluation.run(
      SingleProcessGroup(), { request }, log: { _ in }, report: { result = $0 })
    #expect(result?.count == 48)

    let (encoder, weights) = (tiny.folder.file("vit.safetensors"), tiny.folder.file("weights.h5"))
    _ = try ModelExport.write(run, format: .timmSafetensors, to: encoder)
    var options = ModelImport.Options()
    options.heads = 2
    _ = try ModelImport.write(encoder, options, to: weights)
    #expect(try EncoderCheckpoint(path: weights).configuration.training.model.embedDim == 16)
    let whole = tiny.folder.file("whole.safetensors")
    _ = try ModelExport.write(run, format: .caeSafetensors, to: whole)
    let error = #expect(throws: TrainingError.self) {
      try ModelImport.write(whole, options, to: tiny.folder.file("again.h5"))
    }
    #expect("\(error, default: "")".contains("only those of cae are imported"))
  }

  @Test(arguments: [
    ("", "method.teacher: names no file"), ("/nowhere", "/nowhere"),
    ("tokenizer", "has the weights of no known teacher"),
  ])
  func wrongTeachersAreNamed(file: String, words: String) throws {
    let path = file == "tokenizer" ? tiny.tokenizer : file
    let failure = try tiny.failure {
      $0.yaml = yaml()
      $0.set = colours + ["method.teacher=\"\(path)\""]
    }
    #expect(failure?.text.contains(words) ?? false, "\(failure?.text ?? "")")
    #expect(failure?.code == .badInput)
  }

  @Test func grayImagesHaveNoTeacher() throws {
    let failure = try tiny.failure { $0.yaml = yaml() }
    #expect(
      failure?.text == "model.channels: is 1, but the teacher sees colour images of 3")
  }
}
