import HDF5

/// `checkpoint.h5`: the whole state under its published names, over the parts of all ranks.
///
///     /parameters/NAME /moments/first/NAME /moments/second/NAME /buffers/NAME   virtual datasets
///     /layout/parameters/names, places    of each parameter in the flat layout
///     /layout/buffers/names, places
///     /layout/parts      [n, 3] of the flat layout: part, first place, place after the last
///     /layout/partBuffers  [parts, 2] of the buffers
///     /recent/losses, norms
///     attributes         formatVersion step samplesSeen samplerPosition configuration
///                        programVersion libraries worldSize exchange
struct LogicalFile {
  let header: CheckpointHeader
  let layout: StateLayout
  let names: StateNames
  /// Values of each part, rounding errors included.
  let partCounts: [Int]
  /// How the ranks exchanged gradients: rounding errors are of use to the same exchange only.
  let exchange: String

  // MARK: Writing

  func write(to path: String) throws(HDF5Error) {
    let file = try HDF5File(path: path, .create)
    let root = file.root
    try LogicalFile.write(header, to: root)
    try root.setAttribute("worldSize", layout.parts.count)
    try root.setAttribute("exchange", exchange)
    try writeLayout(root)
    let index = StateLayout.Index(layout)
    for (kind, group, tensors) in names.datasets {
      try root.createGroup(group)
      for tensor in tensors {
        try root.createVirtual(
          "\(group)/\(tensor.name)", shape: tensor.shape, boxes: boxes(of: tensor, kind, index))
      }
    }
    try file.close()
  }

  static func write(_ header: CheckpointHeader, to root: HDF5Group) throws(HDF5Error) {
    try root.setAttribute("formatVersion", CheckpointFormat.version)
    try root.setAttribute("step", header.step)
    try root.setAttribute("samplesSeen", header.samplesSeen)
    try root.setAttribute("samplerPosition", header.samplerPosition)
    try root.setAttribute("configuration", header.configuration)
    try root.setAttribute("programVersion", header.programVersion)
    try root.setAttribute("libraries", header.libraries)
    try root.write(header.recentLosses, to: "recent/losses", shape: [header.recentLosses.count])
    try root.write(header.recentNorms, to: "recent/norms", shape: [header.recentNorms.count])
  }

  private func writeLayout(_ root: HDF5Group) throws(HDF5Error) {
    for (group, tensors) in [("parameters", names.parameters), ("buffers", names.buffers)] {
      try root.createStrings("layout/\(group)/names", tensors.map(\.name))
      try root.write(
        tensors.map { Int64($0.place) }, to: "layout/\(group)/places", shape: [tensors.count])
    }
    let rows = layout.parts.enumerated().flatMap { part, ranges in
      ranges.flatMap { [Int64(part), Int64($0.lowerBound), Int64($0.upperBound)] }
    }
    try root.write(rows, to: "layout/parts", shape: [rows.count / 3, 3])
    try root.write(
      layout.buffers.flatMap { [Int64($0.lowerBound), Int64($0.upperBound)] },
      to: "layout/partBuffers", shape: [layout.buffers.count, 2])
  }

  private func boxes(
    of tensor: StateNames.Tensor, _ kind: StateKind, _ index: StateLayout.Index
  ) -> [VirtualBox] {
    index.locations(kind, tensor.places).flatMap { location in
      var source = location.offset
      let places = location.places
      let range = places.lowerBound - tensor.place..<places.upperBound - tensor.place
      return DataParallel.boxes(of: range, in: tensor.shape).map { start, count in
        defer { source += count.reduce(1, *) }
        return VirtualBox(
          start: start, count: count, file: CheckpointFormat.partName(location.part),
          dataset: PartWriter.values, sourceCount: partCounts[location.part], sourceStart: source)
      }
    }
  }

  // MARK: Reading

  /// What a file says about itself.
  static func header(_ root: HDF5Group) throws(HDF5Error) -> CheckpointHeader {
    CheckpointHeader(
      step: try root.integerAttribute("step"),
      samplesSeen: try root.integerAttribute("samplesSeen"),
      samplerPosition: try root.integerAttribute("samplerPosition"),
      configuration: try root.stringAttribute("configuration"),
      programVersion: try root.stringAttribute("programVersion"),
      libraries: try root.stringAttribute("libraries"),
      recentLosses: try root.dataset("recent/losses").read(),
      recentNorms: try root.dataset("recent/norms").read())
  }

  /// - Parameter partCounts: From the manifest.
  init(reading root: HDF5Group, partCounts: [Int]) throws(HDF5Error) {
    header = try LogicalFile.header(root)
    exchange = try root.stringAttribute("exchange")
    self.partCounts = partCounts
    names = StateNames(
      parameters: try LogicalFile.tensors("parameters", root),
      buffers: try LogicalFile.tensors("buffers", root))
    var parts = [[Range<Int>]](repeating: [], count: try root.integerAttribute("worldSize"))
    let rows = try root.dataset("layout/parts").read(as: Int64.self).map { Int($0) }
    for row in stride(from: 0, to: rows.count, by: 3) {
      parts[rows[row]].append(rows[row + 1]..<rows[row + 2])
    }
    let buffers = try root.dataset("layout/partBuffers").read(as: Int64.self).map { Int($0) }
    layout = StateLayout(
      parts: parts, buffers: parts.indices.map { buffers[2 * $0]..<buffers[2 * $0 + 1] })
  }

  init(
    header: CheckpointHeader, layout: StateLayout, names: StateNames, partCounts: [Int],
    exchange: String
  ) {
    self.header = header
    self.layout = layout
    self.names = names
    self.partCounts = partCounts
    self.exchange = exchange
  }

  private static func tensors(
    _ group: String, _ root: HDF5Group
  ) throws(HDF5Error) -> [StateNames.Tensor] {
    let names = try root.dataset("layout/\(group)/names").readStrings()
    let places = try root.dataset("layout/\(group)/places").read(as: Int64.self)
    var tensors: [StateNames.Tensor] = []
    for (name, place) in zip(names, places) {
      let shape = try root.dataset("\(group)/\(name)").shape
      tensors.append(StateNames.Tensor(name: name, shape: shape, place: Int(place)))
    }
    return tensors
  }
}
