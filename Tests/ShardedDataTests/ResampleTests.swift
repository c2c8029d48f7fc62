import HDF5
import Interfaces
import Testing

@testable import ShardedData

/// Golden file made by Scripts/reference/make-resample-golden.py.
@Suite struct ResampleTests {
  /// One step of 8 bits: a libm that rounds `sin` otherwise may move a Lanczos weight.
  static let tolerance = 1

  @Test func agreesWithPillow() throws {
    let here = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
    let root = try HDF5File(
      path: here.joined(separator: "/") + "/Golden/resample.h5", .readOnly
    ).root
    var cases = 0
    while true {
      let prefix = "case\(cases < 10 ? "0" : "")\(cases)-"
      guard try root.exists(prefix + "image") else { break }
      let image = try root.dataset(prefix + "image")
      let parameters = try root.dataset(prefix + "parameters").read(as: Int32.self).map { Int($0) }
      let result = Resample.resized(
        try image.read(),
        shape: ImageShape(
          height: image.shape[0], width: image.shape[1], channels: image.shape[2]),
        box: CropBox(
          left: parameters[0], top: parameters[1], width: parameters[2], height: parameters[3]),
        isFlipped: parameters[4] == 1, toWidth: parameters[5], toHeight: parameters[6],
        filter: parameters[7] == 0 ? .bicubic : .lanczos)
      let expected = try root.dataset(prefix + "expected").read(as: UInt8.self)
      #expect(result.count == expected.count)
      let difference = zip(result, expected).map { abs(Int($0) - Int($1)) }.max() ?? 0
      #expect(difference <= ResampleTests.tolerance, "\(prefix) \(parameters)")
      cases += 1
    }
    #expect(cases == 22)
  }

  @Test(arguments: [ResampleFilter.bicubic, .lanczos])
  func constantImagesStayConstant(filter: ResampleFilter) {
    for (width, height, size) in [(28, 28, 32), (50, 13, 7), (1, 1, 9), (3, 200, 20)] {
      let shape = ImageShape(height: height, width: width, channels: 3)
      let pixels = repeated([10, 128, 255], width * height)
      let result = Resample.resized(
        pixels, shape: shape, toWidth: size, toHeight: size, filter: filter)
      #expect(result == repeated([10, 128, 255], size * size))
    }
  }

  private func repeated(_ pixel: [UInt8], _ count: Int) -> [UInt8] {
    Array(repeatElement(pixel, count: count).joined())
  }

  @Test func theSameSizeIsACopyAndAFlipMirrors() {
    let shape = ImageShape(height: 2, width: 3, channels: 1)
    let pixels: [UInt8] = [1, 2, 3, 4, 5, 6]
    let same = Resample.resized(
      pixels, shape: shape, toWidth: 3, toHeight: 2, filter: .lanczos)
    #expect(same == pixels)
    // The box is taken after the flip: its first column is the last but one of the source.
    let flipped = Resample.resized(
      pixels, shape: shape, box: CropBox(left: 1, top: 0, width: 2, height: 2), isFlipped: true,
      toWidth: 2, toHeight: 2, filter: .bicubic)
    #expect(flipped == [2, 1, 5, 4])
  }

  @Test(arguments: [ResampleFilter.bicubic, .lanczos])
  func weightsSumToOne(filter: ResampleFilter) {
    for (input, output) in [(28, 32), (150, 224), (400, 112), (5, 1), (1, 5)] {
      let table = ResampleTable(inputSize: input, outputSize: output, filter: filter)
      for line in 0..<output {
        let weights = table.weights[line * table.stride..<(line + 1) * table.stride]
        // Each weight is rounded by up to half a unit.
        let error = Int(weights.reduce(0, +)) - 1 << ResampleTable.fractionBits
        #expect(abs(error) <= table.stride)
        #expect(Int(table.taps[line].first + table.taps[line].count) <= input)
      }
    }
  }
}
