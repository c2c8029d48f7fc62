import TensorCore

/// Which image of a source is packed at which place.
enum PackOrder {
  private static let seed: UInt64 = 0x5AED_0001

  /// Stratified: the j-th image of a class of n, in a shuffled order of its own, stands at
  /// `(j + u) / n` of the whole, u uniform in [0, 1): any range of places has each class in its
  /// share, give or take a few images. The same for the same source, always.
  ///
  /// - Complexity: O(N log N) time, 16 N bytes.
  static func indices(_ order: PackOptions.Order, of source: some ImageSource) -> [Int32] {
    let all = Int32(0)..<Int32(source.count)
    guard order == .stratified else { return Array(all) }
    var sizes = [Int](repeating: 0, count: source.classNames.count)
    for index in 0..<source.count { sizes[Int(source.label(at: index))] += 1 }
    let shuffles = sizes.enumerated().map { label, size in
      size == 0
        ? nil : KeyedPermutation(count: size, seed: seed, stream: .packing, 0, label)
    }
    var seen = [Int](repeating: 0, count: sizes.count)
    let places = all.map { index -> (place: Double, index: Int32) in
      let label = Int(source.label(at: Int(index)))
      let rank = shuffles[label]?[seen[label]] ?? 0
      seen[label] += 1
      var random = CounterRandom(seed: seed, epoch: 1, sample: Int(index), stream: .packing)
      return ((Double(rank) + random.uniform()) / Double(sizes[label]), index)
    }
    return places.sorted { ($0.place, $0.index) < ($1.place, $1.index) }.map(\.index)
  }
}
