internal import CMPI

/// Messages under way: started here, completed by `MPIRequest.wait`.
extension MPICommunicator {
  /// Starts to send bytes to a rank. They must stay valid and unchanged until `wait` returns.
  ///
  /// Not collective. Not blocking. MPI 3.1, section 3.7.2.
  public func startSend(
    _ bytes: UnsafeRawBufferPointer, to destination: Int, tag: Int = 0
  ) throws(MPIError) -> MPIRequest {
    try start("MPI_Isend", count: bytes.count) { piece, request in
      MPI_Isend(
        bytes.baseAddress?.advanced(by: piece.lowerBound), piece.count32, cmpi_uint8(),
        Int32(destination), Int32(tag), handle, &request)
    }
  }

  /// Starts to receive as many bytes from a rank. The buffer must not be touched until `wait`
  /// returns.
  ///
  /// Not collective. Not blocking. MPI 3.1, section 3.7.2.
  public func startReceive(
    into bytes: UnsafeMutableRawBufferPointer, from source: Int, tag: Int = 0
  ) throws(MPIError) -> MPIRequest {
    try start("MPI_Irecv", count: bytes.count) { piece, request in
      MPI_Irecv(
        bytes.baseAddress?.advanced(by: piece.lowerBound), piece.count32, cmpi_uint8(),
        Int32(source), Int32(tag), handle, &request)
    }
  }

  /// Starts one call a piece.
  private func start(
    _ operation: String, count: Int, _ call: (Range<Int>, inout MPI_Request?) -> Int32
  ) throws(MPIError) -> MPIRequest {
    var requests: [MPI_Request?] = []
    for piece in LargeCount.pieces(of: count, limit: countLimit) {
      var request: MPI_Request? = cmpi_null_request()
      do throws(MPIError) {
        try checked(call(piece, &request), operation)
      } catch {
        // Pieces that were started still use the buffer.
        try MPIRequest(requests, operation).wait()
        throw error
      }
      requests.append(request)
    }
    return MPIRequest(requests, operation)
  }
}

/// Non-blocking collectives: started here, completed by `MPIRequest.wait`.
extension MPICommunicator {
  /// Starts to replace the buffer on every rank by the reduction over ranks.
  ///
  /// Collective: same count and reduction on all ranks, in the same order among all collectives.
  /// Not blocking. The buffer must stay valid and must not be touched until `wait` returns.
  /// MPI 3.1, section 5.12.8.
  public func startAllReduce<T: MPIRepresentable>(
    _ buffer: UnsafeMutableBufferPointer<T>, _ reduction: MPIReduction
  ) throws(MPIError) -> MPIRequest {
    try start("MPI_Iallreduce", count: buffer.count) { piece, request in
      MPI_Iallreduce(
        cmpi_in_place(), buffer.start(of: piece), piece.count32, T.elementType.handle,
        reduction.handle, handle, &request)
    }
  }

  /// Starts to gather the equally long `input` of all ranks into `output`, in rank order.
  ///
  /// Collective: same count on all ranks, in the same order among all collectives. Not blocking.
  /// Neither buffer may be touched until `wait` returns. MPI 3.1, section 5.12.5.
  ///
  /// - Precondition: `output.count == size * input.count`, at most 2^31 - 1.
  public func startAllGather(
    _ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
  ) throws(MPIError) -> MPIRequest {
    precondition(
      output.count == size * input.count && output.count <= Int(Int32.max), "wrong sizes")
    var request: MPI_Request? = cmpi_null_request()
    let status = MPI_Iallgather(
      input.baseAddress, Int32(input.count), cmpi_uint8(), output.baseAddress, Int32(input.count),
      cmpi_uint8(), handle, &request)
    try checked(status, "MPI_Iallgather")
    return MPIRequest([request], "MPI_Iallgather")
  }

  /// Starts to copy the bytes of `root` to all ranks.
  ///
  /// Collective: same count and root on all ranks, in the same order among all collectives. Not
  /// blocking. MPI 3.1, section 5.12.2.
  public func startBroadcast(
    _ bytes: UnsafeMutableRawBufferPointer, root: Int
  ) throws(MPIError) -> MPIRequest {
    try start("MPI_Ibcast", count: bytes.count) { piece, request in
      MPI_Ibcast(
        bytes.baseAddress?.advanced(by: piece.lowerBound), piece.count32, cmpi_uint8(),
        Int32(root), handle, &request)
    }
  }

  /// Starts a barrier: complete on a rank only after all ranks have started it.
  ///
  /// Collective. Not blocking. MPI 3.1, section 5.12.1.
  public func startBarrier() throws(MPIError) -> MPIRequest {
    var request: MPI_Request? = cmpi_null_request()
    try checked(MPI_Ibarrier(handle, &request), "MPI_Ibarrier")
    return MPIRequest([request], "MPI_Ibarrier")
  }

  /// All-reduces the buffer while `body` runs, and returns when both are done.
  ///
  /// Collective: same count and reduction on all ranks, in the same order among all collectives.
  /// Blocking. `body` must not touch the buffer, and should call `test` of its request now and
  /// then: the library makes progress only inside calls. MPI 3.1, section 5.12.8.
  ///
  /// - Returns: What `body` returns.
  /// - Throws: What `body` throws, after the operation is complete; or the failure of that.
  public func withAllReduce<T: MPIRepresentable, Result>(
    _ buffer: UnsafeMutableBufferPointer<T>, _ reduction: MPIReduction,
    _ body: (inout MPIRequest) throws(MPIError) -> Result
  ) throws(MPIError) -> Result {
    var request = try startAllReduce(buffer, reduction)
    let result: Result
    do throws(MPIError) {
      result = try body(&request)
    } catch {
      try request.wait()
      throw error
    }
    try request.wait()
    return result
  }
}
