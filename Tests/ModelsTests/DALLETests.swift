import Glibc
import Interfaces
import Models
import TensorCore
import TestSupport
import Testing

/// The published dVAE at toy size, against figures of the original implementation (PyTorch, CPU,
/// Float).
@Suite struct DALLETests {
  /// The generator of the figures: splitmix64, `u = (z >> 11) / 2^53`.
  private struct Stream {
    var state: UInt64

    mutating func next() -> Double {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
      z ^= z >> 31
      return Double(z >> 11) / 0x1p53
    }

    mutating func tensor(_ shape: Shape, _ map: (Double) -> Double) -> Tensor {
      Tensor((0..<shape.count).map { _ in Float(map(next())) }, shape: shape)
    }
  }

  private static let vocabulary = 512
  private static let hidden = 64

  /// Weights of a uniform distribution of He's variance, biases in +-0.1; seeds are the names'
  /// checksums.
  private static func tensors(
    _ shapes: [String: Shape], without missing: String? = nil, name: String = "toy"
  ) -> NamedTensors {
    NamedTensors(source: name) { name throws(ConfigurationError) in
      guard let shape = shapes[name], name != missing else { return nil }
      var stream = Stream(state: UInt64(DeterministicFill.crc32(name)))
      if shape.rank == 1 { return stream.tensor(shape) { 0.1 * (2 * $0 - 1) } }
      let bound = (6 * Double(shape[0]) / Double(shape.count)).squareRoot()
      return stream.tensor(shape) { (2 * $0 - 1) * bound }
    }
  }

  /// Names and shapes of a network of four groups of two blocks.
  private static func shapes(
    input: Shape, widths: [Int], kernels: [Int], outputs: Int
  ) -> [String: Shape] {
    var shapes: [String: Shape] = [:]
    func add(_ name: String, _ outputs: Int, _ inputs: Int, _ kernel: Int) {
      shapes[name + ".w"] = [outputs, inputs, kernel, kernel]
      shapes[name + ".b"] = [outputs]
    }
    add("blocks.input", input[0], input[1], input[2])
    var width = input[0]
    for (group, outputs) in widths.enumerated() {
      for block in 1...2 {
        let name = "blocks.group_\(group + 1).block_\(block)"
        if width != outputs { add(name + ".id_path", outputs, width, 1) }
        let hidden = outputs / 4
        let inputs = [width, hidden, hidden, hidden]
        for (index, kernel) in kernels.enumerated() {
          add(
            "\(name).res_path.conv_\(index + 1)", index == 3 ? outputs : hidden, inputs[index],
            kernel)
        }
        width = outputs
      }
    }
    add("blocks.output.conv", outputs, width, 1)
    return shapes
  }

  private static let encoderShapes = shapes(
    input: [hidden, 3, 7, 7], widths: [1, 2, 4, 8].map { $0 * hidden }, kernels: [3, 3, 3, 1],
    outputs: vocabulary)
  private static let decoderShapes = shapes(
    input: [32, vocabulary, 1, 1], widths: [8, 4, 2, 1].map { $0 * hidden },
    kernels: [1, 3, 3, 3], outputs: 6)

  private static func image() -> Tensor {
    var stream = Stream(state: 7)
    return stream.tensor([1, 3, 32, 32]) { Double(0.8 * Float($0) + 0.1) }
  }

  /// Six printed digits of sums of Float.
  private func agrees(_ value: Double, _ expected: Double, digits: Double = 2e-5) -> Bool {
    abs(value - expected) <= digits
  }

  @Test func generatorGivesTheKnownValues() {
    var stream = Stream(state: 1)
    for expected in [0.56656157517, 0.74578175726, 0.97100275359] {
      #expect(agrees(stream.next(), expected, digits: 1e-11))
    }
  }

  // MARK: Encoder

  @Test func encoderGivesTheOriginalsLogits() throws {
    let encoder = try DALLEEncoder(Self.tensors(Self.encoderShapes))
    let logits = encoder.logits(for: Self.image(), pool: ThreadPool(threadCount: 2))
    #expect(logits.shape == [1, 4, 4, 512])
    let expected = [
      4.1752, 4.57471, 3.99624, 4.80402, 2.9222, 3.18054, 2.69181, 3.90757, 2.94661, 3.08233,
      3.71407, 3.28603, 3.35641, 3.79847, 3.0647, 3.46688,
    ]
    for (position, value) in expected.enumerated() {
      let found = Double(logits.pointer[position * 512])
      #expect(agrees(found, value), "position \(position): \(found), not \(value)")
    }
    let values = logits.values.map(Double.init)
    let mean = values.reduce(0, +) / Double(values.count)
    let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    #expect(agrees(mean, -0.029936, digits: 2e-6))
    let deviation = (squares / Double(values.count - 1)).squareRoot()
    #expect(agrees(deviation, 2.159286, digits: 2e-6))
  }

  @Test func tokensAreThoseOfTheOriginal() throws {
    let tokenizer = DALLETokenizer(
      try DALLEEncoder(Self.tensors(Self.encoderShapes)), grid: 4)
    #expect((tokenizer.vocabularySize, tokenizer.view.size) == (512, 32))
    let view = tokenizer.view
    #expect(view.filter == .lanczos)
    for (mean, deviation) in zip(view.mean, view.standardDeviation) {
      #expect(abs((0.7 - mean) / deviation - (0.8 * 0.7 + 0.1)) < 1e-6)
    }
    let tokens = tokenizer.tokens(for: Self.image(), pool: ThreadPool(threadCount: 2))
    #expect(tokens == [Int32](repeating: 280, count: 16))
  }

  /// More images than are computed at once.
  @Test func tokensDependNeitherOnTheBatchNorOnThreads() throws {
    let encoder = try DALLEEncoder(Self.tensors(Self.encoderShapes))
    let tokenizer = DALLETokenizer(encoder, grid: 3)
    var values = TestValues(3)
    let images = values.tensor([6, 3, 24, 24], in: 0.1...0.9)
    let logits = [1, 2, 3].map {
      encoder.logits(for: images, pool: ThreadPool(threadCount: $0)).values
    }
    #expect(sameBits(logits[1], logits[0]) && sameBits(logits[2], logits[0]))
    let pool = ThreadPool(threadCount: 2)
    let all = tokenizer.tokens(for: images, pool: pool)
    #expect(all.count == 54)
    for index in 0..<6 {
      let image = Tensor(
        storage: images.storage, offset: images.offset + index * 3 * 576, shape: [1, 3, 24, 24])
      #expect(
        tokenizer.tokens(for: image, pool: pool) == Array(all[index * 9..<(index + 1) * 9]))
    }
    let expected = (0..<54).map { row -> Int32 in
      let part = logits[0][row * 512..<(row + 1) * 512]
      return Int32(part.firstIndex(of: part.max()!)! - part.startIndex)
    }
    #expect(all == expected)
  }

  @Test func sizesAreReadFromTheWeights() throws {
    let encoder = try DALLEEncoder(Self.tensors(Self.encoderShapes))
    #expect((encoder.groupCount, encoder.blocksPerGroup, encoder.reduction) == (4, 2, 8))
    #expect(encoder.hiddenWidth == 64)
    let count = Self.encoderShapes.values.reduce(0) { $0 + $1.count }
    #expect(encoder.parameterCount == count)
    // Each weight is used once a pixel, with 64 pixels behind each token's.
    #expect(encoder.flops(imageSize: 32) == 4 * encoder.flops(imageSize: 16))
    let output = 2.0 * 16 * 512 * 512
    #expect(encoder.flops(imageSize: 32) > output)
    let published = DALLEEncoder.tensorShapes(hiddenWidth: 64, vocabularySize: 512)
    #expect(published.count == Self.encoderShapes.count)
    for (name, shape) in published { #expect(Self.encoderShapes[name] == shape, "\(name)") }
  }

  @Test func publishedSizesHaveThePublishedCount() {
    let encoder = Self.shapes(
      input: [256, 3, 7, 7], widths: [256, 512, 1024, 2048], kernels: [3, 3, 3, 1],
      outputs: 8192)
    #expect(encoder.values.reduce(0) { $0 + $1.count } == 53_786_240)
    let decoder = Self.shapes(
      input: [128, 8192, 1, 1], widths: [2048, 1024, 512, 256], kernels: [1, 3, 3, 3],
      outputs: 6)
    #expect(decoder.values.reduce(0) { $0 + $1.count } == 43_829_766)
  }

  // MARK: Decoder

  @Test func decoderGivesTheOriginalsPixels() throws {
    let decoder = try DALLEDecoder(Self.tensors(Self.decoderShapes))
    let tokens = [Int32](repeating: 280, count: 16)
    let pool = ThreadPool(threadCount: 2)
    let outputs = decoder.outputs(of: tokens[...], grid: 4, pool: pool)
    #expect(outputs.shape == [1, 6, 32, 32])
    let expected = [-0.01235, -0.49178, -0.12102, 0.77193, -0.18709, 0.4682]
    for (channel, value) in expected.enumerated() {
      let found = Double(outputs.pointer[channel * 1024])
      #expect(agrees(found, value, digits: 1e-5), "channel \(channel): \(found), not \(value)")
    }
    let mean = outputs.values.reduce(0.0) { $0 + Double($1) } / Double(outputs.count)
    #expect(agrees(mean, 0.064349, digits: 2e-6))

    let images = decoder.images(of: tokens, grid: 4, pool: pool)
    #expect(images.shape == [1, 3, 32, 32])
    for (index, value) in images.values.enumerated() {
      let logit = Double(outputs.pointer[index])
      let pixel = min(max((1 / (1 + exp(-logit)) - 0.1) / 0.8, 0), 1)
      #expect(abs(Double(value) - pixel) < 1e-6)
    }
  }

  /// More images than are computed at once, of different tokens.
  @Test func imagesDependNeitherOnTheBatchNorOnThreads() throws {
    let decoder = try DALLEDecoder(Self.tensors(Self.decoderShapes))
    var values = TestValues(4)
    let tokens = values.indices(6 * 4, below: 512)
    let all = [1, 2, 3].map {
      decoder.images(of: tokens, grid: 2, pool: ThreadPool(threadCount: $0)).values
    }
    #expect(sameBits(all[1], all[0]) && sameBits(all[2], all[0]))
    for index in 0..<6 {
      let image = decoder.images(
        of: Array(tokens[index * 4..<(index + 1) * 4]), grid: 2, pool: ThreadPool(threadCount: 2))
      #expect(sameBits(image.values, Array(all[0][index * 768..<(index + 1) * 768])))
    }
    #expect(all[0].allSatisfy { (0...1).contains($0) })
  }

  // MARK: Weights that do not fit

  @Test(arguments: [
    "blocks.input.w", "blocks.input.b", "blocks.group_1.block_1.res_path.conv_1.w",
    "blocks.group_2.block_1.id_path.w", "blocks.group_3.block_2.res_path.conv_4.b",
    "blocks.output.conv.w",
  ])
  func aMissingTensorIsNamed(name: String) {
    let error = #expect(throws: ConfigurationError.self) {
      try DALLEEncoder(Self.tensors(Self.encoderShapes, without: name))
    }
    #expect(error?.description == "method.tokenizer: \(name) is missing in toy")
  }

  @Test(arguments: [
    ("blocks.input.w", [64, 3, 5, 5]), ("blocks.input.w", [64, 3, 7]),
    ("blocks.input.b", [63]), ("blocks.group_1.block_2.res_path.conv_2.w", [16, 15, 3, 3]),
    ("blocks.group_1.block_1.res_path.conv_4.w", [64, 16, 3, 3]),
    ("blocks.output.conv.w", [512, 511, 1, 1]), ("blocks.output.conv.b", [1, 512]),
  ])
  func anOddShapeIsNamed(name: String, shape: [Int]) {
    var shapes = Self.encoderShapes
    shapes[name] = Shape(shape)
    let error = #expect(throws: ConfigurationError.self) {
      try DALLEEncoder(Self.tensors(shapes))
    }
    #expect(error?.reason.hasPrefix("\(name) is \(Shape(shape)), not [") == true)
    #expect(error?.reason.hasSuffix(", in toy") == true)
  }

  @Test func unevenGroupsAndOtherOutputsAreRefused() {
    var shapes = Self.encoderShapes
    for (name, shape) in Self.encoderShapes where name.hasPrefix("blocks.group_4.block_2") {
      shapes[name.replacing("block_2", with: "block_3")] = shape
      shapes[name] = nil
    }
    let uneven = #expect(throws: ConfigurationError.self) {
      try DALLEEncoder(Self.tensors(shapes))
    }
    #expect(uneven?.reason == "blocks.group_4 has 1 blocks, not 2, in toy")
    shapes = Self.encoderShapes
    shapes["blocks.group_2.block_1.id_path.w"] = [127, 64, 1, 1]
    shapes["blocks.group_2.block_1.id_path.b"] = [127]
    let identity = #expect(throws: ConfigurationError.self) {
      try DALLEEncoder(Self.tensors(shapes))
    }
    #expect(
      identity?.reason
        == "blocks.group_2.block_1.id_path.w has 127 outputs, not 128, in toy")
    #expect(throws: ConfigurationError.self) {
      try DALLEDecoder(Self.tensors(Self.encoderShapes))
    }
  }
}
