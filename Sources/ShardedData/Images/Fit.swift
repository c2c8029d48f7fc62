/// The size that an image is resized to, and the part of the result that is wanted.
struct Fit: Equatable {
  let width: Int
  let height: Int
  let window: CropBox
}

extension Fit {
  /// A square out of the middle of an image whose shorter side is resized to `size / cropShare`.
  ///
  /// Rounded as torchvision does: the shorter side down, the longer one down (`Resize`), the
  /// offset of the middle to the nearest even (`CenterCrop`).
  ///
  /// - Precondition: `cropShare` lies in (0, 1].
  init(width: Int, height: Int, size: Int, cropShare: Double = 1) {
    precondition(cropShare > 0 && cropShare <= 1, "a share of \(cropShare)")
    let target = Int(Double(size) / cropShare)
    let shorter = min(width, height)
    self.width = width == shorter ? target : target * width / shorter
    self.height = height == shorter ? target : target * height / shorter
    func offset(_ length: Int) -> Int {
      Int((Double(length - size) / 2).rounded(.toNearestOrEven))
    }
    window = CropBox(
      left: offset(self.width), top: offset(self.height), width: size, height: size)
  }
}
