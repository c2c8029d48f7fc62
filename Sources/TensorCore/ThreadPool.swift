import Glibc
import Synchronization

/// The only threads that compute: each rank owns one pool, and every kernel runs on it.
///
/// A worker calls single-threaded BLAS on its own slab, so that there are never two pools (ours
/// and the library's) fighting for the cores. The calling thread is worker 0.
public final class ThreadPool: Sendable {
  /// Number of threads, the caller included.
  public let threadCount: Int

  private let work = SharedWork()
  private let threads: [pthread_t]

  /// - Precondition: `threadCount` is at least 1.
  public init(threadCount: Int) {
    precondition(threadCount >= 1, "a pool has at least one thread")
    self.threadCount = threadCount
    BLAS.useOneThread()
    let work = self.work
    threads = (1..<max(threadCount, 1)).map { work.startThread(worker: $0) }
  }

  deinit {
    work.stop()
    for thread in threads { pthread_join(thread, nil) }
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
      withUnsafePointer(to: escapable) {
        work.share($0, count: count, workers: threadCount - 1)
      }
    }
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
}

/// What the threads of a pool share. Apart from the pool, so that a thread that comes up late
/// finds it alive, while none of them keeps the pool from being dropped.
private final class SharedWork: @unchecked Sendable {
  // Sendable: mutable state is guarded by `mutex` but for `next`, which is atomic.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private var generation = 0
  private var running = 0
  private var stopping = false
  private var taskCount = 0
  /// The caller's closure, on its stack until every worker has reported back.
  private var body: UnsafePointer<(Int, Int) -> Void>?
  private let next = Atomic<Int>(0)

  init() {
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(wake, nil)
    pthread_cond_init(done, nil)
  }

  deinit {
    pthread_mutex_destroy(mutex)
    pthread_cond_destroy(wake)
    pthread_cond_destroy(done)
    mutex.deallocate()
    wake.deallocate()
    done.deallocate()
  }

  func stop() {
    pthread_mutex_lock(mutex)
    stopping = true
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)
  }

  /// Hands the closure to the workers by its address, so that none of them still holds a
  /// reference when this returns.
  func share(_ body: UnsafePointer<(Int, Int) -> Void>, count: Int, workers: Int) {
    pthread_mutex_lock(mutex)
    self.body = body
    taskCount = count
    next.store(0, ordering: .relaxed)
    running = workers
    generation += 1
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)

    drain(body, count: count, worker: 0)

    pthread_mutex_lock(mutex)
    while running > 0 { pthread_cond_wait(done, mutex) }
    self.body = nil
    pthread_mutex_unlock(mutex)
  }

  @inline(never)
  private func drain(_ body: UnsafePointer<(Int, Int) -> Void>, count: Int, worker: Int) {
    while true {
      let task = next.wrappingAdd(1, ordering: .relaxed).oldValue
      if task >= count { return }
      body.pointee(task, worker)
    }
  }

  func startThread(worker: Int) -> pthread_t {
    let launch = Unmanaged.passRetained(WorkerLaunch(work: self, worker: worker))
    var thread = pthread_t()
    let status = pthread_create(
      &thread, nil,
      { argument in
        let launch = Unmanaged<WorkerLaunch>.fromOpaque(argument!).takeRetainedValue()
        launch.work.loop(worker: launch.worker)
        return nil
      }, launch.toOpaque())
    precondition(status == 0, "cannot start a kernel thread (error \(status))")
    return thread
  }

  private func loop(worker: Int) {
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

/// What a new thread is started with.
private final class WorkerLaunch {
  let work: SharedWork
  let worker: Int

  init(work: SharedWork, worker: Int) {
    self.work = work
    self.worker = worker
  }
}
