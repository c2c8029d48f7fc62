import HDF5
import TestSupport
import Testing

@Suite struct HDF5VirtualTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder("virtual") }

  /// Rows 0 and 1 of a [3, 4] array from one file, the first half of row 2 from another.
  private func makeVirtual() throws -> String {
    let path = folder.file("whole.h5")
    let file = try HDF5File(path: path, .create)
    try file.root.createVirtual(
      "group/x", shape: [3, 4],
      boxes: [
        VirtualBox(
          start: [0, 0], count: [2, 4], file: "a.h5", dataset: "values", sourceCount: 10,
          sourceStart: 1),
        VirtualBox(
          start: [2, 0], count: [1, 2], file: "b.h5", dataset: "values", sourceCount: 2,
          sourceStart: 0),
      ])
    try file.close()
    return path
  }

  private func write(_ values: [Float], to name: String) throws {
    let file = try HDF5File(path: folder.file(name), .create)
    try file.root.write(values, to: "values", shape: [values.count])
    try file.close()
  }

  @Test func valuesAreThoseOfTheOtherFiles() throws {
    let path = try makeVirtual()
    try write((0..<10).map(Float.init), to: "a.h5")
    try write([20, 21], to: "b.h5")
    let dataset = try HDF5File(path: path, .readOnly).root.dataset("group/x")
    #expect(dataset.shape == [3, 4])
    let values = try dataset.read(as: Float.self)
    #expect(values[..<10] == [1, 2, 3, 4, 5, 6, 7, 8, 20, 21])
    #expect(values[10...].allSatisfy { $0.isNaN }, "no box says what they are")
  }

  @Test func missingFileReadsAsNaN() throws {
    let path = try makeVirtual()
    try write([20, 21], to: "b.h5")
    let values = try HDF5File(path: path, .readOnly).root.dataset("group/x").read(as: Float.self)
    #expect(values[..<8].allSatisfy { $0.isNaN })
    #expect(values[8..<10] == [20, 21])
  }

  @Test func boxOutsideIsAnError() throws {
    let file = try HDF5File(path: folder.file("whole.h5"), .create)
    let error = #expect(throws: HDF5Error.self) {
      try file.root.createVirtual(
        "x", shape: [3, 4],
        boxes: [
          VirtualBox(
            start: [2, 0], count: [2, 4], file: "a.h5", dataset: "values", sourceCount: 8,
            sourceStart: 0)
        ])
    }
    #expect("\(error, default: "")".contains("is not inside its shape [3, 4]"))
  }
}
