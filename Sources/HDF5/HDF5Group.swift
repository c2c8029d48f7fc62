internal import CHDF5

/// What a name in a group stands for.
public enum HDF5MemberKind: Sendable {
  case group
  case dataset
  /// A named type, which is neither read nor written here.
  case other
}

/// How a dataset is stored.
public struct DatasetOptions: Equatable, Sendable {
  /// Extents of a chunk; nil stores the dataset in one piece, or picks chunks of about 1 MiB
  /// along the first dimension if a filter asks for chunks.
  public var chunk: [Int]?
  /// 0...9; nil stores without compression.
  public var deflateLevel: Int?
  /// A checksum a chunk, verified at each read.
  public var fletcher32: Bool
  /// All chunks are laid out at once, one behind the other, and filled later: those that are not
  /// written hold anything.
  public var isPreallocated: Bool

  public init(
    chunk: [Int]? = nil, deflateLevel: Int? = nil, fletcher32: Bool = false,
    isPreallocated: Bool = false
  ) {
    self.chunk = chunk
    self.deflateLevel = deflateLevel
    self.fletcher32 = fletcher32
    self.isPreallocated = isPreallocated
  }
}

/// A group of a file. Paths are relative to it, or from the root with a leading slash.
public final class HDF5Group: HDF5Object, @unchecked Sendable {
  init(rootOf file: HDF5File) { super.init(file: file, path: "/", handle: nil) }

  private override init(file: HDF5File, path: String, handle: consuming Handle?) {
    super.init(file: file, path: path, handle: handle)
  }

  // MARK: Members

  /// Makes a group, and those above it that are missing.
  ///
  /// - Throws: `HDF5Error`, also if there is something of that name.
  @discardableResult
  public func createGroup(_ path: String) throws(HDF5Error) -> HDF5Group {
    Library.enter()
    defer { Library.leave() }
    let (operation, name) = ("create group", errorName(path))
    let links = try HDF5Group.linkProperties(operation, name)
    let id = H5Gcreate2(
      try requireOpen(operation), path, links.id, defaultProperties, defaultProperties)
    let handle = try Handle(id, operation, name, close: H5Gclose)
    return HDF5Group(file: file, path: absolute(path), handle: handle)
  }

  public func group(_ path: String) throws(HDF5Error) -> HDF5Group {
    Library.enter()
    defer { Library.leave() }
    let (operation, name) = ("open group", errorName(path))
    let id = H5Gopen2(try requireOpen(operation), path, defaultProperties)
    let handle = try Handle(id, operation, name, close: H5Gclose)
    return HDF5Group(file: file, path: absolute(path), handle: handle)
  }

  public func dataset(_ path: String) throws(HDF5Error) -> HDF5Dataset {
    Library.enter()
    defer { Library.leave() }
    let (operation, name) = ("open dataset", errorName(path))
    let id = H5Dopen2(try requireOpen(operation), path, defaultProperties)
    let handle = try Handle(id, operation, name, close: H5Dclose)
    return try HDF5Dataset(file: file, path: absolute(path), handle: handle)
  }

  /// Whether there is an object at `path`, at any depth; a missing group on the way is a no.
  public func exists(_ path: String) throws(HDF5Error) -> Bool {
    Library.enter()
    defer { Library.leave() }
    let operation = "look for"
    let id = try requireOpen(operation)
    var prefix = path.hasPrefix("/") ? "/" : ""
    for component in path.split(separator: "/") {
      // Below a dataset there is nothing, and asking there is an error of the library.
      if !prefix.isEmpty, prefix != "/", try kind(of: prefix) != .group { return false }
      if !prefix.isEmpty, prefix != "/" { prefix += "/" }
      prefix += component
      let link = H5Lexists(id, prefix, defaultProperties)
      guard try check(link, operation, errorName(prefix)) > 0 else { return false }
      // A link may point nowhere.
      let target = H5Oexists_by_name(id, prefix, defaultProperties)
      guard try check(target, operation, errorName(prefix)) > 0 else { return false }
    }
    return true
  }

  /// The names of the direct members, sorted.
  public func memberNames() throws(HDF5Error) -> [String] {
    Library.enter()
    defer { Library.leave() }
    let operation = "list"
    let id = try requireOpen(operation)
    var info = H5G_info_t()
    try check(H5Gget_info(id, &info), operation, name)
    var names: [String] = []
    for index in 0..<info.nlinks { names.append(try memberName(at: index, of: id)) }
    return names.sorted()
  }

  /// How many direct members there are.
  public var memberCount: Int {
    get throws(HDF5Error) {
      Library.enter()
      defer { Library.leave() }
      var info = H5G_info_t()
      try check(H5Gget_info(try requireOpen("list"), &info), "list", name)
      return Int(info.nlinks)
    }
  }

  /// The name of a direct member by its place in name order.
  public func memberName(at index: Int) throws(HDF5Error) -> String {
    Library.enter()
    defer { Library.leave() }
    return try memberName(at: hsize_t(index), of: try requireOpen("list"))
  }

  public func memberKind(_ path: String) throws(HDF5Error) -> HDF5MemberKind {
    Library.enter()
    defer { Library.leave() }
    return try kind(of: path)
  }

  // MARK: Making datasets

  /// Makes a dataset of zeros, and the groups above it that are missing.
  ///
  /// - Parameter shape: Its extents; empty makes a scalar.
  /// - Throws: `HDF5Error`, also if there is something of that name.
  @discardableResult
  public func createDataset<T: HDF5Representable>(
    _ path: String, of type: T.Type, shape: [Int], options: DatasetOptions = DatasetOptions()
  ) throws(HDF5Error) -> HDF5Dataset {
    Library.enter()
    defer { Library.leave() }
    let creation = try creationProperties(
      options, shape: shape, elementSize: T.elementType.size, errorName(path))
    return try createDataset(
      path, type: T.elementType.native, shape: shape, creation: creation.id)
  }

  /// Makes a dataset and fills it.
  ///
  /// - Precondition: There are as many values as the shape says.
  @discardableResult
  public func write<T: HDF5Representable>(
    _ values: [T], to path: String, shape: [Int], options: DatasetOptions = DatasetOptions()
  ) throws(HDF5Error) -> HDF5Dataset {
    let dataset = try createDataset(path, of: T.self, shape: shape, options: options)
    try dataset.write(values)
    return dataset
  }

  /// Makes a one-dimensional dataset of UTF-8 strings of any length.
  @discardableResult
  public func createStrings(_ path: String, _ values: [String]) throws(HDF5Error) -> HDF5Dataset {
    Library.enter()
    defer { Library.leave() }
    let type = try TextType.variable("create dataset", errorName(path))
    let creation = try creationProperties(
      DatasetOptions(), shape: [values.count], elementSize: 1, errorName(path))
    let dataset = try createDataset(
      path, type: type.id, shape: [values.count], creation: creation.id)
    try dataset.write(strings: values, type: type)
    return dataset
  }

  // MARK: Helpers, inside the lock

  func createDataset(
    _ path: String, type: hid_t, shape: [Int], creation: hid_t
  ) throws(HDF5Error) -> HDF5Dataset {
    let (operation, name) = ("create dataset", errorName(path))
    let links = try HDF5Group.linkProperties(operation, name)
    let space = try Dataspace.make(shape, operation, name)
    let id = H5Dcreate2(
      try requireOpen(operation), path, type, space.id, links.id, creation, defaultProperties)
    let handle = try Handle(id, operation, name, close: H5Dclose)
    return try HDF5Dataset(file: file, path: absolute(path), handle: handle)
  }

  private func kind(of path: String) throws(HDF5Error) -> HDF5MemberKind {
    let (operation, name) = ("open", errorName(path))
    let id = H5Oopen(try requireOpen(operation), path, defaultProperties)
    let object = try Handle(id, operation, name, close: H5Oclose)
    switch H5Iget_type(object.id) {
    case H5I_GROUP: return .group
    case H5I_DATASET: return .dataset
    default: return .other
    }
  }

  private func memberName(at index: hsize_t, of id: hid_t) throws(HDF5Error) -> String {
    // Asked twice, as usual in the library: for the length, then for the text.
    let length = H5Lget_name_by_idx(
      id, ".", H5_INDEX_NAME, H5_ITER_INC, index, nil, 0, defaultProperties)
    var text = [CChar](repeating: 0, count: try check(length, "list", name) + 1)
    let written = H5Lget_name_by_idx(
      id, ".", H5_INDEX_NAME, H5_ITER_INC, index, &text, text.count, defaultProperties)
    try check(written, "list", name)
    return String(decoding: text.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  private static func linkProperties(
    _ operation: String, _ name: String
  ) throws(HDF5Error) -> Handle {
    let links = try Handle(H5Pcreate(chdf5_link_create_class()), operation, name, close: H5Pclose)
    try check(H5Pset_create_intermediate_group(links.id, 1), operation, name)
    return links
  }

  private func absolute(_ path: String) -> String {
    let base = path.hasPrefix("/") ? "" : self.path
    let components = base.split(separator: "/") + path.split(separator: "/")
    return "/" + components.joined(separator: "/")
  }

  func errorName(_ path: String) -> String { "\(file.path):\(absolute(path))" }
}

/// The storage of a new dataset, as a property list.
private func creationProperties(
  _ options: DatasetOptions, shape: [Int], elementSize: Int, _ name: String
) throws(HDF5Error) -> Handle {
  let operation = "create dataset"
  let properties = try Handle(
    H5Pcreate(chdf5_dataset_create_class()), operation, name, close: H5Pclose)
  // Otherwise equal contents would not give equal files.
  try check(H5Pset_obj_track_times(properties.id, false), operation, name)
  let isFiltered = options.deflateLevel != nil || options.fletcher32
  // Nothing to cut: the library has no chunks for scalars and for no elements at all.
  if shape.isEmpty || shape.contains(0) { return properties }
  if let chunk = options.chunk ?? (isFiltered ? automaticChunk(shape, elementSize) : nil) {
    precondition(chunk.count == shape.count, "chunk \(chunk) does not fit shape \(shape)")
    let extents = chunk.map { hsize_t($0) }
    try check(H5Pset_chunk(properties.id, Int32(chunk.count), extents), operation, name)
  }
  if let level = options.deflateLevel {
    precondition((0...9).contains(level), "deflate level \(level) is not in 0...9")
    try check(H5Pset_deflate(properties.id, UInt32(level)), operation, name)
  }
  if options.isPreallocated {
    try check(H5Pset_alloc_time(properties.id, H5D_ALLOC_TIME_EARLY), operation, name)
    try check(H5Pset_fill_time(properties.id, H5D_FILL_TIME_NEVER), operation, name)
  }
  if options.fletcher32 { try check(H5Pset_fletcher32(properties.id), operation, name) }
  return properties
}

/// Halves the outer dimensions until a chunk has at most 1 MiB, so that a slice along the first
/// dimension touches few of them and each fits the library's chunk cache.
private func automaticChunk(_ shape: [Int], _ elementSize: Int) -> [Int] {
  var chunk = shape
  for dimension in chunk.indices {
    while chunk[dimension] > 1, chunk.reduce(elementSize, *) > 1 << 20 {
      chunk[dimension] = (chunk[dimension] + 1) / 2
    }
  }
  return chunk
}
