/// A picture that could not be decoded. The caller knows which file or sample it is.
struct ImageError: Error, Equatable, CustomStringConvertible {
  /// Without a full stop: part of the caller's sentence.
  let reason: String

  var description: String { "Cannot decode the picture: \(reason)." }
}
