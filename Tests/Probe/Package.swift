// swift-tools-version: 6.2
import PackageDescription

// A program that the agent's own code cannot replace: the agent has no floating point, and what goes wrong with a mixed
// calling convention goes wrong without a word. Tests/EndToEnd/test_probe.py builds it with each device's Swift SDK.
let package = Package(
  name: "probe",
  targets: [
    .target(name: "CProbe"),
    .executableTarget(
      name: "Probe", dependencies: ["CProbe"],
      swiftSettings: [.enableExperimentalFeature("Embedded"), .unsafeFlags(["-wmo"])]),
  ],
  swiftLanguageModes: [.v6]
)
