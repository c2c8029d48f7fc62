import PNGCodec

/// Square cells of 8-bit samples side by side on white, for a PNG file that people look at.
public struct Picture: Equatable, Sendable {
  public let width: Int
  public let height: Int
  /// 1 (gray) or 3 (red, green, blue).
  public var channels: Int { kind.rawValue }
  /// `[height, width, channels]`.
  public private(set) var pixels: [UInt8]

  private let kind: PNGChannels
  private let cells: Int
  private let columns: Int
  private let side: Int
  private let gap: Int

  /// - Parameters:
  ///   - cells: How many there are, numbered row by row.
  ///   - columns: Of a row.
  ///   - side: Pixels along the side of a cell.
  ///   - gap: Pixels between cells and around them all.
  ///   - isGray: One channel instead of three.
  public init(cells: Int, columns: Int, side: Int, gap: Int, isGray: Bool) {
    precondition(
      cells > 0 && columns > 0 && side > 0 && gap >= 0,
      "\(cells) cells of \(side) pixels in \(columns) columns")
    (self.cells, self.columns, self.side, self.gap) = (cells, columns, side, gap)
    kind = isGray ? .gray : .rgb
    let rows = (cells + columns - 1) / columns
    (width, height) = (columns * (side + gap) + gap, rows * (side + gap) + gap)
    pixels = [UInt8](repeating: 255, count: width * height * kind.rawValue)
  }

  /// Columns of a picture that is as square as possible: `ceil(sqrt(cells))`.
  public static func squareColumns(_ cells: Int) -> Int {
    let root = Int(Double(cells).squareRoot())
    return root * root < cells ? root + 1 : root
  }

  /// The nearest byte; 0 for what is not a number.
  public static func byte(_ value: Float) -> UInt8 {
    value > 0 ? UInt8(min(value.rounded(), 255)) : 0
  }

  /// Draws a cell.
  ///
  /// - Parameter value: Of a pixel of the cell, in a channel.
  public mutating func draw(
    cell: Int, _ value: (_ x: Int, _ y: Int, _ channel: Int) -> UInt8
  ) {
    precondition((0..<cells).contains(cell), "cell \(cell) of \(cells)")
    let left = gap + cell % columns * (side + gap)
    let top = gap + cell / columns * (side + gap)
    for y in 0..<side {
      for x in 0..<side {
        let target = ((top + y) * width + left + x) * channels
        for channel in 0..<channels { pixels[target + channel] = value(x, y, channel) }
      }
    }
  }

  /// Writes a PNG file, replacing one of that name.
  public func write(to path: String) throws(ShardError) {
    do throws(PNGError) {
      try PNGImage(width: width, height: height, channels: kind, pixels: pixels).write(path: path)
    } catch {
      throw .png(error)
    }
  }
}
