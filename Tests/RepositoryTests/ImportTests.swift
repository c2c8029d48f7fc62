import Foundation
import Testing

/// Who may import what: the direction of the modules, which the package manager does not hold
/// once a module is built.
@Suite struct ImportTests {
  /// Modules of this package and of others, by target. Whoever adds a line here changes the
  /// architecture, and the manifest must say the same.
  static let allowed: [String: Set<String>] = [
    "CMPI": [], "CHwloc": [], "CHDF5": [], "CBLAS": [], "CZlib": [], "CPNG": [], "CJPEG": [],
    "Files": [],
    "Hardware": ["CHwloc", "Files"],
    "EventFiles": ["Files", "SwiftProtobuf"],
    "MPI": ["CMPI"],
    "HDF5": ["CHDF5"],
    "ZlibCodec": ["CZlib"],
    "PNGCodec": ["CPNG"],
    "JPEGCodec": ["CJPEG"],
    "TensorCore": ["CBLAS"],
    "Interfaces": ["TensorCore"],
    "Artifacts": ["HDF5", "Files", "TensorCore", "Yams"],
    "NN": ["TensorCore", "Interfaces"],
    "Models": ["NN", "Interfaces", "TensorCore"],
    "ShardedData": [
      "HDF5", "Files", "ZlibCodec", "PNGCodec", "JPEGCodec", "Interfaces", "TensorCore",
    ],
    "DataParallel": ["MPI", "HDF5", "Files", "Hardware", "NN", "Interfaces", "TensorCore"],
    "Training": [
      "Files", "Hardware", "EventFiles", "Artifacts", "NN", "Models", "ShardedData",
      "DataParallel", "Interfaces", "TensorCore", "Yams",
    ],
    "Diagnostics": [
      "Artifacts", "Training", "Models", "ShardedData", "DataParallel", "NN", "Files", "Hardware",
      "Interfaces", "TensorCore",
    ],
    "Reporting": [
      "Training", "Models", "NN", "ShardedData", "DataParallel", "Interfaces", "TensorCore",
      "Files",
      "PNGCodec",
    ],
    "CAEDistCLI": ["Training", "Diagnostics", "Reporting", "ShardedData", "ArgumentParser"],
  ]

  private static let system: Set<String> = ["Glibc", "Synchronization"]
  private static let withFoundation: Set<String> = [
    "Training", "Diagnostics", "Reporting", "CAEDistCLI",
  ]
  private static let testing: Set<String> = ["Testing", "Foundation", "TestSupport"]

  /// An import line: where it stands, and what it imports.
  struct Import: CustomStringConvertible {
    let file: String
    let line: Int
    let module: String
    let isPublic: Bool

    var description: String { "\(file):\(line + 1) imports \(module)" }
  }

  static func imports(of folder: String) throws -> [Import] {
    let access: Set<Substring> = [
      "public", "package", "internal", "fileprivate", "private",
    ]
    return try Repository.swiftFiles(in: folder).flatMap { file in
      try Repository.lines(file).enumerated().compactMap { number, line -> Import? in
        var words = line.split(separator: " ")[...]
        let isPublic = words.contains("public")
        while let word = words.first, access.contains(word) || word.hasPrefix("@") {
          words.removeFirst()
        }
        guard words.count >= 2, words.removeFirst() == "import" else { return nil }
        let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let"]
        if let kind = words.first, kinds.contains(kind), words.count > 1 { words.removeFirst() }
        let module = words.first.map { $0.prefix { $0 != "." && $0 != ";" } } ?? ""
        return Import(file: file, line: number, module: String(module), isPublic: isPublic)
      }
    }
  }

  @Test func everyModuleImportsOnlyDownwards() throws {
    for (target, modules) in Self.allowed {
      let foundation: Set<String> = Self.withFoundation.contains(target) ? ["Foundation"] : []
      let all = modules.union(Self.system).union(foundation)
      for found in try Self.imports(of: "Sources/\(target)") {
        #expect(all.contains(found.module), "\(found)")
      }
    }
  }

  @Test func tableKnowsAllModules() throws {
    let folders = Set(
      Repository.files(in: "Sources").compactMap { file in
        file.split(separator: "/").dropFirst().first.map(String.init)
      })
    #expect(folders == Set(Self.allowed.keys))
  }

  /// A C library is seen by one module, which does not show it to others.
  @Test func wrappersKeepTheirLibraryToThemselves() throws {
    for name in ["CMPI", "CHDF5", "CBLAS", "CZlib", "CPNG", "CJPEG"] {
      let users = try Self.imports(of: "Sources").filter { $0.module == name }
      #expect(!users.isEmpty, "\(name)")
      #expect(Set(users.compactMap { $0.file.split(separator: "/").dropFirst().first }).count == 1)
      for user in users { #expect(!user.isPublic, "\(user)") }
    }
  }

  @Test func manifestSaysTheSame() throws {
    for (target, modules) in try Self.manifest() where Self.allowed[target] != nil {
      let expected = Self.allowed[target] ?? []
      #expect(modules == expected, "\(target)")
    }
    let known = Set(try Self.manifest().keys)
    #expect(Set(Self.allowed.keys).isSubset(of: known))
  }

  @Test func testsImportWhatTheyDeclare() throws {
    let manifest = try Self.manifest()
    let tests = Set(
      Repository.swiftFiles(in: "Tests").compactMap {
        $0.split(separator: "/").dropFirst().first.map(String.init)
      })
    for target in tests {
      let declared = try #require(manifest[target], "\(target) is not in Package.swift")
      let all = declared.union(Self.system).union(Self.testing)
      for found in try Self.imports(of: "Tests/\(target)") {
        #expect(all.contains(found.module), "\(found)")
      }
    }
  }

  /// Names of targets and of what they depend on, read from the text of the manifest.
  static func manifest() throws -> [String: Set<String>] {
    let text = try Repository.text("Package.swift")
    var targets: [String: Set<String>] = [:]
    let call = try Regex(
      #"(?:module|tests|systemLibrary)\(\s*"(\w+)",\s*(?:\[([^\]]*)\]|pkgConfig)"#)
    let target = try Regex(
      #"arget\(\s*name: "(\w+)",\s*dependencies: \[([^\]]*)\]"#)
    for match in text.matches(of: call) + text.matches(of: target) {
      guard let name = match.output[1].substring else { continue }
      let list = match.output[2].substring ?? ""
      targets[String(name)] = Set(
        list.split(separator: ",").map { item in
          let word = item.trimmingCharacters(in: .whitespacesAndNewlines)
          return [
            "yams": "Yams", "argumentParser": "ArgumentParser", "protobuf": "SwiftProtobuf",
          ][word]
            ?? word.trimmingCharacters(in: CharacterSet(charactersIn: "\""))
        }.filter { !$0.isEmpty })
    }
    return targets
  }
}
