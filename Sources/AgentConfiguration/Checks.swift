// What no line shows by itself: settings that do not go together, that are unsafe, or that Quickstart does not take.

import Bytes
import HostInterface
import IoTPlatform

/// What an event's payload may need, roughly: enough to tell a mistake from a plan.
enum PayloadEstimate {
  /// `{"d":{},"ts":"2024-05-01T10:15:30.250Z"}`.
  static var frameBytes: Int { 42 }
  /// Quotes, colon and comma of a member.
  static var memberBytes: Int { 4 }
  /// A number with eighteen digits, sign and point.
  static var numberBytes: Int { 20 }
  static var booleanBytes: Int { 5 }
  /// Age, alarm and quality of a sensor that has them, and the longest of them without the sensor's name.
  static var extraMembers: Int { 3 }
  static var extraBytes: Int { 24 }
  /// The longest text of a sensor in quotes, nothing escaped.
  static var textBytes: Int { 258 }
  /// Topic, identifier and fixed header of a PUBLISH.
  static var packetBytes: Int { Topics.eventTopicBytesMax + 9 }

  /// A sensor's member.
  static func byteCount(of sensor: SensorSettings) -> Int {
    let extra = sensor.report < 0 ? 0 : extraMembers * (sensor.name.count + extraBytes)
    let member = sensor.name.count + memberBytes + extra
    switch sensor.valueType {
    case .number: return member + numberBytes
    case .boolean: return member + booleanBytes
    case .text: return member + textBytes
    }
  }
}

extension SettingsLoader {
  mutating func checkWhole(_ settings: borrowing Settings) {
    let isQuickstart = settings.isQuickstart
    checkEvents(settings)
    checkRate(settings)
    if isQuickstart {
      checkQuickstart(settings)
    } else {
      checkCredentials(settings)
    }
    checkServer(settings)
    checkMQTT(settings)
    checkManagement(settings)
  }

  // MARK: Events

  private mutating func checkEvents(_ settings: borrowing Settings) {
    if settings.events.count == 0 {
      diagnostics.begin(.warning, at: mainPlace)
      diagnostics.add("found no [event NAME]: nothing is published but the outcome of commands")
      diagnostics.end()
    }
    var index = 0
    for section in 0..<sections.count where sections[section].kind == .event {
      checkPayload(of: index, section, settings)
      checkQoS(of: index, section, settings)
      let sample = settings.events[index].sample
      if sample > settings.events[index].interval || (sample > .zero && sample < .milliseconds(100)),
        let entry = winner(.sample, in: section)
      {
        reportFound(.error, entry, "; expected 100ms or more, and at most the interval")
      }
      if !settings.isByException(index) {
        reportWithoutDeadband(.heartbeat, section)
        reportWithoutDeadband(.minInterval, section)
      }
      index += 1
    }
  }

  private mutating func checkPayload(of event: Int, _ section: Int, _ settings: borrowing Settings) {
    let sensorBytes = Int(sections[section].payloadBytes)
    // Each sensor's member is at least as long as its name, and `-unit` with its value adds less than as much again.
    let unitBytes = settings.events[event].hasUnits ? 2 * sensorBytes : 0
    let byteCount = PayloadEstimate.frameBytes + PayloadEstimate.packetBytes + sensorBytes + unitBytes
    if sensorBytes == 0 {
      diagnostics.begin(.warning, at: sections[section].place)
      addHeading(section)
      diagnostics.add("found no sensor with event = ")
      diagnostics.add(plain: sections[section].name, of: text)
      diagnostics.end()
    }
    if byteCount > settings.mqtt.packetBytesMax {
      reportTooSmall(.packetSize, section, needed: byteCount, found: settings.mqtt.packetBytesMax)
    }
    if settings.events[event].qos > 0, byteCount > settings.mqtt.queueBytes {
      reportTooSmall(.queueSize, section, needed: byteCount, found: settings.mqtt.queueBytes)
    }
  }

  @inline(never)
  private mutating func reportTooSmall(_ key: Key, _ section: Int, needed: Int, found: Int) {
    diagnostics.begin(.error, at: sections[section].place)
    addHeading(section)
    diagnostics.add("found sensors that may need ")
    diagnostics.add(needed)
    diagnostics.add(" bytes; expected at most ")
    diagnostics.add(key.name)
    diagnostics.add(" in [mqtt], which is ")
    diagnostics.add(size: found)
    diagnostics.end()
  }

  @inline(never)
  private mutating func reportWithoutDeadband(_ key: Key, _ section: Int) {
    guard let entry = winner(key, in: section) else { return }
    report(.warning, entry, "has no effect, as no sensor of this event has a deadband")
  }

  private mutating func checkQoS(of event: Int, _ section: Int, _ settings: borrowing Settings) {
    let qos = settings.events[event].qos
    guard let entry = winner(.qos, in: section) else { return }
    if settings.isQuickstart, qos > 0 {
      reportFound(.error, entry, "; expected 0, as Quickstart takes nothing else")
    } else if qos == 2, settings.mqtt.cleanSession {
      reportFound(.warning, entry, " with clean-session = yes: after a lost connection an event may arrive twice")
    }
  }

  /// All events together against what the platform takes.
  private mutating func checkRate(_ settings: borrowing Settings) {
    let messagesMax = settings.isQuickstart ? QuickstartRules.messagesPerSecondMax : settings.mqtt.messagesPerSecondMax
    guard messagesMax > 0 else { return }
    var millionthsPerSecond: Int64 = 0
    var fastest: Int?
    for event in 0..<settings.events.count {
      let least = settings.isByException(event) ? settings.events[event].minInterval : .zero
      let interval = max(settings.events[event].interval, least)
      millionthsPerSecond += 1_000_000_000 / max(interval.milliseconds, 1)
      if let known = fastest, settings.events[known].interval <= interval { continue }
      fastest = event
    }
    guard let fastest, millionthsPerSecond > Int64(messagesMax) * 1_000_000 else { return }
    let section = section(.event, at: fastest)
    let place = winner(.interval, in: section)?.place ?? sections[section].place
    diagnostics.begin(settings.isQuickstart ? .error : .warning, at: place)
    diagnostics.add("interval: found ")
    // Rounded up, so that it shows as more than the limit.
    diagnostics.add(Int((millionthsPerSecond + 999_999) / 1_000_000))
    diagnostics.add(" messages a second of all events together; expected at most ")
    diagnostics.add(messagesMax)
    if settings.isQuickstart { diagnostics.add(", as Quickstart takes no more") }
    diagnostics.end()
  }

  // MARK: Credentials and server

  private mutating func checkCredentials(_ settings: borrowing Settings) {
    let isGiven = winner(.token) != nil || winner(.tokenFile) != nil
    if !isGiven {
      reportMissing(.token, in: 0, expected: "auth-token-file or auth-token in [device], or WIOTP_AUTH_TOKEN")
    } else if wantsTokenFile, suppliedToken == nil, !settings.tokenFile.isEmpty {
      noteTokenUnreadable(reason: "there is no such file")
    }
    if let entry = winner(.tokenFile) ?? winner(.token), hasOddBytes(settings.bytes(settings.token)) {
      report(.warning, entry, "the token has quotes, blanks or other bytes that no token has, and is sent with them")
    }
    if isGiven, !settings.server.tls, !settings.server.allowPlaintextToken, let entry = winner(.tls) {
      reportFound(
        .error, entry, " with a token; expected yes, or allow-plaintext-token = yes in [server] to send it in the clear"
      )
    }
  }

  private mutating func checkServer(_ settings: borrowing Settings) {
    if winner(.tls) == nil, !settings.isQuickstart, settings.server.port == QuickstartRules.port,
      let entry = winner(.port)
    {
      reportFound(.error, entry, ", where servers speak no TLS; expected tls = no or tls = yes in [server] besides it")
    }
    guard !settings.server.tls else { return }
    if settings.server.port == 8883, let entry = winner(.tls) {
      reportFound(.warning, entry, " with port 8883, where servers speak TLS; expected tls = yes, or another port")
    }
    reportWithoutTLS(.caFile)
    reportWithoutTLS(.serverName)
    reportWithoutTLS(.allowUnverifiedServer)
  }

  @inline(never)
  private mutating func reportWithoutTLS(_ key: Key) {
    guard let entry = winner(key) else { return }
    report(.warning, entry, "has no effect without TLS")
  }

  private mutating func checkMQTT(_ settings: borrowing Settings) {
    if let entry = winner(.keepAlive) {
      if settings.mqtt.keepAlive == .zero {
        reportFound(.warning, entry, ": a dead connection goes unnoticed for long; expected 1s to 1h")
      } else if settings.mqtt.keepAlive > AdvisedLimits.keepAliveMax {
        reportFound(.warning, entry, ": networks drop idle connections earlier; expected 1s to 1h")
      }
    }
    if settings.mqtt.inflightMax > AdvisedLimits.inflightMax, let entry = winner(.inflightMax) {
      reportFound(.warning, entry, "; expected at most 10, as the platform takes no more unacknowledged from a device")
    }
  }

  // MARK: Quickstart

  private mutating func checkQuickstart(_ settings: borrowing Settings) {
    reportForQuickstart(.token, "takes no credentials")
    reportForQuickstart(.tokenFile, "takes no credentials")
    if !settings.mqtt.cleanSession { reportForQuickstart(.cleanSession, "has no durable sessions") }
    if settings.mqtt.messagesPerSecondMax != QuickstartRules.messagesPerSecondMax {
      reportForQuickstart(.messagesPerSecond, "takes one message a second")
    }
    for section in 1..<max(sections.count, 1) {
      let kind = sections[section].kind
      guard kind == .command || kind == .management || kind == .firmware else { continue }
      diagnostics.begin(.error, at: sections[section].place)
      addHeading(section)
      diagnostics.add("found with org = quickstart; Quickstart has no ")
      diagnostics.add(kind == .command ? "commands" : "device management")
      diagnostics.end()
    }
    if settings.server.tls, let entry = winner(.tls) {
      reportFound(.warning, entry, ": Quickstart is documented without TLS")
    }
  }

  @inline(never)
  private mutating func reportForQuickstart(_ key: Key, _ reason: StaticString) {
    guard let entry = winner(key) else { return }
    begin(.error, entry)
    diagnostics.add("found with org = quickstart; Quickstart ")
    diagnostics.add(reason)
    diagnostics.end()
  }
}

/// Whether a token has what editors and shells leave behind: anything but printable ASCII, blanks, quotes.
private func hasOddBytes(_ token: Span<UInt8>) -> Bool {
  for index in token.indices {
    let byte = token[index]
    if byte <= 0x20 || byte >= 0x7F || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") { return true }
  }
  return false
}
