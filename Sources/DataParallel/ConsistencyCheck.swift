import Files
public import Interfaces
public import NN

/// Ranks whose parameters are not those of the others.
public struct DivergenceError: Error, Sendable, CustomStringConvertible {
  public let ranks: [Int]
  public let step: Int

  public var description: String {
    let names = ranks.map(String.init).joined(separator: ", ")
    return "after step \(step) the parameters of rank \(names) differ from those of the others; "
      + "resume from the last checkpoint, and check that host's memory and BLAS kernels"
  }
}

/// Compares the parameters of all ranks by a hash of their bytes.
public enum ConsistencyCheck {
  /// Collective: every rank calls it. Blocking; exchanges 8 bytes a rank.
  ///
  /// - Returns: nil where all agree; else the ranks in the minority.
  public static func divergence(
    of parameters: FlatBuffer, step: Int, in group: any ProcessGroup
  ) throws(CollectiveError) -> DivergenceError? {
    var hash = Hash64()
    hash.update(
      UnsafeRawBufferPointer(
        start: parameters.pointer, count: parameters.count * MemoryLayout<Float>.stride))
    let value = hash.finalize()
    let bytes = try group.allGather((0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) })
    let hashes = (0..<group.worldSize).map { Array(bytes[$0 * 8..<$0 * 8 + 8]) }
    let counts = Dictionary(grouping: hashes, by: \.self).mapValues(\.count)
    guard counts.count > 1 else { return nil }
    // Of equally frequent values rank 0's counts as right.
    let weight = { (hash: [UInt8]) in (counts[hash] ?? 0, hash == hashes[0] ? 1 : 0) }
    let common = hashes.max { weight($0) < weight($1) }
    return DivergenceError(ranks: hashes.indices.filter { hashes[$0] != common }, step: step)
  }
}
