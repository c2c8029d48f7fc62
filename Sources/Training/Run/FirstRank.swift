import Interfaces

/// What the first rank sees, for all: file systems may show ranks different things.
struct FirstRank {
  private let group: any ProcessGroup

  init(_ group: any ProcessGroup) { self.group = group }

  /// Collective: the numbers that `body`, which runs on the first rank, gives.
  func list(_ agreement: Agreement, _ body: () throws -> [Int]) throws -> [Int] {
    let own = try agreement.run { group.rank == 0 ? try body() : [] }
    let count = Int(try group.allReduceMaximum([Double(own.count)])[0])
    var numbers = own.map(Int64.init) + [Int64](repeating: 0, count: count - own.count)
    let outcome = numbers.withUnsafeMutableBytes { bytes in
      Result { () throws(CollectiveError) in try group.broadcast(bytes, root: 0) }
    }
    try outcome.get()
    return numbers.map(Int.init)
  }
}
