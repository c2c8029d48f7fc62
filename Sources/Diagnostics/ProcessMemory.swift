import Files
import Foundation
import Interfaces

/// Memory of the ranks as the kernel counts it.
enum ProcessMemory {
  /// Collective. Bytes of all ranks together, where a page that several map counts once (PSS).
  static func proportionalBytes(of group: any ProcessGroup) throws -> Int {
    var bytes = [Double(ownProportionalBytes)]
    let result = bytes.withUnsafeMutableBufferPointer { buffer -> Result<Void, CollectiveError> in
      do throws(CollectiveError) {
        return .success(try group.allReduceSum(buffer))
      } catch {
        return .failure(error)
      }
    }
    try result.get()
    return Int(bytes[0])
  }

  private static var ownProportionalBytes: Int {
    guard let text = try? Files.readText("/proc/self/smaps_rollup"),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix("Pss:") }),
      let kilobytes = line.split(separator: " ").compactMap({ Int($0) }).first
    else { return 0 }
    return kilobytes * 1024
  }
}
