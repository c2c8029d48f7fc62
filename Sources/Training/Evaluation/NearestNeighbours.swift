import Glibc
import Interfaces
import TensorCore

/// Classifies by the nearest training images: the cheap check of an encoder, which trains nothing.
///
/// The k images with the largest cosine vote for their class with weight `exp(cosine / 0.07)`.
/// - SeeAlso: Wu et al., arXiv:1805.01978; as DINO evaluates, arXiv:2104.14294.
struct NearestNeighbours {
  static let temperature = 0.07

  let bank: FeatureStore
  let neighbours: Int
  let classes: Int
  let pool: ThreadPool

  /// Collective. Of the queries each rank classifies a part.
  ///
  /// - Parameter isCentred: The mean of the training features is subtracted from all.
  func accuracy(
    of queries: FeatureStore, isCentred: Bool, _ group: any ProcessGroup
  ) throws -> Accuracy {
    let columns = bank.columns
    let centre = isCentred ? mean() : Tensor(repeating: 0, shape: [columns])
    let factors = SimilarityKernel.inverseNorms(
      pool, bank.all(), centre: centre.pointer, rows: bank.count, columns: columns)
    var accuracy = Accuracy(classes: classes)
    let batches = OrderedBatches(count: queries.count, size: 64)
    for number in stride(from: group.rank, to: batches.batches, by: group.worldSize) {
      let samples = batches.samples(of: number)
      let rows = Tensor(uninitialized: [samples.count, columns])
      rows.pointer.update(
        from: queries.features(of: samples.lowerBound), count: samples.count * columns)
      SimilarityKernel.normalizeRows(
        pool, rows.pointer, centre: centre.pointer, rows: samples.count, columns: columns)
      let offsets = samples.indices.map { place in
        (0..<columns).reduce(Float(0)) {
          $0 + rows.pointer[(place - samples.lowerBound) * columns + $1] * centre.pointer[$1]
        }
      }
      let nearest = SimilarityKernel.nearest(
        pool, queries: rows.pointer, offsets: offsets, queryCount: samples.count,
        bank: bank.all(), factors: factors.pointer, bankRows: bank.count, columns: columns,
        count: neighbours)
      for (place, sample) in samples.enumerated() {
        let scores = votes(nearest[place])
        scores.withUnsafeBufferPointer {
          accuracy.add(scores: $0, label: Int(queries.label(of: sample)))
        }
      }
    }
    return try accuracy.summed(group)
  }

  private func votes(_ nearest: [SimilarityKernel.Neighbour]) -> [Float] {
    var scores = [Float](repeating: 0, count: classes)
    for neighbour in nearest {
      scores[Int(bank.label(of: neighbour.index))] += Float(
        exp(Double(neighbour.similarity) / NearestNeighbours.temperature))
    }
    return scores
  }

  /// In the order of the samples, in Double: the same on all ranks.
  private func mean() -> Tensor {
    let columns = bank.columns
    var sums = [Double](repeating: 0, count: columns)
    for sample in 0..<bank.count {
      let row = bank.features(of: sample)
      for column in 0..<columns { sums[column] += Double(row[column]) }
    }
    return Tensor(sums.map { Float($0 / Double(bank.count)) }, shape: [columns])
  }
}
