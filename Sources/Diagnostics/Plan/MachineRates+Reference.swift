extension MachineRates {
  /// Of the machine that docs/performance.md has its figures of.
  static let reference = MachineRates(
    processor: "Intel Xeon (family 6, model 207)", kernels: "SkylakeX", cores: 2,
    models: [
      Model(
        width: 384,
        alone: [
          "activations": 2.43e-09,
          "attention": 1.92e-11,
          "dataMovement": 7.549e-11,
          "elementwise": 2.981e-09,
          "loss": 1.437e-09,
          "norms": 1.636e-09,
          "optimizer": 2.887e-09,
          "other": 4.272e-10,
          "products": 6.469e-12,
        ],
        loaded: [
          "activations": 2.49e-09,
          "attention": 1.917e-11,
          "dataMovement": 7.466e-11,
          "elementwise": 3.082e-09,
          "loss": 1.408e-09,
          "norms": 1.629e-09,
          "optimizer": 3.272e-09,
          "other": 4.272e-10,
          "products": 6.565e-12,
        ],
        microBatch: 1.367e-09, synchronization: 1.131),
      Model(
        width: 768,
        alone: [
          "activations": 2.636e-09,
          "attention": 1.622e-11,
          "dataMovement": 6.13e-11,
          "elementwise": 3.586e-09,
          "loss": 1.506e-09,
          "norms": 1.887e-09,
          "optimizer": 3e-09,
          "other": 5.302e-10,
          "products": 6.23e-12,
        ],
        loaded: [
          "activations": 2.604e-09,
          "attention": 1.666e-11,
          "dataMovement": 6.301e-11,
          "elementwise": 3.598e-09,
          "loss": 1.516e-09,
          "norms": 1.919e-09,
          "optimizer": 3.613e-09,
          "other": 5.302e-10,
          "products": 6.38e-12,
        ],
        microBatch: 1.466e-09, synchronization: 1.069),
    ],
    addBytesPerSecond: 9.25e+09, socketSecondsPerByte: 6.25e-10,
    copyBytesPerSecond: 1.51e+10, writeBytesPerSecond: 1.1e+09)
}
