import Files

/// Images in a tar archive, read as it is: a tar of class tars, as ImageNet's training set comes
/// (`n01440764.tar` holds `n01440764_10026.JPEG`), or of class folders, or of images alone.
public struct TarSource: ImageSource {
  public let classNames: [String]
  public let origin: String
  private let file: RandomAccessFile
  private let pictures: [Picture]

  private struct Picture {
    let name: String
    let label: Int32
    let offset: Int
    let size: Int
  }

  /// - Throws: `ShardError` for a file that is no tar archive, is cut off, or holds no images.
  public init(path: String) throws(ShardError) {
    let file = try handling { () throws(FileError) in try RandomAccessFile(path: path) }
    let size = file.size
    var found: [(className: String, member: TarArchive.Member)] = []
    for member in try TarArchive(file, range: 0..<size, name: path).members {
      let parts = member.name.split(separator: "/").filter { $0 != "." }
      let last = parts.last.map(String.init) ?? ""
      if last.hasSuffix(".tar") {
        let inner = try TarArchive(
          file, range: member.offset..<member.offset + member.size, name: "\(last) in \(path)")
        let className = String(last.dropLast(4))
        found += inner.members.filter { TarSource.isImage($0.name) }.map { (className, $0) }
      } else if TarSource.isImage(last) {
        found.append((parts.dropLast().last.map(String.init) ?? unlabelledClass, member))
      }
    }
    guard !found.isEmpty else {
      throw .badSource(
        path: path, reason: "it holds no JPEG or PNG files, nor tar archives of them")
    }
    let names = Set(found.map(\.className)).sorted()
    let labels = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, Int32($0)) })
    self.file = file
    classNames = names
    origin = "tar archive \(path)"
    pictures = found.map { entry in
      let name = entry.member.name.split(separator: "/").last ?? ""
      return Picture(
        name: "\(entry.className)/\(name)", label: labels[entry.className] ?? 0,
        offset: entry.member.offset, size: entry.member.size)
    }
  }

  public var count: Int { pictures.count }

  public func label(at index: Int) -> Int32 { pictures[index].label }

  public func key(at index: Int) -> String { pictures[index].name }

  public func content(at index: Int) throws(ShardError) -> ImageContent {
    let picture = pictures[index]
    return .file(
      try TarArchive.read(file, picture.offset..<picture.offset + picture.size))
  }

  /// Hidden files are none: archives made on macOS have one beside each image.
  private static func isImage(_ path: String) -> Bool {
    let name = String(path.split(separator: "/").last ?? "")
    return !name.hasPrefix(".") && ImageFile.isImageName(name)
  }
}
