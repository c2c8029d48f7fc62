import Models
import NN
import TensorCore

/// The model of a reference file, and what it makes of the file's batch.
struct ReferenceModel {
  /// What one forward pass has made.
  struct Outcome {
    /// What backward starts from, each with its weight.
    let terms: [(loss: ScalarVariable, weight: Double)]
    /// Losses and outputs by their names in the file.
    let losses: [(name: String, value: Double)]
    let outputs: [(name: String, tensor: Tensor)]

    var total: Double { terms.reduce(0) { $0 + $1.loss.value * $1.weight } }
  }

  private enum Network {
    case version1(CAENetwork, TokenIndices, alignmentWeight: Double)
    case version2(CAEv2Network, Tensor)
  }

  let parameters = ParameterTree()
  private let network: Network

  init(_ reference: ReferenceFile) {
    switch reference.method {
    case .version1(let configuration, let vocabularySize, let targets):
      network = .version1(
        CAENetwork(
          reference.model, configuration, vocabularySize: vocabularySize, in: parameters),
        targets, alignmentWeight: configuration.alignmentWeight)
    case .version2(let configuration, let targets):
      network = .version2(
        CAEv2Network(
          reference.model, configuration, targetWidth: targets.columns, in: parameters), targets)
    }
  }

  func forward(_ images: Tensor, _ mask: PatchMask, _ context: ForwardContext) -> Outcome {
    switch network {
    case .version1(let network, let targets, let weight):
      let result = network.forward(images: images, mask: mask, targets: targets, context)
      let terms = [(loss: result.reconstruction, weight: 1), (result.alignment, weight)]
      let (main, alignment) = (result.reconstruction.value, result.alignment.value)
      return Outcome(
        terms: terms,
        losses: [
          ("loss", main + weight * alignment), ("loss_main", main), ("loss_alignment", alignment),
        ],
        outputs: [
          ("output", result.logits.value), ("latent_prediction", result.predictedLatents.value),
          ("latent_target", result.targetLatents.value),
        ])
    case .version2(let network, let targets):
      let result = network.forward(images: images, mask: mask, targets: targets, context)
      return Outcome(
        terms: [(result.loss, 1)],
        losses: [("loss", result.loss.value), ("loss_main", result.loss.value)],
        outputs: [
          ("output", result.features.value.withUnitRows),
          // As the head sees them, of the masked patches.
          (
            "latent_prediction",
            result.latents.value.tokens(from: 1 + mask.visibleCount, count: mask.maskedCount)
          ),
        ])
    }
  }
}

extension Tensor {
  /// A stretch of the tokens of every sample of `[B, T, C]`.
  fileprivate func tokens(from start: Int, count: Int) -> Tensor {
    let (batch, tokens) = (shape[0], shape[1])
    let part = Tensor(uninitialized: [batch, count, columns])
    for sample in 0..<batch {
      (part.pointer + sample * count * columns).update(
        from: pointer + (sample * tokens + start) * columns, count: count * columns)
    }
    return part
  }

  fileprivate var withUnitRows: Tensor {
    let result = copy()
    for row in 0..<rows {
      let values = UnsafeMutableBufferPointer(
        start: result.pointer + row * columns, count: columns)
      let length = values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      for index in values.indices { values[index] = Float(Double(values[index]) / length) }
    }
    return result
  }
}
