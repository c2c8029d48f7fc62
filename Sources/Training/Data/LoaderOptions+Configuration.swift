import ShardedData

extension TrainingConfiguration {
  /// How a rank loads data.
  func loaderOptions(kernelThreads: Int, localSize: Int) -> LoaderOptions {
    var options = LoaderOptions(seed: UInt64(run.seed))
    options.depth = parallelism.prefetchBatches
    options.threads = ThreadCount.forLoader(
      parallelism.loaderThreads, kernelThreads: kernelThreads, localSize: localSize)
    return options
  }
}
