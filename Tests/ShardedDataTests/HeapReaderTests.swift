import Files
import HDF5
import Testing

@testable import ShardedData

/// Elements of any length, read without the library's heap code.
@Suite(.timeLimit(.minutes(5))) struct HeapReaderTests {
  private let folder: ScratchFolder
  private let golden = "\(GoldenFolder.path)/sequences.h5"
  private static let count = 20

  init() throws { folder = try ScratchFolder() }

  /// The rule by which `Scripts/reference/make-community-shards.py` has written the golden file.
  private func expected(_ row: Int) -> [UInt8] {
    let length = (12..<18).contains(row) ? 0 : row == 3 ? 5000 : 97 * row % 1009
    return (0..<length).map { UInt8((31 * row + 7 * $0) % 256) }
  }

  @Test(arguments: ["contiguous", "chunked"])
  func sequencesOfEachStorage(name: String) throws {
    let file = try ShardFile(path: golden, isTrusted: false)
    let dataset = try file.dataset(name)
    let reader = try #require(try HeapReader(dataset, file))
    let sample = StoredSample()
    // Forwards, then to and fro.
    for row in Array(0..<Self.count) + (0..<Self.count).map({ $0 * 7 % Self.count }) {
      sample.begin(shard: golden, row: row, label: 0)
      sample.finish(.encoded, count: try reader.read(row, into: sample))
      #expect(Array(sample.bytes) == expected(row), "\(name) \(row)")
      #expect(try dataset.readSequence(at: row) == expected(row))
    }
    #expect(throws: ShardError.self) { _ = try reader.read(Self.count, into: sample) }
  }

  /// What only the library can read is left to it, but not in a file that is known to be damaged.
  @Test func sequencesBehindAFilter() throws {
    let file = try ShardFile(path: golden)
    let dataset = try file.dataset("deflated")
    #expect(try HeapReader(dataset, file) == nil)
    #expect(try dataset.readSequence(at: 3) == expected(3))
    let text = description {
      _ = try HeapReader(dataset, try ShardFile(path: golden, isTrusted: false))
    }
    #expect(text?.contains("holds elements that only the library can read") == true)
  }

  @Test func textsEqualThoseOfTheLibrary() throws {
    let file = try ShardFile(path: golden)
    let dataset = try file.dataset("texts")
    #expect(try dataset.holdsVariableText && !dataset.holdsSequences)
    let (reader, library) = (try TextReader(dataset, file), try dataset.readStrings())
    #expect(library[4] == String(repeating: "caf\u{e9} 4", count: 4) && library[13] == "")
    for row in 0..<Self.count { #expect(try reader.text(of: row) == library[row]) }
  }

  /// Damage to one number of the heap at a time, in a copy of Fuel's layout.
  @Test func damageOfTheHeapIsNamed() throws {
    let path = "\(GoldenFolder.path)/community-fuel.h5"
    let good = try Files.read(path)
    let offset = try ShardFile(path: path).dataset("encoded_images").referenceLayout
    guard case .contiguous(let references) = offset else {
      Issue.record("the references are not in one piece")
      return
    }
    let second = references + 16
    let collection = Int(good[(second + 4)..<(second + 12)].unsigned(at: 0, bytes: 8))
    func text(_ place: Int, _ value: UInt64, bytes: Int) throws -> String {
      var copy = good
      for byte in 0..<bytes { copy[place + byte] = UInt8(truncatingIfNeeded: value >> (8 * byte)) }
      try Files.write(copy, to: folder.file("copy.h5"))
      return try #require(description { _ = try stored(folder.file("copy.h5"), 1) })
    }
    let size = UInt64(good.count)
    let cases: [(place: Int, value: UInt64, bytes: Int, part: String)] = [
      (second, 0, 4, "bytes where 0 are expected"),
      (second, 0xFFFF_FFFF, 4, "bytes where 4294967295 are expected"),
      (second + 4, size, 8, "address \(size) is past the end"),
      (second + 4, 1 << 63, 8, "is past the end of the file"),
      (second + 4, size - 8, 8, "there is no collection of version 1"),
      (second + 4, 0, 8, "bytes, but no address"),
      (second + 12, 0, 4, "has no object 0"),
      (second + 12, 1 << 16, 4, "has no object 65536"),
      (collection, 0x4D, 1, "there is no collection of version 1"),
      (collection + 4, 2, 1, "there is no collection of version 1"),
      (collection + 8, 0, 8, "does not fit into the file"),
      (collection + 8, size, 8, "does not fit into the file"),
      (collection + 8, .max, 8, "does not fit into the file"),
      (collection + 8, 16, 8, "has no object"),
      (collection + 16, 0, 2, ""),
      (collection + 24, 0, 8, ""),
      (collection + 24, .max, 8, "is larger than its collection"),
      (collection + 24, UInt64(Int.max), 8, "is larger than its collection"),
    ]
    for (place, value, bytes, part) in cases {
      let found = try text(place, value, bytes: bytes)
      #expect(found.contains("Sample 1 of \(folder.file("copy.h5")) is damaged"), "\(found)")
      #expect(found.contains("its entry in the file's heap is damaged: "), "\(found)")
      #expect(found.contains(part), "\(found)")
    }
    // Free space of no size, with which the library never ends.
    var copy = good
    copy.replaceSubrange((collection + 16)..<(collection + 32), with: repeatElement(0, count: 16))
    try Files.write(copy, to: folder.file("copy.h5"))
    let endless = try #require(description { _ = try stored(folder.file("copy.h5"), 1) })
    #expect(endless.contains("free space at byte \(collection + 16) has the size 0"))
  }

  /// Copies with flipped bits, most in the heap and the references to it, and truncated ones: where
  /// one crashes the process, this test does not end well.
  @Test func damagedCopiesNeitherCrashNorHang() throws {
    let path = "\(GoldenFolder.path)/community-fuel.h5"
    let good = try Files.read(path)
    let structures = good.indices.dropLast(4).filter { place in
      ["GCOL", "TREE", "SNOD", "HEAP"].contains { good[place..<(place + 4)].elementsEqual($0.utf8) }
    }
    #expect(structures.count >= 5)
    let copy = folder.file("copy.h5")
    var generator = SplitMix(state: 7)
    var (accepted, slowest) = (0, Duration.zero)
    for number in 0..<400 {
      var bytes = good
      if number % 8 == 7 {
        bytes.removeLast(Int.random(in: 1..<good.count, using: &generator))
      } else {
        let start = structures.randomElement(using: &generator) ?? 0
        // References, heads of structures, anything.
        let range = [2816..<3232, start..<min(start + 48, good.count), 0..<good.count][number % 3]
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
          let place = Int.random(in: range, using: &generator)
          bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &generator)
        }
      }
      try Files.write(bytes, to: copy)
      var verifier = ShardVerifier()
      slowest = max(slowest, ContinuousClock().measure { verifier.verify(paths: [copy]) })
      #expect(verifier.findings.allSatisfy { $0.path == copy })
      if verifier.findings.isEmpty { accepted += 1 }
    }
    #expect(slowest < .seconds(10))
    // Nothing but the decoder looks at pixels, and nothing at all at unused bytes.
    #expect(accepted < 200)
  }
}

/// Sebastiano Vigna's generator, for damage that is the same in each run.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }
}
