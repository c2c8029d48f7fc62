import Foundation

/// Where data of a user lives that no run names by its own path.
public enum DataHome {
  /// `$XDG_DATA_HOME/cae-dist`, by default `~/.local/share/cae-dist`.
  public static var path: String {
    let environment = ProcessInfo.processInfo.environment
    if let base = environment["XDG_DATA_HOME"], !base.isEmpty { return "\(base)/cae-dist" }
    return "\(environment["HOME"] ?? NSHomeDirectory())/.local/share/cae-dist"
  }

  /// The word in configurations that stands for `path`.
  static let variable = "${dataHome}"
}
