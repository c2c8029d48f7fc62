import Testing

@testable import Training

@Suite struct KernelChoiceTests {
  @Test(arguments: [
    ("sse4_2 avx", nil), ("avx2 fma", "Haswell"), ("avx2", nil), ("avx2 fma avx512f", "Haswell"),
    ("avx2 fma avx512f avx512bw avx512dq avx512vl", "SkylakeX"),
  ])
  func kernelsAreForWhatTheCPUHas(features: String, kernels: String?) {
    #expect(KernelChoice.kernels(for: Set(features.split(separator: " "))) == kernels)
  }
}
