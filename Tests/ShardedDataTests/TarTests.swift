import Files
import PNGCodec
import Testing

@testable import ShardedData

@Suite struct TarTests {
  /// A tar archive of ustar headers, and GNU ones for long names.
  static func archive(_ members: [(name: String, bytes: [UInt8])]) -> [UInt8] {
    members.flatMap { member -> [UInt8] in
      guard member.name.utf8.count > 100 else { return entry(member.name, member.bytes, kind: "0") }
      return entry("././@LongLink", Array(member.name.utf8) + [0], kind: "L")
        + entry(String(member.name.prefix(100)), member.bytes, kind: "0")
    } + [UInt8](repeating: 0, count: 1024)
  }

  private static func entry(_ name: String, _ bytes: [UInt8], kind: String) -> [UInt8] {
    var header = [UInt8](repeating: 0, count: 512)
    func put(_ text: String, at place: Int) {
      for (offset, byte) in text.utf8.enumerated() { header[place + offset] = byte }
    }
    put(name, at: 0)
    put("0000644", at: 100)
    put(octal(bytes.count, digits: 11), at: 124)
    put(String(repeating: " ", count: 8), at: 148)
    put(kind, at: 156)
    put("ustar", at: 257)
    put(octal(header.reduce(0) { $0 + Int($1) }, digits: 6), at: 148)
    header[154] = 0
    return header + bytes + [UInt8](repeating: 0, count: (512 - bytes.count % 512) % 512)
  }

  private static func octal(_ value: Int, digits: Int) -> String {
    let text = String(value, radix: 8)
    return String(repeating: "0", count: digits - text.count) + text
  }

  private func write(_ bytes: [UInt8], _ folder: ScratchFolder) throws -> String {
    try Files.write(bytes, to: folder.file("a.tar"))
    return folder.file("a.tar")
  }

  private func content(_ source: TarSource, _ index: Int) throws -> [UInt8]? {
    if case .file(let bytes) = try source.content(at: index) { bytes } else { nil }
  }

  @Test func archivesOfClassArchives() throws {
    let folder = try ScratchFolder()
    let outer = TarTests.archive([
      ("n02.tar", TarTests.archive([("n02_1.JPEG", [1, 2, 3]), ("n02_7.JPEG", [4])])),
      ("n01.tar", TarTests.archive([("n01_5.JPEG", [UInt8](repeating: 9, count: 600))])),
      ("README", [1]),
    ])
    let source = try TarSource(path: write(outer, folder))
    #expect(source.classNames == ["n01", "n02"])
    #expect((0..<3).map(source.label(at:)) == [1, 1, 0])
    #expect((0..<3).map(source.key(at:)) == ["n02/n02_1.JPEG", "n02/n02_7.JPEG", "n01/n01_5.JPEG"])
    #expect(try content(source, 0) == [1, 2, 3])
    #expect(try content(source, 2) == [UInt8](repeating: 9, count: 600))
  }

  @Test func archivesOfClassFoldersAndOfImagesAlone() throws {
    let folder = try ScratchFolder()
    let long = "train/n03/" + String(repeating: "x", count: 120) + ".png"
    let folders = try TarSource(
      path: write(TarTests.archive([("train/n04/a.jpg", [1]), (long, [2, 3])]), folder))
    #expect(folders.classNames == ["n03", "n04"])
    #expect(folders.key(at: 1) == String(long.dropFirst(6)))
    #expect(try content(folders, 1) == [2, 3])
    // Hidden files, as macOS puts beside each image, are none.
    let names = ["./a.jpg", "./._a.jpg"]
    let flat = try TarSource(path: write(TarTests.archive(names.map { ($0, [1]) }), folder))
    #expect(flat.classNames == ["unlabelled"] && flat.count == 1)
  }

  @Test func archivesThatAreWrongSayWhy() throws {
    let folder = try ScratchFolder()
    let good = TarTests.archive([("c/a.jpg", [UInt8](repeating: 5, count: 2000))])
    func text(_ bytes: [UInt8]) throws -> String {
      let path = try write(bytes, folder)
      return try #require(description { _ = try TarSource(path: path) })
    }
    #expect(try text(Array(good[..<1500])).contains("the archive ends within c/a.jpg"))
    var bad = good
    bad[10] ^= 1
    #expect(try text(bad).contains("at byte 0 is no header of a tar archive"))
    #expect(try text([31, 139] + good).contains("damaged, or compressed"))
    #expect(try text(TarTests.archive([("a.txt", [1])])).contains("it holds no JPEG or PNG files"))
    #expect(try text([]).contains("it holds no JPEG or PNG files"))
    let missing = try #require(description { _ = try TarSource(path: "/no/a.tar") })
    #expect(missing.contains("/no/a.tar"))
  }
}
