// swift-tools-version: 6.2
import PackageDescription

/// Instruction set of the build. One variable, because a binary that starts on a CPU without
/// what it was built for must refuse with a sentence, and the same name is shown there.
let targetCPU = Context.environment["CAE_TARGET_CPU"] ?? defaultTargetCPU

#if arch(x86_64)
  let defaultTargetCPU = "x86-64-v3"
#else
  let defaultTargetCPU = "armv8-a"
#endif

var settings: [SwiftSetting] = [
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("ExistentialAny"),
  // Vector width of the kernels; also reaches Swift code (FMA, 256-bit lanes).
  .unsafeFlags(["-Xcc", "-march=\(targetCPU)"]),
]

// CI turns warnings into errors; a user's newer compiler must not.
if Context.environment["CAE_WARNINGS_AS_ERRORS"] != nil {
  settings.append(.treatAllWarnings(as: .error))
}

/// Modules that hold raw memory mark each unsafe use.
let lowLevel: [SwiftSetting] = settings

let argumentParser: Target.Dependency = .product(
  name: "ArgumentParser", package: "swift-argument-parser")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")

func systemLibrary(_ name: String, pkgConfig: String, apt: String) -> Target {
  .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt])])
}

func module(
  _ name: String, _ dependencies: [Target.Dependency], settings moduleSettings: [SwiftSetting]? = nil
) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: moduleSettings ?? settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(
    name: name, dependencies: dependencies + ["TestSupport"], swiftSettings: settings)
}

let package = Package(
  name: "cae-dist",
  products: [.executable(name: "cae-dist", targets: ["CAEDistCLI"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    systemLibrary("CMPI", pkgConfig: "ompi-c", apt: "libopenmpi-dev"),
    systemLibrary("CHDF5", pkgConfig: "hdf5", apt: "libhdf5-dev"),
    systemLibrary("CBLAS", pkgConfig: "openblas", apt: "libopenblas-dev"),
    systemLibrary("CZlib", pkgConfig: "zlib", apt: "zlib1g-dev"),
    systemLibrary("CPNG", pkgConfig: "libpng", apt: "libpng-dev"),

    module("Files", []),
    module("MPI", ["CMPI"], settings: lowLevel),
    module("HDF5", ["CHDF5"], settings: lowLevel),
    module("ZlibCodec", ["CZlib"]),
    module("PNGCodec", ["CPNG"]),
    module("TensorCore", ["CBLAS"], settings: lowLevel),
    module("Interfaces", ["TensorCore"]),
    module("Artifacts", ["HDF5", "Files", "TensorCore"]),
    module("NN", ["TensorCore", "Interfaces"]),
    module("Models", ["NN", "Interfaces", "TensorCore"]),
    module(
      "ShardedData",
      ["HDF5", "Files", "ZlibCodec", "PNGCodec", "Interfaces", "TensorCore"]),
    module("DataParallel", ["MPI", "HDF5", "Files", "NN", "Interfaces", "TensorCore"]),
    module(
      "Training",
      [
        "Files", "Artifacts", "NN", "Models", "ShardedData", "DataParallel", "Interfaces",
        "TensorCore", yams, logging,
      ]),
    module(
      "Diagnostics",
      ["Artifacts", "Training", "Models", "NN", "DataParallel", "Interfaces", "TensorCore"]),
    .executableTarget(
      name: "CAEDistCLI", dependencies: ["Training", "Diagnostics", argumentParser],
      swiftSettings: settings),

    .target(
      name: "TestSupport", dependencies: ["TensorCore", "Interfaces", "NN"],
      path: "Tests/TestSupport", swiftSettings: settings),
    tests("FilesTests", ["Files"]),
    tests("MPITests", ["MPI"]),
    tests("HDF5Tests", ["HDF5"]),
    tests("TensorCoreTests", ["TensorCore"]),
    tests("NNTests", ["NN", "TensorCore", "Interfaces"]),
    tests("ModelsTests", ["Models", "NN", "TensorCore", "Interfaces", "Artifacts"]),
    tests(
      "ShardedDataTests",
      ["ShardedData", "HDF5", "Files", "PNGCodec", "ZlibCodec", "Interfaces", "TensorCore"]),
    tests("DataParallelTests", ["DataParallel", "NN", "TensorCore", "Interfaces", "HDF5", "Files"]),
    tests(
      "TrainingTests",
      [
        "Training", "Models", "NN", "DataParallel", "ShardedData", "Artifacts", "TensorCore",
        "Interfaces", "Files",
      ]),
    tests("CLITests", ["Files"]),
    tests("RepositoryTests", ["Training"]),
  ],
  swiftLanguageModes: [.v6]
)
