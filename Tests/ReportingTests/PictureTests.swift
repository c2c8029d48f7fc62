import Files
import Foundation
import PNGCodec
import ShardedData
import TestSupport
import Testing
import Training

@testable import Reporting

@Suite struct PictureTests {
  private let tiny: TinyRun

  init() throws { tiny = try TinyRun() }

  private func configuration(_ overrides: String...) throws -> ResolvedConfiguration {
    try Configurations.resolve(path: tiny.configuration, overrides: overrides)
  }

  // MARK: Attention

  /// Sums ascending: .05, .15, .25, .45, .70, 1.00.
  @Test func regionHoldsHalfOfTheAttention() {
    let map = AttentionMap.region(of: [0.05, 0.30, 0.10, 0.25, 0.20, 0.10])
    #expect(map == [false, true, false, true, false, false])
    #expect(AttentionMap.region(of: [1]) == [true])
  }

  @Test func mapIsRelativeToItsLargestWeight() {
    let map = AttentionMap(weights: [1, 2, 3, 2])
    #expect(map.grid == 2 && map.weights == [0.125, 0.25, 0.375, 0.25])
    #expect(map.value(at: 0.25, 0.75) == 1)
    #expect(abs(map.value(at: 0.5, 0.5) - 2 / 3) < 1e-6)
    #expect(map.value(at: 0, 1) == 1)
  }

  // MARK: Coverage

  @Test func masksCoverTheirShare() throws {
    let masks = try MaskDraw(configuration())
    let coverage = CoveragePicture.coverage(of: masks, draws: 2000)
    #expect(coverage.count == 16)
    #expect(abs(coverage.reduce(0, +) / 16 - 0.5) < 1e-12, "8 of 16 patches are masked")
  }

  /// A crop of the whole image lies over all of it.
  @Test func cropsCoverTheMiddleMost() throws {
    let plan = try configuration().training.viewPlan([])
    let all = try configuration("data.cropScale=[1, 1]", "data.cropAspect=[1, 1]")
    #expect(
      CoveragePicture.coverage(of: all.training.viewPlan([]), grid: 4, draws: 10)
        == [Double](repeating: 1, count: 16))
    let coverage = CoveragePicture.coverage(of: plan, grid: 4, draws: 2000)
    let (corner, middle) = (coverage[0], coverage[5])
    #expect(corner < middle && middle <= 1)
    // Area of the crops: uniform from 0.5 to 1, but for those that do not fit.
    #expect((0.6...0.85).contains(coverage.reduce(0, +) / 16))
  }

  // MARK: Reconstruction

  @Test func maskedPatchesGetTheMomentsAround() {
    let own: [SIMD2<Float>] = [[1, 2], [3, 4]]
    // Patches 0 and 3 of a row of four; the inverse cubes of 1 and 2 are 1 and 1/8.
    #expect(CodebookPainter.around(0, [0, 3], own, grid: 4) == [1, 2])
    let between = CodebookPainter.around(1, [0, 3], own, grid: 4)
    let expected = (SIMD2<Float>(1, 2) + SIMD2<Float>(3, 4) / 8) / (1 + 1 / 8)
    #expect(abs(between[0] - expected[0]) < 1e-6 && abs(between[1] - expected[1]) < 1e-6)
    #expect(CodebookPainter.around(1, [], [], grid: 4) == [0, 1])
  }

  // MARK: Files

  @Test func formatIsThatOfTheName() throws {
    let (picture, lines) = try CoveragePicture.draw(configuration())
    #expect(lines.count == 2 && lines[0].hasPrefix("masked: "))
    let (png, svg) = (tiny.folder.file("a.png"), tiny.folder.file("a.SVG"))
    try picture.write(to: png)
    try picture.write(to: svg)
    let image = try PNGImage(path: png)
    #expect(image.width == 4 * 160 + 5 * 6 && image.height == 2 * 160 + 3 * 6)
    let text = try Files.readText(svg)
    let data = try #require(text.firstMatch(of: /base64,([^"]+)"/).map { String($0.1) })
    #expect(try [UInt8](#require(Data(base64Encoded: data))) == Files.read(png))
    #expect(TemporaryFolder.names(in: tiny.folder.path).count { $0.contains(".SVG") } == 1)
    let error = #expect(throws: (any Error).self) { try picture.write(to: "a.gif") }
    #expect("\(error, default: "")".contains("a.gif must end with .png or .svg"))
  }
}
