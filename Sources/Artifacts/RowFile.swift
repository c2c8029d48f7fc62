import Files
import HDF5

/// Writes a dataset of floats row by row, with one label a row, to an HDF5 file that is complete or
/// absent.
public final class RowFile {
  private let path: String
  private let file: HDF5File
  private let features: HDF5Dataset
  private let labels: HDF5Dataset
  private let shape: [Int]

  private var partial: String { path + ".partial" }

  /// `features` `[rows] + shape` and `labels` `[rows]`.
  public init(
    path: String, rows: Int, shape: [Int], attributes: [(name: String, value: String)]
  ) throws(ArtifactError) {
    (self.path, self.shape) = (path, shape)
    let partial = path + ".partial"
    (file, features, labels) = try ArtifactReader.wrap(path) { () throws(HDF5Error) in
      let file = try HDF5File(path: partial, .create)
      for (name, value) in attributes { try file.root.setAttribute(name, value) }
      return (
        file, try file.root.createDataset("features", of: Float.self, shape: [rows] + shape),
        try file.root.createDataset("labels", of: Int32.self, shape: [rows])
      )
    }
  }

  /// Rows from `first` on.
  public func write(
    _ values: UnsafeBufferPointer<Float>, labels: [Int32], at first: Int
  ) throws(ArtifactError) {
    let zeros = shape.map { _ in 0 }
    try ArtifactReader.wrap(path) { () throws(HDF5Error) in
      try features.write(from: values, start: [first] + zeros, count: [labels.count] + shape)
      try labels.withUnsafeBufferPointer { labels throws(HDF5Error) in
        try self.labels.write(from: labels, start: [first], count: [labels.count])
      }
    }
  }

  /// Gives the file its name.
  public func finish() throws(ArtifactError) {
    try ArtifactReader.wrap(path) { () throws(HDF5Error) in try file.close() }
    do {
      try Files.synchronize(partial)
      try Files.rename(partial, to: path)
    } catch {
      throw ArtifactError(path: path, reason: error.description)
    }
  }
}
