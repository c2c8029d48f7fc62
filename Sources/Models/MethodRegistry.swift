/// The methods that a configuration may name. One line each.
public enum MethodRegistry {
  public static let all: [any PretrainingMethod.Type] = [
    CAE.self,
    CAEv2.self,
    Supervised.self,
  ]
}
