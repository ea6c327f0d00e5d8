// The settings at work, written as a configuration, so that `mote check` can show what defaults, environment and flags
// have made of a file. Secrets are left out.

import Bytes
import HostInterface

/// One value of some settings.
enum SettingValue {
  /// There is none, or it is said by another key.
  case none
  case text(Text)
  case boolean(Bool)
  case count(Int)
  case size(Int)
  case time(TimeSpan)
  case decimal(Decimal)
  case word(StaticString)
  case source(SourceKind, argument: Text)
  case place(OutputKind, argument: Text)
}

extension Settings {
  /// The value of one of our own keys; for named sections, of the section `index` of its kind.
  func value(of key: Key, at index: Int = 0) -> SettingValue {
    switch key {
    case .organization: .text(identity.organization)
    case .deviceType: .text(identity.type)
    case .deviceID: .text(identity.id)
    case .token: .text(token)
    case .tokenFile: .text(tokenFile)
    case .host: .text(server.host)
    case .port: .count(Int(server.port))
    case .tls: .boolean(server.tls)
    case .serverName: .text(server.serverName)
    case .caFile: .text(server.caFile)
    case .allowPlaintextToken: .boolean(server.allowPlaintextToken)
    case .allowUnverifiedServer: .boolean(server.allowUnverifiedServer)
    case .keepAlive: .time(mqtt.keepAlive)
    case .cleanSession: .boolean(mqtt.cleanSession)
    case .inflightMax: .count(mqtt.inflightMax)
    case .packetSize: .size(mqtt.packetBytesMax)
    case .queueSize: .size(mqtt.queueBytes)
    case .connectDelayMax: .time(mqtt.connectDelayMax)
    case .messagesPerSecond: .count(mqtt.messagesPerSecondMax)
    case .retainedCommands: .boolean(mqtt.takesRetainedCommands)
    case .logLevel: .word(agent.logLevel.name)
    case .sourceTimeout: .time(agent.sourceTimeout)
    case .align: .boolean(agent.align)
    case .controlSocket: .text(agent.controlSocket)
    case .controlGroup: .text(agent.controlGroup)
    case .controlOwner: .text(agent.controlOwner)
    case .lifetime: .time(management.lifetime)
    case .reboot: management.rebootsBySystem ? .word("yes") : .text(management.reboot)
    case .factoryReset: .text(management.factoryReset)
    case .diagnostics: .boolean(management.tellsFaults)
    case .locationFile: .text(management.locationFile)
    case .serialNumber, .manufacturer, .model, .deviceClass, .deviceDescription, .firmwareVersion, .hardwareVersion,
      .descriptiveLocation:
      .text(management.information[Int(key.rawValue - Key.serialNumber.rawValue)])
    case .installer: .word(firmware.installer.name)
    case .installerRun: .text(firmware.run)
    case .slotA: .text(firmware.slots.a)
    case .slotB: .text(firmware.slots.b)
    case .keyFile: .text(firmware.keyFile)
    case .compatible: .text(firmware.compatible)
    case .allowDowngrade: .boolean(firmware.allowsDowngrade)
    case .imageSize: .size(firmware.imageBytesMax)
    case .firmwareCAFile: .text(firmware.caFile)
    case .throttle: .size(firmware.throttleBytesPerSecond)
    case .downloadDeadline: .time(firmware.deadline)
    case .watchdogDevice: .text(watchdog.device)
    case .watchdogTimeout: .time(.seconds(Int64(watchdog.seconds)))
    case .watchdogStop: .boolean(watchdog.stopsAtEnd)
    case .flashSize: .size(queue.byteCountMax)
    case .flashFlush: .text(queue.flush)
    case .flashFull: .word(QueueSettings.policyName(queue.full))
    case .flashKeep: .time(queue.keep)
    case .interval, .sample, .qos, .priority, .keeping, .heartbeat, .minInterval, .units:
      value(of: key, ofEvent: index)
    case .event, .read, .field, .valueType, .scale, .offset, .decimals, .filter, .aggregate, .deadband, .alarm,
      .stale, .unit:
      value(of: key, ofSensor: sensors[index])
    case .write, .outputCommand, .valueMax, .safe, .offline, .pause: value(of: key, ofOutput: outputs[index])
    case .run: .text(commands[index].run)
    case .timeout: .time(commands[index].timeout)
    // There is one method only, and the host says what the domain is for.
    case .authMethod, .domain: .none
    case .rootCertificateFile, .serverCertificateFile, .useClientCertificates, .clientCertificate, .clientKey,
      .certificatePassword, .apiKey, .webSocket, .transport, .automaticReconnect, .disconnectedBufferSize,
      .messagingQoS, .gatewayType, .gatewayID, .sessionExpiry, .validateServer, .foreign:
      .none
    }
  }

  /// Without what is as it is for an event of which nothing is said.
  private func value(of key: Key, ofEvent index: Int) -> SettingValue {
    switch key {
    case .interval: .time(events[index].interval)
    case .sample: events[index].sample > .zero ? .time(events[index].sample) : .none
    case .qos: .count(Int(events[index].qos))
    case .priority: queue.isConfigured ? .word(QueueSettings.priorityName(events[index].priority)) : .none
    case .keeping: events[index].keeping == .memory && !queue.isConfigured ? .none : .word(events[index].keeping.name)
    case .heartbeat: isByException(index) ? .time(events[index].heartbeat) : .none
    case .minInterval: isByException(index) ? .time(events[index].minInterval) : .none
    case .units: events[index].hasUnits ? .boolean(true) : .none
    default: .none
    }
  }

  /// Without what is as it is for a sensor of which nothing is said.
  private func value(of key: Key, ofSensor sensor: SensorSettings) -> SettingValue {
    switch key {
    case .event: .text(events[sensor.event].name)
    case .read: .source(sensor.kind, argument: sensor.argument)
    case .field: .text(sensor.field)
    case .valueType: sensor.valueType == .number ? .none : .word(sensor.valueType == .text ? "text" : "boolean")
    case .offset: sensor.offset == key.description.standardDecimal ? .none : .decimal(sensor.offset)
    case .scale: sensor.scale == key.description.standardDecimal ? .none : .decimal(sensor.scale)
    case .decimals: sensor.decimals.map { .count($0) } ?? .none
    default: sensor.report < 0 ? .none : value(of: key, ofReport: reports[Int(sensor.report)])
    }
  }

  private func value(of key: Key, ofReport report: ReportSettings) -> SettingValue {
    switch key {
    case .filter: .text(report.filter)
    case .deadband: .text(report.deadband)
    case .aggregate: report.aggregate == .last ? .none : .word(report.aggregate.name)
    case .alarm: .text(report.alarm)
    case .unit: .text(report.unit)
    case .stale: report.stale > .zero ? .time(report.stale) : .none
    default: .none
    }
  }

  private func value(of key: Key, ofOutput output: OutputSettings) -> SettingValue {
    switch key {
    case .write: .place(output.kind, argument: output.argument)
    case .outputCommand: .text(output.command)
    case .valueMax: .count(output.valueMax)
    case .safe: .count(output.safe)
    case .offline: .time(output.offline)
    default: .time(output.pause)
    }
  }

  /// Whether a key has a line in the description.
  fileprivate func isShown(_ key: Key) -> Bool {
    switch key {
    case .serverName, .caFile: server.tls
    case .token: tokenFile.isEmpty
    case .allowPlaintextToken: sendsPlaintextToken
    case .retainedCommands: mqtt.takesRetainedCommands
    case .allowUnverifiedServer: leavesServerUnverified
    default: true
    }
  }

  fileprivate func count(of kind: SectionKind) -> Int {
    switch kind {
    case .event: events.count
    case .sensor: sensors.count
    case .output: outputs.count
    case .command: firstAction
    case .action: commands.count - firstAction
    case .management: management.isManaged ? 1 : 0
    case .firmware: firmware.isConfigured ? 1 : 0
    case .watchdog: watchdog.device.isEmpty ? 0 : 1
    case .queue: queue.isConfigured ? 1 : 0
    default: 1
    }
  }

  fileprivate func name(of kind: SectionKind, at index: Int) -> Text {
    switch kind {
    case .event: events[index].name
    case .sensor: sensors[index].name
    case .output: outputs[index].name
    case .command, .action: commands[index].name
    default: .none
    }
  }

  /// Room for `append(_:)` with these settings, in bytes.
  public var descriptionBytesMax: Int {
    2944 + text.count * 2 + events.count * 144 + sensors.count * 256 + outputs.count * 192 + commands.count * 96
  }
}

extension ByteBuffer {
  /// Appends `settings` as a configuration text without its secrets, defaults included.
  public mutating func append(_ settings: borrowing Settings) {
    for raw in SectionKind.device.rawValue...SectionKind.action.rawValue {
      guard let kind = SectionKind(rawValue: raw) else { continue }
      let first = kind == .action ? settings.firstAction : 0
      for index in 0..<settings.count(of: kind) { append(kind, first + index, settings) }
    }
  }

  private mutating func append(_ kind: SectionKind, _ index: Int, _ settings: borrowing Settings) {
    append(kind == .device ? "[" : "\n[")
    append(kind.name)
    if kind.isNamed {
      append(UInt8(ascii: " "))
      append(settings.name(of: kind, at: index), of: settings.text)
    }
    append("]\n")
    for position in KeyTable.keys.indices where KeyTable.keys[position].section == kind.keySection {
      let key = KeyTable.keys[position].key
      if settings.isShown(key) { append(key, settings.value(of: key, at: index), settings) }
    }
  }

  /// One line, where there is a value.
  private mutating func append(_ key: Key, _ value: SettingValue, _ settings: borrowing Settings) {
    switch value {
    case .none: return
    case .text(let text) where text.isEmpty && key != .caFile && key != .firmwareCAFile: return
    default: break
    }
    if key.isSecret {
      append("# ")
      append(key.name)
      append(" is set and not shown\n")
      return
    }
    if key == .allowPlaintextToken { append("# the token is sent in the clear\n") }
    if key == .allowUnverifiedServer { append("# anyone can pose as the server\n") }
    append(key.name)
    append(" = ")
    append(value, settings)
    append(UInt8(ascii: "\n"))
  }

  private mutating func append(_ value: SettingValue, _ settings: borrowing Settings) {
    switch value {
    case .none: return
    case .text(let text):
      // Of the texts only that of the certificates may be empty here.
      if text.isEmpty { append("system") } else { append(text, of: settings.text) }
    case .boolean(let isTrue): append(isTrue ? "yes" : "no")
    case .count(let count): append(decimal: count)
    case .size(let size): append(size: size)
    case .time(let time): append(duration: time)
    case .decimal(let decimal): append(decimal)
    case .word(let word): append(word)
    case .source(let kind, let argument):
      append(kind.name)
      if !argument.isEmpty { append(UInt8(ascii: ":")) }
      append(argument, of: settings.text)
    case .place(let kind, let argument):
      append(OutputKind.words.word(Int(kind.rawValue)))
      append(UInt8(ascii: ":"))
      append(argument, of: settings.text)
    }
  }
}
