import Glibc
import HDF5
import Testing

/// Runs `body` with the path of a file that does not exist yet, in a folder of its own.
func withPath(_ body: (String) throws -> Void) throws {
  var template = Array("/tmp/hdf5-tests-XXXXXX".utf8CString)
  let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
  let folder = String(cString: try #require(made))
  let path = "\(folder)/x.h5"
  defer {
    unlink(path)
    rmdir(folder)
  }
  try body(path)
}

func writeBytes(_ bytes: [UInt8], to path: String) throws {
  let file = try #require(fopen(path, "w"))
  #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
  #expect(fclose(file) == 0)
}

func readBytes(_ path: String) throws -> [UInt8] {
  let file = try #require(fopen(path, "r"))
  var bytes = [UInt8](repeating: 0, count: 1 << 16)
  let count = fread(&bytes, 1, bytes.count, file)
  #expect(fclose(file) == 0)
  return Array(bytes[..<count])
}

private func limitFileSizes(to bytes: rlim_t) throws {
  signal(SIGXFSZ, SIG_IGN)
  var limit = rlimit(rlim_cur: bytes, rlim_max: 1 << 40)
  try #require(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
}

@Suite struct HDF5FileTests {
  @Test func accessIsAsAskedFor() throws {
    try withPath { path in
      let created = try HDF5File(path: path, .create)
      try created.root.write([Float(1)], to: "a", shape: [1])
      try created.close()

      let changed = try HDF5File(path: path, .readWrite)
      try changed.root.write([Float(2)], to: "b", shape: [1])
      try changed.flush()
      try changed.close()

      let read = try HDF5File(path: path, .readOnly)
      #expect(try read.root.memberNames() == ["a", "b"])
      #expect(throws: HDF5Error.self) { try read.root.createGroup("c") }
      #expect(HDF5File.isHDF5(path))
      #expect(!HDF5File.isHDF5("/nonexistent"))
    }
  }

  @Test func objectsKeepTheirFileOpen() throws {
    try withPath { path in
      let dataset = try HDF5File(path: path, .create).root.write(
        [1, 2] as [Int32], to: "x", shape: [2])
      #expect(try dataset.read() == [1, 2] as [Int32])
    }
  }

  @Test func closedFileSaysSo() throws {
    try withPath { path in
      let file = try HDF5File(path: path, .create)
      let group = try file.root.createGroup("g")
      let dataset = try group.write([1] as [Int32], to: "x", shape: [1])
      try file.close()
      try file.close()
      let error = #expect(throws: HDF5Error.self) { try dataset.read(as: Int32.self) }
      #expect(error?.description == "cannot read \(path):/g/x: the file was closed before")
      #expect(throws: HDF5Error.self) { try group.createGroup("y") }
      #expect(throws: HDF5Error.self) { try file.root.setAttribute("a", 1) }
      #expect(throws: HDF5Error.self) { try file.flush() }
    }
  }

  @Test func missingFileIsNamed() throws {
    let path = "/nonexistent/y.h5"
    let error = #expect(throws: HDF5Error.self) { try HDF5File(path: path, .readOnly) }
    #expect(
      error?.description
        == "cannot open \(path): unable to open file (No such file or directory)")
  }

  @Test func fullDiskIsNamed() {
    let error = #expect(throws: HDF5Error.self) { try HDF5File(path: "/dev/full", .create) }
    #expect(error?.description.hasSuffix("(No space left on device)") == true)
  }

  /// In a process of its own, since a limit on the size of files stands in for the full disk. The
  /// library must stay usable, and the process must not crash when it exits.
  @Test func closeReportsWhatCannotBeWritten() async {
    await #expect(processExitsWith: .exitCode(7)) {
      try withPath { path in
        let file = try HDF5File(path: path, .create)
        let option = DatasetOptions(deflateLevel: 1)
        for index in 0..<50 {
          try file.root.write([1, 2] as [Float], to: "x\(index)", shape: [2], options: option)
        }
        try limitFileSizes(to: 1000)
        let error = #expect(throws: HDF5Error.self) { try file.close() }
        #expect(error?.description.hasSuffix("(File too large)") == true)
        unlink(path)
        try limitFileSizes(to: 100_000)
        let next = try HDF5File(path: path, .create)
        try next.root.write([3] as [Float], to: "x", shape: [1])
        try next.close()
        let read = try HDF5File(path: path, .readOnly).root.dataset("x").read(as: Float.self)
        unlink(path)
        exit(read == [3] && error != nil ? 7 : 1)
      }
    }
  }

  @Test func otherFilesAreRecognized() throws {
    try withPath { path in
      for bytes in [[], Array("not a data file at all".utf8), [UInt8](repeating: 0, count: 5000)] {
        try writeBytes(bytes, to: path)
        let error = #expect(throws: HDF5Error.self) { try HDF5File(path: path, .readOnly) }
        #expect(error?.description == "cannot open \(path): it is not an HDF5 file")
      }
    }
  }

  @Test func truncatedFilesAreRecognized() throws {
    try withPath { path in
      let file = try HDF5File(path: path, .create)
      try file.root.write([Float](repeating: 1, count: 4000), to: "x", shape: [4000])
      try file.close()
      #expect(truncate(path, 9000) == 0)
      let error = #expect(throws: HDF5Error.self) { try HDF5File(path: path, .readOnly) }
      #expect(error?.description.contains("the file is truncated") == true)
    }
  }

  @Test func threadsMayShareAFile() async throws {
    var template = Array("/tmp/hdf5-tests-XXXXXX".utf8CString)
    let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
    let folder = String(cString: try #require(made))
    let file = try HDF5File(path: "\(folder)/x.h5", .create)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for thread in 0..<8 {
        group.addTask {
          for turn in 0..<20 {
            let values = [Int64](repeating: Int64(thread * 100 + turn), count: 50)
            let dataset = try file.root.write(values, to: "t\(thread)/d\(turn)", shape: [5, 10])
            try dataset.setAttribute("turn", turn)
            #expect(throws: HDF5Error.self) { try file.root.dataset("missing/\(thread)") }
            #expect(try dataset.read(as: Int64.self) == values)
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try file.root.memberNames().count == 8)
    try file.close()
    unlink("\(folder)/x.h5")
    rmdir(folder)
  }
}

@Suite struct HDF5GroupTests {
  @Test func pathsReachAnyDepth() throws {
    try withPath { path in
      let file = try HDF5File(path: path, .create)
      let root = file.root
      try root.createGroup("a/b/c")
      try root.write([1] as [UInt8], to: "a/b/x", shape: [1])
      let inner = try root.group("a/b")
      #expect(inner.path == "/a/b")
      #expect(try inner.memberNames() == ["c", "x"])
      #expect(try inner.memberKind("c") == .group)
      #expect(try inner.memberKind("x") == .dataset)
      #expect(try inner.dataset("/a/b/x").path == "/a/b/x")
      for (name, isThere) in [
        ("a", true), ("/a/b/c", true), ("a/b/x", true), ("/", true), ("a/z", false),
        ("z/b/x", false), ("a/b/x/below", false),
      ] {
        #expect(try root.exists(name) == isThere, "\(name)")
      }
      #expect(try inner.exists("x"))
    }
  }

  @Test func missingAndDoubledNamesAreErrors() throws {
    try withPath { path in
      let root = try HDF5File(path: path, .create).root
      try root.createGroup("a")
      let missing = #expect(throws: HDF5Error.self) { try root.dataset("a/x") }
      #expect(missing?.description.hasPrefix("cannot open dataset \(path):/a/x: ") == true)
      #expect(missing?.description.contains("object 'x' doesn't exist") == true)
      #expect(throws: HDF5Error.self) { try root.group("b") }
      let doubled = #expect(throws: HDF5Error.self) { try root.createGroup("a") }
      #expect(doubled?.description.contains("already exists") == true)
    }
  }
}

@Suite struct HDF5AttributeTests {
  @Test func allKindsComeBack() throws {
    try withPath { path in
      let file = try HDF5File(path: path, .create)
      let dataset = try file.root.write([1] as [Float], to: "g/x", shape: [1])
      for object in [file.root, try file.root.group("g"), dataset] {
        try object.setAttribute("integer", -7)
        try object.setAttribute("float", Float(0.1))
        try object.setAttribute("double", 0.1)
        try object.setAttribute("text", "caf\u{e9}")
        try object.setAttribute("empty", "")
        try object.setAttribute("integers", [3, 1, Int.max])
        try object.setAttribute("floats", [0.5, -1] as [Float])
        try object.setAttribute("texts", ["a", "", "\u{4e2d}\u{6587}"])
        try object.setAttribute("none", [Int]())
        try object.setAttribute("noTexts", [String]())
      }
      try file.close()
      let read = try HDF5File(path: path, .readOnly)
      for object in [read.root, try read.root.group("g"), try read.root.dataset("g/x")] {
        #expect(try object.integerAttribute("integer") == -7)
        #expect(try object.floatAttribute("float") == 0.1)
        #expect(try object.doubleAttribute("double") == 0.1)
        #expect(try object.stringAttribute("text") == "caf\u{e9}")
        #expect(try object.stringAttribute("empty") == "")
        #expect(try object.integersAttribute("integers") == [3, 1, Int.max])
        #expect(try object.floatsAttribute("floats") == [0.5, -1])
        #expect(try object.stringsAttribute("texts") == ["a", "", "\u{4e2d}\u{6587}"])
        #expect(try object.integersAttribute("none") == [])
        #expect(try object.stringsAttribute("noTexts") == [])
      }
    }
  }

  @Test func settingReplacesAlsoTheType() throws {
    try withPath { path in
      let root = try HDF5File(path: path, .create).root
      #expect(try !root.hasAttribute("a"))
      try root.setAttribute("a", [1, 2, 3])
      try root.setAttribute("a", "text")
      #expect(try root.hasAttribute("a"))
      #expect(try root.stringAttribute("a") == "text")
    }
  }

  @Test func numbersAreConvertedButNotCut() throws {
    try withPath { path in
      let root = try HDF5File(path: path, .create).root
      try root.setAttribute("whole", 3.0)
      try root.setAttribute("half", 0.5)
      try root.setAttribute("one", [9])
      try root.setAttribute("two", [9, 9])
      try root.setAttribute("text", "9")
      #expect(try root.integerAttribute("whole") == 3)
      #expect(try root.doubleAttribute("one") == 9)
      for name in ["half", "two", "text", "missing"] {
        #expect(throws: HDF5Error.self, "\(name)") { try root.integerAttribute(name) }
      }
      let half = #expect(throws: HDF5Error.self) { try root.integerAttribute("half") }
      #expect(
        half?.description == "cannot read attribute \(path):/@half: 0.5 is not a whole number")
      #expect(throws: HDF5Error.self) { try root.stringAttribute("one") }
    }
  }
}
