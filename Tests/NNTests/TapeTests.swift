import Interfaces
import TensorCore
import TestSupport
import Testing

@testable import NN

/// Notes what backward does to it, and adds like the plain sink.
private final class RecordingSink: GradientSink {
  enum Event: Equatable {
    case contribution(String)
    case completion(String)
  }

  private(set) var events: [Event] = []
  private let sink: FlatGradientSink
  /// Called at every contribution.
  var inspect: (String) -> Void = { _ in }

  init(_ model: TapeModel) { sink = FlatGradientSink(model.gradients, for: model.tree) }

  func accumulate(
    _ parameter: Parameter, _ body: (UnsafeMutablePointer<Float>, Float) -> Void
  ) {
    events.append(.contribution(parameter.name))
    inspect(parameter.name)
    sink.accumulate(parameter, body)
  }

  func didComplete(_ parameter: Parameter) { events.append(.completion(parameter.name)) }
}

/// Knows the memory of an activation without keeping it.
private struct WeakStorage {
  weak var storage: Storage?

  init(_ variable: Variable) { storage = variable.value.storage }
}

@Suite struct TapeTests {
  /// Sums in another order, of values of size 1.
  static let tolerance: Float = 1e-6

  private let zeros = Variable.constant(Tensor(repeating: 0, shape: [2, 3, 4]))

  private func input(_ tape: Tape, seed: UInt64 = 2) -> Variable {
    var values = TestValues(seed)
    return tape.input(values.tensor([2, 3, 4]))
  }

  @Test func aSecondBackwardAddsToTheFirst() {
    let model = TapeModel(["w": [4, 4], "b": [4]])
    func backward() {
      let tape = model.tape()
      let y = tape.linear(input(tape), weight: model["w"], bias: [BiasSlice(model["b"])])
      _ = model.backward(tape, tape.meanSquaredError(y, target: zeros))
    }
    backward()
    let once = ["w", "b"].map { model.gradient($0) }
    backward()
    for (name, gradient) in zip(["w", "b"], once) {
      #expect(gradient.contains { $0 != 0 })
      #expect(
        largestDifference(model.gradient(name), gradient.map { 2 * $0 }) < TapeTests.tolerance)
    }
  }

  @Test func aNewSumOverwritesTheOldAndClearsWhatGotNothing() {
    let model = TapeModel(["used": [4, 4], "unused": [5]])
    model.gradients.tensor(model["unused"]).pointer.update(repeating: 7, count: 5)
    func sum() -> [Float] {
      model.sink.beginStep()
      let tape = model.tape()
      let y = tape.linear(input(tape), weight: model["used"])
      _ = model.backward(tape, tape.meanSquaredError(y, target: zeros))
      model.sink.endStep()
      return model.gradient("used")
    }
    let first = sum()
    #expect(sameBits(sum(), first))
    #expect(model.gradient("unused").allSatisfy { $0 == 0 })
  }

  /// A parameter inside a checkpointed part and outside of it is complete once, at the end.
  @Test func aParameterOfACheckpointedPartIsCompleteAfterItsLastUse() {
    let model = TapeModel(["w": [4, 4]])
    let tape = model.tape()
    tape.keepsBlockInputsOnly = true
    let first = tape.linear(input(tape), weight: model["w"])
    let part = tape.checkpointed([first]) { tape.linear($0[0], weight: model["w"]) }
    let loss = tape.meanSquaredError(tape.linear(part, weight: model["w"]), target: zeros)
    let sink = RecordingSink(model)
    tape.backward(from: [(loss.variable, 1)], into: sink)
    let contribution = RecordingSink.Event.contribution("w")
    #expect(sink.events == [contribution, contribution, contribution, .completion("w")])
  }

  @Test func seedsScaleAndAddObjectives() {
    let model = TapeModel(["w": [4, 4]])
    func gradient(_ seeds: [Float]) -> [Float] {
      let tape = model.tape()
      let x = input(tape)
      let y = tape.linear(x, weight: model["w"])
      let losses = [
        tape.meanSquaredError(y, target: zeros), tape.meanSquaredError(y, target: x.detached),
      ]
      return tape.backward(
        from: zip(losses, seeds).map { ($0.variable, $1) },
        into: FlatGradientSink(model.gradients, for: model.tree), of: [x])[0]!.values
    }
    let (first, second) = (gradient([1, 0]), gradient([0, 1]))
    let expected = zip(first, second).map { 3 * $0 - 2 * $1 }
    #expect(largestDifference(gradient([3, -2]), expected) < 4 * TapeTests.tolerance)
  }

  @Test func aVariableUsedTwiceGetsTheSum() throws {
    let model = TapeModel(["w": [4, 4]])
    let tape = model.tape()
    let x = input(tape)
    // mean((x + x)^2) has gradient 8 x / count.
    let loss = tape.meanSquaredError(
      tape.residual(x, x, gamma: nil, sampleScale: nil), target: zeros)
    let gradient = try #require(model.backward(tape, loss, of: [x])[0])
    let expected = x.value.values.map { 8 * $0 / 24 }
    #expect(largestDifference(gradient.values, expected) < TapeTests.tolerance)
  }

  @Test func withoutGradientRecordsNothing() {
    let model = TapeModel(["w": [4, 4], "token": [4], "norm": [4], "bias": [4]])
    let tape = model.tape()
    let x = input(tape)
    tape.withoutGradient {
      let y = tape.linear(x, weight: model["w"], activation: .gelu)
      let z = tape.layerNorm([y], weight: model["norm"], bias: model["bias"], epsilon: 1e-6)
      let token = tape.repeatToken(model["token"], batch: 2, count: 3)
      let sum = tape.residual(z, token, gamma: model["norm"], sampleScale: nil)
      let loss = tape.meanSquaredError(sum, target: zeros)
      #expect(![y, z, token, sum, loss.variable].contains { $0.needsGradient })
    }
    #expect(tape.nodes.isEmpty)
    // Recording goes on afterwards, also after a nested scope.
    tape.withoutGradient { tape.withoutGradient {} }
    #expect(tape.linear(x, weight: model["w"]).needsGradient)
    #expect(tape.nodes.count == 1)
  }

  @Test func constantsAreNotRecorded() {
    let model = TapeModel()
    let tape = model.tape()
    #expect(!tape.meanSquaredError(zeros, target: zeros).variable.needsGradient)
    #expect(!tape.sliceTokens(zeros, start: 0, count: 1).needsGradient)
    #expect(!tape.residual(zeros, zeros, gamma: nil, sampleScale: nil).needsGradient)
    #expect(tape.nodes.isEmpty)
  }

  @Test func detachedVariablesGetNoGradient() {
    let model = TapeModel(["w": [4, 4]])
    let tape = model.tape()
    let (x, other) = (input(tape), input(tape, seed: 3))
    let y = tape.residual(x, other.detached, gamma: nil, sampleScale: nil)
    let loss = tape.meanSquaredError(y, target: other)
    let gradients = model.backward(tape, loss, of: [x, other, other.detached])
    #expect(gradients.map { $0 != nil } == [true, false, false])
  }

  @Test func reshapedVariablesShareTheirGradient() throws {
    let model = TapeModel()
    let tape = model.tape()
    let x = input(tape)
    let loss = tape.meanSquaredError(
      x.reshaped([6, 4]), target: zeros.reshaped([6, 4]))
    let gradient = try #require(model.backward(tape, loss, of: [x])[0])
    let expected = x.value.values.map { 2 * $0 / 24 }
    #expect(largestDifference(gradient.values, expected) < TapeTests.tolerance)
  }

  @Test func everyParameterCompletesOnceAndAfterItsLastContribution() {
    let model = TapeModel(["w": [4, 4], "b": [4], "side": [4, 4], "unused": [4]])
    for _ in 0..<2 {
      let tape = model.tape()
      let x = input(tape)
      // `w` is used twice, `side` leads nowhere.
      let y = tape.linear(x, weight: model["w"], bias: [BiasSlice(model["b"])], activation: .gelu)
      _ = tape.linear(y, weight: model["side"])
      let z = tape.linear(y, weight: model["w"])
      let loss = tape.meanSquaredError(z, target: zeros)
      let sink = RecordingSink(model)
      tape.backward(from: [(loss.variable, 1)], into: sink)
      for name in ["w", "b", "side"] {
        #expect(sink.events.count { $0 == .completion(name) } == 1, "\(name)")
      }
      #expect(!sink.events.contains(.completion("unused")))
      #expect(sink.events.count { $0 == .contribution("w") } == 2)
      for name in ["w", "b"] {
        let completion = sink.events.firstIndex(of: .completion(name))
        let last = sink.events.lastIndex(of: .contribution(name))
        #expect(last! < completion!, "\(name)")
      }
      #expect(!sink.events.contains(.contribution("side")))
    }
  }

  /// Memory is followed by the activations themselves: the pool is shared with other tests.
  @Test func activationsAreFreedWhileBackwardRuns() {
    let model = TapeModel(["first": [4, 4], "second": [4, 4], "third": [4, 4]])
    let tape = model.tape()
    var activations: [String: WeakStorage] = [:]
    func forward() -> ScalarVariable {
      var y = input(tape)
      for name in ["first", "second", "third"] {
        // What the layer reads is kept for its rule.
        activations[name] = WeakStorage(y)
        y = tape.linear(y, weight: model[name])
      }
      return tape.meanSquaredError(y, target: zeros)
    }
    let loss = forward()
    #expect(activations.values.allSatisfy { $0.storage != nil })
    let sink = RecordingSink(model)
    sink.inspect = { name in
      // When the first layer's turn comes, what the later ones kept is back in the pool.
      guard name == "first" else { return }
      #expect(activations["third"]?.storage == nil)
      #expect(activations["second"]?.storage == nil)
      #expect(activations["first"]?.storage != nil)
    }
    tape.backward(from: [(loss.variable, 1)], into: sink)
    #expect(sink.events.contains(.contribution("first")))
    #expect(activations.values.allSatisfy { $0.storage == nil })
    #expect(tape.nodes.isEmpty)
  }

  /// Norms, activated values and every other sum are made again from what is kept anyway.
  @Test func cheapValuesAreNotKept() {
    let model = TapeModel(["w": [4, 4], "norm": [4], "bias": [4]])
    let tape = model.tape()
    var cheap: [WeakStorage] = []
    func forward() -> ScalarVariable {
      let x = input(tape)
      let y = tape.layerNorm([x], weight: model["norm"], bias: model["bias"], epsilon: 1e-6)
      let z = tape.linear(y, weight: model["w"], activation: .gelu)
      let branch = tape.linear(z, weight: model["w"])
      let sum = tape.residual(x, branch, gamma: model["norm"], sampleScale: nil)
      cheap = [y, z, sum].map(WeakStorage.init)
      return tape.meanSquaredError(sum, target: zeros)
    }
    let loss = forward()
    #expect(cheap.allSatisfy { $0.storage == nil })
    _ = model.backward(tape, loss)
  }

  @Test func activationsWithoutGradientAreFreedAtOnce() {
    let model = TapeModel(["first": [4, 4], "second": [4, 4]])
    let tape = model.tape()
    var inner: WeakStorage?
    let y = tape.withoutGradient {
      let hidden = tape.linear(zeros, weight: model["first"])
      inner = WeakStorage(hidden)
      return tape.linear(hidden, weight: model["second"])
    }
    #expect(inner?.storage == nil)
    #expect(y.value.count == 24)
  }

  @Test func resetForgetsEverything() {
    let model = TapeModel(["w": [4, 4]])
    let tape = model.tape()
    let kept = WeakStorage(tape.linear(input(tape), weight: model["w"], activation: .gelu))
    tape.reset()
    #expect(tape.nodes.isEmpty)
    #expect(kept.storage == nil)
    let sink = RecordingSink(model)
    let loss = tape.meanSquaredError(tape.linear(input(tape), weight: model["w"]), target: zeros)
    tape.backward(from: [(loss.variable, 1)], into: sink)
    #expect(sink.events == [.contribution("w"), .completion("w")])
  }

  @Test func wrongShapesStopTheProgram() async {
    await #expect(processExitsWith: .failure) {
      let model = TapeModel(["w": [4, 5]])
      _ = model.tape().linear(.constant(Tensor(repeating: 0, shape: [2, 4])), weight: model["w"])
    }
    await #expect(processExitsWith: .failure) {
      let x = Variable.constant(Tensor(repeating: 0, shape: [1, 2, 4]))
      _ = TapeModel().tape().sliceTokens(x, start: 1, count: 2)
    }
  }
}
