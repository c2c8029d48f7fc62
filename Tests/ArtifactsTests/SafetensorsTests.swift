import Artifacts
import Files
import HDF5
import TensorCore
import TestSupport
import Testing

@Suite struct SafetensorsTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder("safetensors") }

  /// A file of this header and data; the length is the header's unless given.
  private func file(
    _ header: String, data: [UInt8] = [], length: UInt64? = nil
  ) throws -> String {
    let text = Array(header.utf8)
    let length = length ?? UInt64(text.count)
    let path = folder.file("model.safetensors")
    let count = (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) }
    try Files.write(count + text + data, to: path)
    return path
  }

  private func refusal(_ path: String, reading name: String? = nil) -> String {
    do throws(ArtifactError) {
      let reader = try SafetensorsReader(path: path)
      if let name { _ = try reader.tensor(name) }
      return "opened"
    } catch {
      return error.description
    }
  }

  // MARK: Reading

  /// Bytes as another implementation writes them (the format's own example has this form).
  @Test func readsTheTypesOfFloats() throws {
    let header = """
      {"__metadata__":{"format":"pt"},"half":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},\
      "brain":{"dtype":"BF16","shape":[1,2],"data_offsets":[6,10]},\
      "single":{"dtype":"F32","shape":[],"data_offsets":[10,14]},\
      "none":{"dtype":"F32","shape":[0,4],"data_offsets":[14,14]},\
      "double":{"dtype":"F64","shape":[2,1],"data_offsets":[14,30]}}
      """
    let data: [UInt8] =
      [0x00, 0x3C, 0x00, 0xC0, 0x01, 0x00]  // 1, -2, 2^-24
      + [0x80, 0x3F, 0x49, 0xC0]  // 1, -3.140625
      + [0xDB, 0x0F, 0x49, 0x40]  // Float of pi
      + [0x18, 0x2D, 0x44, 0x54, 0xFB, 0x21, 0x09, 0x40]  // Double of pi
      + [0, 0, 0, 0, 0, 0, 0xE0, 0xBF]  // -0.5
    let path = try file(header + "   ", data: data)
    let reader = try SafetensorsReader(path: path)
    #expect(reader.names == ["brain", "double", "half", "none", "single"])
    #expect(try reader.tensor("half").values == [1, -2, 0x1p-24])
    let brain = try reader.tensor("brain")
    #expect(brain.shape == [1, 2])
    #expect(brain.values == [1, -3.140625])
    #expect(try reader.tensor("single").values == [.pi.nextUp])
    #expect(try reader.tensor("double").values == [Float(Double.pi), -0.5])
    #expect(try reader.tensor("none").shape == [0, 4])
    #expect(reader.contains("half") && !reader.contains("__metadata__"))
    #expect(refusal(path, reading: "other") == "\(path): it has no tensor other")
  }

  @Test func whatIsWrittenComesBack() throws {
    var values = TestValues(1)
    let path = folder.file("own.safetensors")
    // More than is converted at once.
    let tensors: [(name: String, tensor: Tensor)] = [
      ("blocks.0.w", values.tensor([3, 5, 7])), ("large", values.tensor([700, 500])),
      ("quoted \" \\ \n \u{e9}", values.tensor([1])), ("empty", Tensor([], shape: [0])),
    ]
    try SafetensorsWriter.write(
      to: path, tensors: tensors, metadata: [("format", "pt"), ("note", "a \"quote\"")])
    let file = try NamedTensorFiles.open(path)
    for (name, tensor) in tensors {
      #expect(try file.contains(name))
      let read = try file.tensor(name)
      #expect(read.shape == tensor.shape)
      #expect(sameBits(read.values, tensor.values))
    }
    // Elements begin at a multiple of 8 bytes.
    #expect(try Files.read(path)[0] % 8 == 0)
  }

  @Test func bothFormatsAreToldApartByTheirContents() throws {
    let tensors: [(name: String, tensor: Tensor)] = [
      ("blocks.input.w", Tensor([1, 2, 3, 4], shape: [2, 2]))
    ]
    let (first, second) = (folder.file("a.bin"), folder.file("b.bin"))
    try SafetensorsWriter.write(to: first, tensors: tensors)
    try ArtifactWriter.write(to: second, tensors: tensors, attributes: [])
    for path in [first, second] {
      let file = try NamedTensorFiles.open(path)
      #expect(file.path == path)
      #expect(try file.contains("blocks.input.w"))
      #expect(try !file.contains("blocks.input.b"))
      #expect(try file.tensor("blocks.input.w").values == [1, 2, 3, 4])
      #expect(throws: ArtifactError.self) { try file.tensor("blocks.input.b") }
    }
  }

  // MARK: Damaged and hostile files

  @Test(
    arguments: [
      ("", nil, "neither"), ("{}", UInt64(0), "neither"), ("{}", 3, "neither"),
      ("{}", .max, "neither"), ("{}", 1 << 63, "neither"), ("[]", nil, "not a JSON object"),
      ("not JSON", nil, "not a JSON object"), ("{\"a\":", nil, "not a JSON object"),
      ("a: 1", nil, "not a JSON object"),
    ] as [(String, UInt64?, String)])
  func aHeaderThatIsNoneIsRefused(header: String, length: UInt64?, words: String) throws {
    let text = refusal(try file(header, length: length))
    #expect(text.contains(words), "\(text)")
    #expect(!text.contains("\n"))
  }

  /// The entries of a header for eight bytes of data, and what is said of them.
  static let entries: [(String, String)] = [
    (#""a":1"#, "entry of a is not understood"),
    (#""a":{"dtype":"F32","shape":[2]}"#, "entry of a is not understood"),
    (#""a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}"#, "entry of a is not understood"),
    (#""a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#, "entry of a is not understood"),
    (#""a":{"dtype":"F32","shape":["2"],"data_offsets":[0,8]}"#, "entry of a is not understood"),
    (#""a":{"dtype":"F32","shape":[0x2],"data_offsets":[0,8]}"#, "entry of a is not understood"),
    (#""a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#, "entry of a is not understood"),
    (#""a":{"dtype":"F32","shape":[2],"data_offsets":[0]}"#, "entry of a is not understood"),
    (#""a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}"#, "entry of a is not understood"),
    (
      #""a":{"dtype":"F32","shape":[2],"data_offsets":[0,99999999999999999999]}"#,
      "entry of a is not understood"
    ),
    (#""a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}"#, "unknown type F33"),
    (#""a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#, "its shape takes 12"),
    (
      #""a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}"#,
      "impossible shape"
    ),
    (
      #""a":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}"#,
      "take 1099511627776 bytes, but 8 follow"
    ),
    (#""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#, "take 4 bytes, but 8 follow"),
    (
      #""a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#,
      "a does not begin where the tensor before it ends"
    ),
    (
      #""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"#
        + #""b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#,
      "b does not begin where the tensor before it ends"
    ),
    // The same name twice.
    (
      #""a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"#
        + #""a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#, "not a JSON object"
    ),
    (#""a":*x"#, "not a JSON object"),
  ]

  @Test(arguments: entries.indices)
  func entriesThatDoNotFitAreRefused(index: Int) throws {
    let (entry, words) = Self.entries[index]
    let text = refusal(try file("{\(entry)}", data: [UInt8](repeating: 0, count: 8)))
    #expect(text.contains(words), "\(text)")
    #expect(text.contains("model.safetensors: "))
    #expect(!text.contains("\n"))
  }

  @Test func deepNestingAndLongHeadersAreRefused() throws {
    let deep = String(repeating: "[", count: 200_000)
    #expect(refusal(try file("{\"a\":" + deep)).contains("not a JSON object"))
    let long = "{}" + String(repeating: " ", count: 4 << 20)
    #expect(refusal(try file(long)).contains("longer than 4194304"))
    let path = folder.file("bytes")
    try Files.write([2, 0, 0, 0, 0, 0, 0, 0, 0x7B, 0xFF], to: path)
    #expect(refusal(path).contains("not UTF-8"))
  }

  @Test func typesAndRanksThatAreNoTensorAreRefused() throws {
    let header =
      #"{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"#
      + #""b":{"dtype":"F64","shape":[1,1,1,1,1,1],"data_offsets":[8,16]}}"#
    let path = try file(header, data: [UInt8](repeating: 0, count: 16))
    #expect(refusal(path, reading: "a").contains("elements of type I64"))
    #expect(refusal(path, reading: "b").contains("6 dimensions"))
  }

  @Test func missingShortAndTruncatedFilesAreRefused() throws {
    #expect(refusal(folder.file("nothing")).contains("No such file"))
    #expect(refusal(folder.path).contains(folder.path))
    let path = folder.file("short")
    for count in 0..<10 {
      try Files.write([UInt8](repeating: 1, count: count), to: path)
      #expect(refusal(path).hasSuffix("it is neither an HDF5 nor a safetensors file"))
    }
    let own = folder.file("own.safetensors")
    try SafetensorsWriter.write(to: own, tensors: [("a", Tensor([1, 2, 3], shape: [3]))])
    let size = try Files.size(of: own)
    let reader = try SafetensorsReader(path: own)
    try Files.truncate(own, toSize: size - 1)
    #expect(refusal(own).contains("truncated or damaged"))
    #expect(throws: ArtifactError.self) { try reader.tensor("a") }
  }

  /// Whatever one byte of the header turns into: an error or other names, never a crash.
  @Test func anyByteOfTheHeaderMayBeWrong() throws {
    let own = folder.file("own.safetensors")
    try SafetensorsWriter.write(
      to: own,
      tensors: [("a", Tensor([1, 2, 3], shape: [3])), ("b", Tensor([1, 2], shape: [1, 2]))])
    let bytes = try Files.read(own)
    var refused = 0
    for position in 0..<bytes.count - 20 {
      for bit in [1, 0x10, 0x80] as [UInt8] {
        var damaged = bytes
        damaged[position] ^= bit
        try Files.write(damaged, to: own)
        guard let reader = try? SafetensorsReader(path: own) else {
          refused += 1
          continue
        }
        for name in reader.names { _ = try? reader.tensor(name) }
      }
    }
    #expect(refused > bytes.count)
  }
}
