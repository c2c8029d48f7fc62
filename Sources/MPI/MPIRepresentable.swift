internal import CMPI

/// The element types that are communicated.
public enum MPIElementType: Sendable {
  case float32, float64, int32, int64, uint8, uint16, uint64

  var handle: MPI_Datatype {
    switch self {
    case .float32: cmpi_float()
    case .float64: cmpi_double()
    case .int32: cmpi_int32()
    case .int64: cmpi_int64()
    case .uint8: cmpi_uint8()
    case .uint16: cmpi_uint16()
    case .uint64: cmpi_uint64()
    }
  }
}

/// A Swift type whose values MPI moves and reduces directly.
public protocol MPIRepresentable: BitwiseCopyable, Sendable {
  static var elementType: MPIElementType { get }
}

extension Float: MPIRepresentable {
  public static var elementType: MPIElementType { .float32 }
}
extension Double: MPIRepresentable {
  public static var elementType: MPIElementType { .float64 }
}
extension Int32: MPIRepresentable {
  public static var elementType: MPIElementType { .int32 }
}
extension Int64: MPIRepresentable {
  public static var elementType: MPIElementType { .int64 }
}
extension UInt8: MPIRepresentable {
  public static var elementType: MPIElementType { .uint8 }
}
extension UInt16: MPIRepresentable {
  public static var elementType: MPIElementType { .uint16 }
}
extension UInt64: MPIRepresentable {
  public static var elementType: MPIElementType { .uint64 }
}

/// How the values of the ranks are combined, element by element. MPI 3.1, section 5.9.2.
public enum MPIReduction: Sendable, CaseIterable {
  case sum, minimum, maximum
  /// Not 0 if no value is 0, else 0. For integer types only.
  case logicalAnd

  var handle: MPI_Op {
    switch self {
    case .sum: cmpi_sum()
    case .minimum: cmpi_minimum()
    case .maximum: cmpi_maximum()
    case .logicalAnd: cmpi_logical_and()
    }
  }
}
