import Interfaces
import TensorCore

/// A convolution with the weights `NAME.w` `[outputs, inputs, k, k]` and `NAME.b` `[outputs]` of
/// the published models.
struct DALLEConvolution: Sendable {
  let inputs: Int
  let outputs: Int
  let kernel: Int
  private let weight: Tensor
  private let bias: Tensor

  /// - Throws: Where a tensor is missing, or has another kernel or other inputs than expected.
  init(
    _ name: String, inputs: Int, kernel: Int, from tensors: NamedTensors
  ) throws(ConfigurationError) {
    let published = try tensors.required(name + ".w")
    let shape = published.shape
    guard shape.rank == 4, shape[0] > 0, shape[1] == inputs, shape[2] == kernel,
      shape[3] == kernel
    else {
      throw tensors.mismatch(
        name + ".w", "is \(shape), not [outputs, \(inputs), \(kernel), \(kernel)],")
    }
    bias = try tensors.required(name + ".b")
    guard bias.shape == [shape[0]] else {
      throw tensors.mismatch(name + ".b", "is \(bias.shape), not [\(shape[0])],")
    }
    self.inputs = inputs
    self.kernel = kernel
    outputs = shape[0]
    weight = Tensor(uninitialized: [kernel * kernel * inputs, shape[0]])
    ConvolutionKernel.rearranged(
      published.pointer, outputs: shape[0], inputs: inputs, kernel: kernel, into: weight.pointer)
  }

  var parameterCount: Int { weight.count + bias.count }

  /// Floating-point operations on one image.
  func flops(height: Int, width: Int) -> Double { sizes(height, width).flops }

  /// `[B, H, W, inputs]` to `[B, H, W, outputs]`.
  func callAsFunction(_ x: Tensor, activates: Bool, _ pool: ThreadPool) -> Tensor {
    let output = Tensor(uninitialized: [x.shape[0], x.shape[1], x.shape[2], outputs])
    run(x, activates, residual: nil, gain: 1, into: output, pool)
    return output
  }

  /// `sum += gain convolution(max(x, 0))`.
  func add(_ x: Tensor, gain: Float, to sum: Tensor, _ pool: ThreadPool) {
    run(x, true, residual: sum.pointer, gain: gain, into: sum, pool)
  }

  /// The convolution of a one-hot input: `weight[token] + bias`, `[B, grid, grid, outputs]`.
  ///
  /// - Precondition: The kernel is 1, all tokens are below `inputs`.
  func embedding(of tokens: ArraySlice<Int32>, grid: Int, _ pool: ThreadPool) -> Tensor {
    precondition(tokens.allSatisfy { (0..<Int32(inputs)).contains($0) }, "a token is out of range")
    let output = Tensor(
      uninitialized: [tokens.count / (grid * grid), grid, grid, outputs])
    let first = tokens.startIndex
    pool.runSlabs(of: tokens.count, as: .dataMovement) { slab, _ in
      for row in slab {
        let code = weight.pointer + Int(tokens[first + row]) * outputs
        let target = output.pointer + row * outputs
        for channel in 0..<outputs { target[channel] = code[channel] + bias.pointer[channel] }
      }
    }
    return output
  }

  private func sizes(_ height: Int, _ width: Int) -> ConvolutionKernel.Sizes {
    ConvolutionKernel.Sizes(
      height: height, width: width, inputs: inputs, outputs: outputs, kernel: kernel)
  }

  private func run(
    _ x: Tensor, _ activates: Bool, residual: UnsafePointer<Float>?, gain: Float,
    into output: Tensor, _ pool: ThreadPool
  ) {
    // The kernel sees pointers, which do not keep the memory.
    withExtendedLifetime((x, output)) {
      ConvolutionKernel.forward(
        pool, sizes(x.shape[1], x.shape[2]), batch: x.shape[0], input: x.pointer,
        activatesInput: activates, weight: weight.pointer, bias: bias.pointer,
        residual: residual, gain: gain, output: output.pointer)
    }
  }
}

/// `id(x) + gain res(x)`: id a 1 x 1 convolution where the channels change, res four times ReLU
/// and convolution.
struct DALLEBlock: Sendable {
  private let identity: DALLEConvolution?
  private let path: [DALLEConvolution]

  /// - Parameter kernels: Of the four convolutions.
  init(
    _ name: String, inputs: Int, kernels: [Int], from tensors: NamedTensors
  ) throws(ConfigurationError) {
    var path: [DALLEConvolution] = []
    for (index, kernel) in kernels.enumerated() {
      path.append(
        try DALLEConvolution(
          "\(name).res_path.conv_\(index + 1)", inputs: path.last?.outputs ?? inputs,
          kernel: kernel, from: tensors))
    }
    self.path = path
    let outputs = path[path.count - 1].outputs
    identity =
      outputs == inputs
      ? nil
      : try DALLEConvolution(name + ".id_path", inputs: inputs, kernel: 1, from: tensors)
    guard let identity, identity.outputs != outputs else { return }
    throw tensors.mismatch(
      name + ".id_path.w", "has \(identity.outputs) outputs, not \(outputs),")
  }

  var convolutions: [DALLEConvolution] { (identity.map { [$0] } ?? []) + path }
  var outputs: Int { path[path.count - 1].outputs }

  /// Where the channels stay, the result is written over `x`.
  func callAsFunction(_ x: Tensor, gain: Float, _ pool: ThreadPool) -> Tensor {
    var hidden = x
    for convolution in path.dropLast() { hidden = convolution(hidden, activates: true, pool) }
    let sum = identity.map { $0(x, activates: false, pool) } ?? x
    path[path.count - 1].add(hidden, gain: gain, to: sum, pool)
    return sum
  }
}

/// What encoder and decoder share: an input convolution, groups of blocks, an output convolution.
struct DALLENetwork: Sendable {
  let input: DALLEConvolution
  let groups: [[DALLEBlock]]
  let output: DALLEConvolution
  /// `1 / layers^2`.
  let gain: Float

  /// Groups and blocks are as many as have names.
  init(
    inputs: Int, inputKernel: Int, blockKernels: [Int], from tensors: NamedTensors
  ) throws(ConfigurationError) {
    input = try DALLEConvolution(
      "blocks.input", inputs: inputs, kernel: inputKernel, from: tensors)
    var groups: [[DALLEBlock]] = []
    var width = input.outputs
    while true {
      var blocks: [DALLEBlock] = []
      while true {
        let name = "blocks.group_\(groups.count + 1).block_\(blocks.count + 1)"
        if try tensors["\(name).res_path.conv_1.w"] == nil { break }
        let block = try DALLEBlock(name, inputs: width, kernels: blockKernels, from: tensors)
        width = block.outputs
        blocks.append(block)
      }
      if blocks.isEmpty { break }
      groups.append(blocks)
    }
    let perGroup = groups.first?.count ?? 0
    if let odd = groups.firstIndex(where: { $0.count != perGroup }) {
      throw tensors.mismatch(
        "blocks.group_\(odd + 1)", "has \(groups[odd].count) blocks, not \(perGroup),")
    }
    guard !groups.isEmpty else {
      throw tensors.mismatch("blocks.group_1.block_1.res_path.conv_1.w", "is missing")
    }
    self.groups = groups
    output = try DALLEConvolution("blocks.output.conv", inputs: width, kernel: 1, from: tensors)
    let layers = Float(groups.count * perGroup)
    gain = 1 / (layers * layers)
  }

  var parameterCount: Int {
    let blocks = groups.joined().flatMap(\.convolutions)
    return ([input, output] + blocks).reduce(0) { $0 + $1.parameterCount }
  }

  /// Factor between the sides of image and tokens: a step between every two groups.
  var reduction: Int { 1 << (groups.count - 1) }

  func run(_ group: [DALLEBlock], _ x: Tensor, _ pool: ThreadPool) -> Tensor {
    group.reduce(x) { $1($0, gain: gain, pool) }
  }
}

/// Images that are computed at once: enough for many threads even where an image is small.
let dalleImagesAtOnce = 4
