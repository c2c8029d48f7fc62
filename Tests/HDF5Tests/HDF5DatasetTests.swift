import HDF5
import Testing

@Suite struct HDF5DatasetTests {
  @Test func everyElementTypeComesBack() throws {
    try withPath { path in
      let root = try HDF5File(path: path, .create).root
      try check([Float.pi, -0, .infinity], in: root)
      try check([Double.pi, -0, .infinity], in: root)
      try check([Int8.min, 0, .max], in: root)
      try check([UInt8.min, 1, .max], in: root)
      try check([Int16.min, 0, .max], in: root)
      try check([UInt16.min, 1, .max], in: root)
      try check([Int32.min, 0, .max], in: root)
      try check([UInt32.min, 1, .max], in: root)
      try check([Int64.min, 0, .max], in: root)
      try check([UInt64.min, 1, .max], in: root)
      #expect(try root.memberNames().count == ElementType.allCases.count)
    }
  }

  private func check<T: HDF5Representable & Equatable>(_ values: [T], in group: HDF5Group) throws {
    let name = T.elementType.rawValue
    try group.write(values, to: name, shape: [3])
    let dataset = try group.dataset(name)
    #expect(dataset.elementType == T.elementType)
    #expect(dataset.shape == [3] && dataset.count == 3 && dataset.chunk == nil)
    #expect(try dataset.read(as: T.self) == values)
    #expect(try dataset.storageSize == 3 * T.elementType.size)
    #expect(MemoryLayout<T>.size == T.elementType.size)
  }

  @Test func readingConverts() throws {
    try withPath { path in
      let root = try HDF5File(path: path, .create).root
      let dataset = try root.write([1.9, -300, 7] as [Double], to: "x", shape: [3])
      #expect(try dataset.read(as: Float.self) == [1.9, -300, 7])
      #expect(try dataset.read(as: Int8.self) == [1, -128, 7])
    }
  }

  @Test func scalarsAndEmptyDatasets() throws {
    try withPath { path in
      let root = try HDF5File(path: path, .create).root
      try root.write([Float(3)], to: "scalar", shape: [])
      #expect(try root.dataset("scalar").shape == [])
      #expect(try root.dataset("scalar").read(as: Float.self) == [3])
      var box: [Float] = [0]
      try box.withUnsafeMutableBufferPointer {
        try root.dataset("scalar").read(into: $0, start: [], count: [])
      }
      #expect(box == [3])

      let options = DatasetOptions(deflateLevel: 3, fletcher32: true)
      try root.write([Float](), to: "empty", shape: [0, 5], options: options)
      let empty = try root.dataset("empty")
      #expect(empty.shape == [0, 5])
      #expect(try empty.read(as: Float.self) == [])
      var nothing: [Float] = []
      try nothing.withUnsafeMutableBufferPointer {
        try empty.read(into: $0, start: [0, 2], count: [0, 3])
      }
    }
  }

  @Test(arguments: [
    DatasetOptions(), DatasetOptions(chunk: [2, 3]), DatasetOptions(deflateLevel: 4),
    DatasetOptions(chunk: [1, 7], deflateLevel: 1, fletcher32: true),
  ])
  func boxesAreReadAndWritten(options: DatasetOptions) throws {
    let (rows, columns) = (5, 7)
    var expected = [Int32](repeating: 0, count: rows * columns)
    try withPath { path in
      let root = try HDF5File(path: path, .create).root
      let dataset = try root.createDataset(
        "x", of: Int32.self, shape: [rows, columns], options: options)
      for (start, count) in [([0, 0], [5, 7]), ([1, 2], [3, 4]), ([4, 6], [1, 1])] {
        let values = (0..<count[0] * count[1]).map { Int32($0 + 100 * start[0] + 1) }
        try values.withUnsafeBufferPointer {
          try dataset.write(from: $0, start: start, count: count)
        }
        for row in 0..<count[0] {
          for column in 0..<count[1] {
            expected[(start[0] + row) * columns + start[1] + column] =
              values[row * count[1] + column]
          }
        }
      }
      #expect(try dataset.read(as: Int32.self) == expected)
      var column = [Int32](repeating: 0, count: rows)
      try column.withUnsafeMutableBufferPointer {
        try dataset.read(into: $0, start: [0, 3], count: [rows, 1])
      }
      #expect(column == (0..<rows).map { expected[$0 * columns + 3] })
    }
  }

  @Test func boxesOutsideAreErrors() throws {
    try withPath { path in
      let dataset = try HDF5File(path: path, .create).root.write(
        [1, 2, 3, 4] as [Float], to: "x", shape: [2, 2])
      var buffer: [Float] = [0, 0]
      for (start, count) in [
        ([1, 0], [2, 1]), ([-1, 0], [2, 1]), ([0], [2]), ([0, 3], [1, 2]),
      ] {
        let error = #expect(throws: HDF5Error.self) {
          try buffer.withUnsafeMutableBufferPointer {
            try dataset.read(into: $0, start: start, count: count)
          }
        }
        #expect(error?.description.hasSuffix("is not inside its shape [2, 2]") == true)
      }
    }
  }

  @Test func filtersCompressAndChunksStaySmall() throws {
    try withPath { path in
      let root = try HDF5File(path: path, .create).root
      let shape = [64, 3, 100, 100]
      let values = [Float](repeating: 1, count: shape.reduce(1, *))
      let dataset = try root.write(
        values, to: "x", shape: shape, options: DatasetOptions(deflateLevel: 1))
      let chunk = try #require(try root.dataset("x").chunk)
      #expect(chunk.reduce(4, *) <= 1 << 20 && Array(chunk[1...]) == [3, 100, 100])
      #expect(try dataset.storageSize < values.count)
      #expect(try dataset.read(as: Float.self) == values)
    }
  }

  @Test func damagedChunksAreNoticed() throws {
    try withPath { path in
      let values = [UInt8](repeating: 0x5a, count: 4096)
      let file = try HDF5File(path: path, .create)
      try file.root.write(
        values, to: "x", shape: [4096], options: DatasetOptions(chunk: [4096], fletcher32: true))
      try file.close()
      var bytes = try readBytes(path)
      let position = try #require(bytes.indices.first { bytes[$0...].starts(with: values) })
      bytes[position + 100] ^= 1
      try writeBytes(bytes, to: path)
      let dataset = try HDF5File(path: path, .readOnly).root.dataset("x")
      let error = #expect(throws: HDF5Error.self) { try dataset.read(as: UInt8.self) }
      #expect(error?.description.contains("checksum") == true)
    }
  }

  @Test func stringsComeBack() throws {
    try withPath { path in
      let texts = ["", "one", "caf\u{e9}", String(repeating: "long", count: 5000)]
      let file = try HDF5File(path: path, .create)
      try file.root.createStrings("names/all", texts)
      try file.root.createStrings("none", [])
      try file.root.write([1] as [Float], to: "x", shape: [1])
      try file.close()
      let root = try HDF5File(path: path, .readOnly).root
      #expect(try root.dataset("names/all").readStrings() == texts)
      #expect(try root.dataset("names/all").elementType == nil)
      #expect(try root.dataset("none").readStrings() == [])
      #expect(throws: HDF5Error.self) { try root.dataset("x").readStrings() }
      #expect(throws: HDF5Error.self) { try root.dataset("names/all").read(as: Float.self) }
    }
  }
}
