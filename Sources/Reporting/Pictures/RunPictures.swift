import DataParallel
import Files
import Models
import Training

/// The pictures of a run that its report shows: the files of its folder `pictures`.
public enum RunPictures {
  static let folder = "pictures"

  private static let captions = [
    "masks.png": CoveragePicture.caption,
    "attention.png": AttentionPicture.caption,
    "probe-attention.png": AttentionPicture.probeCaption,
    "reconstruction.png": ReconstructionPicture.caption,
  ]

  /// What stands below a picture: of a name that is not known the name itself.
  static func caption(of name: String) -> String { captions[name] ?? name }

  /// Makes those pictures that are missing and can be made: a run with a checkpoint and data.
  ///
  /// - Returns: A sentence for each that could not be made.
  public static func makeMissing(run: String) -> [String] {
    let checkpoints = CheckpointFolder(run)
    guard let step = checkpoints.steps.first else {
      return ["Pictures are made from the first checkpoint on."]
    }
    let checkpoint = checkpoints.path(step: step)
    let makers: [(name: String, make: () throws -> RasterPicture)]
    do {
      makers = try self.makers(run: run, step: step, checkpoint: checkpoint)
    } catch {
      return ["pictures could not be made: \(error)"]
    }
    return makers.compactMap { name, make in
      let path = "\(run)/\(folder)/\(name)"
      guard !Files.exists(path) else { return nil }
      do {
        let picture = try make()
        try Files.makeDirectory("\(run)/\(folder)")
        try picture.write(to: path)
        return nil
      } catch {
        return "\(name) could not be made: \(error)"
      }
    }
  }

  /// Those that a run of its method can have.
  private static func makers(
    run: String, step: Int, checkpoint: String
  ) throws -> [(name: String, make: () throws -> RasterPicture)] {
    let configuration = try Configurations.resolve(path: "\(run)/configuration.yaml")
    let method = configuration.methodType
    var makers: [(name: String, make: () throws -> RasterPicture)] = []
    if try MaskDraw.hasMasks(configuration) {
      makers.append(("masks.png", { try CoveragePicture.draw(configuration).picture }))
    }
    if method as? any ClassifierMethod.Type == nil {
      makers.append(("attention.png", { try AttentionPicture.draw(checkpoint) }))
    }
    if let head = Evaluation.head(of: .attentive(.attentive), run: run, step: step) {
      makers.append(
        ("probe-attention.png", { try AttentionPicture.draw(checkpoint, head: head) }))
    }
    if method == CAE.self {
      makers.append(
        ("reconstruction.png", { try ReconstructionPicture.draw(checkpoint, decoder: nil) }))
    }
    return makers
  }
}
