import Glibc
import Synchronization

/// The only threads that compute: each rank owns one pool, and every kernel runs on it.
///
/// A worker calls single-threaded BLAS on its own slab, so that there are never two pools (ours
/// and the library's) fighting for the cores. The calling thread is worker 0.
public final class ThreadPool: @unchecked Sendable {
  // Sendable: mutable state is guarded by `mutex` but for `next`, which is atomic.

  /// Number of threads, the caller included.
  public let threadCount: Int

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var threads: [pthread_t] = []
  private var generation = 0
  private var running = 0
  private var stopping = false
  private var taskCount = 0
  /// The caller's closure, on its stack until every worker has reported back.
  private var body: UnsafePointer<(Int, Int) -> Void>?
  private let next = Atomic<Int>(0)

  /// - Precondition: `threadCount` is at least 1.
  public init(threadCount: Int) {
    precondition(threadCount >= 1, "a pool has at least one thread")
    self.threadCount = threadCount
    BLAS.useOneThread()
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(wake, nil)
    pthread_cond_init(done, nil)
    for worker in stride(from: 1, to: threadCount, by: 1) {
      startThread(worker: worker)
    }
  }

  deinit {
    pthread_mutex_lock(mutex)
    stopping = true
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)
    for thread in threads { pthread_join(thread, nil) }
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(wake)
    pthread_cond_destroy(done)
    mutex.deallocate()
    wake.deallocate()
    done.deallocate()
  }

  /// Runs `body(task, worker)` once for each task in `0..<count` and returns when all are done.
  ///
  /// Which worker runs a task is not defined: results may depend on the task only. `worker` is
  /// for scratch memory. Not reentrant.
  public func run(_ count: Int, _ body: (_ task: Int, _ worker: Int) -> Void) {
    guard count > 1, threadCount > 1 else {
      for task in 0..<count { body(task, 0) }
      return
    }
    withoutActuallyEscaping(body) { escapable in
      withUnsafePointer(to: escapable) { share($0, count: count) }
    }
  }

  /// Hands the closure to the workers by its address, so that none of them still holds a
  /// reference when this returns.
  private func share(_ body: UnsafePointer<(Int, Int) -> Void>, count: Int) {
    pthread_mutex_lock(mutex)
    self.body = body
    taskCount = count
    next.store(0, ordering: .relaxed)
    running = threadCount - 1
    generation += 1
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)

    drain(body, count: count, worker: 0)

    pthread_mutex_lock(mutex)
    while running > 0 { pthread_cond_wait(done, mutex) }
    self.body = nil
    pthread_mutex_unlock(mutex)
  }

  /// Splits `0..<count` into one contiguous slab a thread, at multiples of `granule`.
  public func runSlabs(
    of count: Int, granule: Int = 1, _ body: (_ slab: Range<Int>, _ worker: Int) -> Void
  ) {
    let units = (count + granule - 1) / granule
    let slabs = min(threadCount, units)
    run(slabs) { slab, worker in
      let start = units * slab / slabs * granule
      let end = min(count, units * (slab + 1) / slabs * granule)
      if start < end { body(start..<end, worker) }
    }
  }

  @inline(never)
  private func drain(_ body: UnsafePointer<(Int, Int) -> Void>, count: Int, worker: Int) {
    while true {
      let task = next.wrappingAdd(1, ordering: .relaxed).oldValue
      if task >= count { return }
      body.pointee(task, worker)
    }
  }

  private func startThread(worker: Int) {
    let launch = Unmanaged.passRetained(WorkerLaunch(pool: self, worker: worker))
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { argument in
        let launch = Unmanaged<WorkerLaunch>.fromOpaque(argument!).takeRetainedValue()
        launch.pool.workerLoop(worker: launch.worker)
        return nil
      }, launch.toOpaque())
    precondition(status == 0, "cannot start a kernel thread (error \(status))")
    threads.append(thread)
  }

  private func workerLoop(worker: Int) {
    var seen = 0
    while true {
      pthread_mutex_lock(mutex)
      while generation == seen && !stopping { pthread_cond_wait(wake, mutex) }
      if stopping {
        pthread_mutex_unlock(mutex)
        return
      }
      seen = generation
      let work = body
      let count = taskCount
      pthread_mutex_unlock(mutex)

      if let work { drain(work, count: count, worker: worker) }

      pthread_mutex_lock(mutex)
      running -= 1
      if running == 0 { pthread_cond_signal(done) }
      pthread_mutex_unlock(mutex)
    }
  }
}

/// Carries the pool into a new thread; unowned, or the pool would never be dropped.
private final class WorkerLaunch {
  unowned let pool: ThreadPool
  let worker: Int

  init(pool: ThreadPool, worker: Int) {
    self.pool = pool
    self.worker = worker
  }
}
