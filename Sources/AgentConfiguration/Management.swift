// `[management]`: what the platform may do to the device, and what it is told about it.

import Bytes

extension SettingsLoader {
  mutating func readManagement(_ settings: inout Settings) {
    guard isManaged else { return }
    settings.management.isManaged = true
    settings.management.lifetime = duration(.lifetime)
    settings.management.reboot = program(.reboot, of: &settings, orYes: true)
    settings.management.factoryReset = program(.factoryReset, of: &settings, orYes: false)
    settings.management.tellsFaults = boolean(.diagnostics)
    settings.management.locationFile = path(.locationFile, of: &settings)
    for index in settings.management.information.indices {
      guard let key = Key(rawValue: Key.serialNumber.rawValue + UInt8(index)) else { continue }
      settings.management.information[index] = information(key, of: &settings)
    }
  }

  /// A program's path, or nothing for `no`; `yes` is noted where it means something.
  private mutating func program(_ key: Key, of settings: inout Settings, orYes: Bool) -> Text {
    guard let entry = winner(key) else { return .none }
    if let isWanted = Values.boolean(bytes(entry.value)) {
      guard isWanted else { return .none }
      if orYes {
        settings.management.rebootsBySystem = true
      } else {
        reportFound(.error, entry, "; expected the absolute path of a program, or no")
      }
      return .none
    }
    return path(key, of: &settings)
  }

  private mutating func information(_ key: Key, of settings: inout Settings) -> Text {
    guard let entry = winner(key), entry.value.count > 0 else { return .none }
    if isInformation(bytes(entry.value)) { return settings.keep(bytes(entry.value)) }
    reportFound(.error, entry, "; expected text of at most 128 bytes")
    return .none
  }

  /// Whether `text` can be told about a device: text of a size that all of it fits one message. Lines of a
  /// configuration have been looked at before, files of a board have not.
  func isInformation(_ text: Span<UInt8>) -> Bool {
    guard !text.isEmpty, text.count <= ConfigurationLimits.informationBytesMax, text.firstInvalidUTF8() == nil else {
      return false
    }
    for index in text.indices where text[index] < 0x20 { return false }
    return true
  }

  /// The bundles of all actions must fit one message, and nobody hears of them without device management.
  private mutating func checkActions(_ settings: borrowing Settings) -> Int {
    var byteCount = 0
    for index in settings.firstAction..<settings.commands.count where settings.isFirstOfBundle(index) {
      byteCount += settings.bundle(ofAction: index).count + 8
    }
    guard byteCount > ConfigurationLimits.bundleBytesMax || (byteCount > 0 && !isManaged) else { return byteCount }
    diagnostics.begin(.error, at: sections[section(.action, at: 0)].place)
    diagnostics.add(
      isManaged
        ? "found names of bundles that do not fit one message; expected shorter or fewer ones"
        : "found an action without [management]; expected both")
    diagnostics.end()
    return byteCount
  }

  mutating func checkManagement(_ settings: borrowing Settings) {
    // Quotes and names of members, and room for what is escaped.
    var byteCount = 400 + checkActions(settings)
    for index in settings.management.information.indices {
      byteCount += 2 * settings.management.information[index].count
    }
    guard isManaged, byteCount > settings.mqtt.packetBytesMax, let entry = winner(.packetSize) else { return }
    reportFound(.error, entry, "; expected a larger one, for what [management] tells about the device")
  }
}

extension Settings {
  /// The bundle of the action at `index` of the commands.
  @inline(never)  // small code
  public func bundle(ofAction index: Int) -> Text {
    let name = commands[index].name
    return name.prefix(bytes(name).firstIndex(of: UInt8(ascii: "/"), from: 0) ?? name.count)
  }

  /// Whether no action before the one at `index` has the same bundle.
  @inline(never)  // small code
  public func isFirstOfBundle(_ index: Int) -> Bool {
    let bundle = bytes(bundle(ofAction: index))
    for earlier in firstAction..<index where bytes(self.bundle(ofAction: earlier)).equals(bundle) { return false }
    return true
  }
}
