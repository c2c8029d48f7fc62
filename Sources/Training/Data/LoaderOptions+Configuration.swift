import ShardedData

extension TrainingConfiguration {
  /// How a rank loads data that has so many cores.
  func loaderOptions(kernelThreads: Int, cores: Int) -> LoaderOptions {
    var options = LoaderOptions(seed: UInt64(run.seed))
    options.depth = parallelism.prefetchBatches
    options.threads = ThreadCount.forLoader(
      parallelism.loaderThreads, kernelThreads: kernelThreads, cores: cores)
    return options
  }
}
