/// What somebody may have meant.
public enum Spelling {
  /// Of some names the one with the fewest letters to change; empty where there are none.
  public static func nearest(to word: String, among names: [String]) -> String {
    names.min { distance(word, $0) < distance(word, $1) } ?? ""
  }

  /// Levenshtein distance without regard to case.
  static func distance(_ left: String, _ right: String) -> Int {
    let (a, b) = (Array(left.lowercased()), Array(right.lowercased()))
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, y) in b.enumerated() {
        let cost = x == y ? diagonal : min(diagonal, row[j], row[j + 1]) + 1
        diagonal = row[j + 1]
        row[j + 1] = cost
      }
    }
    return row[b.count]
  }
}
