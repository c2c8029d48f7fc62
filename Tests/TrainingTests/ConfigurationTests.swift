import Interfaces
import Models
import NN
import Testing

@testable import Training

/// The smallest text that is a configuration.
private let minimal = "data: {train: [shards]}\n"

/// Resolves `minimal` with more lines and overrides.
func resolve(_ lines: String = "", set overrides: [String] = []) throws(ConfigurationError)
  -> ResolvedConfiguration
{
  let text = lines.contains("data:") ? lines : minimal + lines
  return try ConfigurationFile.resolve(text, name: "test.yaml", overrides: overrides)
}

/// The sentence of a configuration that must not resolve.
func refusal(_ lines: String = "", set overrides: [String] = []) -> String {
  do throws(ConfigurationError) {
    _ = try resolve(lines, set: overrides)
    return "resolved"
  } catch {
    return error.description
  }
}

@Suite struct ConfigurationTests {
  // MARK: Defaults and overlays

  @Test func defaultsAreComplete() throws {
    let resolved = try resolve()
    var expected = TrainingConfiguration()
    expected.data.train = ["shards"]
    // 4/3 has no end in decimal, and YAML is written with 15 digits.
    #expect(abs(resolved.training.data.cropAspect[1] - expected.data.cropAspect[1]) < 1e-12)
    expected.data.cropAspect = resolved.training.data.cropAspect
    #expect(resolved.training == expected)
    #expect(resolved.methodType.name == "cae")
    let yaml = try resolved.yaml
    for section in [
      "run", "model", "method", "data", "optimizer", "schedule", "parallelism", "checkpoint",
      "logging",
    ] {
      #expect(yaml.contains("\(section):\n") || yaml.hasPrefix("\(section):\n"), "\(section)")
    }
    for key in ["name: cae", "numMaskedPatches: 98", "beta2: 0.999", "keepLast: 2"] {
      #expect(yaml.contains("  \(key)\n"), "\(key)")
    }
  }

  @Test func fileOverlaysDefaultsAndSetOverlaysTheFile() throws {
    let text = "model: {depth: 3, numHeads: 4}\nschedule: {epochs: 20}\n"
    let resolved = try resolve(text, set: ["model.depth=5", "schedule.warmupEpochs=1.5"])
    #expect(resolved.training.model.depth == 5)
    #expect(resolved.training.model.numHeads == 4)
    #expect(resolved.training.model.embedDim == 768)
    #expect(resolved.training.schedule.epochs == 20)
    #expect(resolved.training.schedule.warmupEpochs == 1.5)
  }

  /// Checkpoints of an older version are still read.
  @Test func keysOfOlderVersionsAreRead() throws {
    let resolved = try ConfigurationFile.resolve(
      "data: { train: [a], tokens: folder, fixedViews: 2, validation: [] }", name: "old.yaml")
    #expect(resolved.training.data.targets == "folder")
    #expect(try !resolved.yaml.contains("tokens:"))
    try resolved.requireResumable(
      from: try resolved.yaml.replacing("targets:", with: "tokens:"), path: "old")
  }

  @Test func laterSetWins() throws {
    let resolved = try resolve(set: ["run.seed=1", "run.seed=2"])
    #expect(resolved.training.run.seed == 2)
  }

  @Test func setTakesListsTextAndEqualSigns() throws {
    let resolved = try resolve(set: [
      "data.train=[a, \"b c\"]", "data.cropScale=[0.2, 0.9]", "run.output=runs/lr=3",
      "method.mask=random", "parallelism.threadsPerRank=2",
    ])
    #expect(resolved.training.data.train == ["a", "b c"])
    #expect(resolved.training.data.cropScale == [0.2, 0.9])
    #expect(resolved.training.run.output == "runs/lr=3")
    #expect(resolved.methodValue("mask") == "random")
    #expect(resolved.training.parallelism.threadsPerRank == "2")
  }

  @Test func dataHomeIsExpanded() throws {
    let resolved = try resolve(
      "data: {train: [\"${dataHome}/a\", b]}\nmethod: {tokenizer: \"${dataHome}/t.h5\"}\n")
    #expect(resolved.training.data.train == ["\(DataHome.path)/a", "b"])
    #expect(resolved.methodValue("tokenizer") == "\(DataHome.path)/t.h5")
    #expect(!(try resolved.yaml.contains("${dataHome}")))
  }

  @Test func builtInQuickstartResolves() throws {
    let resolved = try Configurations.resolve(path: nil)
    #expect(resolved.training.model.imageSize == 28)
    #expect(resolved.training.run.output == "runs/quickstart")
  }

  @Test(arguments: [
    [], ["run.output=\"a \\\" b: #c\"", "optimizer.learningRate=1.0e-7", "schedule.epochs=1e2"],
    ["run.output=\"007\"", "data.mean=[0.1, 2e-1, 0.3]", "method.mask=random"],
    ["optimizer.minimumLearningRate=0", "run.seed=9007199254740993", "run.initializeFrom=\"1e3\""],
  ])
  func resolvedTextResolvesToTheSame(overrides: [String]) throws {
    let first = try resolve(set: overrides)
    let second = try ConfigurationFile.resolve(try first.yaml, name: "again")
    #expect(second.training == first.training)
    #expect(try second.yaml == first.yaml)
    #expect(throws: Never.self) { try first.requireResumable(from: second.yaml, path: "x") }
  }

  @Test func largeSeedIsKeptExactly() throws {
    #expect(try resolve(set: ["run.seed=9007199254740993"]).training.run.seed == 9007199254740993)
  }

  // MARK: Unknown keys and wrong kinds

  @Test(arguments: [
    ("schedule: {epoch: 3}", "schedule.epoch: there is no such key; did you mean epochs?"),
    ("shedule: {epochs: 3}", "shedule: there is no such key; did you mean schedule?"),
    ("model: {embeddim: 64}", "model.embeddim: there is no such key; did you mean embedDim?"),
    (
      "method: {maskedPatches: 3}",
      "method.maskedPatches: there is no such key; did you mean numMaskedPatches?"
    ),
    ("optimizer: {lr: 1, learningrate: 2}", "optimizer.lr: there is no such key"),
  ])
  func unknownKeyNamesTheNearest(text: String, sentence: String) {
    #expect(refusal(text).hasPrefix(sentence))
  }

  @Test func unknownKeyOfSet() {
    #expect(refusal(set: ["schedule.epoch=3"]).contains("did you mean epochs?"))
    #expect(refusal(set: ["epochs=3"]).hasPrefix("epochs: there is no such key"))
  }

  @Test(arguments: [
    ("schedule: {epochs: many}", "schedule.epochs: should be of kind number"),
    (
      "parallelism: {globalBatchSize: 1.5}",
      "parallelism.globalBatchSize: should be of kind whole number"
    ),
    ("run: {seed: x}", "run.seed: should be of kind whole number"),
    ("run: {output: [a]}", "run.output: should be "),
    ("data: {train: shards}", "data.train: should be of kind list"),
    ("data: {cropScale: 0.5}", "data.cropScale: should be of kind list"),
    ("data: {train: [a], cropScale: [x, 1]}", "data.cropScale"),
    ("model: 5", "model: is a section with keys, not a value"),
    ("model:", "model: is a section with keys, not a value"),
    ("model: [1]", "model: is a section with keys, not a value"),
    ("run: {seed: {a: 1}}", "run.seed: takes a value, not a section"),
    (
      "method: {name: dino}", "method.name: there is no method dino; known: cae, cae-v2, supervised"
    ),
    ("method: 5", "method: is a section with keys, not a value"),
  ])
  func wrongKindOfValueNamesTheKey(text: String, sentence: String) {
    #expect(refusal(text).hasPrefix(sentence))
  }

  @Test func listForANumberIsNotCalledText() {
    let sentence = refusal("schedule: {epochs: [1]}")
    #expect(sentence.hasPrefix("schedule.epochs: should be "))
    #expect(!sentence.contains("text"))
  }

  @Test(arguments: ["schedule.epochs=", "data.train=", "optimizer.beta1=", "run.seed="])
  func emptyValueNamesTheKey(override: String) {
    let key = override.dropLast()
    #expect(refusal(set: [override]).hasPrefix("\(key): "))
  }

  @Test(arguments: ["novalue", "=3", ""])
  func setWithoutKeyOrValueSaysHow(override: String) {
    #expect(refusal(set: [override]).contains("should look like section.key=value"))
  }

  @Test(arguments: ["data: [", "a: b: c", "\t- x", "just text", "[1, 2]", "x: *unknown"])
  func brokenTextIsOneSentence(text: String) {
    do throws(ConfigurationError) {
      _ = try ConfigurationFile.resolve(text, name: "test.yaml")
      Issue.record("it resolved")
    } catch {
      #expect(error.description.hasPrefix("test.yaml: is not "))
      #expect(!error.description.contains("\n"))
    }
  }

  @Test func missingFileIsNamed() {
    do throws(ConfigurationError) {
      _ = try Configurations.resolve(path: "/nowhere/run.yaml")
      Issue.record("it resolved")
    } catch {
      #expect(
        error.description
          == "--config: cannot open /nowhere/run.yaml: No such file or directory")
    }
  }

  /// A wrong value of the method's own section, as late as when the method is made.
  @Test func wrongKindInTheMethodsSection() throws {
    let resolved = try resolve("method: {numMaskedPatches: few}")
    let error = #expect(throws: ConfigurationError.self) {
      try resolved.makeMethod(TrainingRun.methodContext(resolved.training))
    }
    #expect(error?.description == "method.numMaskedPatches: should be of kind whole number")
  }

  // MARK: Steps

  @Test(arguments: [
    (2.0, 0.5, 96, 12, 3), (1.0, 0.0, 100, 6, 0), (0.5, 0.5, 96, 3, 3), (300.0, 10.0, 33, 618, 20),
    // Warm-up is never longer than the run.
    (1.0, 5.0, 96, 6, 6), (0.1, 0.0, 96, 0, 0),
  ])
  func stepsAreRoundedDown(
    epochs: Double, warmup: Double, samples: Int, steps: Int, warmupSteps: Int
  ) throws {
    var configuration = TrainingConfiguration()
    configuration.schedule.epochs = epochs
    configuration.schedule.warmupEpochs = warmup
    configuration.parallelism.globalBatchSize = 16
    let schedule = configuration.schedule(samples: samples)
    #expect(schedule.totalSteps == steps)
    #expect(schedule.warmupSteps == warmupSteps)
  }
}
