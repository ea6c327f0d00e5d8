// What a configuration says, checked and typed; where it says nothing, what `KeyTable` says. The agent is built from
// this and never sees text again, but for names.

import Bytes
import HostInterface
import IoTPlatform

/// A piece of text among a configuration's text.
public struct Text: Equatable, Sendable, BitwiseCopyable {
  let offset: UInt32
  let length: UInt32

  /// The empty text: something that is not configured.
  public static var none: Text { Text(offset: 0, length: 0) }
  /// Length in bytes.
  public var count: Int { Int(length) }
  /// Whether there is none.
  public var isEmpty: Bool { length == 0 }
  var range: Range<Int> { Int(offset)..<(Int(offset) + Int(length)) }

  /// The first `byteCount` bytes, which there must be.
  func prefix(_ byteCount: Int) -> Text { Text(offset: offset, length: UInt32(byteCount)) }
  /// What is left without the first `byteCount` bytes, which there must be.
  func dropFirst(_ byteCount: Int) -> Text {
    Text(offset: offset + UInt32(byteCount), length: length - UInt32(byteCount))
  }
}

extension ByteBuffer {
  /// Appends a piece of another buffer.
  mutating func append(_ piece: Text, of other: borrowing ByteBuffer) {
    append(other.bytes(of: piece))
  }

  /// The bytes of a piece.
  @inline(never)  // small code: this is called from everywhere
  @_lifetime(borrow self)
  func bytes(of piece: Text) -> Span<UInt8> {
    let bytes = span.extracting(piece.range)
    return _overrideLifetime(bytes, borrowing: self)
  }
}

/// Who this device is.
public struct IdentitySettings: Equatable, Sendable, BitwiseCopyable {
  /// Six lower-case letters and digits, or `quickstart`.
  public internal(set) var organization: Text = .none
  /// The device's type.
  public internal(set) var type: Text = .none
  /// The device's identifier within its type.
  public internal(set) var id: Text = .none
}

/// Where the server is and what makes it trusted.
public struct ServerSettings: Equatable, Sendable, BitwiseCopyable {
  /// A name or an address, without brackets.
  public internal(set) var host: Text = .none
  /// The TCP port.
  public internal(set) var port: UInt16 = 0
  /// Whether the connection is encrypted.
  public internal(set) var tls = true
  /// The name that is sent as SNI and looked for in the server's certificate; the host unless configured.
  public internal(set) var serverName: Text = .none
  /// A PEM file of trusted certificates; empty for the system's.
  public internal(set) var caFile: Text = .none
  /// The platform's domain.
  public internal(set) var domain: Text = .none
  /// Whether a token may be sent without TLS.
  public internal(set) var allowPlaintextToken = false
  /// Whether the server's certificate goes unchecked.
  public internal(set) var allowUnverifiedServer = false

  /// How the link is protected.
  public var security: LinkSecurity { !tls ? .plain : allowUnverifiedServer ? .unverified : .verified }
}

/// How MQTT is spoken, and what memory it may take.
public struct MQTTSettings: Equatable, Sendable, BitwiseCopyable {
  /// 0 turns keep alive off.
  public internal(set) var keepAlive = TimeSpan.zero
  /// Whether the server forgets the session when the connection ends.
  public internal(set) var cleanSession = true
  /// Messages of QoS 1 and 2 that may be unacknowledged at once.
  public internal(set) var inflightMax = 0
  /// The largest packet either way, in bytes.
  public internal(set) var packetBytesMax = 0
  /// Memory for messages that wait for the network, in bytes.
  public internal(set) var queueBytes = 0
  /// The first connection is attempted after a random time up to this.
  public internal(set) var connectDelayMax = TimeSpan.zero
  /// Messages sent in a second; 0 for no limit.
  public internal(set) var messagesPerSecondMax = 0
  /// Whether commands that the server had kept as retained are carried out.
  public internal(set) var takesRetainedCommands = false
}

/// The agent itself.
public struct AgentSettings: Equatable, Sendable, BitwiseCopyable {
  /// The least important lines that are logged.
  public internal(set) var logLevel = LogLevel.info
  /// How long a slow sensor is waited for.
  public internal(set) var sourceTimeout = TimeSpan.zero
  /// Whether events are due at whole multiples of their intervals, without a phase of this device's own.
  public internal(set) var align = false
  /// The absolute path of the control socket, or `no`; empty for the usual places.
  public internal(set) var controlSocket: Text = .none
  /// The group that may connect to it, too, by name or number; empty for none.
  public internal(set) var controlGroup: Text = .none
  /// The user whose it is, by name or number; empty for the agent's own.
  public internal(set) var controlOwner: Text = .none
}

/// What the platform may do to the device beside commands, and what it is told about it.
public struct ManagementSettings: Sendable, BitwiseCopyable {
  /// Whether there is a `[management]`.
  public internal(set) var isManaged = false
  /// How long after the last manage request the platform takes the device for gone; 0 for never.
  public internal(set) var lifetime = TimeSpan.zero
  /// Whether the system itself is asked to restart.
  public internal(set) var rebootsBySystem = false
  /// The absolute path of a program that restarts the machine; empty without one.
  public internal(set) var reboot: Text = .none
  /// The absolute path of a program that resets the machine; empty without one.
  public internal(set) var factoryReset: Text = .none
  /// Whether the platform is told of faults of the device's own.
  public internal(set) var tellsFaults = true
  /// The absolute path of a file that says where the device is; empty without one.
  public internal(set) var locationFile: Text = .none
  /// What is told about the device, in the order of its keys; empty where nothing is known.
  public internal(set) var information = InlineArray<8, Text>(repeating: .none)

  /// Whether any action is supported.
  public var hasActions: Bool { rebootsBySystem || !reboot.isEmpty || !factoryReset.isEmpty }
}

/// How new firmware is installed.
public enum FirmwareInstaller: UInt8, Sendable, BitwiseCopyable {
  /// The agent's own program, in slots that are tried.
  case agent
  /// By a program that gets the image.
  case command
  /// The system, in the one of two partitions that it does not run from.
  case partition

  static var words: WordList { WordList("agent|command|partition") }
  /// The word of a configuration.
  var name: StaticString { self == .agent ? "agent" : self == .command ? "command" : "partition" }
}

/// What firmware is taken, and where from.
public struct FirmwareSettings: Sendable, BitwiseCopyable {
  /// Whether there is a `[firmware]`.
  public internal(set) var isConfigured = false
  /// Who installs it.
  public internal(set) var installer = FirmwareInstaller.agent
  /// The absolute path of the program that installs an image, or speaks with the boot loader; empty without one.
  public internal(set) var run: Text = .none
  /// The absolute paths of the two partitions; empty without them.
  public internal(set) var slots: (a: Text, b: Text) = (.none, .none)
  /// The path of the PEM file of the keys that are trusted; empty without one.
  public internal(set) var keyFile: Text = .none
  /// What images must be made for; empty where that does not matter.
  public internal(set) var compatible: Text = .none
  /// Whether an image may have a lower security version than what has run.
  public internal(set) var allowsDowngrade = false
  /// The largest image, in bytes.
  public internal(set) var imageBytesMax = 0
  /// The path of a PEM file of trusted certificates; empty for the system's.
  public internal(set) var caFile: Text = .none
  /// How much is fetched each second at most, in bytes; 0 for no limit.
  public internal(set) var throttleBytesPerSecond = 0
  /// How long a download may take with all that it waits for.
  public internal(set) var deadline = TimeSpan.zero
}

/// The hardware's watchdog.
public struct WatchdogSettings: Sendable, BitwiseCopyable {
  /// The absolute path of its device; empty where there is no `[watchdog]`.
  public internal(set) var device: Text = .none
  /// The timeout that it is asked for, in seconds.
  public internal(set) var seconds = 0
  /// Whether an orderly end stops it.
  public internal(set) var stopsAtEnd = false
}

/// Where an event waits for the network.
public enum Keeping: UInt8, Sendable, BitwiseCopyable {
  /// In memory, until the agent ends.
  case memory
  /// On flash.
  case flash
  /// Nowhere.
  case none

  static var words: WordList { WordList("memory|flash|none") }
  /// The word of a configuration.
  var name: StaticString { self == .memory ? "memory" : self == .flash ? "flash" : "none" }
}

/// The queue on flash.
public struct QueueSettings: Sendable, BitwiseCopyable {
  /// Whether there is a `[queue]`.
  public internal(set) var isConfigured = false
  /// What it may have on flash, in bytes.
  public internal(set) var byteCountMax = 0
  /// `flush` as it is written.
  var flush: Text = .none
  /// How long an event may be in memory only.
  public internal(set) var flushTime = TimeSpan.zero
  /// How many events may be.
  public internal(set) var flushCount = Int.max
  /// Who has to go where there is no room, in the order of `policies`.
  public internal(set) var full: UInt8 = 0
  /// How old events are still sent; zero for any age.
  public internal(set) var keep = TimeSpan.zero

  static var policies: WordList { WordList("oldest|newest|lowest-priority") }
  static var priorities: WordList { WordList("low|normal|high|critical") }

  static func policyName(_ value: UInt8) -> StaticString {
    value == 0 ? "oldest" : value == 1 ? "newest" : "lowest-priority"
  }

  static func priorityName(_ value: UInt8) -> StaticString {
    value == 0 ? "low" : value == 1 ? "normal" : value == 2 ? "high" : "critical"
  }
}

/// One `[event NAME]`.
public struct EventSettings: Equatable, Sendable, BitwiseCopyable {
  /// The event's identifier in its topic.
  public let name: Text
  /// The time between two of them.
  public internal(set) var interval: TimeSpan
  /// The time between two readings of its sensors; zero where they are read for each event.
  public internal(set) var sample: TimeSpan
  /// 0...2.
  public internal(set) var qos: UInt8
  /// The longest time between two of them, where it is reported by exception; zero for none.
  public internal(set) var heartbeat: TimeSpan
  /// The shortest time between two of them then.
  public internal(set) var minInterval: TimeSpan
  /// How much it matters: 0 low, 1 normal, 2 high, 3 critical.
  public internal(set) var priority: UInt8
  /// Where it waits.
  public internal(set) var keeping: Keeping
  /// Whether it tells the units of its sensors.
  public internal(set) var hasUnits: Bool
}

/// What a sensor's value is in an event.
public enum ValueType: UInt8, Sendable, BitwiseCopyable {
  /// A number, scaled.
  case number
  /// The text itself.
  case text
  /// A truth value.
  case boolean

  static var words: WordList { WordList("number|text|boolean") }
}

/// One `[sensor NAME]`: value = (raw + offset) × scale, as the kernel's IIO interface defines the two.
public struct SensorSettings: Equatable, Sendable, BitwiseCopyable {
  /// The member's name in the event.
  public let name: Text
  /// The index of its event.
  public internal(set) var event: Int
  /// Where it is read.
  public internal(set) var kind: SourceKind
  /// What stands behind the colon of `read`.
  public internal(set) var argument: Text
  /// The name of a field in the text read; empty for all of it.
  public internal(set) var field: Text
  /// Multiplied last.
  public internal(set) var scale: Decimal
  /// Added first.
  public internal(set) var offset: Decimal
  /// Digits kept behind the point; nil keeps all.
  public internal(set) var decimals: Int?
  /// What the value is.
  public internal(set) var valueType: ValueType
  /// The index of how it is reported, where that is otherwise than as it is read; negative if it is not.
  public internal(set) var report: Int16 = -1
}

/// How the values of a sensor are reported, otherwise than as they are read.
public struct ReportSettings: Equatable, Sendable, BitwiseCopyable {
  /// The steps of its filter, which `FilterReader` reads; empty without one.
  public internal(set) var filter: Text = .none
  /// How far its value has to move, which `Deadband` reads; empty where it goes with the others.
  public internal(set) var deadband: Text = .none
  /// What is made of several readings.
  public internal(set) var aggregate = Aggregate.last
  /// The bounds of its alarms, which `AlarmBounds` reads; empty without any.
  public internal(set) var alarm: Text = .none
  /// How old its value may become while none can be read; zero where that is not told.
  public internal(set) var stale = TimeSpan.zero
  /// What it is measured in; empty where that is not said.
  public internal(set) var unit: Text = .none
  /// Whether its filter or what is made of several readings has another unit than what is read.
  public internal(set) var changesUnit = false
}

/// One `[output NAME]`. Its values are whole numbers from 0.
public struct OutputSettings: Equatable, Sendable, BitwiseCopyable {
  /// What the log calls it.
  public let name: Text
  /// What is set.
  public internal(set) var kind: OutputKind
  /// What stands behind the colon of `write`.
  public internal(set) var argument: Text
  /// The command's name in its topic.
  public internal(set) var command: Text
  /// Its largest value.
  public internal(set) var valueMax: Int
  /// What it has where nothing else holds.
  public internal(set) var safe: Int
  /// Without a connection for so long it becomes safe; 0 for never.
  public internal(set) var offline: TimeSpan
  /// The time between two commands.
  public internal(set) var pause: TimeSpan
}

/// One `[command NAME]`, or one `[action BUNDLE/ACTION]`, whose name has the solidus.
public struct CommandSettings: Equatable, Sendable, BitwiseCopyable {
  /// The command's identifier in its topic.
  public let name: Text
  /// The absolute path of a program, which gets no arguments.
  public internal(set) var run: Text
  /// How long it may take.
  public internal(set) var timeout: TimeSpan
}

/// A whole configuration without a mistake; `SettingsLoader.finish` makes it.
public struct Settings: ~Copyable {
  private let pinned = Pinned()
  var text: ByteBuffer
  /// Who this device is.
  public internal(set) var identity = IdentitySettings()
  /// The token; empty without one.
  public internal(set) var token: Text = .none
  /// The file that the token came from; empty if it was given otherwise.
  public internal(set) var tokenFile: Text = .none
  /// Where the server is.
  public internal(set) var server = ServerSettings()
  /// How MQTT is spoken.
  public internal(set) var mqtt = MQTTSettings()
  /// The agent itself.
  public internal(set) var agent = AgentSettings()
  /// Device management.
  public internal(set) var management = ManagementSettings()
  /// Firmware.
  public internal(set) var firmware = FirmwareSettings()
  /// The hardware's watchdog.
  public internal(set) var watchdog = WatchdogSettings()
  /// The queue on flash.
  public internal(set) var queue = QueueSettings()
  /// Events, in the order of the file.
  public internal(set) var events: FixedArray<EventSettings>
  /// Sensors, in the order of the file.
  public internal(set) var sensors: FixedArray<SensorSettings>
  /// How sensors are reported of which that is said, in the order of the file.
  public internal(set) var reports: FixedArray<ReportSettings>
  /// Outputs, in the order of the file.
  public internal(set) var outputs: FixedArray<OutputSettings>
  /// Commands, and behind them custom actions, each in the order of the file.
  public internal(set) var commands: FixedArray<CommandSettings>
  /// The index of the first action among the commands; their number where there is none.
  public internal(set) var firstAction = 0

  init(
    textBytes: Int, events: Int, sensors: Int, reports: Int, outputs: Int, commands: Int, in arena: inout Arena
  ) {
    text = ByteBuffer(capacity: textBytes, for: "settings", in: &arena)
    self.events = FixedArray(capacity: events, for: "settings", in: &arena)
    self.sensors = FixedArray(capacity: sensors, for: "settings", in: &arena)
    self.reports = FixedArray(capacity: reports, for: "settings", in: &arena)
    self.outputs = FixedArray(capacity: outputs, for: "settings", in: &arena)
    self.commands = FixedArray(capacity: commands, for: "settings", in: &arena)
  }

  /// The bytes of one of these settings' texts.
  @_lifetime(borrow self)
  #if !_pointerBitWidth(_64)
    @inline(never)  // small code: this is called from everywhere
  #endif
  public func bytes(_ text: Text) -> Span<UInt8> {
    let span = self.text.span.extractingInline(text.range)
    return _overrideLifetime(span, borrowing: self)
  }

  /// Whether an event is reported otherwise than as it is read, or one of its sensors is.
  public func hasReport(_ event: Int) -> Bool {
    if events[event].sample > .zero { return true }
    for index in 0..<sensors.count where sensors[index].event == event && sensors[index].report >= 0 { return true }
    return false
  }

  /// Whether an event is reported only when one of its sensors has moved.
  public func isByException(_ event: Int) -> Bool {
    for index in 0..<sensors.count where sensors[index].event == event && sensors[index].report >= 0 {
      if !reports[Int(sensors[index].report)].deadband.isEmpty { return true }
    }
    return false
  }

  /// Whether the organisation is Quickstart's, with all its limits.
  public var isQuickstart: Bool {
    @inline(never)  // small code: this is called from several places
    get { IdentityRules.isQuickstart(bytes(identity.organization)) }
  }
  /// Whether there is a token to authenticate with.
  public var hasToken: Bool { !token.isEmpty }
  /// Whether commands are subscribed to.
  public var acceptsCommands: Bool { !isQuickstart }
  /// Whether the token travels in the clear: worth a warning at each start.
  public var sendsPlaintextToken: Bool { hasToken && !server.tls }
  /// Whether anyone could pose as the server: worth a warning at each start.
  public var leavesServerUnverified: Bool { server.tls && server.allowUnverifiedServer }

  @inline(never)
  mutating func keep(_ bytes: Span<UInt8>) -> Text {
    let offset = text.count
    text.append(bytes)
    return Text(offset: UInt32(offset), length: UInt32(text.count - offset))
  }

  /// Whether going over to these settings takes a new connection: what identifies the device, its credentials, the
  /// server or the session differs, or the sizes of memory that is taken when the client is made.
  public func needsNewConnection(comparedTo other: borrowing Settings) -> Bool {
    // Its memory and its subscription come with the agent.
    if management.isManaged != other.management.isManaged { return true }
    if firmware.isConfigured != other.firmware.isConfigured { return true }
    if queue.isConfigured != other.queue.isConfigured { return true }
    for index in KeyTable.keys.indices where KeyTable.keys[index].change == .reconnects {
      let key = KeyTable.keys[index].key
      if !isSame(value(of: key), as: other.value(of: key), of: other) { return true }
    }
    return false
  }

  /// Whether the hardware's watchdog is the same, with the same timeout.
  public func hasSameWatchdog(as other: borrowing Settings) -> Bool {
    watchdog.seconds == other.watchdog.seconds && bytes(watchdog.device).equals(other.bytes(other.watchdog.device))
  }

  private func isSame(_ value: SettingValue, as otherValue: SettingValue, of other: borrowing Settings) -> Bool {
    switch (value, otherValue) {
    case (.text(let text), .text(let otherText)): bytes(text).equals(other.bytes(otherText))
    case (.word(let word), .word(let otherWord)): word.isSameText(as: otherWord)
    case (.boolean(let isTrue), .boolean(let otherIsTrue)): isTrue == otherIsTrue
    case (.count(let count), .count(let otherCount)): count == otherCount
    case (.size(let size), .size(let otherSize)): size == otherSize
    case (.time(let time), .time(let otherTime)): time == otherTime
    default: preconditionFailure("only texts and numbers belong to a connection")
    }
  }
}
