internal import CMPI

/// Blocking collectives. Buffers are borrowed for the call. Counts may be of any size.
extension MPICommunicator {
  /// Returns on a rank only after all ranks have called it.
  ///
  /// Collective. Blocking. MPI 3.1, section 5.3.
  public func barrier() throws(MPIError) { try checked(MPI_Barrier(handle), "MPI_Barrier") }

  /// Copies the buffer of `root` to all ranks.
  ///
  /// Collective: same count and root on all ranks. Blocking. MPI 3.1, section 5.4.
  ///
  /// - Parameter buffer: Read on `root`, overwritten on the others.
  public func broadcast<T: MPIRepresentable>(
    _ buffer: UnsafeMutableBufferPointer<T>, root: Int
  ) throws(MPIError) {
    for piece in LargeCount.pieces(of: buffer.count, limit: countLimit) {
      let status = MPI_Bcast(
        buffer.start(of: piece), piece.count32, T.elementType.handle, Int32(root), handle)
      try checked(status, "MPI_Bcast")
    }
  }

  /// Replaces the buffer on every rank by the reduction over ranks, element by element.
  ///
  /// The order of the sum is the library's: the result is the same on all ranks, but may differ
  /// in the last bits between numbers of ranks, layouts and counts.
  ///
  /// Collective: same count and reduction on all ranks. Blocking. MPI 3.1, section 5.9.6.
  public func allReduce<T: MPIRepresentable>(
    _ buffer: UnsafeMutableBufferPointer<T>, _ reduction: MPIReduction
  ) throws(MPIError) {
    for piece in LargeCount.pieces(of: buffer.count, limit: countLimit) {
      let status = MPI_Allreduce(
        cmpi_in_place(), buffer.start(of: piece), piece.count32, T.elementType.handle,
        reduction.handle, handle)
      try checked(status, "MPI_Allreduce")
    }
  }

  /// Reduces `input`, and leaves on rank r the r-th of its equal blocks.
  ///
  /// Collective: same counts and reduction on all ranks. Blocking. MPI 3.1, section 5.10.1.
  ///
  /// - Parameters:
  ///   - input: `size` blocks; only read.
  ///   - block: Overwritten; may not overlap `input`.
  /// - Precondition: `input.count == size * block.count`.
  public func reduceScatterBlock<T: MPIRepresentable>(
    _ input: UnsafeBufferPointer<T>, into block: UnsafeMutableBufferPointer<T>,
    _ reduction: MPIReduction
  ) throws(MPIError) {
    requireBlocks(input.count, of: block.count)
    guard input.count > countLimit else {
      let status = MPI_Reduce_scatter_block(
        input.baseAddress, block.baseAddress, Int32(block.count), T.elementType.handle,
        reduction.handle, handle)
      return try checked(status, "MPI_Reduce_scatter_block")
    }
    // A derived type cannot be reduced, so long blocks go to their ranks one after the other.
    for root in 0..<size {
      for piece in LargeCount.pieces(of: block.count, limit: countLimit) {
        let source = input.baseAddress?.advanced(by: root * block.count + piece.lowerBound)
        let status = MPI_Reduce(
          source, root == rank ? block.start(of: piece) : nil, piece.count32,
          T.elementType.handle, reduction.handle, Int32(root), handle)
        try checked(status, "MPI_Reduce")
      }
    }
  }

  /// Fills the buffer on all ranks with the blocks of all ranks, in rank order.
  ///
  /// Collective: same count on all ranks. Blocking. MPI 3.1, section 5.7.
  ///
  /// - Parameter buffer: `size` equal blocks, of which the one of this rank is read and all
  ///   others are overwritten.
  /// - Precondition: `buffer.count` is a multiple of `size`.
  public func allGather<T: MPIRepresentable>(
    _ buffer: UnsafeMutableBufferPointer<T>
  ) throws(MPIError) {
    let count = buffer.count / size
    requireBlocks(buffer.count, of: count)
    guard buffer.count > countLimit else {
      let type = T.elementType.handle
      let status = MPI_Allgather(
        cmpi_in_place(), 0, type, buffer.baseAddress, Int32(count), type, handle)
      return try checked(status, "MPI_Allgather")
    }
    for piece in LargeCount.pieces(of: count, limit: max(1, countLimit / size)) {
      let strided = try StridedDatatype(
        of: T.elementType, size: MemoryLayout<T>.stride, count: piece.count, stride: count)
      let status = MPI_Allgather(
        cmpi_in_place(), 0, strided.handle, buffer.start(of: piece), 1, strided.handle, handle)
      try checked(status, "MPI_Allgather")
    }
  }

  /// Fills `buffer` on all ranks with the `block` of all ranks, in rank order.
  ///
  /// Collective: same counts on all ranks. Blocking. MPI 3.1, section 5.7.
  ///
  /// - Parameters:
  ///   - block: Only read; may not overlap `buffer`.
  ///   - buffer: Overwritten.
  /// - Precondition: `buffer.count == size * block.count`.
  public func allGather<T: MPIRepresentable>(
    _ block: UnsafeBufferPointer<T>, into buffer: UnsafeMutableBufferPointer<T>
  ) throws(MPIError) {
    requireBlocks(buffer.count, of: block.count)
    if let source = block.baseAddress, let target = buffer.baseAddress {
      target.advanced(by: rank * block.count).update(from: source, count: block.count)
    }
    try allGather(buffer)
  }

  /// Fills `buffer` on `root` with the `block` of all ranks, in rank order.
  ///
  /// Collective: same count and root on all ranks. Blocking. MPI 3.1, section 5.5.
  ///
  /// - Parameters:
  ///   - block: Only read; may not overlap `buffer`.
  ///   - buffer: Overwritten on `root`; not looked at elsewhere, where it may be nil.
  /// - Precondition: On `root`, `buffer.count == size * block.count`.
  public func gather<T: MPIRepresentable>(
    _ block: UnsafeBufferPointer<T>, into buffer: UnsafeMutableBufferPointer<T>?, root: Int
  ) throws(MPIError) {
    if rank == root { requireBlocks(buffer?.count ?? 0, of: block.count) }
    let type = T.elementType.handle
    guard block.count * size > countLimit else {
      let status = MPI_Gather(
        block.baseAddress, Int32(block.count), type, buffer?.baseAddress, Int32(block.count), type,
        Int32(root), handle)
      return try checked(status, "MPI_Gather")
    }
    for piece in LargeCount.pieces(of: block.count, limit: max(1, countLimit / size)) {
      let strided = try StridedDatatype(
        of: T.elementType, size: MemoryLayout<T>.stride, count: piece.count, stride: block.count)
      let status = MPI_Gather(
        block.start(of: piece), piece.count32, type, buffer?.start(of: piece), 1, strided.handle,
        Int32(root), handle)
      try checked(status, "MPI_Gather")
    }
  }

  private func requireBlocks(_ total: Int, of count: Int) {
    precondition(total == size * count, "\(total) elements are not \(size) blocks of \(count)")
  }
}

extension UnsafeMutableBufferPointer {
  /// Where a piece begins; nil only for an empty buffer.
  func start(of piece: Range<Int>) -> UnsafeMutablePointer<Element>? {
    baseAddress?.advanced(by: piece.lowerBound)
  }
}

extension UnsafeBufferPointer {
  func start(of piece: Range<Int>) -> UnsafePointer<Element>? {
    baseAddress?.advanced(by: piece.lowerBound)
  }
}

extension Range<Int> {
  var count32: Int32 { Int32(count) }
}
