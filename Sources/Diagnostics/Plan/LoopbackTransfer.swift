import Foundation
import Interfaces

/// CPU time of TCP: bytes from one thread of this process to another by the loopback interface.
enum LoopbackTransfer {
  private static let piece = 1 << 17

  /// Of both ends together.
  static func secondsPerByte(bytes: Int) throws -> Double {
    let (listener, port) = try listen()
    defer { close(listener) }
    // The listener's queue takes it, so that nobody waits for a connection that has failed.
    let outgoing = try connectTo(port)
    let sender = Thread { send(bytes, by: outgoing) }
    let before = cpuSeconds
    sender.start()
    let connection = accept(listener, nil, nil)
    guard connection >= 0 else { throw failure("accept") }
    defer { close(connection) }
    var buffer = [UInt8](repeating: 0, count: piece)
    var received = 0
    while received < bytes {
      let count = read(connection, &buffer, piece)
      guard count > 0 else { throw failure("read") }
      received += count
    }
    return (cpuSeconds - before) / Double(bytes)
  }

  private static func listen() throws -> (descriptor: Int32, port: UInt16) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw failure("socket") }
    var address = loopback(port: 0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 && Glibc.listen(descriptor, 1) == 0
          && getsockname(descriptor, $0, &length) == 0
      }
    }
    guard bound else {
      close(descriptor)
      throw failure("bind")
    }
    return (descriptor, UInt16(bigEndian: address.sin_port))
  }

  private static func connectTo(_ port: UInt16) throws -> Int32 {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = loopback(port: port)
    let isConnected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    guard isConnected else {
      close(descriptor)
      throw failure("connect")
    }
    return descriptor
  }

  private static func send(_ bytes: Int, by descriptor: Int32) {
    defer { close(descriptor) }
    let buffer = [UInt8](repeating: 0, count: piece)
    var sent = 0
    while sent < bytes {
      let count = write(descriptor, buffer, min(piece, bytes - sent))
      guard count > 0 else { return }
      sent += count
    }
  }

  private static func loopback(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return address
  }

  private static var cpuSeconds: Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }

  private static func failure(_ call: String) -> CollectiveError {
    CollectiveError(operation: call, reason: String(cString: strerror(errno)))
  }
}
