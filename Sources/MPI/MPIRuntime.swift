internal import CMPI
import Glibc
import Synchronization

/// Which threads may call MPI. MPI 3.1, section 12.4.
public enum MPIThreadLevel: Int, Comparable, Sendable {
  case single, funneled, serialized, multiple

  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }

  fileprivate init(code: Int32) {
    self =
      switch code {
      case Int32(MPI_THREAD_MULTIPLE): .multiple
      case Int32(MPI_THREAD_SERIALIZED): .serialized
      case Int32(MPI_THREAD_FUNNELED): .funneled
      default: .single
      }
  }

  fileprivate var code: Int32 {
    switch self {
    case .single: Int32(MPI_THREAD_SINGLE)
    case .funneled: Int32(MPI_THREAD_FUNNELED)
    case .serialized: Int32(MPI_THREAD_SERIALIZED)
    case .multiple: Int32(MPI_THREAD_MULTIPLE)
    }
  }
}

/// Proof that MPI is initialized, and the way to its communicators. One a process.
public final class MPIRuntime: Sendable {
  /// What the library grants.
  public let threadLevel: MPIThreadLevel
  /// All ranks of the run.
  public let world: MPICommunicator
  /// This rank alone.
  public let alone: MPICommunicator

  private static let current = Mutex<MPIRuntime?>(nil)

  private init(_ required: MPIThreadLevel) throws(MPIError) {
    var provided: Int32 = 0
    try checked(MPI_Init_thread(nil, nil, required.code, &provided), "MPI_Init_thread")
    threadLevel = MPIThreadLevel(code: provided)
    // The default handler ends the process before anybody can say what went wrong.
    for communicator in [cmpi_world(), cmpi_self()] {
      try checked(
        MPI_Comm_set_errhandler(communicator, cmpi_errors_return()), "MPI_Comm_set_errhandler")
    }
    world = try MPICommunicator(cmpi_world(), ownership: .library)
    alone = try MPICommunicator(cmpi_self(), ownership: .library)
    MPIError.processRank.store(world.rank, ordering: .relaxed)
  }

  /// Starts MPI, with errors returned instead of ending the process. Later calls return the same
  /// runtime.
  ///
  /// Collective: every process of the run calls it. Blocking. MPI 3.1, section 12.4.3.
  ///
  /// - Parameter required: The least thread level to be content with. Below `.multiple`, at most
  ///   one thread at a time may be in any method of this module.
  /// - Throws: `MPIError`, also if the library does not grant the level.
  public static func initialize(
    _ required: MPIThreadLevel = .serialized
  ) throws(MPIError) -> MPIRuntime {
    try current.withLock { (current) throws(MPIError) in
      let runtime: MPIRuntime
      if let existing = current { runtime = existing } else { runtime = try MPIRuntime(required) }
      current = runtime
      guard runtime.threadLevel >= required else {
        throw MPIError(
          .other, "MPI_Init_thread",
          "the thread level is \(runtime.threadLevel), and \(required) was asked for")
      }
      return runtime
    }
  }

  /// Ends MPI. Nothing of this module may be called afterwards but `abort`; communicators may
  /// still be dropped. A second call does nothing.
  ///
  /// Collective: every process calls it, after all its communication is complete. Blocking.
  /// MPI 3.1, section 8.7.
  public func finalize() throws(MPIError) {
    if MPIRuntime.isFinalized { return }
    try checked(MPI_Finalize(), "MPI_Finalize")
  }

  /// Ends all processes of the run with the exit code; works at any time.
  ///
  /// Not collective: one rank is enough. MPI 3.1, section 8.7.
  public static func abort(code: Int32) -> Never {
    if isInitialized, !isFinalized { _ = MPI_Abort(cmpi_world(), code) }
    // Without MPI there is nobody else to end. `_exit`, as MPI_Abort does: exit handlers may wait
    // for threads that are stuck in a collective.
    fflush(nil)
    _exit(code)
  }

  /// The name of this process's host, as MPI knows it. MPI 3.1, section 8.1.2.
  public var processorName: String {
    get throws(MPIError) {
      var text = [CChar](repeating: 0, count: Int(MPI_MAX_PROCESSOR_NAME))
      var length: Int32 = 0
      try checked(MPI_Get_processor_name(&text, &length), "MPI_Get_processor_name")
      return string(text, length)
    }
  }

  /// The library and its version in one line. MPI 3.1, section 8.1.1.
  public var libraryVersion: String {
    get throws(MPIError) {
      var text = [CChar](repeating: 0, count: Int(MPI_MAX_LIBRARY_VERSION_STRING))
      var length: Int32 = 0
      try checked(MPI_Get_library_version(&text, &length), "MPI_Get_library_version")
      return String(string(text, length).prefix { $0 != "\n" && $0 != "\0" })
    }
  }

  private static var isInitialized: Bool {
    var flag: Int32 = 0
    return MPI_Initialized(&flag) == MPI_SUCCESS && flag != 0
  }

  static var isFinalized: Bool {
    var flag: Int32 = 0
    return MPI_Finalized(&flag) == MPI_SUCCESS && flag != 0
  }
}
