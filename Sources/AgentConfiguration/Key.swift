// What can be configured: which keys there are, and what is known about each.
//
// To add a key: a case below, its line in `KeyTable`, a property of the settings, its reading (Interpretation.swift or
// Tables.swift) and its place in `Settings.value(of:at:)`. The compiler or a test asks for each of them, and for the
// key's lines in the README and in Boards/generic/mote.conf.

import Bytes
import HostInterface

/// One thing that can be configured.
public enum Key: UInt8, Sendable, BitwiseCopyable {
  // Ours, in the order of `KeyTable`.
  // [device]
  case organization, deviceType, deviceID, authMethod, token, tokenFile
  // [server]
  case host, port, tls, serverName, caFile, domain, allowPlaintextToken, allowUnverifiedServer
  // [mqtt]
  case keepAlive, cleanSession, inflightMax, packetSize, queueSize, connectDelayMax, messagesPerSecond, retainedCommands
  // [agent]
  case logLevel, sourceTimeout, align, controlSocket, controlGroup, controlOwner
  // [management]
  case lifetime, reboot, factoryReset, diagnostics, locationFile
  case serialNumber, manufacturer, model, deviceClass, deviceDescription, firmwareVersion, hardwareVersion
  case descriptiveLocation
  // [firmware]
  case installer, installerRun, slotA, slotB, keyFile, compatible, allowDowngrade, imageSize, firmwareCAFile
  case throttle, downloadDeadline
  // [watchdog]
  case watchdogDevice, watchdogTimeout, watchdogStop
  // [queue]
  case flashSize, flashFlush, flashFull, flashKeep
  // [event NAME]
  case interval, sample, qos, priority, keeping, heartbeat, minInterval, units
  // [sensor NAME]
  case event, read, field, valueType, scale, offset, decimals, filter, aggregate, deadband, alarm, stale, unit
  // [output NAME]
  case write, outputCommand, valueMax, safe, offline, pause
  // [command NAME]
  case run, timeout
  // Keys of older files and variables of other programs; `LegacyKeys` tells what becomes of each.
  case rootCertificateFile, serverCertificateFile, useClientCertificates, clientCertificate, clientKey
  case certificatePassword, apiKey, webSocket, transport, automaticReconnect, disconnectedBufferSize, messagingQoS
  case gatewayType, gatewayID, sessionExpiry, validateServer, foreign

  /// Whether only other programs use this key.
  var isForeign: Bool { rawValue >= Key.rootCertificateFile.rawValue }

  /// Whether the value must never be shown.
  var isSecret: Bool { self == .token || self == .certificatePassword || self == .apiKey }

  /// Our own spelling.
  public var name: StaticString { Spelling.at(Spelling.canonicalIndex(of: self)).name }

  /// What is known about one of our own keys.
  var description: KeyDescription { KeyTable.keys[Int(rawValue)] }
}

/// The kinds of sections.
enum SectionKind: UInt8, Sendable, BitwiseCopyable {
  case device, server, mqtt, agent, management, firmware, watchdog, queue, event, sensor, output, command, action
  case gateway, application

  static var words: WordList {
    WordList(
      """
      device|server|mqtt|agent|management|firmware|watchdog|queue|event|sensor|output|command|action|gateway|\
      application
      """)
  }
  /// Those that a person should write.
  static var supported: WordList {
    WordList(
      """
      [device]|[server]|[mqtt]|[agent]|[management]|[firmware]|[watchdog]|[queue]|[event NAME]\
      |[sensor NAME]|[output NAME]|[command NAME]|[action BUNDLE/ACTION]
      """)
  }

  var name: Span<UInt8> {
    @_lifetime(immortal)
    get { SectionKind.words.word(Int(rawValue)) }
  }

  /// Whether the heading carries a name.
  var isNamed: Bool { rawValue >= SectionKind.event.rawValue && rawValue <= SectionKind.action.rawValue }
  /// The one whose keys are understood here: old files have the same ones under three headings, and an action is
  /// carried out like a command.
  var keySection: SectionKind {
    switch self {
    case .gateway, .application: .device
    case .action: .command
    default: self
    }
  }
}

/// What a key's value is, and with it how it is written.
enum KeyType: UInt8, Sendable, BitwiseCopyable {
  /// Text with a rule of its own.
  case text
  /// `yes` or `no`.
  case boolean
  /// A whole number.
  case count
  /// A number of bytes with a unit.
  case size
  /// A time with a unit.
  case time
  /// A time with a unit, or a bare 0 for off.
  case timeOrZero
  /// A decimal number.
  case decimal
  /// One of the words for `LogLevel`.
  case logLevel
  /// One of the words for `ValueType`.
  case valueType
  /// One of the words for `FirmwareInstaller`.
  case installer
  /// One of the words of `QueueSettings`, for who has to go, how much an event matters, and where it waits.
  case fullPolicy, priority, keeping
}

/// What a running agent does with a new value.
enum KeyChange: UInt8, Sendable, BitwiseCopyable {
  /// It ends the connection and makes a new one.
  case reconnects
  /// It goes on.
  case goesOn
}

/// What is known about a key. Amounts are milliseconds, bytes or plain counts.
struct KeyDescription: BitwiseCopyable, Sendable {
  let name: StaticString
  let key: Key
  let section: SectionKind
  /// Another section that knows it: where older files have it.
  let otherSection: SectionKind?
  let type: KeyType
  let change: KeyChange
  private let lowest: Int32
  private let highest: Int32
  private let standard: Int32
  #if !hasFeature(Embedded)
    // For people and tests: a device has no use for prose.
    /// What it is, as the README has it.
    let help: StaticString
    /// What holds without it, where that is no value of its type.
    let otherwise: StaticString
  #endif

  @inline(__always)
  init(
    _ key: Key, _ name: StaticString, _ section: SectionKind, also other: SectionKind? = nil, _ type: KeyType,
    _ range: ClosedRange<Int32>, default standard: Int32, otherwise: StaticString, _ change: KeyChange,
    _ help: StaticString
  ) {
    self.key = key
    self.name = name
    self.section = section
    otherSection = other
    self.type = type
    self.change = change
    lowest = range.lowerBound
    highest = range.upperBound
    self.standard = standard
    #if !hasFeature(Embedded)
      self.help = help
      self.otherwise = otherwise
    #endif
  }

  /// Whether it is known in `kind`.
  @inline(__always)
  func isKnown(in kind: SectionKind) -> Bool {
    if let otherSection, otherSection == kind { return true }
    return section == kind
  }
  /// The range of a count or size.
  var range: ClosedRange<Int> { Int(lowest)...Int(highest) }
  /// What holds without a count, a size or a choice.
  var standardCount: Int { Int(standard) }
  /// What holds without a truth value.
  var standardBoolean: Bool { standard != 0 }
  /// The range of a time.
  var times: ClosedRange<TimeSpan> { .milliseconds(Int64(lowest))...(.milliseconds(Int64(highest))) }
  /// What holds without a time.
  var standardTime: TimeSpan { .milliseconds(Int64(standard)) }
  /// What holds without a decimal number.
  var standardDecimal: Decimal { Decimal(Int64(standard)) }
  /// The words of which the value must be one.
  var words: WordList? {
    switch type {
    case .logLevel: LogLevel.words
    case .valueType: ValueType.words
    case .installer: FirmwareInstaller.words
    case .fullPolicy: QueueSettings.policies
    case .priority: QueueSettings.priorities
    case .keeping: Keeping.words
    case .text, .boolean, .count, .size, .time, .timeOrZero, .decimal: nil
    }
  }
}

extension LogLevel {
  /// In the order of the raw values.
  static var words: WordList { WordList("error|warning|info|debug") }
}
