internal import CHDF5

/// The numeric types that are read and written here.
public enum ElementType: String, CaseIterable, Sendable {
  case float32, float64
  case int8, uint8, int16, uint16, int32, uint32, int64, uint64

  /// Bytes of an element.
  public var size: Int {
    switch self {
    case .int8, .uint8: 1
    case .int16, .uint16: 2
    case .float32, .int32, .uint32: 4
    case .float64, .int64, .uint64: 8
    }
  }

  /// The library's type of the same layout in memory; not to be closed.
  var native: hid_t {
    switch self {
    case .float32: chdf5_native_float()
    case .float64: chdf5_native_double()
    case .int8: chdf5_native_int8()
    case .uint8: chdf5_native_uint8()
    case .int16: chdf5_native_int16()
    case .uint16: chdf5_native_uint16()
    case .int32: chdf5_native_int32()
    case .uint32: chdf5_native_uint32()
    case .int64: chdf5_native_int64()
    case .uint64: chdf5_native_uint64()
    }
  }

  /// The type that a stored type of either byte order is read as; nil for text, enumerations,
  /// compounds and sizes that have no Swift twin.
  init?(stored: hid_t) {
    let size = H5Tget_size(stored)
    switch H5Tget_class(stored) {
    case H5T_FLOAT:
      guard size == 4 || size == 8 else { return nil }
      self = size == 4 ? .float32 : .float64
    case H5T_INTEGER:
      let prefix = H5Tget_sign(stored) == H5T_SGN_NONE ? "uint" : "int"
      self.init(rawValue: "\(prefix)\(size * 8)")
    default: return nil
    }
  }
}

/// A Swift type whose values HDF5 reads and writes directly.
public protocol HDF5Representable: BitwiseCopyable, Sendable {
  static var elementType: ElementType { get }
}

extension Float: HDF5Representable {
  public static var elementType: ElementType { .float32 }
}
extension Double: HDF5Representable {
  public static var elementType: ElementType { .float64 }
}
extension Int8: HDF5Representable {
  public static var elementType: ElementType { .int8 }
}
extension UInt8: HDF5Representable {
  public static var elementType: ElementType { .uint8 }
}
extension Int16: HDF5Representable {
  public static var elementType: ElementType { .int16 }
}
extension UInt16: HDF5Representable {
  public static var elementType: ElementType { .uint16 }
}
extension Int32: HDF5Representable {
  public static var elementType: ElementType { .int32 }
}
extension UInt32: HDF5Representable {
  public static var elementType: ElementType { .uint32 }
}
extension Int64: HDF5Representable {
  public static var elementType: ElementType { .int64 }
}
extension UInt64: HDF5Representable {
  public static var elementType: ElementType { .uint64 }
}
