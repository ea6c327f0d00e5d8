// swift-tools-version: 6.2
import PackageDescription

// One source, two builds. Without the variable this is an ordinary host package: full Swift, glibc, unit tests.
// With MOTE_DEVICE=1 (Scripts/build sets it, together with a Swift SDK) everything is Embedded Swift for a static
// binary. The two need separate `--scratch-path`s.
let isDeviceBuild = Context.environment["MOTE_DEVICE"] == "1"

/// With MOTE_WITHOUT_MOTECTL=1 the host build leaves out `motectl` and the packages that it needs: whoever works on the
/// agent builds and tests in a fraction of the time.
let hasHostTool = !isDeviceBuild && Context.environment["MOTE_WITHOUT_MOTECTL"] != "1"

/// Settings of every Swift target.
let common: [SwiftSetting] =
  [.enableExperimentalFeature("Lifetimes"), .enableExperimentalFeature("RawLayout")]
  + (isDeviceBuild ? [.enableExperimentalFeature("Embedded"), .unsafeFlags(["-wmo"])] : [])

/// On 32-bit machines Swift 6.3.1 takes any conversion between Int and Int64 for a use of the heap (the words of an
/// Int64 are a collection there), so the proof is left to the 64-bit builds of the same sources.
let is32Bit = Context.environment["MOTE_ARCH"]?.hasPrefix("armv") == true

/// Settings of the targets that may not allocate: all but `LinuxHost`. The compiler refuses any use of the heap.
let noHeap: [SwiftSetting] = common + (isDeviceBuild && !is32Bit ? [.unsafeFlags(["-no-allocations"])] : [])

/// The host build links the distribution's mbedTLS; a device build's is part of its Swift SDK.
let mbedTLS: [LinkerSetting] =
  isDeviceBuild
  ? [] : [.linkedLibrary("mbedtls"), .linkedLibrary("mbedx509"), .linkedLibrary("mbedcrypto")]

/// Packages of others, for `motectl` alone: a device build does not even resolve them, and building the product `mote`
/// compiles none of them.
let packages: [Package.Dependency] =
  !hasHostTool
  ? []
  : [
    .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-asn1.git", from: "1.7.0"),
    .package(url: "https://github.com/apple/swift-certificates.git", from: "1.19.4"),
    .package(url: "https://github.com/apple/swift-crypto.git", "4.5.0"..<"6.0.0"),
    .package(url: "https://github.com/apple/swift-http-types.git", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log.git", from: "1.14.0"),
    .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-extras.git", from: "1.34.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.0"),
    .package(url: "https://github.com/groue/GRDB.swift.git", from: "7.10.0"),
    // Without its default traits, which bring readers of configuration that nothing here uses.
    .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.0", traits: []),
  ]

/// The host tool `motectl` and what only it uses: ordinary Swift.
let hostTool: [Target] =
  !hasHostTool
  ? []
  : [
    .executableTarget(
      name: "motectl",
      dependencies: [
        "Bytes", "PlatformCertificates", "PlatformClient", "PlatformHTTP", "PlatformImages", "PlatformProtocol",
        "PlatformServer", "PlatformService", "PlatformStore",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: common,
      // What is delivered is a fifth as large without its symbols.
      linkerSettings: [.unsafeFlags(["-Xlinker", "-s"], .when(configuration: .release))]),
    // The platform's HTTP interface and its page.
    .target(
      name: "PlatformHTTP",
      dependencies: [
        "Bytes", "JSON", "PlatformImages", "PlatformProtocol", "PlatformServer", "PlatformService",
        .product(name: "HTTPTypes", package: "swift-http-types"),
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      // The page is part of the program: one file is all that a machine needs.
      resources: [.embedInCode("Page")], swiftSettings: common),
    // The network: listeners, connections, and the service on its event loop.
    .target(
      name: "PlatformServer",
      dependencies: [
        "Bytes", "CMalloc", "MQTT", "PlatformProtocol", "PlatformService", "PlatformStore",
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdCore", package: "hummingbird"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
        .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
        .product(name: "NIOWebSocket", package: "swift-nio"),
      ],
      swiftSettings: common),
    // A certificate authority of the platform's own.
    .target(
      name: "PlatformCertificates",
      dependencies: [
        .product(name: "Crypto", package: "swift-crypto"),
        .product(name: "SwiftASN1", package: "swift-asn1"),
        .product(name: "X509", package: "swift-certificates"),
      ],
      swiftSettings: common),
    // The database.
    .target(
      name: "PlatformStore",
      dependencies: ["PlatformProtocol", "PlatformService", .product(name: "GRDB", package: "GRDB.swift")],
      swiftSettings: common),
    // The application side of the protocol.
    .target(
      name: "PlatformClient",
      dependencies: [
        "Bytes", "IoTPlatform", "MQTT", "PlatformImages", "PlatformProtocol",
        .product(name: "NIOConcurrencyHelpers", package: "swift-nio"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
        .product(name: "NIOSSL", package: "swift-nio-ssl"),
      ],
      swiftSettings: common),
    // Firmware images: where they are kept, how they are checked and fetched.
    .target(name: "PlatformImages", dependencies: ["Bytes", "CDigest", "Firmware"], swiftSettings: common),
    // The platform's rules, without I/O.
    .target(
      name: "PlatformService", dependencies: ["Bytes", "CCrypt", "CDigest", "IoTPlatform", "MQTT", "PlatformProtocol"],
      swiftSettings: common),
    // What both sides of the protocol know: names, actions, closing codes, JSON.
    .target(name: "PlatformProtocol", dependencies: ["Bytes", "IoTPlatform", "JSON"], swiftSettings: common),
    .systemLibrary(name: "CCrypt"),
    .systemLibrary(name: "CDigest"),
    .systemLibrary(name: "CMalloc"),
    .testTarget(
      name: "PlatformServiceTests",
      dependencies: ["Bytes", "MQTT", "PlatformProtocol", "PlatformService", "TestSupport"],
      swiftSettings: common),
    .testTarget(
      name: "PlatformCertificatesTests", dependencies: ["PlatformCertificates"], swiftSettings: common),
    .testTarget(
      name: "PlatformServerTests",
      dependencies: [
        "Bytes", "PlatformProtocol", "PlatformServer", "PlatformService",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "NIOCore", package: "swift-nio"),
        .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "NIOPosix", package: "swift-nio"),
      ],
      swiftSettings: common),
    .testTarget(
      name: "PlatformStoreTests",
      dependencies: [
        "Bytes", "PlatformProtocol", "PlatformService", "PlatformStore", .product(name: "GRDB", package: "GRDB.swift"),
      ],
      swiftSettings: common),
    .testTarget(name: "PlatformImagesTests", dependencies: ["PlatformImages"], swiftSettings: common),
    .testTarget(
      name: "PlatformClientTests", dependencies: ["PlatformClient", "PlatformProtocol"], swiftSettings: common),
    .testTarget(
      name: "MotectlTests",
      dependencies: [
        "PlatformClient", "PlatformProtocol", "motectl",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: common),
  ]

let package = Package(
  name: "mote",
  products: [
    .executable(name: "mote", targets: ["mote"])
  ] + (hasHostTool ? [.executable(name: "motectl", targets: ["motectl"])] : []),
  dependencies: packages,
  targets: hostTool + [
    // Roof: programs.
    .executableTarget(
      name: "mote",
      dependencies: [
        "Agent", "Bytes", "AgentConfiguration", "Firmware", "HostInterface", "IoTPlatform", "JSON", "LinuxHost",
        "Telemetry",
      ],
      swiftSettings: noHeap),

    // Middle: protocol logic without I/O.
    .target(
      name: "Agent",
      dependencies: [
        "Bytes", "AgentConfiguration", "Firmware", "HTTP", "HostInterface", "IoTPlatform", "JSON", "MQTT", "Spool",
        "Telemetry",
      ],
      swiftSettings: noHeap),
    .target(
      name: "AgentConfiguration", dependencies: ["Bytes", "Fieldbus", "Firmware", "HostInterface", "IoTPlatform"],
      swiftSettings: noHeap),
    .target(
      name: "Firmware", dependencies: ["Bytes", "HostInterface"], exclude: ["BUNDLE.md", "SLOTS.md"],
      swiftSettings: noHeap),
    .target(name: "Fieldbus", dependencies: ["Bytes"], swiftSettings: noHeap),
    .target(name: "HTTP", dependencies: ["Bytes"], swiftSettings: noHeap),
    .target(name: "IoTPlatform", dependencies: ["Bytes", "JSON"], swiftSettings: noHeap),
    .target(
      name: "Telemetry", dependencies: ["AgentConfiguration", "Bytes", "Fieldbus", "HostInterface"],
      swiftSettings: noHeap),
    .target(
      name: "Spool", dependencies: ["Bytes", "HostInterface"], exclude: ["FLASH.md"], swiftSettings: noHeap),
    .target(name: "MQTT", dependencies: ["Bytes"], swiftSettings: noHeap),

    // Ground: bytes and Linux.
    .target(name: "Bytes", swiftSettings: noHeap),
    .target(name: "JSON", dependencies: ["Bytes"], swiftSettings: noHeap),
    .target(name: "HostInterface", dependencies: ["Bytes"], swiftSettings: noHeap),
    .target(name: "Storage", dependencies: ["Bytes", "HostInterface"], exclude: ["FORMAT.md"], swiftSettings: noHeap),
    .target(name: "CLinux", exclude: ["device"]),
    .target(name: "CMbedTLS", linkerSettings: mbedTLS),
    .target(
      name: "LinuxHost",
      dependencies: ["Bytes", "CLinux", "CMbedTLS", "Fieldbus", "Firmware", "HostInterface", "Storage"],
      swiftSettings: common),

    // What Scripts/bench measures besides the agent.
    .executableTarget(
      name: "publisher", dependencies: ["Bytes", "CLinux", "MQTT"], path: "Tests/Bench/Publisher", swiftSettings: common
    ),

    // Tests, of the host build only.
    .target(name: "TestSupport", dependencies: ["Bytes"], path: "Tests/TestSupport", swiftSettings: common),
    .testTarget(name: "BytesTests", dependencies: ["Bytes", "TestSupport"], swiftSettings: common),
    .testTarget(name: "JSONTests", dependencies: ["Bytes", "JSON", "TestSupport"], swiftSettings: common),
    .testTarget(name: "MQTTTests", dependencies: ["Bytes", "MQTT", "TestSupport"], swiftSettings: common),
    .target(
      name: "Simulator",
      dependencies: [
        "Agent", "Bytes", "AgentConfiguration", "CMbedTLS", "Firmware", "HostInterface", "MQTT", "Spool", "Storage",
        "TestSupport",
      ],
      path: "Tests/Simulator", swiftSettings: common),
    .executableTarget(
      name: "simulate", dependencies: ["Simulator"], path: "Tests/Simulate", swiftSettings: common),
    .testTarget(
      name: "AgentTests",
      dependencies: [
        "Agent", "AgentConfiguration", "Bytes", "Firmware", "HostInterface", "IoTPlatform", "Simulator", "TestSupport",
      ],
      swiftSettings: common),
    .testTarget(
      name: "StorageTests", dependencies: ["Bytes", "HostInterface", "Simulator", "Storage", "TestSupport"],
      swiftSettings: common),
    .testTarget(
      name: "FirmwareTests", dependencies: ["Bytes", "Firmware", "HostInterface", "TestSupport"],
      swiftSettings: common),
    .testTarget(
      name: "SpoolTests", dependencies: ["Bytes", "HostInterface", "Simulator", "Spool", "Storage", "TestSupport"],
      swiftSettings: common),
    .testTarget(
      name: "TelemetryTests",
      dependencies: ["AgentConfiguration", "Bytes", "HostInterface", "Telemetry", "TestSupport"],
      swiftSettings: common),
    .testTarget(
      name: "AgentConfigurationTests",
      dependencies: ["Bytes", "AgentConfiguration", "HostInterface", "IoTPlatform", "TestSupport"],
      swiftSettings: common),
    .testTarget(name: "FieldbusTests", dependencies: ["Bytes", "Fieldbus", "TestSupport"], swiftSettings: common),
    .testTarget(name: "HTTPTests", dependencies: ["Bytes", "HTTP", "TestSupport"], swiftSettings: common),
    .testTarget(
      name: "LinuxHostTests",
      dependencies: [
        "Agent", "AgentConfiguration", "Bytes", "CLinux", "Firmware", "HostInterface", "LinuxHost", "TestSupport",
      ],
      exclude: ["flashfiles.py", "fuse.py", "slowfiles.py", "watchdogfile.py", "webserver.py"], swiftSettings: common),
    .testTarget(
      name: "IoTPlatformTests", dependencies: ["Bytes", "IoTPlatform", "JSON", "TestSupport"], swiftSettings: common),
  ],
  swiftLanguageModes: [.v6]
)
