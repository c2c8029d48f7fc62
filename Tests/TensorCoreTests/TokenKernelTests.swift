import TestSupport
import Testing

@testable import TensorCore

@Suite struct TokenKernelTests {
  @Test(arguments: [(1, 4, 2), (3, 8, 4), (2, 9, 3), (3, 6, 1)], threadCounts)
  func patchesAreCutWithTheChannelSlowest(sizes: (Int, Int, Int), threadCount: Int) {
    let (channels, size, patch) = sizes
    let grid = size / patch
    let (batch, count) = (3, 4)
    var values = TestValues(1)
    let images = values.floats(batch * channels * size * size)
    let positions = values.indices(batch * count, below: grid * grid)
    var output = [Float](repeating: .nan, count: batch * count * channels * patch * patch)
    TokenKernel.extractPatches(
      ThreadPool(threadCount: threadCount), images: images, channels: channels, imageSize: size,
      patchSize: patch, positions: positions, batch: batch, count: count, output: &output)
    var expected: [Float] = []
    for (row, position) in positions.enumerated() {
      let (top, left) = (Int(position) / grid * patch, Int(position) % grid * patch)
      for channel in 0..<channels {
        for y in top..<top + patch {
          for x in left..<left + patch {
            expected.append(images[((row / count * channels + channel) * size + y) * size + x])
          }
        }
      }
    }
    #expect(output == expected)
  }

  @Test(arguments: oddColumns, [0, 1, 2])
  func positionsAreAddedBehindThePrefix(columns: Int, prefix: Int) {
    let (batch, count) = (2, 5)
    var values = TestValues(2)
    let x = values.floats(batch * count * columns)
    let table = values.floats(7 * columns)
    let positions = values.indices(batch * count, below: 7)
    let marker: Float = 99
    for pool in threadCounts.map({ ThreadPool(threadCount: $0) }) {
      var output = [Float](repeating: marker, count: batch * (count + prefix) * columns)
      TokenKernel.addPositions(
        pool, x: x, table: table, positions: positions, output: &output, batch: batch,
        count: count, prefix: prefix, columns: columns)
      let expected = output.indices.map { index -> Float in
        let (row, column) = (index / columns, index % columns)
        let (sample, token) = (row / (count + prefix), row % (count + prefix) - prefix)
        guard token >= 0 else { return marker }
        let source = sample * count + token
        return x[source * columns + column] + table[Int(positions[source]) * columns + column]
      }
      #expect(output == expected)
    }
  }

  @Test(arguments: oddColumns, threadCounts)
  func rowsAreCopiedBetweenSequences(columns: Int, threadCount: Int) {
    let (batch, sourceRows, targetRows, count) = (3, 6, 5, 3)
    var values = TestValues(3)
    let source = values.floats(batch * sourceRows * columns)
    let old = values.floats(batch * targetRows * columns)
    var target = old
    TokenKernel.copyRows(
      ThreadPool(threadCount: threadCount), source: source, sourceRows: sourceRows,
      sourceStart: 2, target: &target, targetRows: targetRows, targetStart: 1, batch: batch,
      count: count, columns: columns)
    let expected = old.indices.map { index -> Float in
      let (row, column) = (index / columns, index % columns)
      let (sample, token) = (row / targetRows, row % targetRows - 1)
      guard (0..<count).contains(token) else { return old[index] }
      return source[(sample * sourceRows + 2 + token) * columns + column]
    }
    #expect(target == expected)
  }

  @Test(arguments: [1, 7, 8, 9, 1023, 1025, 5000])
  func additionIsElementWise(count: Int) {
    var values = TestValues(4)
    let (source, old) = (values.floats(count), values.floats(count))
    let expected = zip(old, source).map { $0 + $1 }
    for pool in threadCounts.map({ ThreadPool(threadCount: $0) }) {
      var target = old
      TokenKernel.add(pool, source, to: &target, count: count)
      #expect(target == expected)
    }
    var target = old
    TokenKernel.addSerially(source, to: &target, count: count)
    #expect(target == expected)
  }

  /// Sums of at most 17 values below 1 in Float.
  static let meanTolerance: Float = 1e-6

  @Test(arguments: oddColumns, [(1, 0), (4, 1), (17, 1), (17, 16)])
  func meansOverTokens(columns: Int, size: (tokens: Int, start: Int)) {
    let (batch, tokens, start) = (3, size.tokens, size.start)
    var values = TestValues(5)
    let x = values.floats(batch * tokens * columns)
    let dOutput = values.floats(batch * columns)
    let expected = (0..<batch * columns).map { index -> Float in
      let (sample, column) = (index / columns, index % columns)
      let sum = (start..<tokens).reduce(0.0) {
        $0 + Double(x[(sample * tokens + $1) * columns + column])
      }
      return Float(sum / Double(tokens - start))
    }
    let dExpected = x.indices.map { index -> Float in
      let (row, column) = (index / columns, index % columns)
      guard row % tokens >= start else { return 0 }
      return Float(Double(dOutput[row / tokens * columns + column]) / Double(tokens - start))
    }
    let results = withEveryPool { pool in
      var (output, dX) = (dOutput.map { _ in Float.nan }, x.map { _ in Float.nan })
      TokenKernel.mean(
        pool, x: x, tokens: tokens, start: start, output: &output, batch: batch, columns: columns)
      TokenKernel.meanBackward(
        pool, dOutput: dOutput, tokens: tokens, start: start, dX: &dX, batch: batch,
        columns: columns)
      return (output, dX)
    }
    #expect(largestDifference(results[0].0, expected) < TokenKernelTests.meanTolerance)
    #expect(largestDifference(results[0].1, dExpected) < TokenKernelTests.meanTolerance)
    for other in results {
      #expect(sameBits(other.0, results[0].0) && sameBits(other.1, results[0].1))
    }
  }
}
