/// Which patches of each image of a micro-batch are masked; the same number in all.
public struct PatchMask: Sendable, Equatable {
  public let batch: Int
  /// `batch * visibleCount` patch indices, ascending within an image.
  public let visible: [Int32]
  /// `batch * maskedCount` patch indices, ascending within an image.
  public let masked: [Int32]

  public var visibleCount: Int { visible.count / batch }
  public var maskedCount: Int { masked.count / batch }

  /// - Parameter rows: For each image, whether each patch (raster order) is masked.
  /// - Precondition: All rows have the same number of masked patches.
  public init(rows: [[Bool]]) {
    batch = rows.count
    var visible: [Int32] = []
    var masked: [Int32] = []
    for row in rows {
      for (patch, isMasked) in row.enumerated() {
        if isMasked { masked.append(Int32(patch)) } else { visible.append(Int32(patch)) }
      }
    }
    precondition(
      rows.allSatisfy { $0.count(where: \.self) == masked.count / rows.count },
      "every image of a batch has the same number of masked patches")
    self.visible = visible
    self.masked = masked
  }

  /// For each image its visible patches, then its masked ones: the order of the regressor's keys.
  var visibleThenMasked: [Int32] {
    var patches: [Int32] = []
    for image in 0..<batch {
      patches += visible[image * visibleCount..<(image + 1) * visibleCount]
      patches += masked[image * maskedCount..<(image + 1) * maskedCount]
    }
    return patches
  }
}
