import Glibc
public import NN

/// Weights as a function of their names, so that other implementations can make the same model.
///
/// With `s_i = sin(phase + 0.37 i)` and `phase = 2 pi (crc32(name) mod 10000) / 10000`: weights of
/// norms are `1 + 0.1 s_i`, layer scales `0.1 + 0.03 s_i`, everything else `0.25 s_i`.
public enum DeterministicFill {
  /// The CRC of zlib and IEEE 802.3.
  public static func crc32(_ text: String) -> UInt32 {
    var crc = UInt32.max
    for byte in text.utf8 {
      crc ^= UInt32(byte)
      for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    return ~crc
  }

  /// Element `index` (row-major) of the parameter `name`.
  public static func value(_ name: String, _ index: Int) -> Double {
    let phase = 2 * Double.pi * Double(crc32(name) % 10_000) / 10_000
    let s = sin(phase + 0.37 * Double(index))
    if name.contains("norm"), name.hasSuffix(".weight") { return 1 + 0.1 * s }
    return name.contains("gamma") ? 0.1 + 0.03 * s : 0.25 * s
  }

  public static func fill(_ buffer: FlatBuffer, _ tree: ParameterTree) {
    for entry in tree.entries {
      for index in 0..<entry.parameter.count {
        buffer.pointer(entry.parameter)[index] = Float(value(entry.parameter.name, index))
      }
    }
  }
}
