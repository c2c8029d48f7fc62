import Files

/// What this binary was built for, and whether this CPU has it.
public enum BuildTarget {
  /// The value of `CAE_TARGET_CPU` at build time.
  public static var name: String {
    #if CAE_CPU_X86_64_V4
      "x86-64-v4"
    #elseif CAE_CPU_X86_64_V3
      "x86-64-v3"
    #elseif CAE_CPU_X86_64_V2
      "x86-64-v2"
    #else
      "native"
    #endif
  }

  /// Features by the names of `/proc/cpuinfo`. A native build cannot say what it needs.
  private static var required: [String] {
    let v2 = ["ssse3", "sse4_1", "sse4_2", "popcnt"]
    let v3 = v2 + ["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"]
    return switch name {
    case "x86-64-v4": v3 + ["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]
    case "x86-64-v3": v3
    case "x86-64-v2": v2
    default: []
    }
  }

  /// What this CPU lacks of it.
  public static var missingFeatures: [String] {
    let features = features
    return features.isEmpty ? [] : required.filter { !features.contains(Substring($0)) }
  }

  /// Of this CPU; none where the system does not say.
  static var features: Set<Substring> {
    guard let text = try? Files.readText("/proc/cpuinfo"),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("flags") })
    else { return [] }
    return Set(line.split(separator: " "))
  }

  /// - Throws: Where the CPU lacks something, before a kernel would end the program with a signal.
  public static func check() throws(TrainingError) {
    let missing = missingFeatures
    guard missing.isEmpty else {
      throw .input(
        path: "this CPU",
        reason: "it lacks \(missing.joined(separator: ", ")), which this build for \(name) needs; "
          + "build with CAE_TARGET_CPU=x86-64-v2 or native")
    }
  }
}
