// swift-tools-version: 6.2
import PackageDescription

#if arch(x86_64)
  let defaultTargetCPU = "x86-64-v3"
#else
  let defaultTargetCPU = "armv8-a"
#endif

/// Instruction set of the build: x86-64-v2, x86-64-v3, x86-64-v4, native, or an arm64 baseline.
let targetCPU = Context.environment["CAE_TARGET_CPU"] ?? defaultTargetCPU

/// CI turns warnings into errors; a user's newer compiler must not.
let strictness: [SwiftSetting] =
  Context.environment["CAE_WARNINGS_AS_ERRORS"] == nil ? [] : [.treatAllWarnings(as: .error)]

/// Tests fill released activation memory with NaN, so that a kernel that still reads it is seen:
/// pointers do not keep memory alive.
let memoryChecks: [SwiftSetting] =
  Context.environment["CAE_CHECK_MEMORY"] == nil ? [] : [.define("CAE_CHECK_MEMORY")]

let settings: [SwiftSetting] =
  [
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    // Reaches Swift code as well: FMA and 256-bit lanes in the kernels.
    .unsafeFlags(["-Xcc", "-march=\(targetCPU)"]),
    // For the sentence that a CPU without it gets.
    .define("CAE_CPU_\(targetCPU.uppercased().replacing("-", with: "_"))"),
  ] + strictness + memoryChecks

let argumentParser: Target.Dependency = .product(
  name: "ArgumentParser", package: "swift-argument-parser")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")

func systemLibrary(_ name: String, pkgConfig: String, apt: String) -> Target {
  .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt])])
}

func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
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
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
  ],
  targets: [
    systemLibrary("CMPI", pkgConfig: "ompi-c", apt: "libopenmpi-dev"),
    systemLibrary("CHDF5", pkgConfig: "hdf5", apt: "libhdf5-dev"),
    systemLibrary("CBLAS", pkgConfig: "openblas", apt: "libopenblas-dev"),
    systemLibrary("CZlib", pkgConfig: "zlib", apt: "zlib1g-dev"),
    systemLibrary("CPNG", pkgConfig: "libpng", apt: "libpng-dev"),
    systemLibrary("CJPEG", pkgConfig: "libjpeg", apt: "libjpeg62-turbo-dev"),
    systemLibrary("CHwloc", pkgConfig: "hwloc", apt: "libhwloc-dev"),

    module("Files", []),
    module("Hardware", ["CHwloc", "Files"]),
    module("EventFiles", ["Files", protobuf]),
    module("MPI", ["CMPI"]),
    module("HDF5", ["CHDF5"]),
    module("ZlibCodec", ["CZlib"]),
    module("PNGCodec", ["CPNG"]),
    module("JPEGCodec", ["CJPEG"]),
    module("TensorCore", ["CBLAS"]),
    module("Interfaces", ["TensorCore"]),
    module("Artifacts", ["HDF5", "Files", "TensorCore", yams]),
    module("NN", ["TensorCore", "Interfaces"]),
    module("Models", ["NN", "Interfaces", "TensorCore"]),
    module(
      "ShardedData",
      ["HDF5", "Files", "ZlibCodec", "PNGCodec", "JPEGCodec", "Interfaces", "TensorCore"]),
    module("DataParallel", ["MPI", "HDF5", "Files", "Hardware", "NN", "Interfaces", "TensorCore"]),
    .target(
      name: "Training",
      dependencies: [
        "Files", "Hardware", "EventFiles", "Artifacts", "NN", "Models", "ShardedData",
        "DataParallel", "Interfaces", "TensorCore", yams,
      ],
      // What `cae-dist` alone runs; a link to the file in Configs.
      resources: [.embedInCode("Resources/quickstart.yaml")], swiftSettings: settings),
    module(
      "Diagnostics",
      [
        "Artifacts", "Training", "Models", "ShardedData", "DataParallel", "NN", "Files", "Hardware",
        "Interfaces", "TensorCore",
      ]),
    module(
      "Reporting",
      [
        "Training", "Models", "NN", "ShardedData", "DataParallel", "Interfaces", "TensorCore",
        "Files", "PNGCodec",
      ]),
    .executableTarget(
      name: "CAEDistCLI",
      dependencies: ["Training", "Diagnostics", "Reporting", "ShardedData", argumentParser],
      swiftSettings: settings),

    .target(
      name: "TestSupport",
      dependencies: ["NN", "Models", "ShardedData", "Training", "Interfaces", "TensorCore"],
      path: "Tests/TestSupport", swiftSettings: settings),
    tests("FilesTests", ["Files"]),
    tests("HardwareTests", ["Hardware"]),
    tests("EventFilesTests", ["EventFiles", "Files", protobuf]),
    tests("MPITests", ["MPI"]),
    tests("HDF5Tests", ["HDF5"]),
    tests("TensorCoreTests", ["TensorCore"]),
    tests("ArtifactsTests", ["Artifacts", "HDF5", "Files", "TensorCore"]),
    tests("NNTests", ["NN", "TensorCore", "Interfaces"]),
    tests(
      "ModelsTests",
      ["Models", "NN", "TensorCore", "Interfaces", "Artifacts", "Diagnostics", "HDF5"]),
    tests(
      "ShardedDataTests",
      [
        "ShardedData", "HDF5", "Files", "PNGCodec", "JPEGCodec", "ZlibCodec", "Interfaces",
        "TensorCore",
      ]),
    tests(
      "DataParallelTests",
      ["DataParallel", "MPI", "NN", "TensorCore", "Interfaces", "HDF5", "Files"]),
    tests(
      "TrainingTests",
      [
        "Training", "Models", "NN", "DataParallel", "ShardedData", "Artifacts", "TensorCore",
        "Interfaces", "Files", "Hardware", "JPEGCodec",
      ]),
    tests("ReportingTests", ["Reporting", "Training", "ShardedData", "Files", "PNGCodec"]),
    tests("DiagnosticsTests", ["Diagnostics"]),
    tests("CLITests", ["Artifacts", "Files", "HDF5", "PNGCodec"]),
    tests("RepositoryTests", ["Training", "Files"]),
  ],
  swiftLanguageModes: [.v6]
)
