import Interfaces
import Models
import Yams

/// Configurations as trees of YAML nodes, before they are decoded.
enum ConfigurationTree {
  static func parse(_ text: String, name: String) throws(ConfigurationError) -> Node {
    do {
      guard let node = try Yams.compose(yaml: text) else { return Node([(Node, Node)]()) }
      guard node.mapping != nil else {
        throw ConfigurationError(name, "is not a configuration: it should have sections with keys")
      }
      return renamed.reduce(node, withCurrentName)
    } catch let error as ConfigurationError {
      throw error
    } catch {
      let reason = "\(error)".split(separator: "\n").joined(separator: " ")
      throw ConfigurationError(name, "is not YAML: \(reason)")
    }
  }

  /// Keys of configurations and checkpoints that an older version has written.
  private static let renamed = [(section: "data", old: "tokens", new: "targets")]

  private static func withCurrentName(
    _ tree: Node, _ key: (section: String, old: String, new: String)
  ) -> Node {
    guard let value = tree[key.section]?[key.old], tree[key.section]?[key.new] == nil,
      var section = tree[key.section]?.mapping, var mapping = tree.mapping
    else { return tree }
    section[Node(key.old)] = nil
    section[Node(key.new)] = value
    mapping[Node(key.section)] = .mapping(section)
    return .mapping(mapping)
  }

  /// The method that a configuration names; nil: none.
  static func methodName(in text: String, name: String) throws(ConfigurationError) -> String? {
    try parse(text, name: name)["method"]?["name"]?.string
  }

  /// Sets `a.b=value` in a tree; the value is YAML.
  static func apply(_ override: String, to tree: Node) throws(ConfigurationError) -> Node {
    let parts = override.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2, !parts[0].isEmpty else {
      throw ConfigurationError(
        "--set \(override)", "should look like section.key=value")
    }
    let value: Node
    do {
      value = try Yams.compose(yaml: String(parts[1])) ?? Node("")
    } catch {
      throw ConfigurationError("--set \(override)", "its value is not YAML")
    }
    return set(parts[0].split(separator: ".").map(String.init)[...], to: value, in: tree)
  }

  private static func set(_ keys: ArraySlice<String>, to value: Node, in tree: Node?) -> Node {
    guard let key = keys.first else { return value }
    var mapping = tree?.mapping ?? Node.Mapping([])
    let child = mapping[Node(key)]
    mapping[Node(key)] = set(keys.dropFirst(), to: value, in: child)
    return .mapping(mapping)
  }

  /// The defaults with the user's values in their places.
  static func overlay(
    _ user: Node, onto defaults: Node, at path: String
  ) throws(ConfigurationError) -> Node {
    guard var mapping = defaults.mapping else {
      guard user.mapping == nil else {
        throw ConfigurationError(path, "takes a value, not a section")
      }
      return user
    }
    guard let given = user.mapping else {
      throw ConfigurationError(path, "is a section with keys, not a value")
    }
    for (key, value) in given {
      let name = key.string ?? "?"
      let inner = path.isEmpty ? name : "\(path).\(name)"
      guard let known = mapping[key] else {
        throw unknown(inner, name, known: mapping.keys.compactMap(\.string))
      }
      mapping[key] = try overlay(value, onto: known, at: inner)
    }
    return .mapping(mapping)
  }

  private static func unknown(
    _ path: String, _ name: String, known: [String]
  ) -> ConfigurationError {
    let nearest = Spelling.nearest(to: name, among: known)
    return ConfigurationError(path, "there is no such key; did you mean \(nearest)?")
  }

  static func encode(_ value: some Encodable) throws(ConfigurationError) -> Node {
    do {
      return try Yams.compose(yaml: YAMLEncoder().encode(value)) ?? Node([(Node, Node)]())
    } catch {
      throw ConfigurationError("configuration", "cannot be encoded: \(error)")
    }
  }

  static func encodeDefault(
    of type: any PretrainingMethod.Type
  ) throws(ConfigurationError) -> Node {
    func section<Method: PretrainingMethod>(_ type: Method.Type) throws(ConfigurationError) -> Node
    {
      try encode(Method.defaultConfiguration, of: type)
    }
    return try section(type)
  }

  /// The `method` section of a configuration.
  static func encode<Method: PretrainingMethod>(
    _ configuration: Method.Configuration, of type: Method.Type
  ) throws(ConfigurationError) -> Node {
    let keys = try encode(configuration).mapping.map { Array($0) } ?? []
    return Node([(Node("name"), Node(Method.name))] + keys.map { ($0.key, $0.value) })
  }

  static func insert(
    _ section: Node, as name: String, after previous: String, in tree: Node
  ) throws(ConfigurationError) -> Node {
    var pairs: [(Node, Node)] = []
    for (key, value) in tree.mapping ?? Node.Mapping([]) {
      pairs.append((key, value))
      if key.string == previous { pairs.append((Node(name), section)) }
    }
    return Node(pairs)
  }

  /// Replaces `${dataHome}` and writes numbers the way people do.
  static func expand(_ node: Node) -> Node {
    switch node {
    case .mapping(let mapping):
      return Node(mapping.map { ($0.key, expand($0.value)) })
    case .sequence(let sequence):
      return Node(sequence.map(expand), Tag(.implicit), .flow)
    case .scalar(var scalar):
      if scalar.style == .plain, scalar.string.contains("e"), let number = Double(scalar.string) {
        scalar.string =
          number == number.rounded() && abs(number) < 1e15
          ? String(Int(number)) : String(number)
      }
      scalar.string = scalar.string.split(
        separator: DataHome.variable, omittingEmptySubsequences: false
      ).joined(separator: DataHome.path)
      return .scalar(scalar)
    default:
      return node
    }
  }

  static func decode<Value: Decodable>(
    _ type: Value.Type, from node: Node, at path: String
  ) throws(ConfigurationError) -> Value {
    do {
      return try YAMLDecoder().decode(type, from: node)
    } catch let error as DecodingError {
      throw describe(error, at: path)
    } catch {
      throw ConfigurationError(path, "\(error)")
    }
  }

  private static func describe(_ error: DecodingError, at path: String) -> ConfigurationError {
    let (context, expected): (DecodingError.Context, String) =
      switch error {
      case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
        (context, "should be of kind \(name(of: type))")
      case .keyNotFound(let key, let context): (context, "lacks \(key.stringValue)")
      case .dataCorrupted(let context): (context, "has a value that is not allowed")
      @unknown default: (DecodingError.Context(codingPath: [], debugDescription: ""), "is wrong")
      }
    let keys = context.codingPath.map(\.stringValue)
    return ConfigurationError(
      ([path] + keys).filter { !$0.isEmpty }.joined(separator: "."), expected)
  }

  private static func name(of type: Any.Type) -> String {
    switch type {
    case is Int.Type: "whole number"
    case is Double.Type, is Float.Type: "number"
    case is Bool.Type: "true or false"
    default:
      // The first by the decoder's caller, the others by Yams' names for kinds of nodes.
      switch "\(type)" {
      case let name where name.hasPrefix("Array"): "list"
      case "Sequence": "list"
      case "Mapping": "section"
      case "Scalar": "single value"
      default: "text"
      }
    }
  }

  /// The first scalar in which two trees differ.
  static func firstDifference(
    _ mine: Node?, _ theirs: Node?, at path: String
  ) -> (path: String, mine: String, theirs: String)? {
    if let left = mine?.mapping, let right = theirs?.mapping {
      let keys = Array(left.keys) + right.keys.filter { left[$0] == nil }
      for key in keys {
        if let found = firstDifference(
          left[key], right[key], at: "\(path).\(key.string ?? "?")")
        {
          return found
        }
      }
      return nil
    }
    let texts = [mine, theirs].map { node -> String in
      guard let node else { return "absent" }
      if let items = node.sequence {
        return "[" + items.map { $0.string ?? "?" }.joined(separator: ", ") + "]"
      }
      return node.string ?? "a section"
    }
    return isSame(mine, theirs) ? nil : (path, texts[0], texts[1])
  }

  /// Whether two values are equal, however their numbers are spelled.
  private static func isSame(_ mine: Node?, _ theirs: Node?) -> Bool {
    if let left = mine?.sequence, let right = theirs?.sequence {
      return left.count == right.count && zip(left, right).allSatisfy { isSame($0, $1) }
    }
    guard let left = mine?.string, let right = theirs?.string else { return false }
    return left == right || Double(left).map { $0 == Double(right) } ?? false
  }
}
