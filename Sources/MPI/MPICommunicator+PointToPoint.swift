internal import CMPI

/// Messages between two ranks. Not collective: each send needs the matching receive, with the
/// same count and tag. Buffers are borrowed for the call. Counts may be of any size.
extension MPICommunicator {
  /// Sends the buffer to a rank.
  ///
  /// Blocking: may return before the receiver has the message, or wait for it. MPI 3.1, section
  /// 3.2.1.
  public func send<T: MPIRepresentable>(
    _ buffer: UnsafeBufferPointer<T>, to destination: Int, tag: Int = 0
  ) throws(MPIError) {
    for piece in LargeCount.pieces(of: buffer.count, limit: countLimit) {
      let status = MPI_Send(
        buffer.start(of: piece), piece.count32, T.elementType.handle, Int32(destination),
        Int32(tag), handle)
      try checked(status, "MPI_Send")
    }
  }

  /// Fills the buffer with what a rank sends.
  ///
  /// Blocking. MPI 3.1, section 3.2.4.
  ///
  /// - Throws: `MPIError`, also if the message is shorter or longer than the buffer.
  public func receive<T: MPIRepresentable>(
    into buffer: UnsafeMutableBufferPointer<T>, from source: Int, tag: Int = 0
  ) throws(MPIError) {
    for piece in LargeCount.pieces(of: buffer.count, limit: countLimit) {
      var received = MPI_Status()
      let status = MPI_Recv(
        buffer.start(of: piece), piece.count32, T.elementType.handle, Int32(source), Int32(tag),
        handle, &received)
      try checked(status, "MPI_Recv")
      try requireFull(received, T.elementType, piece.count, "MPI_Recv")
    }
  }

  /// Sends to one rank and receives from another, in whatever order does not block.
  ///
  /// Blocking. MPI 3.1, section 3.10.
  ///
  /// - Parameters:
  ///   - buffer: Only read.
  ///   - received: Overwritten; may not overlap `buffer`.
  /// - Precondition: Equal counts; every rank of a ring or exchange uses the same.
  /// - Throws: `MPIError`, also if the message is shorter or longer than `received`.
  public func sendReceive<T: MPIRepresentable>(
    _ buffer: UnsafeBufferPointer<T>, to destination: Int,
    into received: UnsafeMutableBufferPointer<T>, from source: Int, tag: Int = 0
  ) throws(MPIError) {
    precondition(
      buffer.count == received.count, "sends \(buffer.count) and receives \(received.count)")
    let type = T.elementType.handle
    for piece in LargeCount.pieces(of: buffer.count, limit: countLimit) {
      var envelope = MPI_Status()
      let status = MPI_Sendrecv(
        buffer.start(of: piece), piece.count32, type, Int32(destination), Int32(tag),
        received.start(of: piece), piece.count32, type, Int32(source), Int32(tag), handle,
        &envelope)
      try checked(status, "MPI_Sendrecv")
      try requireFull(envelope, T.elementType, piece.count, "MPI_Sendrecv")
    }
  }

  /// The sender of a message with this tag that has come and is not received yet.
  ///
  /// Not collective. Not blocking; makes progress, so that a message on its way may be found by the
  /// next call. MPI 3.1, section 3.8.1.
  public func senderOfWaitingMessage(tag: Int = 0) throws(MPIError) -> Int? {
    var (flag, found): (Int32, MPI_Status) = (0, MPI_Status())
    try checked(
      MPI_Iprobe(cmpi_any_source(), Int32(tag), handle, &flag, &found), "MPI_Iprobe")
    return flag == 0 ? nil : Int(found.MPI_SOURCE)
  }

  /// A short message is no error to the library, but leaves a part of the buffer as it was.
  private func requireFull(
    _ status: MPI_Status, _ type: MPIElementType, _ expected: Int, _ operation: String
  ) throws(MPIError) {
    var (status, count): (MPI_Status, Int32) = (status, 0)
    try checked(MPI_Get_count(&status, type.handle, &count), "MPI_Get_count")
    guard count == expected else {
      throw MPIError(.count, operation, "got \(count) elements instead of \(expected)")
    }
  }
}
