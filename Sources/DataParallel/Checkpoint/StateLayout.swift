import NN
import TensorCore

/// What kind of value a checkpoint holds.
enum StateKind: Int, CaseIterable, Sendable {
  case parameters, firstMoments, secondMoments
  /// What the method saves but does not train, one buffer after the other.
  case buffers
}

/// Which rank writes what of a run's state: a pure value, the same on all ranks.
///
/// Parameters and moments have places in the flat layout of `ParameterTree`; buffers follow one
/// another in a layout of their own. A part's values are its parameters, first moments, second
/// moments and buffers, each ascending, then its rounding errors.
struct StateLayout: Equatable, Sendable {
  /// For each part its places of the flat layout: ascending, disjoint over all parts.
  let parts: [[Range<Int>]]
  /// For each part its places of the buffers.
  let buffers: [Range<Int>]

  init(parts: [[Range<Int>]], buffers: [Range<Int>]) {
    self.parts = parts
    self.buffers = buffers
  }

  /// Buffers are divided evenly: every rank has all of them.
  init(parts: [[Range<Int>]], bufferCount: Int) {
    self.parts = parts
    let count = parts.count
    buffers = parts.indices.map { bufferCount * $0 / count..<bufferCount * ($0 + 1) / count }
  }

  func ranges(_ kind: StateKind, of part: Int) -> [Range<Int>] {
    kind == .buffers ? [buffers[part]] : parts[part]
  }

  /// Values of a part without rounding errors.
  func count(of part: Int) -> Int {
    3 * parts[part].reduce(0) { $0 + $1.count } + buffers[part].count
  }

  /// A piece of the state in a part.
  struct Location: Equatable {
    let part: Int
    /// Places, of the layout of its kind.
    let places: Range<Int>
    /// Of its first value among the values of the part.
    let offset: Int
  }

  /// Finds places of the state in the parts.
  struct Index {
    private let pieces: [StateKind: [Location]]

    init(_ layout: StateLayout) {
      var pieces: [StateKind: [Location]] = [:]
      for part in layout.parts.indices {
        var offset = 0
        for kind in StateKind.allCases {
          for range in layout.ranges(kind, of: part) where !range.isEmpty {
            pieces[kind, default: []].append(Location(part: part, places: range, offset: offset))
            offset += range.count
          }
        }
      }
      self.pieces = pieces.mapValues { $0.sorted { $0.places.lowerBound < $1.places.lowerBound } }
    }

    /// Where the values of a range are, in its order. What no part has is left out.
    func locations(_ kind: StateKind, _ range: Range<Int>) -> [Location] {
      guard let pieces = pieces[kind] else { return [] }
      var found: [Location] = []
      var index = pieces.partitioningIndex { $0.places.upperBound > range.lowerBound }
      while index < pieces.count, pieces[index].places.lowerBound < range.upperBound {
        let piece = pieces[index]
        let places = piece.places.clamped(to: range)
        let skipped = places.lowerBound - piece.places.lowerBound
        found.append(
          Location(part: piece.part, places: places, offset: piece.offset + skipped))
        index += 1
      }
      return found
    }
  }
}

/// Boxes of a row-major array that together are a range of its elements, in their order.
func boxes(of range: Range<Int>, in shape: [Int]) -> [(start: [Int], count: [Int])] {
  guard let extent = shape.first, !range.isEmpty else { return [] }
  let row = shape.dropFirst().reduce(1, *)
  if shape.count == 1 { return [([range.lowerBound], [range.count])] }
  let (first, last) = (range.lowerBound / row, (range.upperBound - 1) / row)
  func inside(_ index: Int, _ part: Range<Int>) -> [(start: [Int], count: [Int])] {
    boxes(of: part, in: Array(shape.dropFirst())).map { ([index] + $0.start, [1] + $0.count) }
  }
  precondition(last < extent, "a range outside of the array")
  let rows =
    (range.lowerBound + row - 1)
    / row..<max(
      (range.lowerBound + row - 1) / row, range.upperBound / row)
  // Whole rows are one box; what is left at either end lies in one row.
  if rows.isEmpty {
    if first == last {
      return inside(first, range.lowerBound - first * row..<range.upperBound - first * row)
    }
    return inside(first, range.lowerBound - first * row..<row)
      + inside(last, 0..<range.upperBound - last * row)
  }
  var result: [(start: [Int], count: [Int])] = []
  if range.lowerBound < rows.lowerBound * row {
    result += inside(first, range.lowerBound - first * row..<row)
  }
  let rest = shape.dropFirst()
  result.append(([rows.lowerBound] + rest.map { _ in 0 }, [rows.count] + rest))
  if rows.upperBound * row < range.upperBound {
    result += inside(rows.upperBound, 0..<range.upperBound - rows.upperBound * row)
  }
  return result
}
