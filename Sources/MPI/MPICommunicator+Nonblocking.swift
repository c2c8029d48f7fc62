internal import CMPI

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
    let operation = "MPI_Iallreduce"
    var requests: [MPI_Request?] = []
    for piece in LargeCount.pieces(of: buffer.count, limit: countLimit) {
      var request: MPI_Request? = cmpi_null_request()
      let status = MPI_Iallreduce(
        cmpi_in_place(), buffer.start(of: piece), piece.count32, T.elementType.handle,
        reduction.handle, handle, &request)
      do throws(MPIError) {
        try checked(status, operation)
      } catch {
        // Pieces that were started still write into the buffer.
        try MPIRequest(requests, operation).wait()
        throw error
      }
      requests.append(request)
    }
    return MPIRequest(requests, operation)
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
