import Interfaces
public import ShardedData
import TensorCore

/// Images of a data set, all or some, with labels where they matter.
public struct LabelledImages: Sendable {
  public let index: ShardIndex
  public let classes: Int
  /// Of the samples that count; nil: all do.
  private let chosen: [Int]?

  /// - Parameters:
  ///   - key: Names the data set in errors.
  ///   - classes: Where the shards name none; nil: they must.
  ///   - limit: So many images, spread evenly over the data set, at most.
  init(
    paths: [String], key: String, classes: Int?, limit: Int? = nil,
    _ training: TrainingConfiguration
  ) throws {
    guard !paths.isEmpty else {
      throw ConfigurationError(key, "names no shards; pack some with cae-dist data pack")
    }
    index = try ShardIndex(paths: paths)
    try TrainingRun.requireChannels(of: index, training)
    guard let count = classes ?? (index.classNames.isEmpty ? nil : index.classNames.count) else {
      throw ConfigurationError(
        key, "\(paths[0]) does not name its classes; say how many there are with --classes")
    }
    self.classes = count
    chosen = limit.flatMap { [index] in $0 < index.count ? index.spread($0) : nil }
  }

  /// Some of the images of shards, whose classes do not matter.
  init(_ index: ShardIndex, places: Range<Int>) {
    (self.index, classes, chosen) = (index, 0, Array(places))
  }

  /// The images of a run.
  ///
  /// - Parameters:
  ///   - classes: That labels must be of; 0: they do not matter.
  ///   - limit: As above; 0: none.
  /// - Throws: Where the shards name other classes.
  init(_ index: ShardIndex, classes: Int, limit: Int) throws(ConfigurationError) {
    let names = index.classNames
    guard classes == 0 || names.isEmpty || names.count == classes else {
      throw ConfigurationError(
        "method.classes", "is \(classes), but \(index.shards[0].path) names \(names.count) classes")
    }
    (self.index, self.classes) = (index, classes)
    chosen = limit > 0 && limit < index.count ? index.spread(limit) : nil
  }

  /// Images that are neighbours on disk, as many as are read together.
  var windowSize: Int { chosen == nil ? index.windowSize() : 1 }

  /// Training and validation images of an evaluation, which have the same classes.
  ///
  /// - Parameter classes: Where the shards name none.
  static func pair(
    train: [String], validation: [String], classes: Int?, _ training: TrainingConfiguration
  ) throws -> (train: LabelledImages, validation: LabelledImages) {
    let (learned, judged) = (
      try LabelledImages(paths: train, key: "--train", classes: classes, training),
      try LabelledImages(paths: validation, key: "--validation", classes: classes, training)
    )
    guard learned.classes == judged.classes else {
      throw ConfigurationError(
        "--validation",
        "\(validation[0]) has \(judged.classes) classes, \(train[0]) has \(learned.classes)")
    }
    return (learned, judged)
  }

  public var count: Int { chosen?.count ?? index.count }

  /// The number in the shards of the image at a place.
  func sample(at place: Int) -> Int { chosen?[place] ?? place }

  /// - Throws: For a label that no class has, such as that of an image without one.
  func check(_ batch: Batch) throws {
    guard classes > 0,
      let place = batch.labels.firstIndex(where: { $0 < 0 || Int($0) >= classes })
    else { return }
    let (shard, row) = index.location(of: batch.keys[place].sample)
    throw TrainingError.input(
      path: index.shards[shard].path,
      reason: "image \(row) has the label \(batch.labels[place]), not one of 0 to \(classes - 1); "
        + "this needs labelled images")
  }
}

/// Batches of a data set in order, each the same whoever makes it: batch b has samples `b size` to
/// `(b + 1) size - 1`, and at the end of the data set its first samples again, which do not count.
struct OrderedBatches: Sendable {
  let count: Int
  let size: Int

  var batches: Int { (count + size - 1) / size }

  /// The samples that count.
  func samples(of batch: Int) -> Range<Int> { batch * size..<min(count, (batch + 1) * size) }

  /// The places of all samples of a batch.
  func places(of batch: Int) -> [Int] { (batch * size..<(batch + 1) * size).map { $0 % count } }
}
