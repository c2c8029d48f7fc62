extension StepRecord {
  /// Its figures as TensorBoard shows them, in groups: `loss/`, `validation/`, `time/`, `training/`.
  /// What is not a finite number is left out: it would hide the others of its chart.
  var scalars: [(tag: String, value: Double)] {
    figures.filter { $0.value.isFinite }.map { (StepRecord.tag(of: $0.key), $0.value) }
  }

  static func tag(of key: String) -> String {
    for (prefix, group) in [("loss", "loss"), ("validation", "validation")]
    where key.hasPrefix(prefix) {
      let rest = key.dropFirst(prefix.count)
      return "\(group)/" + (rest.isEmpty ? "total" : rest.prefix(1).lowercased() + rest.dropFirst())
    }
    let isTime = key.hasSuffix("Milliseconds") || key == "imagesPerSecond"
    return (isTime ? "time/" : "training/") + key
  }
}
