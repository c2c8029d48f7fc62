import Foundation
public import Interfaces

extension ProcessGroup {
  /// Values of all ranks in rank order. Collective. Blocking.
  public func gather<Value: Codable>(_ own: Value) throws -> [Value] {
    let bytes = Array(try JSONEncoder().encode([own]))
    let size = Int(try allReduceMaximum([Double(bytes.count)])[0])
    // White space after the text is no part of it.
    let all = try allGather(bytes + [UInt8](repeating: 0x20, count: size - bytes.count))
    return try (0..<worldSize).flatMap { rank in
      try JSONDecoder().decode([Value].self, from: Data(all[rank * size..<(rank + 1) * size]))
    }
  }
}
