internal import CHDF5

/// A box of a virtual dataset and where its values are: one behind the other in a one-dimensional
/// dataset of another file.
public struct VirtualBox: Equatable, Sendable {
  /// Where the box begins, and its elements a dimension.
  public let start: [Int]
  public let count: [Int]
  /// A path relative to the folder of the virtual dataset's own file.
  public let file: String
  public let dataset: String
  /// Elements of the other dataset, and the first one that is meant.
  public let sourceCount: Int
  public let sourceStart: Int

  public init(
    start: [Int], count: [Int], file: String, dataset: String, sourceCount: Int, sourceStart: Int
  ) {
    self.start = start
    self.count = count
    self.file = file
    self.dataset = dataset
    self.sourceCount = sourceCount
    self.sourceStart = sourceStart
  }
}

extension HDF5Group {
  /// Makes a dataset of numbers that are in other files, which need not be there yet.
  ///
  /// Reading it gives NaN for what no box says, and for boxes whose file or dataset is missing.
  ///
  /// - Parameter shape: Its extents, at least one.
  /// - Throws: `HDF5Error`, also if a box does not fit.
  /// - SeeAlso: HDF5 RFC, "Virtual Dataset".
  @discardableResult
  public func createVirtual(
    _ path: String, shape: [Int], boxes: [VirtualBox]
  ) throws(HDF5Error) -> HDF5Dataset {
    Library.enter()
    defer { Library.leave() }
    let (operation, name) = ("create dataset", errorName(path))
    let properties = try Handle(
      H5Pcreate(chdf5_dataset_create_class()), operation, name, close: H5Pclose)
    try check(H5Pset_obj_track_times(properties.id, false), operation, name)
    var fill = Float.nan
    try check(
      H5Pset_fill_value(properties.id, Float.elementType.native, &fill), operation, name)
    for box in boxes {
      let target = try Dataspace.make(shape, operation, name)
      try Dataspace.select(target, start: box.start, count: box.count, operation, name)
      let source = try Dataspace.make([box.sourceCount], operation, name)
      try Dataspace.select(
        source, start: [box.sourceStart], count: [box.count.reduce(1, *)], operation, name)
      try check(
        H5Pset_virtual(properties.id, target.id, box.file, box.dataset, source.id), operation, name)
    }
    return try createDataset(
      path, type: Float.elementType.native, shape: shape, creation: properties.id)
  }
}
