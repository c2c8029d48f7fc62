import TestSupport
import Testing

@testable import TensorCore

@Suite struct ImageKernelTests {
  static let shapes = [(1, 1), (2, 2), (3, 5), (4, 6), (7, 2)]
  static let channelCounts = [1, 3, 8, 19]

  @Test(arguments: [(1, 1), (3, 16), (6, 5), (17, 2)])
  func transposeSwapsRowsAndColumns(rows: Int, columns: Int) {
    var values = TestValues(1)
    let source = values.floats(2 * rows * columns)
    let expected = (0..<source.count).map { index -> Float in
      let (image, rest) = index.quotientAndRemainder(dividingBy: rows * columns)
      return source[image * rows * columns + rest % rows * columns + rest / rows]
    }
    let results = withEveryPool { pool in
      var target = [Float](repeating: .nan, count: source.count)
      ImageKernel.transpose(pool, source, batch: 2, rows: rows, columns: columns, into: &target)
      return target
    }
    for result in results { #expect(result == expected) }
  }

  @Test(arguments: shapes, channelCounts)
  func poolTakesTheLargestOfFour(shape: (Int, Int), channels: Int) {
    let (height, width) = shape
    var values = TestValues(2)
    let source = values.floats(3 * height * width * channels)
    func pixel(_ image: Int, _ y: Int, _ x: Int, _ channel: Int) -> Float {
      source[((image * height + y) * width + x) * channels + channel]
    }
    var expected: [Float] = []
    for image in 0..<3 {
      for y in 0..<height / 2 {
        for x in 0..<width / 2 {
          for channel in 0..<channels {
            expected.append(
              [(0, 0), (0, 1), (1, 0), (1, 1)].map {
                pixel(image, 2 * y + $0.0, 2 * x + $0.1, channel)
              }.max()!)
          }
        }
      }
    }
    let results = withEveryPool { pool in
      var target = [Float](repeating: .nan, count: expected.count)
      ImageKernel.maximumPool(
        pool, source, batch: 3, height: height, width: width, channels: channels, into: &target)
      return target
    }
    for result in results { #expect(result == expected) }
  }

  @Test(arguments: shapes, channelCounts)
  func upsamplingRepeatsEveryPixel(shape: (Int, Int), channels: Int) {
    let (height, width) = shape
    var values = TestValues(3)
    let source = values.floats(3 * height * width * channels)
    let expected = (0..<4 * source.count).map { index -> Float in
      let (pixel, channel) = index.quotientAndRemainder(dividingBy: channels)
      let (line, x) = pixel.quotientAndRemainder(dividingBy: 2 * width)
      let (image, y) = line.quotientAndRemainder(dividingBy: 2 * height)
      return source[((image * height + y / 2) * width + x / 2) * channels + channel]
    }
    let results = withEveryPool { pool in
      var target = [Float](repeating: .nan, count: expected.count)
      ImageKernel.upsample(
        pool, source, batch: 3, height: height, width: width, channels: channels, into: &target)
      return target
    }
    for result in results { #expect(result == expected) }
  }

  private func largest(_ values: [Float], columns: Int, _ pool: ThreadPool) -> [Int32] {
    var indices = [Int32](repeating: -1, count: values.count / columns)
    ImageKernel.largestOfRows(
      pool, values, rows: indices.count, columns: columns, into: &indices)
    return indices
  }

  @Test(arguments: oddRows, oddColumns)
  func largestIsTheFirstOfEquals(rows: Int, columns: Int) {
    var values = TestValues(5)
    // Few different values, so that most rows have several largest ones.
    let table = values.floats(rows * columns).map { ($0 * 3).rounded() - 5 }
    let expected = (0..<rows).map { row -> Int32 in
      let part = table[row * columns..<(row + 1) * columns]
      return Int32(part.firstIndex(of: part.max()!)! - row * columns)
    }
    for result in withEveryPool({ largest(table, columns: columns, $0) }) {
      #expect(result == expected)
    }
  }

  @Test func whatIsNoNumberIsNeverTheLargest() {
    var row = [Float](repeating: -2, count: 19)
    (row[0], row[9], row[17]) = (.nan, -1, .nan)
    let pool = ThreadPool(threadCount: 1)
    #expect(largest(row, columns: 19, pool) == [9])
    #expect(largest([.nan, .nan], columns: 2, pool) == [0])
    #expect(largest([-.infinity, -.infinity], columns: 2, pool) == [0])
  }
}
