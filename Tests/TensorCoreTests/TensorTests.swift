import Testing

@testable import TensorCore

@Suite struct ShapeTests {
  @Test func extentsAndCounts() {
    let shape: Shape = [2, 3, 4]
    #expect((shape.rank, shape.count) == (3, 24))
    #expect((shape[0], shape[2]) == (2, 4))
    #expect(shape.dimensions == [2, 3, 4])
    #expect("\(shape)" == "[2, 3, 4]")
    #expect(Shape([]).count == 1)
    #expect(Shape([5, 0]).count == 0)
    #expect(Shape([1, 2, 3, 4, 5]).count == 120)
  }

  @Test func equalityTellsTrailingOnesApart() {
    #expect(([2, 3] as Shape) == Shape([2, 3]))
    #expect(([2, 3] as Shape) != [2, 3, 1])
    #expect(([2, 3] as Shape) != [3, 2])
    #expect(Set([[2, 3], [2, 3], [6]] as [Shape]).count == 2)
  }

  @Test func wrongDimensionsStopTheProgram() async {
    await #expect(processExitsWith: .failure) { _ = Shape([1, 1, 1, 1, 1, 1]) }
    await #expect(processExitsWith: .failure) { _ = Shape([2, -1]) }
    await #expect(processExitsWith: .failure) { _ = Shape([2, 3])[2] }
  }
}

@Suite struct TensorTests {
  @Test func rowsAndColumns() {
    let tensor = Tensor([1, 2, 3, 4, 5, 6], shape: [1, 2, 3])
    #expect((tensor.rows, tensor.columns, tensor.count) == (2, 3, 6))
    #expect(tensor.reshaped([3, 2]).values == [1, 2, 3, 4, 5, 6])
    #expect(Tensor(repeating: 7, shape: [2]).values == [7, 7])
  }

  @Test func viewsShareAndCopiesDoNot() {
    let tensor = Tensor([1, 2, 3, 4], shape: [4])
    let view = Tensor(storage: tensor.storage, offset: 2, shape: [2])
    let copy = tensor.copy()
    view.pointer[0] = 9
    #expect(tensor.values == [1, 2, 9, 4])
    #expect(view.values == [9, 4])
    #expect(copy.values == [1, 2, 3, 4])
  }

  @Test func aTensorLargerThanItsStorageStopsTheProgram() async {
    await #expect(processExitsWith: .failure) {
      let storage = HeapAllocator().allocate(count: 4, purpose: "test")
      _ = Tensor(storage: storage, offset: 2, shape: [3])
    }
  }

  @Test func heapMemoryIsZeroedAndAligned() {
    for count in [0, 1, 15, 1000] {
      let storage = HeapAllocator().allocate(count: count, purpose: "test")
      #expect(storage.count == count)
      #expect(UInt(bitPattern: storage.pointer) % 64 == 0)
      #expect((0..<count).allSatisfy { storage.pointer[$0] == 0 })
    }
  }
}
