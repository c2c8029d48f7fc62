public import Interfaces

/// A value that an option of the command line names.
public protocol OptionValue: CaseIterable, RawRepresentable where RawValue == String {
  /// For errors.
  static var option: String { get }
}

extension OptionValue {
  /// - Throws: Where the text names none.
  public init(option text: String) throws(ConfigurationError) {
    guard let value = Self(rawValue: text) else {
      let names = Self.allCases.map(\.rawValue).joined(separator: ", ")
      throw ConfigurationError(Self.option, "must be one of \(names), not \(text)")
    }
    self = value
  }
}

extension FeatureKind: OptionValue {
  public static var option: String { "--features" }
}

extension EncoderSource: OptionValue {
  public static var option: String { "--encoder" }
}

extension BatchScope: OptionValue {
  public static var option: String { "--statistics" }
}
