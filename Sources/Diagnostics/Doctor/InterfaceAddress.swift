import Foundation

/// An IPv4 address of a network interface that is up.
struct InterfaceAddress: Codable, Sendable, Equatable {
  /// Such as `eth0`.
  let interface: String
  /// Such as `10.0.0.1`.
  let address: String

  /// Those of this host, without loopback, in the system's order.
  static var all: [InterfaceAddress] {
    var first: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&first) == 0 else { return [] }
    defer { freeifaddrs(first) }
    var found: [InterfaceAddress] = []
    var next = first
    while let entry = next?.pointee {
      next = entry.ifa_next
      let flags = Int32(bitPattern: entry.ifa_flags)
      guard let address = entry.ifa_addr, address.pointee.sa_family == sa_family_t(AF_INET),
        flags & Int32(IFF_UP) != 0, flags & Int32(IFF_LOOPBACK) == 0
      else { continue }
      var text = [CChar](repeating: 0, count: Int(INET_ADDRSTRLEN))
      let isText = address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { internet in
        inet_ntop(AF_INET, &internet.pointee.sin_addr, &text, socklen_t(text.count)) != nil
      }
      guard isText else { continue }
      let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
      found.append(
        InterfaceAddress(
          interface: String(cString: entry.ifa_name),
          address: String(decoding: bytes, as: UTF8.self)
        ))
    }
    return found
  }

  /// A port on which nobody listens: a host that is reached refuses the connection at once.
  private static let port: UInt16 = 9

  /// Those of `addresses` that do not answer within `seconds`. All are tried at the same time.
  static func silent(
    _ addresses: [InterfaceAddress], seconds: Double
  ) -> [InterfaceAddress] {
    var waiting: [(address: InterfaceAddress, descriptor: Int32)] = []
    var silent: [InterfaceAddress] = []
    for address in addresses {
      switch begin(address.address) {
      case .reached: break
      case .refusedBySystem: silent.append(address)
      case .underway(let descriptor): waiting.append((address, descriptor))
      }
    }
    defer { for entry in waiting { close(entry.descriptor) } }
    let end = ProcessInfo.processInfo.systemUptime + seconds
    while !waiting.isEmpty {
      let left = end - ProcessInfo.processInfo.systemUptime
      guard left > 0 else { break }
      var polls = waiting.map { pollfd(fd: $0.descriptor, events: Int16(POLLOUT), revents: 0) }
      guard poll(&polls, nfds_t(polls.count), Int32(left * 1000)) > 0 else { continue }
      for index in polls.indices.reversed() where polls[index].revents != 0 {
        var (code, size) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
        getsockopt(waiting[index].descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        if code != 0, code != ECONNREFUSED { silent.append(waiting[index].address) }
        close(waiting.remove(at: index).descriptor)
      }
    }
    return addresses.filter { address in
      silent.contains(address) || waiting.contains { $0.address == address }
    }
  }

  private enum Attempt {
    case reached
    /// There is no route.
    case refusedBySystem
    case underway(Int32)
  }

  private static func begin(_ address: String) -> Attempt {
    let descriptor = socket(
      AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return .refusedBySystem }
    var name = sockaddr_in()
    name.sin_family = sa_family_t(AF_INET)
    name.sin_port = port.bigEndian
    inet_pton(AF_INET, address, &name.sin_addr)
    let result = withUnsafePointer(to: &name) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    if result < 0, errno == EINPROGRESS { return .underway(descriptor) }
    let isReached = result == 0 || errno == ECONNREFUSED
    close(descriptor)
    return isReached ? .reached : .refusedBySystem
  }
}
