import Files
public import Interfaces
public import Models

/// Where configurations come from.
public enum Configurations {
  /// The configuration of a file, or the built-in quickstart, with overrides.
  ///
  /// - Parameter path: nil: quickstart.
  public static func resolve(
    path: String?, overrides: [String] = [],
    methods: [any PretrainingMethod.Type] = MethodRegistry.all
  ) throws(ConfigurationError) -> ResolvedConfiguration {
    guard let path else {
      let text = String(decoding: PackageResources.quickstart_yaml, as: UTF8.self)
      return try ConfigurationFile.resolve(
        text, name: "quickstart", overrides: overrides, methods: methods)
    }
    let text: String
    do { text = try Files.readText(path) } catch {
      throw ConfigurationError("--config", error.description)
    }
    return try ConfigurationFile.resolve(
      text, name: path, overrides: overrides, methods: methods)
  }
}
