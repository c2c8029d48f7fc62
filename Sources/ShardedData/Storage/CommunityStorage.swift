import HDF5

/// `imgs` UInt8 `[N, 3, H, W]` and `labels` `[N]`, as BigGAN-PyTorch's `make_hdf5.py` writes them.
final class BigGANStorage: ShardStorage {
  let header: ShardHeader
  private let shape: ImageShape
  private let images: HDF5Dataset
  private let labels: LabelReader

  init(_ file: ShardFile) throws(ShardError) {
    images = try file.bytes("imgs", shape: "[samples, channels, height, width]") {
      $0.count == 4 && !$0.dropFirst().contains(0)
    }
    guard images.shape[0] > 0 else { throw .noSamples(path: file.path) }
    shape = try file.imageShape(
      height: images.shape[2], width: images.shape[3], channels: images.shape[1], dataset: "imgs")
    labels = LabelReader(
      try file.integers("labels", count: images.shape[0]), path: file.path, classCount: 0)
    header = ShardHeader(
      path: file.path, layout: .bigGAN, count: images.shape[0], imageShape: shape, classNames: [],
      source: ShardLayout.bigGAN.title, chunkRows: images.chunk?[0] ?? 1)
  }

  func label(of row: Int) throws(ShardError) -> Int32 { try labels.label(of: row) }

  func key(of row: Int) -> String { defaultKey(path: header.path, row: row) }

  func read(_ row: Int, into sample: StoredSample) throws(ShardError) {
    sample.begin(shard: header.path, row: row, label: try labels.label(of: row))
    let buffer = sample.reserve(shape.byteCount)
    try reading(path: header.path, row: row) { () throws(HDF5Error) in
      try images.read(
        into: buffer.bindMemory(to: UInt8.self), start: [row, 0, 0, 0],
        count: [1, shape.channels, shape.height, shape.width])
    }
    sample.finish(.planar(shape), count: shape.byteCount)
  }
}

/// `encoded_images`, byte sequences of any length, `targets` `[N, 1]` and maybe `filenames`
/// `[N, 1]`, as Fuel's converters write ImageNet. Images of its test set come last and have no
/// target: their label is -1.
final class FuelStorage: ShardStorage {
  let header: ShardHeader
  private let images: HDF5Dataset
  /// Nil where only the library can read the sequences.
  private let heap: HeapReader?
  private let labels: LabelReader
  private let names: TextReader?

  init(_ file: ShardFile) throws(ShardError) {
    let name = "encoded_images"
    images = try file.dataset(name)
    guard images.shape.count == 1 else {
      throw .wrongShape(
        path: file.path, dataset: name, found: images.shape, expected: "[samples]")
    }
    guard try storing({ [images] () throws(HDF5Error) in try images.holdsSequences }) else {
      throw .wrongType(
        path: file.path, dataset: name, found: images.elementType?.rawValue ?? "something else",
        expected: "byte sequences of any length")
    }
    guard images.shape[0] > 0 else { throw .noSamples(path: file.path) }
    heap = try HeapReader(images, file)
    labels = LabelReader(
      try file.integers("targets", count: images.shape[0], allowsFewer: true), path: file.path,
      classCount: 0, allowsUnlabelled: true)
    let hasNames = try storing { () throws(HDF5Error) in try file.root.exists("filenames") }
    names = hasNames ? try TextReader(try file.dataset("filenames"), file) : nil
    header = ShardHeader(
      path: file.path, layout: .fuel, count: images.shape[0], imageShape: nil, classNames: [],
      source: ShardLayout.fuel.title, chunkRows: 1)
  }

  func label(of row: Int) throws(ShardError) -> Int32 { try labels.label(of: row) }

  func key(of row: Int) throws(ShardError) -> String {
    guard let names else { return defaultKey(path: header.path, row: row) }
    return try names.text(of: row)
  }

  func read(_ row: Int, into sample: StoredSample) throws(ShardError) {
    sample.begin(shard: header.path, row: row, label: try labels.label(of: row))
    if let heap { return sample.finish(.encoded, count: try heap.read(row, into: sample)) }
    let bytes = try reading(path: header.path, row: row) { () throws(HDF5Error) in
      try images.readSequence(at: row)
    }
    bytes.withUnsafeBytes { sample.reserve(bytes.count).copyMemory(from: $0) }
    sample.finish(.encoded, count: bytes.count)
  }
}

/// A group a class, and in it a one-dimensional dataset of an image file's bytes an image, as
/// solo-learn's `H5Dataset` reads them. Classes and images in name order.
final class ClassGroupStorage: ShardStorage {
  let header: ShardHeader
  private let root: HDF5Group
  /// The first row of each class, and at the end the number of all.
  private let starts: [Int]
  /// Names of the images of classes that were read lately.
  private var names: [Int: [String]] = [:]

  /// Classes whose names are held: as many as a shuffled reader goes to and fro between.
  private static let heldClasses = 32

  init(_ file: ShardFile) throws(ShardError) {
    root = file.root
    var (starts, classes) = ([0], [String]())
    try storing { () throws(HDF5Error) in
      for name in try file.root.memberNames() {
        starts.append(starts[starts.count - 1] + (try file.root.group(name).memberCount))
        classes.append(name)
      }
    }
    self.starts = starts
    guard let count = starts.last, count > 0 else { throw .noSamples(path: file.path) }
    header = ShardHeader(
      path: file.path, layout: .classGroups, count: count, imageShape: nil, classNames: classes,
      source: ShardLayout.classGroups.title, chunkRows: 1)
  }

  /// Whether a file looks like this: its first member a group whose first member is a line of bytes.
  static func describes(_ file: ShardFile) throws(HDF5Error) -> Bool {
    for name in try file.root.memberNames() {
      guard try file.root.memberKind(name) == .group else { return false }
      let group = try file.root.group(name)
      guard try group.memberCount > 0 else { continue }
      let first = try group.memberName(at: 0)
      guard try group.memberKind(first) == .dataset else { return false }
      let dataset = try group.dataset(first)
      return dataset.elementType == .uint8 && dataset.shape.count == 1
    }
    return false
  }

  func label(of row: Int) -> Int32 { Int32(classIndex(of: row)) }

  func key(of row: Int) throws(ShardError) -> String {
    let (label, name) = try place(of: row)
    return "\(header.classNames[label])/\(name)"
  }

  func read(_ row: Int, into sample: StoredSample) throws(ShardError) {
    let (label, name) = try place(of: row)
    sample.begin(shard: header.path, row: row, label: Int32(label))
    let path = "\(header.classNames[label])/\(name)"
    let dataset = try reading(path: header.path, row: row) { () throws(HDF5Error) in
      try root.dataset(path)
    }
    guard dataset.elementType == .uint8, dataset.shape.count == 1 else {
      throw .damaged(
        path: header.path, row: row, key: path, reason: "it is not a line of bytes")
    }
    try requireSampleSize(dataset.count, path: header.path, row: row)
    let bytes = try reading(path: header.path, row: row) { () throws(HDF5Error) in
      try dataset.read(as: UInt8.self)
    }
    bytes.withUnsafeBytes { sample.reserve(bytes.count).copyMemory(from: $0) }
    sample.finish(.encoded, count: bytes.count)
  }

  private func classIndex(of row: Int) -> Int {
    (starts.firstIndex { $0 > row } ?? starts.count - 1) - 1
  }

  private func place(of row: Int) throws(ShardError) -> (label: Int, name: String) {
    let label = classIndex(of: row)
    if names[label] == nil {
      if names.count == ClassGroupStorage.heldClasses { names.removeAll(keepingCapacity: true) }
      names[label] = try reading(path: header.path, row: row) { () throws(HDF5Error) in
        try root.group(header.classNames[label]).memberNames()
      }
    }
    guard let all = names[label], row - starts[label] < all.count else {
      throw .damaged(
        path: header.path, row: row, key: "", reason: "its class lists fewer images than before")
    }
    return (label, all[row - starts[label]])
  }
}
