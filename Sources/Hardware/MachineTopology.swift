import CHwloc
import Glibc

/// Cores and NUMA nodes of this host, and which processors a process may run on.
///
/// What a container or a scheduler has taken away is not part of it.
///
/// - SeeAlso: Broquedis et al., hwloc: a generic framework for managing hardware affinities in HPC
///   applications, PDP 2010.
public final class MachineTopology {
  private let topology: hwloc_topology_t

  /// Nil where the system does not say how it is made.
  public init?() {
    var topology: hwloc_topology_t?
    guard hwloc_topology_init(&topology) == 0, let topology else { return nil }
    guard hwloc_topology_load(topology) == 0 else {
      hwloc_topology_destroy(topology)
      return nil
    }
    self.topology = topology
  }

  deinit { hwloc_topology_destroy(topology) }

  /// Those that this process may run on.
  public var ownProcessors: ProcessorSet? {
    processors { hwloc_get_cpubind(topology, $0, Int32(HWLOC_CPUBIND_PROCESS.rawValue)) }
  }

  /// Those that another process may run on; nil where it is gone.
  public func processors(ofProcess process: Int32) -> ProcessorSet? {
    processors { hwloc_get_proc_cpubind(topology, process, $0, 0) }
  }

  /// Lets this process, with all its threads, run on these processors alone.
  ///
  /// - Returns: False where the system does not.
  public func bind(to processors: ProcessorSet) -> Bool {
    withBitmap(processors) {
      hwloc_set_cpubind(topology, $0, Int32(HWLOC_CPUBIND_PROCESS.rawValue)) == 0
    }
  }

  /// Cores that have one of these processors: two hardware threads of a core are one.
  public func coreCount(in processors: ProcessorSet) -> Int {
    let cores = objects(HWLOC_OBJ_CORE, in: processors).count
    return cores > 0 ? cores : processors.count
  }

  /// Numbers of the NUMA nodes that have one of these processors.
  public func memoryNodes(of processors: ProcessorSet) -> [Int] {
    objects(HWLOC_OBJ_NUMANODE, in: processors)
  }

  /// Divides processors among `count` ranks: whole cores, neighbours together.
  public func shares(of processors: ProcessorSet, count: Int) -> [ProcessorSet] {
    let cores = Int(hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE))
    let sets = (0..<cores).compactMap { index -> ProcessorSet? in
      let core = hwloc_get_obj_by_type(topology, HWLOC_OBJ_CORE, UInt32(index))
      let numbers = (core?.pointee.cpuset).map(MachineTopology.numbers) ?? []
      let own = ProcessorSet(numbers.filter(Set(processors.numbers).contains))
      return own.isEmpty ? nil : own
    }
    // In hwloc's order, cores of a NUMA node are neighbours.
    guard sets.count >= count else { return Array(repeating: processors, count: count) }
    return (0..<count).map { rank in
      ProcessorSet(
        sets[sets.count * rank / count..<sets.count * (rank + 1) / count].flatMap(\.numbers))
    }
  }

  /// System numbers of the objects of a kind that touch the processors.
  private func objects(_ kind: hwloc_obj_type_t, in processors: ProcessorSet) -> [Int] {
    let own = Set(processors.numbers)
    return (0..<max(0, hwloc_get_nbobjs_by_type(topology, kind))).compactMap { index in
      guard let object = hwloc_get_obj_by_type(topology, kind, UInt32(index)),
        let set = object.pointee.cpuset,
        MachineTopology.numbers(set).contains(where: own.contains)
      else { return nil }
      return Int(object.pointee.os_index)
    }
  }

  private func processors(_ get: (hwloc_bitmap_t) -> Int32) -> ProcessorSet? {
    guard let bitmap = hwloc_bitmap_alloc() else { return nil }
    defer { hwloc_bitmap_free(bitmap) }
    guard get(bitmap) == 0, hwloc_bitmap_weight(bitmap) > 0 else { return nil }
    return ProcessorSet(MachineTopology.numbers(bitmap))
  }

  private func withBitmap(_ processors: ProcessorSet, _ body: (hwloc_bitmap_t) -> Bool) -> Bool {
    guard let bitmap = hwloc_bitmap_alloc() else { return false }
    defer { hwloc_bitmap_free(bitmap) }
    for number in processors.numbers { hwloc_bitmap_set(bitmap, UInt32(number)) }
    return body(bitmap)
  }

  private static func numbers(_ bitmap: hwloc_bitmap_t) -> [Int] {
    var numbers: [Int] = []
    var next = hwloc_bitmap_first(bitmap)
    while next >= 0 {
      numbers.append(Int(next))
      next = hwloc_bitmap_next(bitmap, next)
    }
    return numbers
  }
}
