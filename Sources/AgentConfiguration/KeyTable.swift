// Every key, one line each.

import Bytes
import HostInterface

/// The one table of keys: name, section, type with range and default, what a change does, and what it is for.
enum KeyTable {
  /// In the order of `Key`, which is also the order of the reference. A literal of constants, so that it is data of the
  /// program and nothing has to be made at start.
  static let keys: InlineArray<_, KeyDescription> = [
    text(.organization, "org", .device, .reconnects, "six characters given by the platform, or `quickstart`"),
    text(.deviceType, "type", .device, .reconnects, "the device's type, 1 to 36 of `A-Z a-z 0-9 - _ .`"),
    text(
      .deviceID, "id", .device, otherwise: "a network device's permanent address", .reconnects,
      "the device's identifier, same rule"),
    text(.authMethod, "auth-method", .device, otherwise: "`token`", .goesOn, "the only one so far"),
    text(.token, "auth-token", .device, .reconnects, "or the token itself"),
    text(.tokenFile, "auth-token-file", .device, .goesOn, "the file that holds the token and nothing else"),

    text(.host, "host", .server, otherwise: "`ORG.messaging.DOMAIN`", .reconnects, "a name or an address"),
    count(
      .port, "port", .server, also: .device, 1...65_535, default: 8883, otherwise: "8883; 1883 without TLS",
      .reconnects, "1 to 65535; no other is ever tried"),
    boolean(
      .tls, "tls", .server, default: true, otherwise: "`yes`; `no` for Quickstart", .reconnects,
      "whether the connection is encrypted"),
    text(
      .serverName, "server-name", .server, otherwise: "the host", .reconnects, "the name in the server's certificate"),
    text(.caFile, "ca-file", .server, otherwise: "`system`", .reconnects, "a PEM file of certificates to trust"),
    text(
      .domain, "domain", .server, also: .device, otherwise: "`internetofthings.ibmcloud.com`", .goesOn,
      "the platform's domain"),
    boolean(
      .allowPlaintextToken, "allow-plaintext-token", .server, default: false, .goesOn,
      "needed for a token without TLS"),
    boolean(
      .allowUnverifiedServer, "allow-unverified-server", .server, default: false, .reconnects,
      "leaves the server's certificate unchecked"),

    // Two bytes of seconds [MQTT-3.1.2.10].
    time(
      .keepAlive, "keep-alive", .mqtt, second...(65_535 * second), orZero: true, default: 60 * second, .reconnects,
      "1s to 18h12m15s, or 0 for none"),
    boolean(
      .cleanSession, "clean-session", .mqtt, also: .device, default: true, .reconnects,
      "`no`: the server keeps commands while the device is away"),
    count(.inflightMax, "inflight-max", .mqtt, 1...100, default: 10, .reconnects, "unacknowledged messages, 1 to 100"),
    // The platform's largest payload and its frame.
    size(
      .packetSize, "packet-size", .mqtt, kilobyte...(129 * kilobyte), default: 8 * kilobyte, .reconnects,
      "the largest packet either way, 1KB to 129KB; decides about most of the memory"),
    size(
      .queueSize, "queue-size", .mqtt, kilobyte...(1024 * kilobyte), default: 32 * kilobyte, .reconnects,
      "events that wait for the network, 1KB to 1MB"),
    time(
      .connectDelayMax, "connect-delay-max", .mqtt, 0...hour, orZero: true, default: 10 * second, .goesOn,
      "the first connection comes after a random time up to this, 0 to 1h"),
    // What the platform takes from a device.
    count(
      .messagesPerSecond, "messages-per-second", .mqtt, 0...1000, default: 10, .goesOn,
      "never more than this, 0 to 1000, 0 for no limit"),
    boolean(
      .retainedCommands, "retained-commands", .mqtt, default: false, .goesOn,
      "`yes`: a command that the server keeps as retained runs with each connection"),

    choice(
      .logLevel, "log-level", .agent, .logLevel, default: Int32(LogLevel.info.rawValue), .goesOn,
      "`error`, `warning`, `info`, `debug`"),
    time(
      .sourceTimeout, "source-timeout", .agent, 100...minute, default: 5 * second, .goesOn,
      "how long a slow sensor is waited for, 100ms to 1m"),
    boolean(
      .align, "align", .agent, default: false, .goesOn, "`yes`: events are due at the same moments on all devices"),
    text(
      .controlSocket, "control-socket", .agent, otherwise: "/run/mote/control, else /var/lib/mote/control", .reconnects,
      "where `mote status` and others reach the running agent, or `no`"),
    text(
      .controlGroup, "control-group", .agent, otherwise: "only its user may", .reconnects,
      "a group that may do so, too, by name or number"),
    text(
      .controlOwner, "control-owner", .agent, otherwise: "the agent's user", .reconnects,
      "whose the socket is, where the agent runs as root"),

    // Less than an hour the platform refuses; more than 24 days no number of milliseconds here has room for.
    time(
      .lifetime, "lifetime", .management, hour...(24 * day), orZero: true, default: hour, .goesOn,
      "without news for so long, the device counts as gone, 1h to 24d, or 0 for never"),
    text(
      .reboot, "reboot", .management, otherwise: "`no`", .goesOn,
      "`yes`, or the absolute path of a program that restarts the machine"),
    text(
      .factoryReset, "factory-reset", .management, otherwise: "`no`", .goesOn,
      "the absolute path of a program that resets it"),
    boolean(
      .diagnostics, "diagnostics", .management, default: true, .goesOn,
      "`no`: the platform is not told of faults of the device's own"),
    text(
      .locationFile, "location-file", .management, .goesOn,
      "a file with latitude, longitude, and perhaps elevation and accuracy, told when it changes"),
    text(
      .serialNumber, "serial-number", .management, otherwise: "the board's", .goesOn,
      "at most 128 bytes, as all below"),
    text(.manufacturer, "manufacturer", .management, otherwise: "the board's", .goesOn, "who made the device"),
    text(.model, "model", .management, otherwise: "the board's", .goesOn, "what it is"),
    text(.deviceClass, "device-class", .management, .goesOn, "what kind of thing it is"),
    text(.deviceDescription, "description", .management, .goesOn, "what it does here"),
    text(
      .firmwareVersion, "firmware-version", .management, otherwise: "`VERSION_ID` of /etc/os-release", .goesOn,
      "what runs on it"),
    text(.hardwareVersion, "hardware-version", .management, .goesOn, "which of its revisions it is"),
    text(.descriptiveLocation, "location", .management, .goesOn, "where it stands, in words"),

    choice(
      .installer, "installer", .firmware, .installer, default: Int32(FirmwareInstaller.agent.rawValue), .reconnects,
      "`agent` renews this program, `command` hands the image to a program, `partition` writes the idle slot"),
    text(
      .installerRun, "run", .firmware, .goesOn,
      "the absolute path of the program: the `command`, or one that speaks with the boot loader"),
    text(.slotA, "slot-a", .firmware, .reconnects, "for `partition`: the absolute path of a block device or a file"),
    text(.slotB, "slot-b", .firmware, .reconnects, "the same of the other one"),
    text(
      .keyFile, "key-file", .firmware, .goesOn,
      "a PEM file of up to four P-256 keys; one of them must have signed an image"),
    text(.compatible, "compatible", .firmware, .goesOn, "what images must be made for, 1 to 64 characters"),
    boolean(
      .allowDowngrade, "allow-downgrade", .firmware, default: false, .goesOn,
      "`yes`: also images of a lower security version than what has run"),
    size(
      .imageSize, "image-size", .firmware, kilobyte...(1024 * 1024 * kilobyte), default: 64 * 1024 * kilobyte, .goesOn,
      "the largest image, 1KB to 1024MB"),
    text(
      .firmwareCAFile, "ca-file", .firmware, otherwise: "`system`", .goesOn,
      "a PEM file of certificates to trust where images are fetched"),
    size(
      .throttle, "throttle", .firmware, 0...(100 * 1024 * kilobyte), default: 0, .goesOn,
      "how much is fetched each second at most, 0B to 100MB, 0B for no limit"),
    time(
      .downloadDeadline, "deadline", .firmware, hour...(7 * day), default: day, .goesOn,
      "how long a download may take with all that it waits for, 1h to 7d"),

    text(.watchdogDevice, "device", .watchdog, otherwise: "/dev/watchdog", .goesOn, "the hardware's watchdog"),
    time(
      .watchdogTimeout, "timeout", .watchdog, (3 * second)...hour, default: 30 * second, .goesOn,
      "an agent that hangs for so long has the machine restarted, 3s to 1h"),
    boolean(
      .watchdogStop, "stop-at-end", .watchdog, default: false, .goesOn,
      "`yes`: an orderly end stops the watchdog, if it can be stopped"),

    size(
      .flashSize, "size", .queue, (64 * kilobyte)...(1024 * 1024 * kilobyte), default: 16 * 1024 * kilobyte,
      .reconnects, "what waits on flash, all of it counted, 64KB to 1024MB"),
    text(
      .flashFlush, "flush", .queue, otherwise: "`10s`", .reconnects,
      "what a power cut may cost: `each` nothing, or a time, 1s to 1h, or a number of events, 1 to 1000"),
    choice(
      .flashFull, "when-full", .queue, .fullPolicy, default: 0, .reconnects,
      "who has to go: `oldest`, `newest`, `lowest-priority`"),
    time(
      .flashKeep, "keep", .queue, 0...(24 * day), orZero: true, default: 0, .reconnects,
      "how old an event is still sent, 0 to 24d, 0 for any age"),

    time(.interval, "interval", .event, 100...(7 * day), default: 10 * second, .goesOn, "100ms to 7d"),
    time(
      .sample, "sample", .event, 0...day, orZero: true, default: 0, .goesOn,
      "how often its sensors are read, where that is more often than it is reported, 0 to 1d"),
    count(.qos, "qos", .event, 0...2, default: 0, .goesOn, "0 at most once, 1 at least once, 2 exactly once"),
    choice(
      .priority, "priority", .event, .priority, default: 1, .goesOn,
      "`low`, `normal`, `high`, `critical`: what goes first from the queue on flash, and last from a full one"),
    choice(
      .keeping, "queue", .event, .keeping, default: 0, otherwise: "`flash` with `[queue]`, else `memory`", .goesOn,
      "where it waits for the network with QoS 1 or 2: `memory`, `flash`, or `none`: it does not"),

    time(
      .heartbeat, "heartbeat", .event, second...(7 * day), orZero: true, default: hour, .goesOn,
      "where sensors have a `deadband`, an event after so long nevertheless, 1s to 7d, or 0 for never"),
    time(
      .minInterval, "min-interval", .event, 0...(7 * day), orZero: true, default: 0, .goesOn,
      "where sensors have a `deadband`, no event sooner behind another, 0 to 7d"),
    boolean(
      .units, "units", .event, default: false, .goesOn, "`yes`: it tells the unit of each sensor as `NAME-unit`"),

    text(.event, "event", .sensor, .goesOn, "the event it belongs to"),
    text(.read, "read", .sensor, .goesOn, "where it is read; see below"),
    text(.field, "field", .sensor, .goesOn, "a named field of the text"),
    choice(
      .valueType, "type", .sensor, .valueType, default: Int32(ValueType.number.rawValue), .goesOn,
      "or `text`, `boolean`"),
    decimal(.scale, "scale", .sensor, default: 1, .goesOn, "value = (raw + offset) × scale"),
    decimal(.offset, "offset", .sensor, default: 0, .goesOn, "added first"),
    count(
      .decimals, "decimals", .sensor, 0...18, default: 0, otherwise: "all", .goesOn,
      "digits kept behind the point, 0 to 18"),
    text(.filter, "filter", .sensor, .goesOn, "what becomes of its values; see [Filters](#filters)"),
    text(
      .aggregate, "aggregate", .sensor, .goesOn,
      "of all that was read since the last event `last`, `min`, `max`, `mean`, `count` or `sum`"),
    text(.deadband, "deadband", .sensor, .goesOn, "how far it has to move for an event, as in `0.5`, `2%` or `2% 0.5`"),
    text(.alarm, "alarm", .sensor, .goesOn, "bounds that make an event at once, as in `high 80 low 5 hysteresis 2`"),
    text(.stale, "stale", .sensor, .goesOn, "how old a value may become while none can be read, 1ms to 1d"),
    text(
      .unit, "unit", .sensor, otherwise: "the source's, where nothing changes it", .goesOn,
      "what it is measured in, 1 to 16 bytes"),

    text(.write, "write", .output, .goesOn, "what is set: `gpio:LINE`, `led:NAME` or `file:PATH`; see below"),
    text(.outputCommand, "command", .output, otherwise: "the output's name", .goesOn, "the command that sets it"),
    count(.valueMax, "max", .output, 1...1_000_000, default: 1, .goesOn, "its largest value, 1 to 1000000"),
    count(
      .safe, "safe", .output, 0...1_000_000, default: 0, .goesOn,
      "its value at the start, at the end, and whenever nothing else holds, 0 to 1000000"),
    time(
      .offline, "offline", .output, second...(7 * day), orZero: true, default: minute, .goesOn,
      "without a connection for so long it becomes safe, 1s to 7d, or 0 for never"),
    time(
      .pause, "pause", .output, 10...hour, orZero: true, default: 100, .goesOn,
      "a command that comes sooner after another is refused, 10ms to 1h, or 0"),

    text(.run, "run", .command, .goesOn, "the absolute path of a program"),
    time(.timeout, "timeout", .command, second...hour, default: 10 * second, .goesOn, "1s to 1h"),
  ]

  // MARK: Units

  private static var second: Int32 { 1000 }
  private static var minute: Int32 { 60 * second }
  private static var hour: Int32 { 60 * minute }
  private static var day: Int32 { 24 * hour }
  private static var kilobyte: Int32 { 1024 }

  // MARK: Lines
  // Inlined always: only what the compiler sees through becomes data.

  @inline(__always)
  private static func text(
    _ key: Key, _ name: StaticString, _ section: SectionKind, also other: SectionKind? = nil,
    otherwise: StaticString = "", _ change: KeyChange, _ help: StaticString
  ) -> KeyDescription {
    KeyDescription(key, name, section, also: other, .text, 0...0, default: 0, otherwise: otherwise, change, help)
  }

  @inline(__always)
  private static func boolean(
    _ key: Key, _ name: StaticString, _ section: SectionKind, also other: SectionKind? = nil, default standard: Bool,
    otherwise: StaticString = "", _ change: KeyChange, _ help: StaticString
  ) -> KeyDescription {
    KeyDescription(
      key, name, section, also: other, .boolean, 0...1, default: standard ? 1 : 0, otherwise: otherwise, change, help)
  }

  @inline(__always)
  private static func count(
    _ key: Key, _ name: StaticString, _ section: SectionKind, also other: SectionKind? = nil,
    _ range: ClosedRange<Int32>, default standard: Int32, otherwise: StaticString = "", _ change: KeyChange,
    _ help: StaticString
  ) -> KeyDescription {
    KeyDescription(
      key, name, section, also: other, .count, range, default: standard, otherwise: otherwise, change, help)
  }

  @inline(__always)
  private static func size(
    _ key: Key, _ name: StaticString, _ section: SectionKind, _ range: ClosedRange<Int32>, default standard: Int32,
    _ change: KeyChange, _ help: StaticString
  ) -> KeyDescription {
    KeyDescription(key, name, section, .size, range, default: standard, otherwise: "", change, help)
  }

  @inline(__always)
  private static func time(
    _ key: Key, _ name: StaticString, _ section: SectionKind, _ range: ClosedRange<Int32>, orZero: Bool = false,
    default standard: Int32, _ change: KeyChange, _ help: StaticString
  ) -> KeyDescription {
    KeyDescription(
      key, name, section, orZero ? .timeOrZero : .time, range, default: standard, otherwise: "", change, help)
  }

  @inline(__always)
  private static func decimal(
    _ key: Key, _ name: StaticString, _ section: SectionKind, default standard: Int32, _ change: KeyChange,
    _ help: StaticString
  ) -> KeyDescription {
    KeyDescription(key, name, section, .decimal, 0...0, default: standard, otherwise: "", change, help)
  }

  @inline(__always)
  private static func choice(
    _ key: Key, _ name: StaticString, _ section: SectionKind, _ type: KeyType, default standard: Int32,
    otherwise: StaticString = "", _ change: KeyChange, _ help: StaticString
  ) -> KeyDescription {
    KeyDescription(key, name, section, type, 0...0, default: standard, otherwise: otherwise, change, help)
  }
}
