/// The methods that a configuration may name. One line each.
public enum MethodRegistry {
  public static let all: [any PretrainingMethod.Type] = [
    CAE.self,
    Supervised.self,
  ]
}
