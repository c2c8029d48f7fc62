import Glibc

/// XXH64 with seed 0, streaming: a fast checksum against damage, not against an adversary.
///
/// The value depends on the bytes only, not on how they were cut into updates.
///
/// - SeeAlso: xxHash specification 0.1.1, section "XXH64 algorithm description".
public struct Hash64: Sendable {
  private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
  private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
  private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
  private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
  private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5
  private static let stripe = 32

  private var lanes: SIMD4<UInt64>
  private var tail = InlineArray<32, UInt8>(repeating: 0)
  private var tailCount = 0
  private var length: UInt64 = 0

  public init() {
    lanes = SIMD4(Self.prime1 &+ Self.prime2, Self.prime2, 0, 0 &- Self.prime1)
  }

  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    length &+= UInt64(bytes.count)
    var position = 0
    if tailCount > 0 {
      position = min(Self.stripe - tailCount, bytes.count)
      keep(bytes[..<position])
      if tailCount < Self.stripe { return }
      let lane = SIMD4(tailWord(0), tailWord(8), tailWord(16), tailWord(24))
      lanes = Self.round(lanes, lane)
      tailCount = 0
    }
    position = consumeStripes(bytes, from: position)
    keep(bytes[position...])
  }

  public mutating func update(_ string: String) {
    var string = string
    string.withUTF8 { update(UnsafeRawBufferPointer($0)) }
  }

  /// The hash of all bytes so far; more may follow.
  public func finalize() -> UInt64 {
    var hash = length >= UInt64(Self.stripe) ? mergedLanes() : Self.prime5
    hash = hash &+ length
    var position = 0
    while position + 8 <= tailCount {
      hash ^= Self.round(0, tailWord(position))
      hash = Self.rotate(hash, 27) &* Self.prime1 &+ Self.prime4
      position += 8
    }
    if position + 4 <= tailCount {
      hash ^= (tailWord(position, bytes: 4)) &* Self.prime1
      hash = Self.rotate(hash, 23) &* Self.prime2 &+ Self.prime3
      position += 4
    }
    while position < tailCount {
      hash ^= UInt64(tail[position]) &* Self.prime5
      hash = Self.rotate(hash, 11) &* Self.prime1
      position += 1
    }
    return Self.avalanche(hash)
  }

  /// Size and hash of a file's contents, read in pieces.
  ///
  /// - Parameter start: Bytes at the beginning that do not count.
  public static func ofFile(
    _ path: String, from start: Int = 0
  ) throws(FileError) -> (size: Int, hash: UInt64) {
    let file = try RandomAccessFile(path: path)
    var hash = Hash64()
    var size = 0
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = try chunk.withUnsafeMutableBufferPointer { (buffer) throws(FileError) in
        try file.read(at: start + size, into: UnsafeMutableRawBufferPointer(buffer))
      }
      if count == 0 { return (size, hash.finalize()) }
      chunk.withUnsafeBytes { hash.update(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
      size += count
    }
  }

  /// 16 lower-case digits.
  public static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  // MARK: Steps of the algorithm

  private mutating func keep(_ bytes: Slice<UnsafeRawBufferPointer>) {
    for byte in bytes {
      tail[tailCount] = byte
      tailCount += 1
    }
  }

  /// Runs over the whole stripes from `position`, and returns where they end.
  private mutating func consumeStripes(_ bytes: UnsafeRawBufferPointer, from position: Int) -> Int {
    var position = position
    // Four locals instead of one vector: a 64-bit product has no vector instruction in AVX2.
    var (a, b, c, d) = (lanes[0], lanes[1], lanes[2], lanes[3])
    while position + Self.stripe <= bytes.count {
      a = Self.round(a, Self.word(bytes, position))
      b = Self.round(b, Self.word(bytes, position + 8))
      c = Self.round(c, Self.word(bytes, position + 16))
      d = Self.round(d, Self.word(bytes, position + 24))
      position += Self.stripe
    }
    lanes = SIMD4(a, b, c, d)
    return position
  }

  private static func word(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
    UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  private func tailWord(_ offset: Int, bytes: Int = 8) -> UInt64 {
    var word: UInt64 = 0
    for index in 0..<bytes { word |= UInt64(tail[offset + index]) << UInt64(8 * index) }
    return word
  }

  private func mergedLanes() -> UInt64 {
    var hash = Self.rotate(lanes[0], 1) &+ Self.rotate(lanes[1], 7)
    hash = hash &+ Self.rotate(lanes[2], 12) &+ Self.rotate(lanes[3], 18)
    for index in 0..<4 {
      hash ^= Self.round(0, lanes[index])
      hash = hash &* Self.prime1 &+ Self.prime4
    }
    return hash
  }

  private static func round(_ lane: UInt64, _ word: UInt64) -> UInt64 {
    rotate(lane &+ word &* prime2, 31) &* prime1
  }

  private static func round(_ lanes: SIMD4<UInt64>, _ words: SIMD4<UInt64>) -> SIMD4<UInt64> {
    var result = lanes
    for index in 0..<4 { result[index] = round(lanes[index], words[index]) }
    return result
  }

  private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 {
    value << count | value >> (64 - count)
  }

  private static func avalanche(_ value: UInt64) -> UInt64 {
    var hash = (value ^ value >> 33) &* prime2
    hash = (hash ^ hash >> 29) &* prime3
    return hash ^ hash >> 32
  }
}
