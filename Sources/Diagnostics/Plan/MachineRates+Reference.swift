extension MachineRates {
  /// Of a core of the machine that docs/performance.md has its figures of.
  static let reference = MachineRates(
    processor: "Intel Xeon (Sapphire Rapids)", kernels: "SkylakeX", cores: 2,
    models: [
      Model(
        width: 768, alone: ["products": 1 / 150e9], loaded: ["products": 1 / 130e9], microBatch: 0,
        synchronization: 1)
    ],
    addBytesPerSecond: 5e9, socketSecondsPerByte: 1e-9, copyBytesPerSecond: 5e9,
    writeBytesPerSecond: 1e9)
}
