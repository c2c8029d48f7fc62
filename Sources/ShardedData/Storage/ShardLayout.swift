/// How samples lie in a file.
public enum ShardLayout: String, Codable, Sendable, CaseIterable {
  /// Our own: pixels of one shape.
  case raw
  /// Our own: JPEG and PNG files one after the other.
  case encoded
  /// `imgs` `[N, 3, H, W]` and `labels`, as BigGAN-PyTorch writes ImageNet.
  case bigGAN
  /// `encoded_images` of any length and `targets`, as Fuel writes ImageNet.
  case fuel
  /// A group a class with a dataset an image, as solo-learn reads it.
  case classGroups

  /// In sentences for people.
  public var title: String {
    switch self {
    case .raw: "raw pixels"
    case .encoded: "encoded images"
    case .bigGAN: "the layout of BigGAN-PyTorch (imgs, labels)"
    case .fuel: "the layout of Fuel (encoded_images, targets)"
    case .classGroups: "the layout of solo-learn (a group a class, a dataset an image)"
    }
  }

  /// What a file of each layout has, for the error that none was found.
  static let lookedFor =
    "images + labels (raw), bytes + offsets + labels (encoded), imgs + labels (BigGAN-PyTorch), "
    + "encoded_images + targets (Fuel), or a group a class with a dataset an image (solo-learn)"
}

/// What the bytes of a stored sample are.
enum StoredForm: Equatable, Sendable {
  /// A JPEG or PNG file.
  case encoded
  /// `[height, width, channels]`.
  case interleaved(ImageShape)
  /// `[channels, height, width]`.
  case planar(ImageShape)
}
