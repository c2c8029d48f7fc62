internal import CHDF5

/// Attributes: small named values on an object. Setting replaces; numbers are converted to the
/// type that is asked for; a scalar is also read from an array of one element.
extension HDF5Object {
  public func hasAttribute(_ name: String) throws(HDF5Error) -> Bool {
    Library.enter()
    defer { Library.leave() }
    let id = try requireOpen("look for attribute")
    return try check(H5Aexists(id, name), "look for attribute", errorName(name)) > 0
  }

  // MARK: Setting

  public func setAttribute(_ name: String, _ value: Int) throws(HDF5Error) {
    try setNumbers(name, [Int64(value)], shape: [])
  }

  public func setAttribute(_ name: String, _ value: Float) throws(HDF5Error) {
    try setNumbers(name, [value], shape: [])
  }

  public func setAttribute(_ name: String, _ value: Double) throws(HDF5Error) {
    try setNumbers(name, [value], shape: [])
  }

  public func setAttribute(_ name: String, _ value: String) throws(HDF5Error) {
    try setStrings(name, [value], shape: [])
  }

  public func setAttribute(_ name: String, _ value: [Int]) throws(HDF5Error) {
    try setNumbers(name, value.map { Int64($0) }, shape: [value.count])
  }

  public func setAttribute(_ name: String, _ value: [Float]) throws(HDF5Error) {
    try setNumbers(name, value, shape: [value.count])
  }

  public func setAttribute(_ name: String, _ value: [String]) throws(HDF5Error) {
    try setStrings(name, value, shape: [value.count])
  }

  // MARK: Getting

  /// - Throws: `HDF5Error`, also if the value has a fraction.
  public func integerAttribute(_ name: String) throws(HDF5Error) -> Int {
    try single(integersAttribute(name), name)
  }

  public func floatAttribute(_ name: String) throws(HDF5Error) -> Float {
    try single(floatsAttribute(name), name)
  }

  public func doubleAttribute(_ name: String) throws(HDF5Error) -> Double {
    try single(numbers(name, as: Double.self), name)
  }

  public func stringAttribute(_ name: String) throws(HDF5Error) -> String {
    try single(stringsAttribute(name), name)
  }

  /// All elements, whatever the shape.
  ///
  /// - Throws: `HDF5Error`, also if a value has a fraction.
  public func integersAttribute(_ name: String) throws(HDF5Error) -> [Int] {
    Library.enter()
    defer { Library.leave() }
    let attribute = try openAttribute(name)
    let type = try Handle(
      H5Aget_type(attribute.id), "read attribute", errorName(name), close: H5Tclose)
    guard H5Tget_class(type.id) == H5T_FLOAT else {
      return try numbers(name, as: Int64.self).map { Int($0) }
    }
    // The library would cut fractions silently.
    var integers: [Int] = []
    for value in try numbers(name, as: Double.self) {
      guard let integer = Int(exactly: value) else {
        throw attributeError(name, "\(value) is not a whole number")
      }
      integers.append(integer)
    }
    return integers
  }

  /// All elements, whatever the shape.
  public func floatsAttribute(_ name: String) throws(HDF5Error) -> [Float] {
    try numbers(name, as: Float.self)
  }

  /// All elements, whatever the shape.
  public func stringsAttribute(_ name: String) throws(HDF5Error) -> [String] {
    Library.enter()
    defer { Library.leave() }
    let path = errorName(name)
    let attribute = try openAttribute(name)
    let stored = try Handle(H5Aget_type(attribute.id), "read attribute", path, close: H5Tclose)
    let space = try Handle(H5Aget_space(attribute.id), "read attribute", path, close: H5Sclose)
    let id = attribute.id
    return try TextType.read(stored: stored, space: space, path) { type, buffer in
      H5Aread(id, type, buffer)
    }
  }

  // MARK: Helpers

  private func numbers<T: HDF5Representable>(
    _ name: String, as type: T.Type
  ) throws(HDF5Error) -> [T] {
    Library.enter()
    defer { Library.leave() }
    let path = errorName(name)
    let attribute = try openAttribute(name)
    let stored = try Handle(H5Aget_type(attribute.id), "read attribute", path, close: H5Tclose)
    let space = try Handle(H5Aget_space(attribute.id), "read attribute", path, close: H5Sclose)
    guard H5Tget_class(stored.id) != H5T_STRING else {
      throw attributeError(name, "it holds text, not numbers")
    }
    let count = try Dataspace.count(of: space, "read attribute", path)
    var status: herr_t = 0
    let values = [T](unsafeUninitializedCapacity: count) { buffer, initializedCount in
      if count > 0 { status = H5Aread(attribute.id, T.elementType.native, buffer.baseAddress) }
      initializedCount = status >= 0 ? count : 0
    }
    try check(status, "read attribute", path)
    return values
  }

  private func setNumbers<T: HDF5Representable>(
    _ name: String, _ values: [T], shape: [Int]
  ) throws(HDF5Error) {
    Library.enter()
    defer { Library.leave() }
    let attribute = try createAttribute(name, type: T.elementType.native, shape: shape)
    guard !values.isEmpty else { return }
    let status = H5Awrite(attribute.id, T.elementType.native, values)
    try check(status, "write attribute", errorName(name))
  }

  private func setStrings(_ name: String, _ values: [String], shape: [Int]) throws(HDF5Error) {
    Library.enter()
    defer { Library.leave() }
    let type = try TextType.variable("write attribute", errorName(name))
    let attribute = try createAttribute(name, type: type.id, shape: shape)
    guard !values.isEmpty else { return }
    let (id, typeID) = (attribute.id, type.id)
    let status = withCStrings(values) { H5Awrite(id, typeID, $0) }
    try check(status, "write attribute", errorName(name))
  }

  private func openAttribute(_ name: String) throws(HDF5Error) -> Handle {
    let id = try requireOpen("read attribute")
    return try Handle(
      H5Aopen(id, name, defaultProperties), "read attribute", errorName(name), close: H5Aclose)
  }

  /// A new attribute in place of one of that name.
  private func createAttribute(
    _ name: String, type: hid_t, shape: [Int]
  ) throws(HDF5Error) -> Handle {
    let (operation, path) = ("write attribute", errorName(name))
    let id = try requireOpen(operation)
    if try hasAttribute(name) { try check(H5Adelete(id, name), operation, path) }
    let space = try Dataspace.make(shape, operation, path)
    let created = H5Acreate2(id, name, type, space.id, defaultProperties, defaultProperties)
    return try Handle(created, operation, path, close: H5Aclose)
  }

  private func single<T>(_ values: [T], _ name: String) throws(HDF5Error) -> T {
    guard let value = values.first, values.count == 1 else {
      throw attributeError(name, "it has \(values.count) elements instead of one")
    }
    return value
  }

  private func attributeError(_ name: String, _ reason: String) -> HDF5Error {
    HDF5Error(operation: "read attribute", path: errorName(name), reason: reason)
  }

  private func errorName(_ attribute: String) -> String { "\(self.name)@\(attribute)" }
}
