import Glibc
import Testing

@testable import MPI

extension MPISuite {
  @Suite struct SharedWindowTests {
    /// One communicator a host, in two orders of ranks.
    private func withHosts(_ body: (MPICommunicator) throws -> Void) throws {
      let runtime = try MPISuite.runtime.get()
      let host = try runtime.world.splitByHost()
      try body(runtime.alone)
      try body(host)
      try body(#require(try host.split(color: 0, key: -host.rank)))
      try runtime.world.barrier()
    }

    /// Some regions of no bytes, and one of several pages.
    private func size(_ rank: Int) -> Int { [100, 0, 70_001, 1][rank % 4] }

    private func byte(_ rank: Int, _ index: Int) -> UInt8 {
      UInt8(truncatingIfNeeded: MPISuite.value(rank: rank, index) + 1)
    }

    @Test func regionsOfDifferentSizesAreSeenByAll() throws {
      try withHosts { host in
        let window = try MPISharedWindow(host, byteCount: size(host.rank))
        #expect(window.regions.map(\.count) == (0..<host.size).map(size))
        for region in window.regions {
          #expect(region.allSatisfy { $0 == 0 })
          if let base = region.baseAddress { #expect(UInt(bitPattern: base) % 64 == 0) }
        }
        try host.barrier()
        let own = window.regions[host.rank]
        for index in own.indices { own[index] = byte(host.rank, index) }
        try host.barrier()
        for (rank, region) in window.regions.enumerated() {
          #expect(region.indices.allSatisfy { region[$0] == byte(rank, $0) })
        }
        try host.barrier()
        try window.free()
      }
    }

    /// Also where the pages were used before.
    @Test func memoryIsZeroedEachTime() throws {
      try withHosts { host in
        for _ in 0..<3 {
          let window = try MPISharedWindow(host, byteCount: 10_000)
          #expect(window.regions.allSatisfy { $0.allSatisfy { $0 == 0 } })
          try host.barrier()
          window.regions[host.rank].initializeMemory(as: UInt8.self, repeating: 0xFF)
          try host.barrier()
          try window.free()
        }
      }
    }

    @Test func severalAreIndependent() throws {
      try withHosts { host in
        let windows = try (0..<3).map { try MPISharedWindow(host, byteCount: 64 + $0) }
        for (number, window) in windows.enumerated() {
          window.regions[host.rank][0] = UInt8(10 * number + 1)
        }
        try host.barrier()
        for (number, window) in windows.enumerated() {
          #expect(window.regions.allSatisfy { $0[0] == UInt8(10 * number + 1) })
        }
        try host.barrier()
        for window in windows.reversed() { try window.free() }
      }
    }

    /// So that a run that is killed leaves nothing either.
    @Test func noFileIsLeftInSharedMemory() throws {
      try withHosts { host in
        // Others may have files of their own there.
        let before = try SharedWindowTests.files()
        try host.barrier()
        let window = try MPISharedWindow(host, byteCount: 100_000)
        #expect(try SharedWindowTests.files().subtracting(before) == [])
        try host.barrier()
        try window.free()
        #expect(try SharedWindowTests.files().subtracting(before) == [])
        try host.barrier()
      }
    }

    private static func files() throws -> Set<String> {
      let folder = try #require(opendir("/dev/shm"))
      defer { closedir(folder) }
      // Of the library's messages, which it keeps to the end of a job; this one's or another's.
      let ofMessages = "vader_segment"
      var names: Set<String> = []
      while let entry = readdir(folder) {
        names.insert(
          withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
          })
      }
      return names.filter { !$0.hasPrefix(ofMessages) }
    }
  }
}
