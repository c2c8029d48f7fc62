import Glibc
import TensorCore

/// Replaces a rectangle of a normalized view by noise: every value from the standard normal
/// distribution.
///
/// - SeeAlso: Zhong et al., arXiv:1708.04896; timm's `RandomErasing` of mode `pixel`.
enum RandomErasing {
  static let attempts = 10
  static let area = 0.02...1.0 / 3
  static let aspect = 0.3...1 / 0.3

  /// - Parameters:
  ///   - view: `[channels, size, size]`.
  ///   - probability: Of anything being erased.
  static func apply(
    to view: UnsafeMutablePointer<Float>, channels: Int, size: Int, probability: Double,
    random: inout CounterRandom
  ) {
    guard random.uniform() < probability, let box = box(size: size, random: &random) else {
      return
    }
    var spare: Double?
    erase(view, channels: channels, size: size, box: box) {
      if let value = spare {
        spare = nil
        return Float(value)
      }
      let pair = random.normalPair()
      spare = pair.1
      return Float(pair.0)
    }
  }

  /// Of up to ten boxes of random area and aspect the first that is smaller than the view both
  /// ways, at a random place; nil if none is.
  static func box(size: Int, random: inout CounterRandom) -> CropBox? {
    for _ in 0..<attempts {
      let share = random.uniform(area.lowerBound, area.upperBound)
      let logAspect = random.uniform(log(aspect.lowerBound), log(aspect.upperBound))
      let (height, width) = sides(areaShare: share, logAspect: logAspect, size: size)
      guard width < size, height < size else { continue }
      let top = random.integer(below: size - height + 1)
      let left = random.integer(below: size - width + 1)
      return CropBox(left: left, top: top, width: width, height: height)
    }
    return nil
  }

  /// `height = round(sqrt(area aspect))`, `width = round(sqrt(area / aspect))`.
  static func sides(
    areaShare: Double, logAspect: Double, size: Int
  ) -> (height: Int, width: Int) {
    let (area, aspect) = (areaShare * Double(size * size), exp(logAspect))
    return (
      Int((area * aspect).squareRoot().rounded(.toNearestOrEven)),
      Int((area / aspect).squareRoot().rounded(.toNearestOrEven))
    )
  }

  /// - Parameter value: The next value of the box, channel slowest.
  static func erase(
    _ view: UnsafeMutablePointer<Float>, channels: Int, size: Int, box: CropBox,
    with value: () -> Float
  ) {
    for channel in 0..<channels {
      for row in box.top..<box.top + box.height {
        let line = view + (channel * size + row) * size
        for column in box.left..<box.left + box.width { line[column] = value() }
      }
    }
  }
}
