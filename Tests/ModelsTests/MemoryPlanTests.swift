import Interfaces
import Models
import NN
import TensorCore
import Testing

@testable import Diagnostics

@Suite struct MemoryPlanTests {
  private func setup(_ overrides: [String], threads: Int) throws -> BenchmarkSetup {
    try BenchmarkSetup(
      model: "tiny", imageSize: 48, threads: threads,
      overrides: ["model.depth=2", "method.regressorDepth=1"] + overrides)
  }

  /// The same passes with real kernels and memory take the same bytes of their pool.
  @Test(arguments: ["none", "blocks"], [1, 3])
  func activationsAreThoseOfRealPasses(checkpointing: String, threads: Int) throws {
    let setup = try setup(
      ["parallelism.activationCheckpointing=\(checkpointing)"], threads: threads)
    let planned = ActivationMemory(
      setup, microBatch: 3, microBatches: 2, in: ParameterTree())
    let pool = MemoryPool()
    MemoryPool.$shared.withValue(pool) {
      let tree = ParameterTree()
      let network = CAENetwork(
        setup.model, setup.method, vocabularySize: BenchmarkSetup.vocabularySize, in: tree)
      let heap = HeapAllocator()
      let parameters = FlatBuffer(for: tree, allocator: heap, purpose: "parameters")
      parameters.initialize(tree, seed: 1)
      let sink = FlatGradientSink(
        FlatBuffer(for: tree, allocator: heap, purpose: "gradients"), for: tree)
      let tape = Tape(parameters: parameters, pool: ThreadPool(threadCount: threads))
      tape.keepsBlockInputsOnly = checkpointing == "blocks"
      let images = (0..<2).map { _ in Tensor(repeating: 0.5, shape: [3, 3, 48, 48]) }
      let masked = setup.method.numMaskedPatches
      let mask = PatchMask(
        rows: (0..<3).map { image in (0..<9).map { ($0 + image) % 9 < masked } })
      for image in images + images {
        let result = network.forward(
          images: image, mask: mask,
          targets: TokenIndices(Array(repeating: 7, count: 3 * masked)),
          ForwardContext(
            tape: tape, keys: [],
            step: StepInfo(step: 0, totalSteps: 1, seed: 0, isTraining: false)))
        tape.backward(
          from: [(result.reconstruction.variable, 1), (result.alignment.variable, 2)], into: sink)
      }
    }
    #expect(planned.images == 2 * 3 * 3 * 48 * 48 * 4)
    #expect(planned.activations + planned.images == pool.writtenBytes)
  }

  private func plan(
    hosts: Int, ranksPerHost: Int, accumulation: Int = 1, _ overrides: [String] = []
  ) throws -> MemoryPlan {
    try MemoryPlan.make(
      MemoryPlan.Options(
        model: "tiny", hosts: hosts, ranksPerHost: ranksPerHost, microBatch: 2,
        accumulation: accumulation, imageSize: 32, threads: 1, overrides: overrides))
  }

  @Test func sumsAreOfKinds() throws {
    let plan = try plan(hosts: 2, ranksPerHost: 3, ["parallelism.wire=bfloat16"])
    let kinds = plan.memory.values
    #expect(plan.sum.total == kinds.reduce(0) { $0 + $1.total })
    #expect(plan.sum.sharedPerHost == kinds.reduce(0) { $0 + $1.sharedPerHost })
    #expect(plan.sum.perHost <= kinds.reduce(0) { $0 + $1.perHost })
    #expect(plan.sum.total <= 2 * plan.sum.perHost)
    #expect(plan.sum.perHost <= 3 * plan.sum.perRank + plan.sum.sharedPerHost)
    #expect(plan.memory[.roundingErrors]?.total ?? 0 > 0)
  }

  /// Each byte of the state is copied once, over all ranks.
  @Test(arguments: ["none", "optimizer", "gradients"])
  func checkpointsAreCopiedOnce(sharding: String) throws {
    let plan = try plan(hosts: 2, ranksPerHost: 3, ["parallelism.sharding=\(sharding)"])
    let parameters = plan.memory[.parameters]?.sharedPerHost ?? 0
    #expect(plan.memory[.checkpointCopy]?.total == 3 * parameters)
    let waiting = try self.plan(hosts: 2, ranksPerHost: 3, ["checkpoint.asynchronous=false"])
    #expect(waiting.memory[.checkpointCopy]?.total == 0)
  }

  @Test func shardingDividesWhatItSays() throws {
    func total(_ kind: MemoryPlan.Kind, _ plan: MemoryPlan) -> Int { plan.memory[kind]?.total ?? 0 }
    let whole = try plan(hosts: 2, ranksPerHost: 2, ["parallelism.sharding=none"])
    let moments = try plan(hosts: 2, ranksPerHost: 2, ["parallelism.sharding=optimizer"])
    let all = try plan(hosts: 2, ranksPerHost: 2, ["parallelism.sharding=gradients"])
    let parameters = whole.memory[.parameters]?.sharedPerHost ?? 0
    #expect(parameters > 0)
    #expect(total(.moments, whole) == 4 * parameters)
    #expect(total(.moments, moments) == 2 * parameters)
    #expect(total(.gradients, moments) == 4 * parameters)
    #expect(total(.gradients, all) == parameters)
    #expect(total(.bucketSlots, all) > 0)
    let own = try plan(hosts: 1, ranksPerHost: 2, ["parallelism.sharedParameters=false"])
    #expect(
      own.memory[.parameters]
        == .init(
          perRank: parameters, sharedPerHost: 0, perHost: 2 * parameters, total: 2 * parameters))
  }

  @Test func impossibleRunsAreSaidSo() {
    for (hosts, ranks, accumulation, overrides) in [
      (0, 1, 1, []), (1, 5000, 1, []), (100, 100, 1, []),
      (1, 2, 3, ["parallelism.deterministic=true"]), (1, 1, 1, ["parallelism.wire=int8"]),
    ] {
      #expect(throws: ConfigurationError.self) {
        try plan(hosts: hosts, ranksPerHost: ranks, accumulation: accumulation, overrides)
      }
    }
  }
}
