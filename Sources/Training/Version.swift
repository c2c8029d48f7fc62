/// The program's version, written into checkpoints.
public enum Version {
  public static let current = "0.1.0"
}
