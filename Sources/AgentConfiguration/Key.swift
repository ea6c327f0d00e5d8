// What can be configured, and every spelling of it: our own, and those of the platform's older libraries.

import Bytes

/// One thing that can be configured.
public enum Key: UInt8, Sendable, BitwiseCopyable {
  // [device]
  case organization, deviceType, deviceID, authMethod, token, tokenFile
  // [server]
  case host, port, tls, serverName, caFile, domain, allowPlaintextToken, allowUnverifiedServer
  // [mqtt]
  case keepAlive, cleanSession, inflightMax, packetSize, queueSize, connectDelayMax, messagesPerSecond
  // [agent]
  case logLevel, sourceTimeout
  // [event NAME]
  case interval, qos
  // [sensor NAME]
  case event, read, field, scale, offset, decimals, valueType
  // [command NAME]
  case run, timeout
  // Keys of older files and variables of other programs; `LegacyKeys` tells what becomes of each.
  case rootCertificateFile, serverCertificateFile, useClientCertificates, clientCertificate, clientKey
  case certificatePassword, apiKey, webSocket, transport, automaticReconnect, disconnectedBufferSize, messagingQoS
  case gatewayType, gatewayID, sessionExpiry, validateServer, foreign

  /// Whether the value must never be shown.
  var isSecret: Bool { self == .token || self == .certificatePassword || self == .apiKey }

  /// Our own spelling.
  public var name: StaticString { Spelling.at(Spelling.canonicalIndex(of: self)).name }
}

/// The kinds of sections.
enum SectionKind: UInt8, BitwiseCopyable {
  case device, server, mqtt, agent, event, sensor, command, gateway, application

  static var words: WordList { WordList("device|server|mqtt|agent|event|sensor|command|gateway|application") }
  /// Those that a person should write.
  static var supported: WordList {
    WordList("[device]|[server]|[mqtt]|[agent]|[event NAME]|[sensor NAME]|[command NAME]")
  }

  var name: StaticString {
    switch self {
    case .device: "device"
    case .server: "server"
    case .mqtt: "mqtt"
    case .agent: "agent"
    case .event: "event"
    case .sensor: "sensor"
    case .command: "command"
    case .gateway: "gateway"
    case .application: "application"
    }
  }

  /// Whether the heading carries a name.
  var isNamed: Bool { self == .event || self == .sensor || self == .command }
  /// The one whose keys are understood here: old files have the same ones under three headings.
  var keySection: SectionKind { self == .gateway || self == .application ? .device : self }
  var mask: UInt8 { 1 << keySection.rawValue }
}

/// A spelling of a key, and the sections in which it is known.
struct Spelling {
  let name: StaticString
  let key: Key
  /// `SectionKind.mask` of each section. The first is the section to which the key belongs.
  let sections: UInt8
  /// Whether numbers without a unit are seconds, as older files write them.
  let isLegacy: Bool

  private init(_ name: StaticString, _ key: Key, _ section: SectionKind, also other: SectionKind? = nil) {
    self.name = name
    self.key = key
    sections = section.mask | (other?.mask ?? 0)
    isLegacy = false
  }

  private init(
    legacy name: StaticString, _ key: Key, _ section: SectionKind = .device, also other: SectionKind? = nil
  ) {
    self.name = name
    self.key = key
    sections = section.mask | (other?.mask ?? 0)
    isLegacy = true
  }

  /// What only the environment can say; no section knows it.
  private init(variable name: StaticString, _ key: Key) {
    self.name = name
    self.key = key
    sections = 0
    isLegacy = true
  }

  private static var currentCount: Int { 34 }
  private static var legacyCount: Int { 32 }
  /// How many there are.
  static var count: Int { currentCount + legacyCount }

  /// The first spelling of `key`, which is our own where there is one.
  static func canonicalIndex(of key: Key) -> Int {
    for index in 0..<count where at(index).key == key { return index }
    return 0
  }

  /// The spelling `name` where `section` knows it.
  static func index(of name: Span<UInt8>, in section: SectionKind) -> Int? {
    for index in 0..<count {
      let spelling = at(index)
      if spelling.sections & section.mask != 0, spelling.name.bytes.equalsIgnoringCase(name) { return index }
    }
    return nil
  }

  /// A section that knows `name`.
  static func home(of name: Span<UInt8>) -> SectionKind? {
    for index in 0..<count {
      let spelling = at(index)
      guard spelling.name.bytes.equalsIgnoringCase(name) else { continue }
      // Keys of two sections are written in ours; older files have them all in [device].
      for raw in UInt8(1)...6 {
        if let kind = SectionKind(rawValue: raw), spelling.sections & kind.mask != 0 { return kind }
      }
      return .device
    }
    return nil
  }

  /// The spelling that comes nearest to `name` in `section`.
  static func nearest(to name: Span<UInt8>, in section: SectionKind) -> StaticString? {
    var nearest = Nearest()
    var found: StaticString?
    for index in 0..<count {
      let spelling = at(index)
      guard spelling.sections & section.mask != 0 else { continue }
      if nearest.consider(spelling.name.bytes, for: name) { found = spelling.name }
    }
    return found
  }

  @inline(never)
  static func at(_ index: Int) -> Spelling {
    index < currentCount ? current(index) : legacy(index - currentCount)
  }

  private static func current(_ index: Int) -> Spelling {
    switch index {
    case 0: Spelling("org", .organization, .device)
    case 1: Spelling("type", .deviceType, .device)
    case 2: Spelling("id", .deviceID, .device)
    case 3: Spelling("auth-method", .authMethod, .device)
    case 4: Spelling("auth-token", .token, .device)
    case 5: Spelling("auth-token-file", .tokenFile, .device)
    case 6: Spelling("host", .host, .server)
    case 7: Spelling("port", .port, .server, also: .device)
    case 8: Spelling("tls", .tls, .server)
    case 9: Spelling("server-name", .serverName, .server)
    case 10: Spelling("ca-file", .caFile, .server)
    case 11: Spelling("domain", .domain, .server, also: .device)
    case 12: Spelling("allow-plaintext-token", .allowPlaintextToken, .server)
    case 13: Spelling("allow-unverified-server", .allowUnverifiedServer, .server)
    case 14: Spelling("keep-alive", .keepAlive, .mqtt)
    case 15: Spelling("clean-session", .cleanSession, .mqtt, also: .device)
    case 16: Spelling("inflight-max", .inflightMax, .mqtt)
    case 17: Spelling("packet-size", .packetSize, .mqtt)
    case 18: Spelling("queue-size", .queueSize, .mqtt)
    case 19: Spelling("connect-delay-max", .connectDelayMax, .mqtt)
    case 20: Spelling("messages-per-second", .messagesPerSecond, .mqtt)
    case 21: Spelling("log-level", .logLevel, .agent)
    case 22: Spelling("source-timeout", .sourceTimeout, .agent)
    case 23: Spelling("interval", .interval, .event)
    case 24: Spelling("qos", .qos, .event)
    case 25: Spelling("event", .event, .sensor)
    case 26: Spelling("read", .read, .sensor)
    case 27: Spelling("field", .field, .sensor)
    case 28: Spelling("scale", .scale, .sensor)
    case 29: Spelling("offset", .offset, .sensor)
    case 30: Spelling("decimals", .decimals, .sensor)
    case 31: Spelling("type", .valueType, .sensor)
    case 32: Spelling("run", .run, .command)
    default: Spelling("timeout", .timeout, .command)
    }
  }

  private static func legacy(_ index: Int) -> Spelling {
    switch index {
    case 0: Spelling(legacy: "Organization-ID", .organization)
    case 1: Spelling(legacy: "Device-Type", .deviceType)
    case 2: Spelling(legacy: "Device-ID", .deviceID)
    case 3: Spelling(legacy: "Authentication-Method", .authMethod)
    case 4: Spelling(legacy: "Authentication-Token", .token)
    case 5: Spelling(legacy: "mqtt-server", .host, .device, also: .server)
    case 6: Spelling(legacy: "keepAlive", .keepAlive, .device, also: .mqtt)
    case 7: Spelling(legacy: "MaxInflightMessages", .inflightMax)
    case 8: Spelling(legacy: "rootCACertPath", .rootCertificateFile)
    case 9: Spelling(legacy: "CA-Certificate-Path", .rootCertificateFile)
    case 10: Spelling(legacy: "clientTrustStorePath", .rootCertificateFile)
    case 11: Spelling(legacy: "Server-Certificate", .serverCertificateFile)
    case 12: Spelling(legacy: "serverCertPath", .serverCertificateFile)
    case 13: Spelling(legacy: "useClientCertificates", .useClientCertificates)
    case 14: Spelling(legacy: "Use-Secure-Certificate", .useClientCertificates)
    case 15: Spelling(legacy: "clientCertPath", .clientCertificate)
    case 16: Spelling(legacy: "Client-Certificate", .clientCertificate)
    case 17: Spelling(legacy: "clientKeyPath", .clientKey)
    case 18: Spelling(legacy: "Client-Key", .clientKey)
    case 19: Spelling(legacy: "Certificate-Password", .certificatePassword)
    case 20: Spelling(legacy: "auth-key", .apiKey)
    case 21: Spelling(legacy: "API-Key", .apiKey)
    case 22: Spelling(legacy: "WebSocket", .webSocket)
    case 23: Spelling(legacy: "transport", .transport, .device, also: .mqtt)
    case 24: Spelling(legacy: "Automatic-Reconnect", .automaticReconnect)
    case 25: Spelling(legacy: "Disconnected-Buffer-Size", .disconnectedBufferSize)
    case 26: Spelling(legacy: "MessagingQoS", .messagingQoS)
    case 27: Spelling(legacy: "Gateway-Type", .gatewayType)
    case 28: Spelling(legacy: "Gateway-ID", .gatewayID)
    case 29: Spelling(variable: "session-expiry", .sessionExpiry)
    case 30: Spelling(variable: "validate-server", .validateServer)
    default: Spelling(variable: "foreign", .foreign)
    }
  }
}
