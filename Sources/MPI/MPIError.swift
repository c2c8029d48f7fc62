internal import CMPI
import Synchronization

/// An MPI call that failed.
public struct MPIError: Error, Equatable, Sendable, CustomStringConvertible {
  /// An error class of the standard (MPI 3.1, section 8.4). Not an enumeration, because libraries
  /// add codes of their own.
  public struct Code: RawRepresentable, Hashable, Sendable {
    public let rawValue: Int32

    public init(rawValue: Int32) { self.rawValue = rawValue }

    public static let count = Code(rawValue: MPI_ERR_COUNT)
    public static let datatype = Code(rawValue: MPI_ERR_TYPE)
    public static let communicator = Code(rawValue: MPI_ERR_COMM)
    public static let rank = Code(rawValue: MPI_ERR_RANK)
    public static let root = Code(rawValue: MPI_ERR_ROOT)
    public static let operation = Code(rawValue: MPI_ERR_OP)
    public static let truncated = Code(rawValue: MPI_ERR_TRUNCATE)
    public static let other = Code(rawValue: MPI_ERR_OTHER)
  }

  public let code: Code
  /// The function of the library.
  public let operation: String
  public let message: String
  /// This process in the world; -1 before MPI is initialized.
  public let rank: Int

  init(_ code: Code, _ operation: String, _ message: String) {
    self.code = code
    self.operation = operation
    self.message = message
    rank = MPIError.processRank.load(ordering: .relaxed)
  }

  public var description: String {
    "rank \(rank): \(operation) failed: \(message) (code \(code.rawValue))"
  }

  /// Set once by the runtime, so that an error can name its process without a call.
  static let processRank = Atomic<Int>(-1)
}

/// The one place where a return code becomes an error.
func checked(_ status: Int32, _ operation: String) throws(MPIError) {
  guard status != MPI_SUCCESS else { return }
  var errorClass: Int32 = 0
  let isKnown = MPI_Error_class(status, &errorClass) == MPI_SUCCESS
  var text = [CChar](repeating: 0, count: Int(MPI_MAX_ERROR_STRING))
  var length: Int32 = 0
  let hasText = MPI_Error_string(status, &text, &length) == MPI_SUCCESS
  throw MPIError(
    MPIError.Code(rawValue: isKnown ? errorClass : status), operation,
    hasText ? string(text, length) : "unknown error")
}

/// A text that the library wrote into `buffer`.
func string(_ buffer: [CChar], _ length: Int32) -> String {
  String(decoding: buffer[..<Int(length)].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
