// Settings of which there are many: events, sensors, commands and actions.

import Bytes
import HostInterface
import IoTPlatform

extension SettingsLoader {
  /// Whether a heading's name can be used, with a complaint if not.
  mutating func isValidName(_ name: Span<UInt8>, of kind: SectionKind, at place: Place) -> Bool {
    let isReserved: Bool
    switch kind {
    case .event: isReserved = name.equals(Topics.commandOutcomeEvent)
    case .command: isReserved = isReservedCommand(name)
    default: isReserved = false
    }
    if kind == .action {
      if IdentityRules.isValidActionName(name) { return true }
    } else if !isReserved, IdentityRules.isValidTopicName(name) {
      return true
    }
    diagnostics.begin(.error, at: place)
    diagnostics.add("found name ")
    diagnostics.add(quoted: name)
    diagnostics.add("; expected [")
    diagnostics.add(plain: kind.name)
    if kind == .action {
      diagnostics.add(" BUNDLE/ACTION] with names of 1 to 255 of A-Z a-z 0-9 - _ ., none the platform's own")
    } else if !isReserved {
      diagnostics.add(" NAME] with a name of 1 to 36 of A-Z a-z 0-9 - _ .")
    } else if kind == .event {
      diagnostics.add(" NAME] with another name: command reports the outcome of commands")
    } else {
      diagnostics.add(" NAME] with another name: ping, publish and interval are built in")
    }
    diagnostics.end()
    return false
  }

  mutating func readEvents(_ settings: inout Settings) {
    for section in 0..<sections.count where sections[section].kind == .event {
      let event = EventSettings(
        name: settings.keep(bytes(sections[section].name)),
        interval: duration(.interval, in: section), sample: duration(.sample, in: section),
        qos: UInt8(truncatingIfNeeded: integer(.qos, in: section)), heartbeat: duration(.heartbeat, in: section),
        minInterval: duration(.minInterval, in: section), priority: choice(.priority, in: section),
        keeping: keeping(in: section, settings),
        hasUnits: winner(.units, in: section).flatMap { boolean($0) } ?? false)
      _ = settings.events.append(event)
    }
  }

  mutating func readSensors(_ settings: inout Settings) {
    for section in 0..<sections.count where sections[section].kind == .sensor {
      let event = readEventOfSensor(section) ?? firstEvent
      let source = readSource(section)
      let type = ValueType(rawValue: choice(.valueType, in: section)) ?? .number
      let decimals = winner(.decimals, in: section) == nil ? nil : integer(.decimals, in: section)
      checkSensorKeys(section, source, type)
      var sensor = SensorSettings(
        name: settings.keep(bytes(sections[section].name)), event: Int(sections[event].ordinal), kind: source.kind,
        argument: settings.keep(bytes(source.argument)), field: readField(section, &settings),
        scale: decimal(.scale, in: section), offset: decimal(.offset, in: section), decimals: decimals,
        valueType: type)
      if hasReport(section) {
        sensor.report = Int16(settings.reports.count)
        _ = settings.reports.append(readReport(section, type, &settings))
      }
      _ = settings.sensors.append(sensor)
      sections[event].payloadBytes += UInt32(PayloadEstimate.byteCount(of: sensor))
    }
  }

  /// The section of the event to which a sensor belongs; nil with a complaint.
  private mutating func readEventOfSensor(_ section: Int) -> Int? {
    guard let entry = winner(.event, in: section) else {
      reportMissing(.event, in: section, expected: "the name of an [event NAME]")
      return nil
    }
    if let event = self.section(.event, named: bytes(entry.value)) { return event }
    var nearest = Nearest()
    var meant: Text?
    for candidate in 0..<sections.count where sections[candidate].kind == .event {
      let name = sections[candidate].name
      if nearest.consider(bytes(name), for: bytes(entry.value)) { meant = name }
    }
    beginFound(.error, entry)
    diagnostics.add("; expected the name of an [event NAME]")
    if let meant { diagnostics.add(didYouMean: meant, of: text) }
    diagnostics.end()
    return nil
  }

  /// What a sensor counts for whose event is not known: the first event, or nothing.
  private var firstEvent: Int {
    for section in 0..<sections.count where sections[section].kind == .event { return section }
    return 0
  }

  private mutating func readField(_ section: Int, _ settings: inout Settings) -> Text {
    guard let entry = winner(.field, in: section) else { return .none }
    if entry.value.count >= 1, entry.value.count <= ConfigurationLimits.fieldBytesMax {
      return settings.keep(bytes(entry.value))
    }
    beginFound(.error, entry)
    diagnostics.add("; expected a name of 1 to ")
    diagnostics.add(ConfigurationLimits.fieldBytesMax)
    diagnostics.add(" bytes")
    diagnostics.end()
    return .none
  }

  /// Keys that only some sensors have.
  private mutating func checkSensorKeys(_ section: Int, _ source: SensorSource, _ type: ValueType) {
    let text = source.kind.description.text
    if text != .fields, let entry = winner(.field, in: section) {
      report(.error, entry, "found for a source that has no fields; expected it with read = file: only")
    }
    if type == .number, isWord(source), let entry = winner(.read, in: section) {
      reportFound(.error, entry, "; expected a number behind constant:, or type = text")
    }
    if type != .number, text != .fields, text != .anything, let entry = winner(.valueType, in: section) {
      reportFound(.error, entry, "; expected number, as this source gives nothing else")
    }
    guard type != .number else { return }
    reportForNumbersOnly(.scale, section)
    reportForNumbersOnly(.offset, section)
    reportForNumbersOnly(.decimals, section)
  }

  /// Whether it is a constant without a number in it.
  private func isWord(_ source: SensorSource) -> Bool {
    guard source.kind.description.reading == .fromArgument, !source.argument.isEmpty else { return false }
    for index in source.argument.range where text[index].isDigit { return false }
    return true
  }

  @inline(never)
  mutating func reportForNumbersOnly(_ key: Key, _ section: Int) {
    guard let entry = winner(key, in: section) else { return }
    report(.error, entry, "found for a value that is no number; expected it with type = number only")
  }

  mutating func readCommands(_ settings: inout Settings) {
    readPrograms(of: .command, &settings)
    settings.firstAction = settings.commands.count
    readPrograms(of: .action, &settings)
  }

  @inline(never)  // small code
  private mutating func readPrograms(of kind: SectionKind, _ settings: inout Settings) {
    for section in 0..<sections.count where sections[section].kind == kind {
      let command = CommandSettings(
        name: settings.keep(bytes(sections[section].name)), run: readProgram(section, &settings),
        timeout: duration(.timeout, in: section))
      _ = settings.commands.append(command)
    }
  }

  private func hasBlank(_ value: Text) -> Bool {
    for index in value.range where text[index].isBlank { return true }
    return false
  }

  private mutating func readProgram(_ section: Int, _ settings: inout Settings) -> Text {
    guard let entry = winner(.run, in: section) else {
      reportMissing(.run, in: section, expected: "the absolute path of a program")
      return .none
    }
    if !hasBlank(entry.value) { return path(.run, in: section, of: &settings) }
    reportFound(.error, entry, "; expected the path of a program alone: arguments are not supported")
    return .none
  }
}
