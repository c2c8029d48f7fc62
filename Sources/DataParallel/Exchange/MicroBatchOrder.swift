/// Which micro-batches of a step a rank runs.
///
/// Any assignment gives the same global batch. These give each rank, or each exchange, whole parts
/// of the one order of summation.
public enum MicroBatchOrder {
  /// The step's micro-batches of a rank, in the order of running.
  ///
  /// - Parameters:
  ///   - count: Micro-batches of a rank.
  ///   - isSpread: Whether ranks add up after each micro-batch, not after all of them: then those
  ///     that run at the same time are neighbours.
  static func indices(position: Int, worldSize: Int, count: Int, isSpread: Bool) -> [Int] {
    guard isSpread, let group = groups(worldSize: worldSize).first(where: { $0 ~= position }) else {
      return (0..<count).map { position * count + $0 }
    }
    return (0..<count).map {
      group.lowerBound * count + $0 * group.count + (position - group.lowerBound)
    }
  }

  /// Positions in groups of the largest power of two that divides their number.
  static func groups(worldSize: Int) -> [Range<Int>] {
    let size = worldSize & -worldSize
    return stride(from: 0, to: worldSize, by: size).map { $0..<$0 + size }
  }

  /// Numbers of ranks on which a step of so many micro-batches has the same bits.
  public static func deterministicWorldSizes(microBatches: Int) -> [Int] {
    (1...microBatches).filter { size in
      let share = microBatches / size
      return size == 1 || (microBatches % size == 0 && share & (share - 1) == 0)
    }
  }
}
