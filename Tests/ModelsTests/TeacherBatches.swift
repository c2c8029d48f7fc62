import Interfaces
import TensorCore
import TestSupport
import Testing

@testable import Models

/// The bits of an image's features are the same alone and among others, on any number of threads.
func expectSameInAnyBatch(_ teacher: any FeatureTeacher) throws {
  let (count, size) = (35, teacher.view.size)
  var values = TestValues(4)
  let images = values.tensor([count, 3, size, size])
  let columns = (1 + teacher.grid * teacher.grid) * teacher.width
  let whole = teacher.features(of: images, pool: ThreadPool(threadCount: 1)).values
  for (batch, threads) in [(1, 1), (5, 2), (16, 1), (16, 2), (33, 2)] {
    let pool = ThreadPool(threadCount: threads)
    for first in [0, count - batch] {
      let part = Tensor(
        storage: images.storage, offset: images.offset + first * 3 * size * size,
        shape: [batch, 3, size, size])
      let found = teacher.features(of: part, pool: pool).values
      // Not the values: nobody could read the message.
      let isSame = found.elementsEqual(whole[first * columns..<(first + batch) * columns])
      #expect(isSame, "\(batch) images from \(first) on, \(threads) threads")
    }
  }
}
