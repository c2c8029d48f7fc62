import Files
import HDF5
import Testing

@testable import ShardedData

@Suite struct Fletcher32Tests {
  /// Word by word, big-endian, as the filter's own source does it.
  private func reference(_ bytes: [UInt8]) -> UInt32 {
    var (sum1, sum2): (UInt32, UInt32) = (0, 0)
    var index = 0
    while index < bytes.count {
      let low = index + 1 < bytes.count ? UInt32(bytes[index + 1]) : 0
      sum1 += UInt32(bytes[index]) << 8 | low
      sum1 = (sum1 & 0xffff) + sum1 >> 16
      sum2 += sum1
      sum2 = (sum2 & 0xffff) + sum2 >> 16
      index += 2
    }
    return sum2 << 16 | sum1
  }

  private func bytes(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt8(truncatingIfNeeded: state >> 33)
    }
  }

  @Test(arguments: [0, 1, 2, 3, 31, 32, 33, 64, 719, 720, 8191, 8192, 8193, 100_003, 600_000])
  func agreesWithTheReference(count: Int) {
    for (seed, fill) in [(1, nil), (2, 0), (3, 255), (4, 128)] as [(UInt64, UInt8?)] {
      let values = fill.map { [UInt8](repeating: $0, count: count) } ?? bytes(count, seed: seed)
      #expect(values.withUnsafeBytes { Fletcher32.checksum($0) } == reference(values))
    }
  }

  @Test func anyFlippedBitChangesIt() {
    let good = bytes(1000, seed: 7)
    let checksum = good.withUnsafeBytes { Fletcher32.checksum($0) }
    for bit in stride(from: 0, to: 8000, by: 13) {
      var bad = good
      bad[bit / 8] ^= 1 << (bit % 8)
      #expect(bad.withUnsafeBytes { Fletcher32.checksum($0) } != checksum)
    }
  }

  /// What stands behind a chunk that the HDF5 library has written.
  @Test func isTheChecksumOfTheHDF5Filter() throws {
    let folder = try ScratchFolder()
    for count in [5, 64, 1000, 70_001] {
      let values = bytes(count, seed: UInt64(count))
      let path = folder.file("\(count).h5")
      let file = try HDF5File(path: path, .create)
      try file.root.write(
        values, to: "x", shape: [count], options: DatasetOptions(chunk: [count], fletcher32: true))
      try file.close()
      let stored = try Files.read(path)
      let end = try #require(stored.firstRange(of: values)?.upperBound)
      let checksum = stored[end..<end + 4].reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      #expect(values.withUnsafeBytes { Fletcher32.checksum($0) } == checksum)
    }
  }
}
