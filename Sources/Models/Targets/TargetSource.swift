public import Interfaces

/// Where a method's targets come from: a model that sees a picture of each crop, or the loader, which
/// brings what was computed beforehand.
public protocol TargetSource: Sendable {
  /// What there is of each patch, in words.
  static var kind: String { get }
  /// Of an image, along one side.
  var grid: Int { get }
  /// The picture that they are computed from; nil: they were computed beforehand.
  var view: ViewSpecification? { get }
}

extension TargetSource {
  /// The pictures that a method asks the loader for: the encoder's, and after it that of the targets
  /// where it is another one.
  public func views(encoder: ViewSpecification) -> [ViewSpecification] {
    guard let view, view != encoder else { return [encoder] }
    return [encoder, view]
  }

  /// - Parameter key: Of the configuration, that names what computes them.
  /// - Throws: Where there are not as many as the model has patches.
  public func require(grid patches: Int, key: String) throws(ConfigurationError) {
    guard grid != patches else { return }
    throw ConfigurationError(
      view == nil ? "data.targets" : key,
      "there are \(grid) x \(grid) \(Self.kind) of an image, but the model has \(patches) x \(patches) "
        + "patches")
  }
}
