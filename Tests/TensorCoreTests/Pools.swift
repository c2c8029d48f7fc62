import TensorCore

/// Kernels are tried with one thread, with an even split and with an uneven one.
let threadCounts = [1, 2, 3]

/// Sizes around the lane count, and one with several slabs.
let oddRows = [1, 2, 3, 17, 65]
let oddColumns = [1, 3, 7, 8, 9, 24, 31, 64]

/// Results of `body` with a pool of each thread count.
func withEveryPool<Result>(_ body: (ThreadPool) -> Result) -> [Result] {
  threadCounts.map { body(ThreadPool(threadCount: $0)) }
}
