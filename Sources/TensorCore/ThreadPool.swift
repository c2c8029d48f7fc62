import Glibc
import Synchronization

/// The only threads that compute: each rank owns one pool, and every kernel runs on it.
///
/// A worker calls single-threaded BLAS on its own slab, so that there are never two pools (ours
/// and the library's) fighting for the cores. The calling thread is worker 0.
public final class ThreadPool: Sendable {
  /// Number of threads, the caller included.
  public let threadCount: Int
  /// Books the threads' time by kind, for benchmarks.
  public let clock: KernelClock?

  private let work = SharedWork()
  private let threads: [pthread_t]
  private let isIdle: Bool

  /// - Precondition: `threadCount` is at least 1.
  public init(threadCount: Int, clock: KernelClock? = nil) {
    precondition(threadCount >= 1, "a pool has at least one thread")
    self.threadCount = threadCount
    self.clock = clock
    isIdle = false
    BLAS.useOneThread()
    let work = self.work
    threads = (1..<max(threadCount, 1)).map { work.startThread(worker: $0) }
  }

  /// A pool of no threads that skips all tasks: kernels return at once, and only the memory that
  /// they would take is seen.
  ///
  /// - Parameter threadCount: Scratch memory is taken for so many.
  public init(idleThreadCount threadCount: Int) {
    self.threadCount = threadCount
    clock = nil
    isIdle = true
    threads = []
  }

  deinit {
    work.stop()
    for thread in threads { pthread_join(thread, nil) }
  }

  /// Runs `body(task, worker)` once for each task in `0..<count` and returns when all are done.
  ///
  /// Which worker runs a task is not defined: results may depend on the task only. `worker` is
  /// for scratch memory. Not reentrant.
  public func run(
    _ count: Int, as kind: KernelKind, _ body: (_ task: Int, _ worker: Int) -> Void
  ) {
    if isIdle { return }
    guard let clock else {
      distribute(count, body)
      return
    }
    distribute(count) { task, worker in
      clock.start(worker)
      body(task, worker)
      clock.lap(worker, kind)
    }
  }

  /// Splits `0..<count` into one contiguous slab a thread, at multiples of `granule`.
  public func runSlabs(
    of count: Int, granule: Int = 1, as kind: KernelKind,
    _ body: (_ slab: Range<Int>, _ worker: Int) -> Void
  ) {
    let units = (count + granule - 1) / granule
    let slabs = min(threadCount, units)
    run(slabs, as: kind) { slab, worker in
      let start = units * slab / slabs * granule
      let end = min(count, units * (slab + 1) / slabs * granule)
      if start < end { body(start..<end, worker) }
    }
  }

  private func distribute(_ count: Int, _ body: (_ task: Int, _ worker: Int) -> Void) {
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
}

/// What the threads of a pool share. Apart from the pool, so that a thread that comes up late
/// finds it alive, while none of them keeps the pool from being dropped.
private final class SharedWork: @unchecked Sendable {
  // Sendable: `body` and `taskCount` are written before `generation` is raised and read after it
  // was seen to rise; everything else is atomic or guarded by `mutex`.

  /// A wake-up through the kernel costs as much as a small kernel runs, so a thread that waits
  /// first yields this often (some 50 us), which leaves its core to whoever else wants it.
  private static let yields = 100

  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
  private let generation = Atomic<Int>(0)
  private let running = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  private let next = Atomic<Int>(0)
  private var taskCount = 0
  /// The caller's closure, on its stack until every worker has reported back.
  private var body: UnsafePointer<(Int, Int) -> Void>?

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
    stopping.store(true, ordering: .releasing)
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)
  }

  /// Hands the closure to the workers by its address, so that none of them still holds a
  /// reference when this returns.
  func share(_ body: UnsafePointer<(Int, Int) -> Void>, count: Int, workers: Int) {
    self.body = body
    taskCount = count
    next.store(0, ordering: .relaxed)
    running.store(workers, ordering: .relaxed)
    // Under the mutex, or a worker between its check and its wait would miss the call.
    pthread_mutex_lock(mutex)
    generation.wrappingAdd(1, ordering: .releasing)
    pthread_cond_broadcast(wake)
    pthread_mutex_unlock(mutex)

    drain(body, count: count, worker: 0)

    for _ in 0..<SharedWork.yields {
      if running.load(ordering: .acquiring) == 0 { return }
      sched_yield()
    }
    pthread_mutex_lock(mutex)
    while running.load(ordering: .acquiring) > 0 { pthread_cond_wait(done, mutex) }
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
    while waitForWork(after: seen) {
      seen += 1
      if let body { drain(body, count: taskCount, worker: worker) }
      let last = running.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue == 0
      guard last else { continue }
      pthread_mutex_lock(mutex)
      pthread_cond_signal(done)
      pthread_mutex_unlock(mutex)
    }
  }

  /// - Returns: False when the pool is dropped.
  private func waitForWork(after seen: Int) -> Bool {
    for _ in 0..<SharedWork.yields {
      if generation.load(ordering: .acquiring) != seen { return true }
      if stopping.load(ordering: .acquiring) { return false }
      sched_yield()
    }
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while generation.load(ordering: .acquiring) == seen {
      if stopping.load(ordering: .acquiring) { return false }
      pthread_cond_wait(wake, mutex)
    }
    return true
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
