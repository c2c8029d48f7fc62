import Interfaces
import Models
import ShardedData
import TensorCore
import Training

/// Images of a run's data as they are evaluated: no random crop.
struct SampleImages {
  static let count = 8

  let keys: [SampleKey]
  /// `[B, channels, S, S]`, normalized.
  let tensor: Tensor
  private let view: ViewSpecification

  var size: Int { view.size }

  /// Eight that are spread evenly over the held-out images, or else over those of training.
  ///
  /// - Parameter view: How they are made; nil: as the encoder sees them.
  /// - Throws: Where there is no data, or not images of 1 or 3 channels.
  init(_ training: TrainingConfiguration, view: ViewSpecification? = nil) throws {
    let data = training.data
    guard [1, 3].contains(training.model.channels) else {
      throw ConfigurationError(
        "model.channels", "images of \(training.model.channels) channels cannot be drawn")
    }
    let index = try ShardIndex(paths: data.validation.isEmpty ? data.train : data.validation)
    let keys = index.spread(SampleImages.count).map { SampleKey(epoch: 0, sample: $0) }
    var options = LoaderOptions(seed: 0)
    // A few images are read: never the whole of a small data set.
    options.memoryBudget = 0
    let view = view ?? training.encoderView
    self.view = view
    let loader = try BatchLoader(
      index: index, transform: .evaluation([view], cropShare: data.validationCropShare),
      options: options
    ) { $0 == 0 ? keys : nil }
    defer { loader.stop() }
    guard let batch = try loader.next() else { throw ShardError.noSamples(path: data.train[0]) }
    self.keys = keys
    tensor = batch.views[0]
  }

  /// The brightness of a pixel in [0, 1]; gray images have three equal channels.
  func brightness(_ image: Int, x: Int, y: Int, channel: Int) -> Float {
    let channel = min(channel, view.mean.count - 1)
    let place = ((image * view.mean.count + channel) * size + y) * size + x
    let value = withExtendedLifetime(tensor) { tensor.pointer[place] }
    return value * view.standardDeviation[channel] + view.mean[channel]
  }

  /// Pixels of a picture for one of an image, so that small images are seen.
  var enlargement: Int { max(1, 112 / size) }
}
