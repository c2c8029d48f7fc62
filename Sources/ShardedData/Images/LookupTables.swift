/// For each channel a new value of each byte.
struct LookupTables {
  /// `[channel, 256]`, 4 channels.
  private var values = [UInt8](repeating: 0, count: 4 * 256)

  /// The same table for all channels.
  static func same(_ value: (Int) -> Int) -> LookupTables {
    var tables = LookupTables()
    for byte in 0..<256 {
      for channel in 0..<4 { tables.values[channel * 256 + byte] = UInt8(value(byte)) }
    }
    return tables
  }

  /// A table a channel from the histogram of that channel.
  private static func ofChannels(
    _ pixels: PixelView, _ table: (_ histogram: ArraySlice<Int>) -> ((Int) -> Int)?
  ) -> LookupTables {
    var histograms = [Int](repeating: 0, count: pixels.channels * 256)
    for pixel in 0..<pixels.width * pixels.height {
      for channel in 0..<pixels.channels {
        histograms[channel * 256 + Int(pixels.pointer[pixel * pixels.pixelStride + channel])] += 1
      }
    }
    var tables = LookupTables.same { $0 }
    for channel in 0..<pixels.channels {
      let histogram = ArraySlice(histograms[channel * 256..<(channel + 1) * 256])
      guard let value = table(histogram) else { continue }
      for byte in 0..<256 {
        tables.values[channel * 256 + byte] = UInt8(min(max(value(byte), 0), 255))
      }
    }
    return tables
  }

  /// Stretches each channel from its smallest and largest value to 0 and 255; a channel of one
  /// value stays.
  ///
  /// - SeeAlso: Pillow's `ImageOps.autocontrast` without cutoff.
  static func autoContrast(_ pixels: PixelView) -> LookupTables {
    ofChannels(pixels) { histogram in
      let start = histogram.startIndex
      guard let first = histogram.firstIndex(where: { $0 > 0 }),
        let last = histogram.lastIndex(where: { $0 > 0 }), first < last
      else { return nil }
      let scale = 255.0 / Double(last - first)
      let offset = -Double(first - start) * scale
      return { Int(Double($0) * scale + offset) }
    }
  }

  /// Gives the values of each channel about the same share of pixels.
  ///
  /// - SeeAlso: Pillow's `ImageOps.equalize`.
  static func equalize(_ pixels: PixelView) -> LookupTables {
    ofChannels(pixels) { histogram in
      guard let last = histogram.last(where: { $0 > 0 }) else { return nil }
      let step = (histogram.reduce(0, +) - last) / 255
      guard step > 0 else { return nil }
      var below = step / 2
      let table = histogram.map { count in
        defer { below += count }
        return below / step
      }
      return { table[$0] }
    }
  }

  /// - Parameter output: Pixels of 4 bytes.
  func apply(_ pixels: PixelView, output: UnsafeMutablePointer<UInt8>) {
    values.withUnsafeBufferPointer { values in
      for pixel in 0..<pixels.width * pixels.height {
        let source = pixels.pointer + pixel * pixels.pixelStride
        for channel in 0..<pixels.channels {
          output[4 * pixel + channel] = values[channel * 256 + Int(source[channel])]
        }
      }
    }
  }
}
