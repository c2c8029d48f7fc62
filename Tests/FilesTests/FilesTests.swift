import Files
import Glibc
import Testing

@Suite struct FilesTests {
  @Test func writesAndReads() throws {
    try withFolder { folder in
      let path = "\(folder)/a.bin"
      let bytes = (0..<200_000).map { UInt8(truncatingIfNeeded: $0) }
      try Files.write(bytes, to: path)
      #expect(try Files.read(path) == bytes)
      #expect(try Files.size(of: path) == bytes.count)
      try Files.write(Array("caf\u{e9}".utf8), to: path)
      #expect(try Files.readText(path) == "caf\u{e9}")
    }
  }

  @Test func readsFilesThatSayTheyAreEmpty() throws {
    #expect(try Files.readText("/proc/self/status").contains("Pid:"))
  }

  @Test func atomicWriteReplacesAndLeavesNothingElse() throws {
    try withFolder { folder in
      let path = "\(folder)/manifest"
      try Files.writeAtomically(Array("one".utf8), to: path)
      try Files.writeAtomically(Array("two".utf8), to: path)
      #expect(try Files.readText(path) == "two")
      #expect(try Files.list(folder, includingHidden: true) == ["manifest"])
    }
  }

  @Test func failedAtomicWriteCleansUp() throws {
    try withFolder { folder in
      // A folder that is not empty cannot be replaced by a file, so the rename fails.
      try Files.makeDirectory("\(folder)/taken/inside")
      #expect(throws: FileError.self) {
        try Files.writeAtomically([1], to: "\(folder)/taken")
      }
      #expect(try Files.list(folder, includingHidden: true) == ["taken"])
    }
  }

  @Test func listsSortedAndHidesDotNames() throws {
    try withFolder { folder in
      for name in ["b", "a", ".hidden"] { try Files.write([], to: "\(folder)/\(name)") }
      #expect(try Files.list(folder) == ["a", "b"])
      #expect(try Files.list(folder, includingHidden: true) == [".hidden", "a", "b"])
    }
  }

  @Test func makesAndRemovesTrees() throws {
    try withFolder { folder in
      let tree = "\(folder)/x"
      try Files.makeDirectory("\(tree)/y/z/")
      try Files.makeDirectory("\(tree)/y/z")
      #expect(Files.isDirectory("\(tree)/y/z"))
      try Files.write([1], to: "\(tree)/y/.file")
      try Files.write([1], to: "\(folder)/kept")
      #expect(symlink("\(folder)/kept", "\(tree)/link") == 0)
      try Files.removeTree(tree)
      #expect(!Files.exists(tree))
      #expect(Files.exists("\(folder)/kept"))
    }
  }

  @Test func makeDirectoryOverAFileFails() throws {
    try withFolder { folder in
      try Files.write([], to: "\(folder)/file")
      #expect(throws: FileError.self) { try Files.makeDirectory("\(folder)/file") }
      #expect(throws: FileError.self) { try Files.makeDirectory("\(folder)/file/below") }
    }
  }

  @Test func renamesTruncatesSynchronizesAndRemoves() throws {
    try withFolder { folder in
      try Files.write([1, 2, 3], to: "\(folder)/a")
      try Files.truncate("\(folder)/a", toSize: 2)
      try Files.rename("\(folder)/a", to: "\(folder)/b")
      try Files.synchronize(folder)
      try Files.synchronize("\(folder)/b")
      #expect(try Files.read("\(folder)/b") == [1, 2])
      try Files.remove("\(folder)/b")
      #expect(try Files.list(folder).isEmpty)
    }
  }

  @Test func errorsAreSentences() throws {
    let path = "/nonexistent/file"
    let error = #expect(throws: FileError.self) { try Files.read(path) }
    #expect(error?.description == "cannot open /nonexistent/file: No such file or directory")
    #expect(error?.isMissing == true && error?.isOutOfSpace == false)
    // /dev/full is a disk that is always full.
    let full = #expect(throws: FileError.self) { try Files.write([1], to: "/dev/full") }
    #expect(full?.description == "cannot write /dev/full: No space left on device")
    #expect(full?.isOutOfSpace == true)
  }
}

@Suite struct FileLockTests {
  @Test func secondHolderIsRefusedAndTold() throws {
    try withFolder { folder in
      let path = "\(folder)/lock"
      var first: FileLock? = try FileLock(path: path)
      let error = #expect(throws: FileLockError.self) { try FileLock(path: path) }
      guard case .alreadyHeld(path, let holder)? = error else {
        Issue.record("unexpected error: \(String(describing: error))")
        return
      }
      #expect(holder.hasSuffix(" process \(getpid())"))
      #expect(first?.path == path)
      first = nil
      #expect(try Files.size(of: path) == 0)
      _ = try FileLock(path: path)
    }
  }

  @Test func missingFolderIsAFileError() {
    let error = #expect(throws: FileLockError.self) { try FileLock(path: "/nonexistent/lock") }
    #expect(error?.description == "cannot open /nonexistent/lock: No such file or directory")
  }
}

@Suite struct AppendingFileTests {
  @Test func appendsToWhatIsThere() throws {
    try withFolder { folder in
      let path = "\(folder)/log"
      for text in ["one\n", "two\n"] {
        let file = try AppendingFile(path: path)
        try file.append(text)
        #expect(try Files.readText(path).hasSuffix(text))
        try file.close()
        try file.close()
      }
      #expect(try Files.readText(path) == "one\ntwo\n")
    }
  }

  @Test func linesOfSeveralWritersDoNotMix() async throws {
    let folder = try makeFolder()
    let path = "\(folder)/log"
    try await withThrowingTaskGroup(of: Void.self) { group in
      for writer in 0..<4 {
        group.addTask {
          let file = try AppendingFile(path: path)
          for _ in 0..<100 { try file.append(String(repeating: "\(writer)", count: 200) + "\n") }
        }
      }
      try await group.waitForAll()
    }
    let lines = try Files.readText(path).split(separator: "\n")
    #expect(lines.count == 400)
    #expect(lines.allSatisfy { $0.count == 200 && Set($0).count == 1 })
    try Files.removeTree(folder)
  }
}

private func makeFolder() throws -> String {
  var template = Array("/tmp/files-tests-XXXXXX".utf8CString)
  let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
  return String(cString: try #require(made))
}

private func withFolder(_ body: (String) throws -> Void) throws {
  let folder = try makeFolder()
  defer { try? Files.removeTree(folder) }
  try body(folder)
}
