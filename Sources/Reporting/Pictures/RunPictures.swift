import DataParallel
import Files
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
    var makers: [(String, () throws -> RasterPicture)] = [
      (
        "masks.png",
        {
          try CoveragePicture.draw(
            Configurations.resolve(path: "\(run)/configuration.yaml")
          ).picture
        }
      ),
      ("attention.png", { try AttentionPicture.draw(checkpoint) }),
      ("reconstruction.png", { try ReconstructionPicture.draw(checkpoint, decoder: nil) }),
    ]
    if let head = Evaluation.head(of: .attentive(.attentive), run: run, step: step) {
      makers.append(
        ("probe-attention.png", { try AttentionPicture.draw(checkpoint, head: head) }))
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
}
