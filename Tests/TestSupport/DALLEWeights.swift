import Models
public import TensorCore

/// Random weights of a small DALL-E encoder or decoder under their published names.
public enum DALLEWeights {
  /// Uniform, of variance `1 / (inputs k^2)`; biases in +-0.1.
  public static func encoder(
    hiddenWidth: Int, vocabularySize: Int, seed: UInt64 = 1
  ) -> [(name: String, tensor: Tensor)] {
    random(
      DALLEEncoder.tensorShapes(hiddenWidth: hiddenWidth, vocabularySize: vocabularySize),
      seed: seed)
  }

  /// As `encoder`, of a decoder that makes as many pixels a token.
  public static func decoder(
    hiddenWidth: Int, vocabularySize: Int, seed: UInt64 = 2
  ) -> [(name: String, tensor: Tensor)] {
    var shapes: [(name: String, shape: Shape)] = []
    func add(_ name: String, _ outputs: Int, _ inputs: Int, _ kernel: Int) {
      shapes.append((name + ".w", [outputs, inputs, kernel, kernel]))
      shapes.append((name + ".b", [outputs]))
    }
    var width = hiddenWidth
    add("blocks.input", width, vocabularySize, 1)
    for group in 0..<4 {
      let outputs = hiddenWidth << (3 - group)
      for block in 1...2 {
        let name = "blocks.group_\(group + 1).block_\(block)"
        if width != outputs { add(name + ".id_path", outputs, width, 1) }
        add(name + ".res_path.conv_1", outputs / 4, width, 1)
        for convolution in 2...4 {
          let last = convolution == 4 ? outputs : outputs / 4
          add("\(name).res_path.conv_\(convolution)", last, outputs / 4, 3)
        }
        width = outputs
      }
    }
    add("blocks.output.conv", 6, width, 1)
    return random(shapes, seed: seed)
  }

  private static func random(
    _ shapes: [(name: String, shape: Shape)], seed: UInt64
  ) -> [(name: String, tensor: Tensor)] {
    var values = TestValues(seed)
    return shapes.map { name, shape in
      let fanIn = Float(shape.count / shape[0])
      let bound = shape.rank == 1 ? 0.1 : (3 / fanIn).squareRoot()
      return (name, values.tensor(shape, in: -bound...bound))
    }
  }
}
