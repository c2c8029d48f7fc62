/// Reference files made by the scripts in Scripts/reference.
public enum GoldenFile {
  /// Path of a file in Tests/Golden, found from where this source lies.
  public static func path(_ name: String) -> String {
    let tests = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
    return tests.joined(separator: "/") + "/Golden/" + name
  }
}
