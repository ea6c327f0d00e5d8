// `[firmware]`: what images are taken, and who installs them.

import Bytes
import Firmware

extension SettingsLoader {
  mutating func readFirmware(_ settings: inout Settings) {
    let section = plainSection(.firmware)
    guard section > 0 else { return }
    settings.firmware.isConfigured = true
    settings.firmware.installer = FirmwareInstaller(rawValue: choice(.installer)) ?? .agent
    settings.firmware.run = path(.installerRun, of: &settings)
    settings.firmware.keyFile = path(.keyFile, of: &settings)
    settings.firmware.compatible = compatible(of: &settings)
    settings.firmware.allowsDowngrade = boolean(.allowDowngrade)
    settings.firmware.imageBytesMax = size(.imageSize)
    settings.firmware.caFile = trust(.firmwareCAFile, of: &settings)
    settings.firmware.throttleBytesPerSecond = size(.throttle)
    settings.firmware.deadline = duration(.downloadDeadline)
    // Quickstart has no device management, which is said elsewhere.
    if !isManaged, !settings.isQuickstart {
      reportMissing(.lifetime, in: section, expected: "a [management]")
    }
    let isOwn = settings.firmware.installer == .agent
    if isOwn, winner(.keyFile) == nil {
      reportMissing(.keyFile, in: section, expected: "a file of public keys")
    }
    if winner(.compatible) == nil, isOwn || winner(.keyFile) != nil {
      reportMissing(.compatible, in: section, expected: "what images are made for")
    }
    if !isOwn, winner(.installerRun) == nil {
      reportMissing(.installerRun, in: section, expected: "the path of a program")
    }
  }

  private mutating func compatible(of settings: inout Settings) -> Text {
    guard let entry = winner(.compatible) else { return .none }
    if isHeaderText(bytes(entry.value)) { return settings.keep(bytes(entry.value)) }
    reportFound(.error, entry, "; expected 1 to 64 printable characters without blanks")
    return .none
  }
}

/// Whether the header of a bundle can have it as what it is for (BUNDLE.md).
private func isHeaderText(_ text: Span<UInt8>) -> Bool {
  for index in text.indices where text[index] <= 0x20 || text[index] >= 0x7F { return false }
  return !text.isEmpty && text.count <= BundleLimits.compatibleBytesMax
}
