import Files

/// Something that is wrong with a data set.
public struct ShardFinding: Equatable, Codable, Sendable {
  /// The file, or the folder where a file is missing.
  public let path: String
  /// The sample; nil: the file as a whole.
  public let row: Int?
  public let key: String?
  public let reason: String

  /// A line for people.
  public var text: String {
    let sample = row.map {
      "sample \($0)" + (key.map { $0.isEmpty ? "" : " (\($0))" } ?? "") + ": "
    }
    return reason.contains(path) ? reason : "\(path): \(sample ?? "")\(reason)"
  }
}

/// Looks at every byte and every sample of a data set.
///
/// Of each file: the hash in its user block, layout, shapes and types; of each sample: label,
/// offsets, checksum, whether the image can be decoded, and whether another has the same key.
/// Class names of a file whose hash is wrong are not read: the HDF5 library could crash.
public struct ShardVerifier {
  /// Findings of a file after which its samples are not looked at further.
  private static let findingsOfShard = 100

  public private(set) var findings: [ShardFinding] = []
  public private(set) var sampleCount = 0
  /// Where each key was seen, by its hash.
  private var keys: [UInt64: (shard: Int32, row: Int32)] = [:]
  private var shards: [String] = []

  public init() {}

  /// - Parameters:
  ///   - paths: As for `ShardIndex`.
  ///   - progress: Called after each sample with its shard, the number done and that of all in it.
  public mutating func verify(
    paths: [String], progress: (String, Int, Int) -> Void = { _, _, _ in }
  ) {
    for path in paths {
      // Another data set, which may have images of the same names.
      (keys, shards) = ([:], [])
      let before = findings.count
      do throws(ShardError) {
        for file in try ShardIndex.files(of: [path]) { verify(shard: file, progress) }
      } catch {
        add(error, path: path)
      }
      if findings.count == before { compare() }
    }
  }

  private mutating func verify(shard path: String, _ progress: (String, Int, Int) -> Void) {
    let before = findings.count
    shards.append(path)
    do throws(ShardError) {
      guard Files.exists(path) else { throw .missing(path: path) }
      let seal = try ShardSeal.verify(path)
      if seal == .broken {
        add(path, nil, nil, "the file is not what was written: its hash is wrong")
      }
      if seal == .unsealed, try ShardFile(path: path).isSealed {
        add(path, nil, nil, "the file is not what was written: the text before its hash is damaged")
      }
      let reader = ShardReader(path: path, isTrusted: findings.count == before)
      let header = try reader.header()
      let sample = StoredSample()
      let decoder = SampleDecoder(channels: 3)
      for row in 0..<header.count {
        guard findings.count - before < ShardVerifier.findingsOfShard else {
          add(path, nil, nil, "samples from \(row) on were not looked at, after so many findings")
          break
        }
        verify(row, of: reader, sample, decoder)
        sampleCount += 1
        progress(path, row + 1, header.count)
      }
    } catch {
      add(error, path: path)
    }
  }

  private mutating func verify(
    _ row: Int, of reader: ShardReader, _ sample: StoredSample, _ decoder: SampleDecoder
  ) {
    var key: String?
    do throws(ShardError) {
      let name = try reader.key(of: row)
      key = name
      var hash = Hash64()
      hash.update(name)
      let place = (Int32(shards.count - 1), Int32(row))
      if let other = keys.updateValue(place, forKey: hash.finalize()) {
        add(
          reader.path, row, name,
          "sample \(other.row) of \(shards[Int(other.shard)]) has the same key")
      }
      try reader.read(row, into: sample)
      try sample.verify()
      _ = try decoder.region(of: sample, box: nil, needed: nil)
    } catch {
      add(error, path: reader.path, row: row, key: key)
    }
  }

  /// Whether the shards that can be opened belong together.
  private mutating func compare() {
    guard shards.count > 1 else { return }
    do throws(ShardError) {
      _ = try ShardIndex(paths: shards)
    } catch {
      add(error, path: shards[0])
    }
  }

  private mutating func add(
    _ error: ShardError, path: String, row: Int? = nil, key: String? = nil
  ) {
    switch error {
    case .damaged(let path, let row, _, let reason): add(path, row, key, reason)
    default: add(path, row, key, error.description)
    }
  }

  private mutating func add(_ path: String, _ row: Int?, _ key: String?, _ reason: String) {
    findings.append(ShardFinding(path: path, row: row, key: key, reason: reason))
  }
}
