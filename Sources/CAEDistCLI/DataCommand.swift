public import ArgumentParser
import Foundation
public import ShardedData
import Training

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Packs images into HDF5 shards, looks into them, checks them.",
    discussion: "Example: cae-dist data pack --folder photos --output shards/train",
    subcommands: [Pack.self, Inspect.self, Verify.self])

  struct Pack: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Packs image files, tar archives or IDX files into shards.",
      discussion: """
        Folders and archives of JPEG and PNG files become encoded shards, which hold the files as they \
        are, or made smaller by --resize-shorter; with --size they become raw shards of pixels. Each \
        class is spread evenly over the shards. Under mpirun the ranks share the work. Killed, it goes \
        on where it was when the same command is given again.

        Examples:
          mpirun -n 8 cae-dist data pack --folder imagenet/train --output shards/train \\
            --resize-shorter 256
          cae-dist data pack --tar ILSVRC2012_img_train.tar --output shards/train
          cae-dist data pack --folder photos --size 64 --output shards/photos
          cae-dist data pack --images train-images-idx3-ubyte.gz \\
            --labels train-labels-idx1-ubyte.gz --output shards/train
        """)

    @Option(
      name: .long, help: "Folder of class folders with JPEG and PNG files, or of files alone.")
    var folder: String?

    @Option(
      name: .long, help: "Tar archive of class archives, of class folders, or of image files alone."
    )
    var tar: String?

    @Option(name: .long, help: "Shards of any known layout, to be packed anew; may be repeated.")
    var shards: [String] = []

    @Option(name: .long, help: "IDX file of images, plain or gzip.")
    var images: String?

    @Option(name: .long, help: "IDX file of labels, plain or gzip.")
    var labels: String?

    @Option(name: .long, help: "Class names for IDX labels, separated by commas.")
    var classes: String?

    @Option(name: .long, help: "Resizes images whose shorter side is longer to this; stores JPEG.")
    var resizeShorter: Int?

    @Option(name: .long, help: "JPEG quality of images that --resize-shorter resizes; 95.")
    var quality: Int?

    @Option(name: .long, help: "Raw shards: resizes the shorter side to this and crops the centre.")
    var size: Int?

    @Option(name: .long, help: "Raw shards of files: 1 for gray, 3 for colour, the default.")
    var channels: Int?

    @Option(name: .long, help: "Folder that gets the shards.")
    var output: String

    @Option(name: .long, help: "First part of the shards' names.")
    var name = "images"

    @Option(name: .long, help: "Images of a shard at most.")
    var shardSize = 10_000

    @Option(name: .long, help: "stratified: shuffled, each class over all shards; or as-is.")
    var order = PackOptions.Order.stratified

    @Option(name: .long, help: "fail, or skip: leave it out and list it in OUTPUT/skipped.jsonl.")
    var onBadImage = PackOptions.BadImages.fail

    func validate() throws {
      let sources = [folder != nil, tar != nil, !shards.isEmpty, images != nil || labels != nil]
      guard sources.count(where: { $0 }) == 1, (images == nil) == (labels == nil) else {
        throw ValidationError("give one of --folder, --tar, --shards, or --images with --labels")
      }
      guard shardSize > 0, size.map({ $0 > 0 }) ?? true, [nil, 1, 3].contains(channels),
        resizeShorter.map({ $0 > 0 }) ?? true, quality.map({ (1...100).contains($0) }) ?? true
      else {
        throw ValidationError(
          "--shard-size, --size and --resize-shorter must be above 0, --channels 1 or 3, --quality "
            + "from 1 to 100")
      }
      guard size == nil || resizeShorter == nil else {
        throw ValidationError("--size makes raw shards and --resize-shorter encoded ones; give one")
      }
      for (option, isGiven, needs, isMet) in [
        ("--quality", quality != nil, "--resize-shorter", resizeShorter != nil),
        ("--channels", channels != nil, "--size", size != nil),
        ("--classes", classes != nil, "--images", images != nil),
      ] where isGiven && !isMet {
        throw ValidationError("\(option) has no effect without \(needs)")
      }
      guard images == nil || resizeShorter == nil else {
        throw ValidationError("IDX files hold pixels, not files; use --size to resize them")
      }
    }

    func run() throws {
      ClusterRuntime.run { cluster in
        if let folder {
          return try DataPacking.run(cluster, options(isRaw: false)) {
            try ClassFolderSource(path: folder)
          }
        }
        if let tar {
          return try DataPacking.run(cluster, options(isRaw: false)) { try TarSource(path: tar) }
        }
        if !shards.isEmpty {
          let isRaw = try ShardIndex(paths: shards).imageShape != nil
          return try DataPacking.run(cluster, options(isRaw: isRaw)) {
            try ShardSource(paths: shards)
          }
        }
        let names = classes.map { $0.split(separator: ",").map(String.init) }
        return try DataPacking.run(cluster, options(isRaw: true)) {
          try IDXSource(images: images ?? "", labels: labels ?? "", classNames: names)
        }
      }
    }

    /// - Parameter isRaw: The source has pixels rather than files.
    private func options(isRaw: Bool) -> DataPacking.Options {
      var pack = PackOptions(
        // Pixels that are to be resized as files are refused with a sentence of their own.
        format: (isRaw && resizeShorter == nil) || size != nil
          ? .raw(size: size, channels: channels ?? 3)
          : .encoded(shorterSide: resizeShorter, quality: quality ?? 95))
      (pack.order, pack.badImages, pack.shardSize) = (order, onBadImage, shardSize)
      return DataPacking.Options(output: output, name: name, pack: pack)
    }
  }

  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Counts, sizes, classes and pixel statistics of shards.",
      discussion: "Example: cae-dist data inspect shards/train --sheet train.png")

    @Argument(help: "Shard files, or folders of them.")
    var paths: [String]

    @Option(name: .long, help: "PNG file for a contact sheet of 80 images.")
    var sheet: String?

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let summary = try ShardInspector.summary(paths: paths)
        if let sheet { try ContactSheet.write(try ShardIndex(paths: paths), to: sheet) }
        if json { try printJSON(summary) } else { summary.lines.forEach { print($0) } }
        return .success
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Checks every byte and every image of shards.",
      discussion: """
        Finds files that are cut off, flipped bits, offsets past the end, labels out of range, wrong \
        shapes, images that cannot be decoded and duplicate keys; names shard and sample. Ends with 1 \
        where something was found.

        Example: cae-dist data verify shards/train shards/val
        """)

    @Argument(help: "Shard files, or folders of them.")
    var paths: [String]

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    private struct Report: Encodable {
      let isClean: Bool
      let samples: Int
      let findings: [ShardFinding]
    }

    func run() throws {
      runAlone {
        var verifier = ShardVerifier()
        verifier.verify(paths: paths) { path, done, count in
          // One line a shard: a data set of ImageNet's size takes half an hour.
          if !json, done == count { print("\(path): \(count) samples looked at") }
        }
        let findings = verifier.findings
        if json {
          try printJSON(
            Report(isClean: findings.isEmpty, samples: verifier.sampleCount, findings: findings))
        } else {
          findings.forEach { print($0.text) }
          print(
            findings.isEmpty
              ? "all \(verifier.sampleCount) samples are as they were written"
              : "\(findings.count) findings in \(verifier.sampleCount) samples")
        }
        return findings.isEmpty ? .success : .failed
      }
    }
  }
}

extension PackOptions.Order: ExpressibleByArgument {}
extension PackOptions.BadImages: ExpressibleByArgument {}
