import Files
import Foundation
import PNGCodec
import TestSupport
import Testing
import Training

@testable import Reporting

@Suite struct RunReportTests {
  private let folder: TemporaryFolder
  private let run: String

  init() throws {
    folder = try TemporaryFolder("report")
    run = folder.file("a run")
    try Files.makeDirectory(run)
    try folder.write(try TinyRun().yaml, to: "a run/configuration.yaml")
  }

  private func write(steps: Int, ending: String = "") throws {
    let lines = (1...steps).map { step in
      """
      {"step":\(step),"epoch":\(Double(step) / 500),"samplesSeen":\(64 * step),\
      "loss":\(9 / (1 + Double(step) / 90)),"lossReconstruction":\(5 / (1 + Double(step) / 90)),\
      "lossAlignment":\(step == 2 ? "null" : "0.4"),"tokenAccuracy":0.0625,"gradientNorm":2.5,\
      "learningRate":\(1e-6 * Double(step)),"imagesPerSecond":\(300 + step % 7),\
      "stepMilliseconds":200,"dataWaitMilliseconds":10,"exposedCommunicationMilliseconds":\
      \(20 + step % 5)\(step % 100 == 0 ? ",\"validationLoss\":4.5,\"checkpointStallMilliseconds\":3" : "")}

      """
    }
    try folder.write(lines.joined() + ending, to: "a run/metrics.jsonl")
  }

  private func html() throws -> String { try RunReport(run: run).html() }

  private func addResults() throws {
    try Files.makeDirectory("\(run)/evaluations")
    for step in [100, 200] {
      try folder.write(
        "{\"protocol\":\"knn\",\"step\":\(step),\"top1\":0.5\(step / 100),\"neighbours\":20}",
        to: "a run/evaluations/knn-\(step).json")
    }
    try Files.makeDirectory("\(run)/pictures")
    try PNGImage(
      width: 2, height: 1, channels: .rgb, pixels: [255, 0, 0, 0, 0, 255]
    ).write(path: "\(run)/pictures/own.png")
  }

  @Test func everySectionIsThere() throws {
    try write(steps: 600)
    try addResults()
    let html = try html()
    for title in [
      "Run", "Learning", "Time", "Evaluations", "Pictures", "Checkpoints", "Configuration",
    ] {
      #expect(html.contains("<h2>\(title)</h2>"), "\(title)")
    }
    for text in [
      "<dt>steps done</dt><dd>600</dd>", "<dd>2 min 0 s</dd>", "52.00 %", "<th>neighbours</th>",
      "Top-1 accuracy", "data:image/png;base64,", "embedDim: 16", "a run, cae-dist", "viewport",
      "prefers-color-scheme:dark", "Held-out loss", "Learning rate", "Gradient norm",
      "Token accuracy", "Throughput", "Waiting for checkpoints",
    ] {
      #expect(html.contains(text), "\(text)")
    }
    #expect(html.components(separatedBy: "<svg").count - 1 == 11)
  }

  @Test func nothingIsLoaded() throws {
    try write(steps: 300)
    try addResults()
    let html = try html()
    for word in ["http:", "https:", "<script", "<link", "url(", "@import"] {
      #expect(!html.contains(word), "\(word)")
    }
    let sources = html.matches(of: /src="([^"]{0,10})/).map { $0.1 }
    #expect(sources == ["data:image"])
  }

  @Test func emptyRunSaysHowToEvaluate() throws {
    try write(steps: 1)
    let html = try html()
    #expect(html.contains("cae-dist evaluate knn \(run)"))
    #expect(html.contains("None yet."))
  }

  /// Two encoders by the same protocol are two lines, not one that goes back and forth.
  @Test func resultsAreComparedWithTheirLike() throws {
    try write(steps: 2)
    try Files.makeDirectory("\(run)/evaluations")
    for (file, encoder, step) in [("a", "online", 10), ("b", "online", 20), ("c", "pixels", 20)] {
      try folder.write(
        "{\"protocol\":\"knn\",\"encoder\":\"\(encoder)\",\"step\":\(step),\"top1\":0.5}",
        to: "a run/evaluations/\(file).json")
    }
    let chart = try #require(try EvaluationResults(run: run).chart)
    #expect(chart.lines.map(\.name) == ["knn, online", "knn, pixels"])
    #expect(chart.lines.map(\.series.steps) == [[10, 20], [20]])
  }

  @Test func sizeDoesNotGrowWithTheSteps() throws {
    try write(steps: 20_000)
    #expect(try html().utf8.count < 500_000)
  }

  // MARK: Damage

  @Test(arguments: ["{\"step\":5,\"lo", "\n\n", "{\"step\":5"])
  func lastLineMayBeCut(ending: String) throws {
    try write(steps: 4, ending: ending)
    #expect(try html().contains("<dt>steps done</dt><dd>4</dd>"))
  }

  private func reason() -> (text: String, code: ExitCode?) {
    let error = #expect(throws: (any Error).self) { try RunReport(run: run) }
    return ("\(error, default: "")", error.map { ExitCode(for: $0) })
  }

  @Test func badInputIsOneSentence() throws {
    let missing = reason()
    #expect(missing.text.hasPrefix("\(run)/metrics.jsonl: there is no such file; name"))
    #expect(missing.code == .badInput)
    try folder.write("\n", to: "a run/metrics.jsonl")
    let empty = reason()
    #expect(empty.text.contains("has no steps yet") && empty.code == .badInput)
    try folder.write("{\"step\":1}\n{\"st\n{\"step\":3}\n", to: "a run/metrics.jsonl")
    let damaged = reason()
    #expect(damaged.text.contains("line 2 is not") && damaged.code == .badInput)
    try write(steps: 3)
    try Files.makeDirectory("\(run)/evaluations")
    try folder.write("[1]", to: "a run/evaluations/x.json")
    let result = reason()
    #expect(result.text.contains("evaluations/x.json: is not") && result.code == .badInput)
  }

  // MARK: In a browser

  private static let browser = ["/usr/bin/chromium", "/usr/bin/google-chrome"].first(
    where: Files.exists)

  private func browse(_ arguments: [String]) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/timeout")
    process.arguments =
      [
        "60", try #require(Self.browser), "--headless", "--no-sandbox", "--disable-gpu",
        "--hide-scrollbars", "--user-data-dir=\(folder.file("profile"))",
      ] + arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    try process.run()
    let text = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return String(decoding: text, as: UTF8.self)
  }

  @Test(.enabled(if: browser != nil, "there is no chromium"), arguments: [(390, 844), (1280, 900)])
  func isSeenInABrowser(width: Int, height: Int) throws {
    try write(steps: 600)
    try addResults()
    let page = folder.file("report.html")
    try RunReport(run: run).write(to: page)
    let artifacts = ProcessInfo.processInfo.environment["CAE_ARTIFACTS"] ?? folder.path
    try Files.makeDirectory(artifacts)
    let picture = "\(artifacts)/report-\(width)x\(height).png"
    _ = try browse([
      "--window-size=\(width),\(height)", "--screenshot=\(picture)", "file://\(page)",
    ])
    let image = try PNGImage(path: picture, channels: .rgb)
    #expect(image.width == width && image.height == height)
    // Text, lines and curves: not one colour, and neither two.
    let colors = Set(
      (0..<width * height).map { pixel in image.pixels[3 * pixel..<3 * pixel + 3].map(Int.init) })
    #expect(colors.count > 16, "\(colors.count) colours")
  }

  /// The widths that the page has in a frame as narrow as a phone.
  @Test(.enabled(if: browser != nil, "there is no chromium"), arguments: [320, 390, 1280])
  func pageIsNoWiderThanTheScreen(width: Int) throws {
    try write(steps: 600)
    try addResults()
    try RunReport(run: run).write(to: folder.file("report.html"))
    let page = try folder.write(
      """
      <body><iframe id=f width=\(width) height=800 style="border:0" src="report.html"></iframe>
      <p id=widths></p><script>document.getElementById('f').onload = e => {
      const d = e.target.contentDocument.documentElement;
      document.getElementById('widths').textContent = d.scrollWidth + ' of ' + d.clientWidth; }
      </script></body>
      """, to: "frame.html")
    let text = try browse([
      "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom",
      "file://\(page)",
    ])
    #expect(text.contains("\(width) of \(width)"), "\(text.suffix(300))")
  }
}
