import DataParallel
import Files
import Foundation
import Models
import Training

/// `cae-dist report`: one HTML file that says what a run was and how it went.
///
/// The file loads nothing: curves are SVG, pictures are in it as data. It is readable without
/// scripts, on a phone, and in the dark.
public struct RunReport {
  private let run: String
  private let metrics: MetricsTable
  private let evaluations: EvaluationResults
  private let configuration: String
  private let resolved: ResolvedConfiguration?
  private let notes: [String]

  /// - Parameters:
  ///   - run: The output folder of a run; a run that goes on is left alone.
  ///   - notes: Sentences on pictures that could not be made.
  /// - Throws: Where there are no metrics or configuration, or they are damaged.
  public init(run: String, notes: [String] = []) throws {
    var run = run
    while run.count > 1, run.hasSuffix("/") { run.removeLast() }
    self.run = run
    self.notes = notes
    metrics = try MetricsTable(run: run)
    evaluations = try EvaluationResults(run: run)
    configuration = try Files.readText("\(run)/configuration.yaml")
    // One of another version of the program is shown as it is.
    resolved = try? ConfigurationFile.resolve(configuration, name: "\(run)/configuration.yaml")
  }

  /// - Throws: What making a report of it would, for want of metrics.
  public static func check(run: String) throws { _ = try MetricsTable(run: run) }

  /// Writes the file, replacing one of that name.
  public func write(to path: String) throws {
    try Files.writeAtomically(Array(try html().utf8), to: path)
  }

  func html() throws -> String {
    let name = run.split(separator: "/").last.map(String.init) ?? run
    let charts = ReportCharts(metrics)
    let content =
      "<h1>\(HTML.escape(name))</h1>\n"
      + HTML.section("Run", HTML.list(summary()))
      + HTML.section("Learning", RunReport.cards(charts.learning))
      + HTML.section("Time", RunReport.cards(charts.time))
      + HTML.section("Evaluations", evaluationSection())
      + HTML.section("Pictures", try pictureSection())
      + HTML.section("Checkpoints", try checkpointSection())
      + HTML.section(
        "Configuration",
        "<details><summary>All values</summary><pre>\(HTML.escape(configuration))</pre></details>")
    return HTML.page(title: "\(name), cae-dist", content)
  }

  private static func cards(_ charts: [LineChart]) -> String {
    "<div class=\"cards\">\n"
      + charts.map { "<div class=\"card\">\($0.svg())</div>\n" }.joined() + "</div>"
  }

  // MARK: What was run

  private func summary() -> [(String, String)] {
    var pairs: [(String, String)] = []
    if let resolved {
      let (training, model) = (resolved.training, resolved.training.model)
      pairs.append(("method", resolved.methodType.name))
      pairs.append(
        (
          "model",
          "ViT, width \(model.embedDim), depth \(model.depth), \(model.numHeads) heads, "
            + "\(model.imageSize) px, patches of \(model.patchSize)"
        ))
      pairs.append(("data", training.data.train.joined(separator: ", ")))
      pairs.append(
        (
          "batch",
          "\(training.parallelism.globalBatchSize), of micro-batches of "
            + "\(training.parallelism.microBatchSize)"
        ))
    }
    return pairs + ofCheckpoint() + progress()
  }

  /// What only the newest checkpoint knows; a damaged one, or one that a run has just removed, says
  /// what is wrong.
  private func ofCheckpoint() -> [(String, String)] {
    guard let newest = CheckpointFolder(run).newest else { return [] }
    do throws(CheckpointError) {
      let state = try SavedState(path: newest)
      var count = 0
      for name in try state.names(in: "parameters") {
        count += try state.shape("parameters", name).reduce(1, *)
      }
      return [
        ("parameters", "\(RunReport.grouped(count)), all that are trained"),
        ("ranks", "\(state.worldSize ?? 1) at the newest checkpoint"),
      ]
    } catch {
      return [("newest checkpoint", error.description)]
    }
  }

  private func progress() -> [(String, String)] {
    let total = metrics["stepMilliseconds"].values.reduce(0, +) / 1e3
    let samples = metrics["samplesSeen"].values.last.map { Int($0) }
    let epochs = metrics["epoch"].values.last
    let rate = metrics["imagesPerSecond"].values.sorted()
    let skipped = metrics["skipped"].count
    var pairs = [("steps done", RunReport.grouped(metrics.lastStep))]
    if let epochs, let samples {
      pairs.append(
        ("epochs", String(format: "%.2f", epochs) + ", \(RunReport.grouped(samples)) images"))
    }
    pairs.append(("time in steps", RunReport.duration(total)))
    if !rate.isEmpty {
      pairs.append(("throughput", String(format: "%.1f images/s, median", rate[rate.count / 2])))
    }
    if let loss = metrics["loss"].values.last {
      pairs.append(("last loss", String(format: "%.4f", loss)))
    }
    if let loss = metrics["validationLoss"].values.last {
      pairs.append(("last held-out loss", String(format: "%.4f", loss)))
    }
    if skipped > 0 { pairs.append(("updates skipped", "\(skipped)")) }
    return pairs
  }

  private static func grouped(_ count: Int) -> String {
    var text = String(count)
    var place = text.count - 3
    while place > 0 {
      text.insert(",", at: text.index(text.startIndex, offsetBy: place))
      place -= 3
    }
    return text
  }

  private static func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded())
    let (hours, minutes) = (whole / 3600, whole / 60 % 60)
    if hours > 0 { return "\(hours) h \(minutes) min" }
    return minutes > 0 ? "\(minutes) min \(whole % 60) s" : String(format: "%.1f s", seconds)
  }

  // MARK: What has come of it

  private func evaluationSection() -> String {
    guard !evaluations.results.isEmpty else {
      return HTML.paragraph(
        "None yet; cae-dist evaluate knn \(run) makes one of the newest checkpoint.")
    }
    return HTML.table(evaluations.columns, evaluations.rows)
      + (evaluations.chart.map { RunReport.cards([$0]) } ?? "")
  }

  private func pictureSection() throws -> String {
    let folder = "\(run)/\(RunPictures.folder)"
    let names = Files.isDirectory(folder) ? try Files.list(folder) : []
    let figures = try names.filter { $0.hasSuffix(".png") }.map { name in
      let data = Data(try Files.read("\(folder)/\(name)")).base64EncodedString()
      let caption = RunPictures.caption(of: name)
      return
        "<figure><div><img alt=\"\(HTML.escape(caption))\" src=\"data:image/png;base64,\(data)\"></div>"
        + "<figcaption>\(HTML.escape(caption))</figcaption></figure>\n"
    }
    let text = notes.map { HTML.paragraph($0) }.joined(separator: "\n")
    guard figures.isEmpty else { return figures.joined() + text }
    return notes.isEmpty ? HTML.paragraph("None in \(folder).") : text
  }

  private func checkpointSection() throws -> String {
    let entries = try CheckpointListing(run: run).checkpoints
    guard !entries.isEmpty else { return HTML.paragraph("None yet.") }
    return HTML.table(
      ["step", "size", "state"],
      entries.map { entry in
        [
          "\(entry.step)", String(format: "%.2f MB", Double(entry.sizeBytes) / 1e6),
          entry.reason.map { "not complete: \($0)" } ?? "complete",
        ]
      })
  }
}
