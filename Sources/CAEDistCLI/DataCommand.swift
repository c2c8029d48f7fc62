import ArgumentParser
import ShardedData
import Training

struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Packs images into HDF5 shards and looks into them.",
    subcommands: [Pack.self, Inspect.self])

  struct Pack: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Packs IDX files or a folder of class folders with PNG files into shards.",
      discussion: """
        Images are shuffled once, by a fixed permutation, so that each shard is a fair sample.

        Examples:
          cae-dist data pack --images train-images-idx3-ubyte.gz \\
            --labels train-labels-idx1-ubyte.gz --output shards/train
          cae-dist data pack --folder photos --size 64 --output shards/photos
        """)

    @Option(name: .long, help: "IDX file of images, plain or gzip.")
    var images: String?

    @Option(name: .long, help: "IDX file of labels, plain or gzip.")
    var labels: String?

    @Option(name: .long, help: "Class names for IDX labels, separated by commas.")
    var classes: String?

    @Option(name: .long, help: "Folder with one folder of PNG files for each class.")
    var folder: String?

    @Option(name: .long, help: "Resizes the shorter side to this and crops the centre.")
    var size: Int?

    @Option(name: .long, help: "1 for gray, 3 for colour; by default those of the first image.")
    var channels: Int?

    @Option(name: .long, help: "Folder that gets the shards.")
    var output: String

    @Option(name: .long, help: "First part of the shards' names.")
    var name = "images"

    @Option(name: .long, help: "Images of a shard at most.")
    var shardSize = 10_000

    func validate() throws {
      guard (folder == nil) != (images == nil && labels == nil), (images == nil) == (labels == nil)
      else {
        throw ValidationError("give either --images and --labels, or --folder")
      }
      guard shardSize > 0, size.map({ $0 > 0 }) ?? true, [nil, 1, 3].contains(channels) else {
        throw ValidationError("--shard-size and --size must be above 0, --channels 1 or 3")
      }
    }

    func run() throws {
      runAlone {
        let paths: [String]
        if let folder {
          paths = try pack(
            try ClassFolderSource(path: folder, size: size, channels: channels))
        } else {
          let names = classes.map { $0.split(separator: ",").map(String.init) }
          paths = try pack(
            try IDXSource(images: images ?? "", labels: labels ?? "", classNames: names))
        }
        print("wrote \(paths.count) shards to \(output)")
        return .success
      }
    }

    private func pack(_ source: some ImageSource) throws -> [String] {
      print("packing \(source.count) images of \(source.imageShape) from \(source.origin)")
      return try ShardPacker.pack(source, to: output, name: name, shardSize: shardSize)
    }
  }

  struct Inspect: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Counts, sizes, classes and pixel statistics of shards.",
      discussion: "Example: cae-dist data inspect shards/train")

    @Argument(help: "Shard files, or folders of them.")
    var paths: [String]

    @Flag(name: .long, help: "One JSON object on standard output.")
    var json = false

    func run() throws {
      runAlone {
        let summary = try ShardInspector.summary(paths: paths)
        if json {
          try printJSON(summary)
        } else {
          summary.lines.forEach { print($0) }
        }
        return .success
      }
    }
  }
}
