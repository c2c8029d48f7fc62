import DataParallel
import Interfaces
import TensorCore

/// Features and labels of a whole data set, once on each host, in memory that its ranks share.
///
/// Of each image there are as many rows as pictures of it were made.
final class FeatureStore {
  let count: Int
  let pictures: Int
  /// Of one picture's features.
  let shape: [Int]
  private let group: any ProcessGroup
  private let memory: SharedMemory
  /// The rank whose memory it is, on this host.
  private let leader: Int
  private let floats: UnsafeMutablePointer<Float>
  private let classes: UnsafeMutablePointer<Int32>

  /// Bytes of a host.
  static func byteCount(count: Int, pictures: Int, columns: Int) -> Int {
    count * pictures * columns * MemoryLayout<Float>.stride + count * MemoryLayout<Int32>.stride
  }

  /// Collective.
  ///
  /// - Throws: Where a host lacks the memory.
  init(
    count: Int, pictures: Int, shape: [Int], agreement: Agreement
  ) throws {
    (self.count, self.pictures, self.shape, group) = (count, pictures, shape, agreement.group)
    let group = agreement.group
    let columns = shape.reduce(1, *)
    let bytes = FeatureStore.byteCount(count: count, pictures: pictures, columns: columns)
    let local = group.hosts.indices.filter { group.hosts[$0] == group.hosts[group.rank] }
    leader = local[0]
    try agreement.run {
      guard group.localSize > 1, bytes > HostMemory.freeBytes else { return }
      throw ConfigurationError(
        "--views",
        "features of \(count) images, \(pictures) pictures each, are \(bytes / 1_000_000) MB, and "
          + "\(HostMemory.path) has \(HostMemory.freeBytes / 1_000_000) MB; take fewer pictures, or "
          + "--views fresh, which keeps none")
    }
    memory = try group.shareMemory(
      byteCount: leader == group.rank ? bytes : 0, purpose: "features")
    guard let base = memory.regions[0].baseAddress else {
      preconditionFailure("the first rank of a host has no features")
    }
    floats = base.bindMemory(to: Float.self, capacity: count * pictures * columns)
    classes = (base + count * pictures * columns * MemoryLayout<Float>.stride)
      .bindMemory(to: Int32.self, capacity: count)
  }

  /// Computes all features. Collective. Blocking.
  ///
  /// - Parameter progress: Called by every rank after each of its batches, with the share done.
  func compute(
    _ pass: FeaturePass, _ agreement: Agreement, progress: (Double) -> Void = { _ in }
  ) throws {
    // Nobody may still read what was there.
    try group.barrier()
    try fill(pass, agreement, progress)
    try exchange(pass.batches)
    try group.barrier()
  }

  var columns: Int { shape.reduce(1, *) }

  func features(of sample: Int, picture: Int = 0) -> UnsafeMutablePointer<Float> {
    floats + (picture * count + sample) * columns
  }

  /// `[count, columns]` of one picture of all images.
  func all(picture: Int = 0) -> UnsafePointer<Float> {
    UnsafePointer(features(of: 0, picture: picture))
  }

  func label(of sample: Int) -> Int32 { classes[sample] }

  private func fill(
    _ pass: FeaturePass, _ agreement: Agreement, _ progress: (Double) -> Void
  ) throws {
    let total = Double(pass.batches.batches * pictures)
    try agreement.run {
      for picture in 0..<pictures {
        try pass.run(epoch: picture) { number, features, labels in
          let samples = pass.batches.samples(of: number)
          self.features(of: samples.lowerBound, picture: picture).update(
            from: features.pointer, count: samples.count * columns)
          for (place, sample) in samples.enumerated() { classes[sample] = labels[place] }
          progress(Double(picture * pass.batches.batches + number + 1) / total)
        }
      }
    }
  }

  /// Brings what one host has computed to the others.
  private func exchange(_ batches: OrderedBatches) throws {
    guard Set(group.hosts).count > 1 else { return }
    for picture in 0..<pictures {
      for number in 0..<batches.batches {
        let (root, samples) = (number % group.worldSize, batches.samples(of: number))
        let isHere = group.hosts[root] == group.hosts[group.rank]
        let stores = leader == group.rank && !isHere
        let place = features(of: samples.lowerBound, picture: picture)
        try send(place, count: samples.count * columns, root, stores: stores)
        try send(classes + samples.lowerBound, count: samples.count, root, stores: stores)
      }
    }
  }

  /// Others of the root's host see its memory as it is: they must not receive into it.
  private func send<Value>(
    _ place: UnsafeMutablePointer<Value>, count: Int, _ root: Int, stores: Bool
  ) throws {
    if group.rank == root || stores {
      try group.broadcast(
        UnsafeMutableRawBufferPointer(UnsafeMutableBufferPointer(start: place, count: count)),
        root: root)
      return
    }
    let scratch = UnsafeMutableRawBufferPointer.allocate(
      byteCount: count * MemoryLayout<Value>.stride, alignment: 64)
    defer { scratch.deallocate() }
    try group.broadcast(scratch, root: root)
  }
}
