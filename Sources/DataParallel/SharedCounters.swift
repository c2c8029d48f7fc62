public import Interfaces
import Synchronization
public import TensorCore

/// Counters of the ranks of a host, each written by its owner and read by all.
struct SharedCounters: @unchecked Sendable {
  // Sendable: the memory is atomic.
  private let regions: [UnsafeMutablePointer<Atomic<Int>>]
  private let memory: SharedMemory

  static func byteCount(_ count: Int) -> Int { count * MemoryLayout<Atomic<Int>>.stride }

  /// - Parameter memory: Zeroed; `byteCount` long.
  init(_ memory: SharedMemory) {
    self.memory = memory
    regions = memory.regions.compactMap {
      $0.baseAddress?.assumingMemoryBound(to: Atomic<Int>.self)
    }
  }

  /// Everything written before `set` is seen by who has seen the value.
  func set(_ index: Int, of rank: Int, to value: Int) {
    regions[rank][index].store(value, ordering: .releasing)
  }

  func value(_ index: Int, of rank: Int) -> Int { regions[rank][index].load(ordering: .acquiring) }

  func increment(_ index: Int, of rank: Int) -> Int {
    regions[rank][index].wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
  }

  /// Whether all ranks' counters have reached a value.
  func haveAll(_ index: Int, reached value: Int) -> Bool {
    regions.indices.allSatisfy { self.value(index, of: $0) >= value }
  }

  /// Ranks whose counters have not.
  func missing(_ index: Int, below value: Int) -> [Int] {
    regions.indices.filter { self.value(index, of: $0) < value }
  }
}

extension SharedMemory {
  /// For a rank that is alone on its host.
  static func privateMemory(byteCount: Int) -> SharedMemory {
    let memory = PrivateMemory(byteCount: byteCount)
    return SharedMemory(regions: [memory.bytes], owner: memory)
  }
}

final class PrivateMemory: @unchecked Sendable {
  // Sendable: a constant pointer.
  let bytes: UnsafeMutableRawBufferPointer

  init(byteCount: Int) {
    bytes = .allocate(byteCount: max(byteCount, 64), alignment: 64)
    bytes.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit { bytes.deallocate() }
}

extension ProcessGroup {
  /// Collective. Sums over ranks, without rounding: the same whatever the order of the ranks.
  public func exactSums(_ sums: [ExactSum]) throws(CollectiveError) -> [ExactSum] {
    var values = sums.flatMap(\.wireValues)
    // The closure of withUnsafe... cannot carry a typed error out, a result can.
    let result = values.withUnsafeMutableBufferPointer { buffer -> Result<Void, CollectiveError> in
      do throws(CollectiveError) {
        return .success(try allReduceSum(buffer))
      } catch {
        return .failure(error)
      }
    }
    try result.get()
    return sums.indices.map {
      let start = $0 * ExactSum.wireCount
      return ExactSum(wireValues: Array(values[start..<start + ExactSum.wireCount]))
    }
  }
}
