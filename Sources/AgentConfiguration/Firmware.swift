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
    settings.firmware.slots = (path(.slotA, of: &settings), path(.slotB, of: &settings))
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
    let hasSlots = settings.firmware.installer != .command
    if hasSlots, winner(.keyFile) == nil {
      reportMissing(.keyFile, in: section, expected: "a file of public keys")
    }
    if winner(.compatible) == nil, hasSlots || winner(.keyFile) != nil {
      reportMissing(.compatible, in: section, expected: "what images are made for")
    }
    if settings.firmware.installer != .agent, winner(.installerRun) == nil {
      reportMissing(.installerRun, in: section, expected: "the path of a program")
    }
    if settings.firmware.installer == .partition { checkPartitions(settings, in: section) }
  }

  /// The two slots differ, and somebody restarts the machine, into a new system and out of one that does not work.
  @inline(never)  // small code
  private mutating func checkPartitions(_ settings: borrowing Settings, in section: Int) {
    guard winner(.slotA) != nil, let other = winner(.slotB) else {
      return reportMissing(winner(.slotA) == nil ? .slotA : .slotB, in: section, expected: "the path of a partition")
    }
    if settings.bytes(settings.firmware.slots.a).equals(settings.bytes(settings.firmware.slots.b)) {
      reportFound(.error, other, "; expected another one than in slot-a")
    }
    if isManaged, winner(.reboot) == nil {
      reportMissing(.reboot, in: section, expected: "yes or a program in [management]")
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
