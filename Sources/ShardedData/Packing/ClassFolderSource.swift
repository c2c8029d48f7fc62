import Files

/// JPEG and PNG files in one folder a class: `FOLDER/CLASS/*.jpg`, classes and files in name order,
/// as ImageNet is laid out. A folder without class folders is a single class.
public struct ClassFolderSource: ImageSource {
  public let classNames: [String]
  public let origin: String
  private let path: String
  private let pictures: [(name: String, label: Int32)]
  private let isFlat: Bool

  /// - Throws: `ShardError` for a folder without images or a class without any.
  public init(path: String) throws(ShardError) {
    guard Files.isDirectory(path) else {
      throw .badSource(path: path, reason: "there is no such folder")
    }
    let names = try ClassFolderSource.list(path)
    let folders = names.filter { Files.isDirectory("\(path)/\($0)") }
    isFlat = folders.isEmpty
    let loose = names.first { ImageFile.isImageName($0) && !folders.contains($0) }
    if let loose, !isFlat {
      throw .badSource(
        path: path,
        reason:
          "it holds class folders (\(folders[0])) and images without a class (\(loose)); move "
          + "the one or the other")
    }
    let classes = isFlat ? [""] : folders
    var pictures: [(name: String, label: Int32)] = []
    for (label, name) in classes.enumerated() {
      let files = try ClassFolderSource.list(isFlat ? path : "\(path)/\(name)").filter {
        ImageFile.isImageName($0)
      }
      if files.isEmpty {
        let place = isFlat ? "it" : "the class folder \(name)"
        throw .badSource(path: path, reason: "\(place) holds no JPEG or PNG files")
      }
      pictures += files.map { ($0, Int32(label)) }
    }
    self.path = path
    self.pictures = pictures
    classNames = isFlat ? [unlabelledClass] : folders
    origin = isFlat ? "folder \(path)" : "class folders of \(path)"
  }

  public var count: Int { pictures.count }

  public func label(at index: Int) -> Int32 { pictures[index].label }

  public func key(at index: Int) -> String {
    let (name, label) = pictures[index]
    return isFlat ? name : "\(classNames[Int(label)])/\(name)"
  }

  public func content(at index: Int) throws(ShardError) -> ImageContent {
    .file(try handling { () throws(FileError) in try Files.read("\(path)/\(key(at: index))") })
  }

  private static func list(_ path: String) throws(ShardError) -> [String] {
    try handling { () throws(FileError) in try Files.list(path) }
  }
}

/// The one class of images that come without classes.
let unlabelledClass = "unlabelled"
