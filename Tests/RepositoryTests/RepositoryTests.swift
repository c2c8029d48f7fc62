import Foundation
import Testing
import Training

@Suite struct RepositoryTests {
  // MARK: Text

  /// Words of where the project was made, in pieces so that this file has none of them.
  @Test func noFileKnowsWhereItWasMade() throws {
    let words = ["/wo" + "rk/", "../sha" + "red"]
    for file in Repository.files() {
      let bytes = try Repository.bytes(file)
      for word in words { #expect(bytes.range(of: Data(word.utf8)) == nil, "\(file): \(word)") }
    }
  }

  @Test func noTextPointsToANumberedIssue() throws {
    let words = try Regex("issue" + " #?[0-9]").ignoresCase()
    for file in Repository.files() where !file.hasSuffix(".h5") {
      for (number, line) in try Repository.lines(file).enumerated() {
        #expect(line.firstMatch(of: words) == nil, "\(file):\(number + 1)")
      }
    }
  }

  @Test func errorsAreHandledInSources() throws {
    for file in Repository.swiftFiles(in: "Sources") {
      for (number, line) in try Repository.lines(file).enumerated() {
        #expect(!line.contains("try!"), "\(file):\(number + 1)")
        #expect(!line.contains(" as! "), "\(file):\(number + 1)")
      }
    }
  }

  @Test func sourcesAreASCIIOutsideText() throws {
    for folder in ["Sources", "Tests"] {
      for file in Repository.swiftFiles(in: folder) {
        for (number, line) in try Repository.lines(file).enumerated() {
          let isASCII = line.utf8.allSatisfy { $0 < 0x80 }
          #expect(isASCII, "\(file):\(number + 1)")
        }
      }
    }
  }

  // MARK: Configurations and scripts

  @Test func everyConfigurationResolves() throws {
    let files = Repository.files(in: "Configs").filter { $0.hasSuffix(".yaml") }
    #expect(files.contains("Configs/quickstart.yaml"))
    #expect(files == Repository.files(in: "Configs"), "only configurations are in Configs")
    for file in files {
      #expect(throws: Never.self, "\(file)") {
        try Configurations.resolve(path: Repository.path(file))
      }
    }
  }

  @Test func builtInConfigurationIsTheFile() throws {
    let file = try Configurations.resolve(path: Repository.path("Configs/quickstart.yaml"))
    #expect(try Configurations.resolve(path: nil).yaml == file.yaml)
  }

  /// Files that start with `#!`, with the program they name.
  private static func scripts() throws -> [(file: String, program: Substring)] {
    try
      (Repository.files(in: "Scripts") + Repository.files(in: "Cluster")
      + Repository.files(in: ".ci")).compactMap { file in
        guard let first = try Repository.lines(file).first, first.hasPrefix("#!") else {
          return nil
        }
        return (file, first)
      }
  }

  @Test func scriptsCanBeStarted() throws {
    let scripts = try Self.scripts()
    #expect(!scripts.isEmpty)
    for (file, _) in scripts {
      #expect(FileManager.default.isExecutableFile(atPath: Repository.path(file)), "\(file)")
    }
  }

  @Test func scriptsParse() throws {
    for (file, program) in try Self.scripts() where program.hasSuffix("sh") {
      let (code, error) = try Repository.run(["bash", "-n", Repository.path(file)])
      #expect(code == 0 && error.isEmpty, "\(file): \(error)")
    }
  }

  /// A script without its first line would be run by whatever shell calls it.
  @Test func everyFileOfScriptsSaysWhatRunsIt() throws {
    let known = Set(try Self.scripts().map(\.file))
    for file in Repository.files(in: "Scripts") {
      let hasExtension = file.split(separator: "/").last?.contains(".") == true
      #expect(hasExtension || known.contains(file), "\(file)")
    }
  }

  // MARK: Documentation

  /// Every verb of the command line, from its declarations: `data pack`, `verify`.
  private static func verbs() throws -> [String] {
    try Repository.swiftFiles(in: "Sources/CAEDistCLI").flatMap { file -> [String] in
      let lines = try Repository.lines(file)
      let declared = lines.compactMap { line -> (isNested: Bool, name: String)? in
        let match = line.wholeMatch(of: /( *)struct (\w+): ParsableCommand \{/)
        return match.map { (!$0.1.isEmpty, kebab($0.2)) }
      }
      let text = try Repository.text(file)
      let named = text.firstMatch(of: /commandName: "([a-z-]+)"/).map { String($0.1) }
      let nested = declared.filter(\.isNested).map(\.name)
      guard let top = declared.first(where: { !$0.isNested }) else { return [] }
      if named == "cae-dist" { return [] }
      return nested.isEmpty ? [named ?? top.name] : nested.map { "\(named ?? top.name) \($0)" }
    }
  }

  private static func kebab(_ name: Substring) -> String {
    var text = ""
    for character in name {
      if character.isUppercase, !text.isEmpty { text.append("-") }
      text.append(character.lowercased())
    }
    return text
  }

  @Test func verbsAreFound() throws {
    let verbs = try Self.verbs()
    for verb in ["pretrain", "verify", "data pack", "checkpoint inspect"] {
      #expect(verbs.contains(verb))
    }
  }

  @Test func readmeMentionsEveryVerb() throws {
    let text = try Repository.text("README.md")
    for verb in try Self.verbs() { #expect(text.contains(verb), "\(verb)") }
  }
}
