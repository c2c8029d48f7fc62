public import Interfaces
public import Models
import Yams

/// A configuration with nothing left open: every key has its value.
public struct ResolvedConfiguration {
  public let training: TrainingConfiguration
  public let methodType: any PretrainingMethod.Type
  /// The whole tree, the method's section included, in the order of the documentation.
  let tree: Node

  /// YAML that gives this configuration again; what `cae-dist config print` shows.
  public var yaml: String {
    get throws(ConfigurationError) {
      do {
        return try Yams.serialize(node: tree)
      } catch {
        throw ConfigurationError("configuration", "cannot be written as YAML: \(error)")
      }
    }
  }

  /// A scalar of the method's section, for verbs that prepare what a method needs.
  public func methodValue(_ key: String) -> String? { tree["method"]?[key]?.string }

  /// Builds the method from its section.
  public func makeMethod(
    _ context: MethodContext
  ) throws(ConfigurationError) -> any PretrainingMethod {
    try make(methodType, context)
  }

  /// The method's section as its own type, for those who know the method.
  public func methodConfiguration<Method: PretrainingMethod>(
    of type: Method.Type
  ) throws(ConfigurationError) -> Method.Configuration {
    var pairs = tree["method"]?.mapping.map { Array($0) } ?? []
    pairs.removeAll { $0.key.string == "name" }
    let node = Node(pairs.map { ($0.key, $0.value) })
    return try ConfigurationTree.decode(Method.Configuration.self, from: node, at: "method")
  }

  private func make<Method: PretrainingMethod>(
    _ type: Method.Type, _ context: MethodContext
  ) throws(ConfigurationError) -> any PretrainingMethod {
    try Method(try methodConfiguration(of: type), context)
  }
}

/// Reads configurations strictly: a key that nobody knows is an error, and so is a value of the
/// wrong kind. Defaults are overlaid by the file, the file by `--set`.
public enum ConfigurationFile {
  /// - Parameters:
  ///   - text: YAML of the file, and what to call it in errors.
  ///   - overrides: `section.key=value`, applied in order.
  public static func resolve(
    _ text: String, name: String, overrides: [String] = [],
    methods: [any PretrainingMethod.Type] = MethodRegistry.all
  ) throws(ConfigurationError) -> ResolvedConfiguration {
    let resolved = try describe(text, name: name, overrides: overrides, methods: methods)
    try resolved.training.validate()
    return resolved
  }

  /// As above, but for what a file of weights says of itself: it may have no data.
  static func describe(
    _ text: String, name: String, overrides: [String] = [],
    methods: [any PretrainingMethod.Type] = MethodRegistry.all
  ) throws(ConfigurationError) -> ResolvedConfiguration {
    try describe(
      try ConfigurationTree.parse(text, name: name), overrides: overrides, methods: methods)
  }

  /// A configuration that a verb makes, with the user's overrides.
  static func resolve<Method: PretrainingMethod>(
    _ training: TrainingConfiguration, _ method: Method.Configuration, of type: Method.Type,
    overrides: [String]
  ) throws(ConfigurationError) -> ResolvedConfiguration {
    let tree = try ConfigurationTree.insert(
      ConfigurationTree.encode(method, of: type), as: "method", after: "model",
      in: ConfigurationTree.encode(training))
    let resolved = try describe(tree, overrides: overrides, methods: [type])
    try resolved.training.validate()
    return resolved
  }

  private static func describe(
    _ given: Node, overrides: [String], methods: [any PretrainingMethod.Type]
  ) throws(ConfigurationError) -> ResolvedConfiguration {
    var user = given
    for override in overrides { user = try ConfigurationTree.apply(override, to: user) }
    let type = try methodType(user, methods)
    let merged = try overlaid(user, type)
    let tree = ConfigurationTree.expand(merged)
    let training = try ConfigurationTree.decode(TrainingConfiguration.self, from: tree, at: "")
    try training.model.validate()
    return ResolvedConfiguration(training: training, methodType: type, tree: tree)
  }

  /// A tree with the defaults for what it leaves out.
  fileprivate static func overlaid(
    _ tree: Node, _ type: any PretrainingMethod.Type
  ) throws(ConfigurationError) -> Node {
    let defaults = try ConfigurationTree.insert(
      ConfigurationTree.encodeDefault(of: type), as: "method", after: "model",
      in: ConfigurationTree.encode(TrainingConfiguration()))
    return try ConfigurationTree.overlay(tree, onto: defaults, at: "")
  }

  private static func methodType(
    _ user: Node, _ methods: [any PretrainingMethod.Type]
  ) throws(ConfigurationError) -> any PretrainingMethod.Type {
    let name = user["method"]?["name"]?.string ?? methods.first?.name ?? ""
    guard let type = methods.first(where: { $0.name == name }) else {
      throw ConfigurationError(
        "method.name",
        "there is no method \(name); known: \(methods.map { $0.name }.joined(separator: ", "))")
    }
    return type
  }
}

extension ResolvedConfiguration {
  /// Keys that must not change when a run is resumed.
  private static let fixedOnResume = [
    ["model"], ["method"], ["data"], ["parallelism", "globalBatchSize"], ["run", "seed"],
  ]

  /// - Parameter also: Keys that must not change either.
  /// - Throws: Naming the first key that may not differ from the configuration in a checkpoint.
  public func requireResumable(
    from checkpoint: String, path: String, also: [[String]] = []
  ) throws(ConfigurationError) {
    var saved = try ConfigurationTree.parse(checkpoint, name: path)
    if saved["method"]?["name"] == tree["method"]?["name"] {
      // Keys that the program which wrote it did not know have their defaults.
      saved = try ConfigurationFile.overlaid(saved, methodType)
    }
    for keys in ResolvedConfiguration.fixedOnResume + also {
      let (mine, theirs) = (
        keys.reduce(Optional(tree)) { $0?[$1] }, keys.reduce(Optional(saved)) { $0?[$1] }
      )
      if let key = ConfigurationTree.firstDifference(
        mine, theirs, at: keys.joined(separator: "."))
      {
        throw ConfigurationError(
          key.path,
          "is \(key.mine) here but \(key.theirs) in \(path), and cannot change on resume; use "
            + "another --output for a new run, or run.initializeFrom to start from its weights")
      }
    }
  }
}
