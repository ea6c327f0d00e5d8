// Every bound of a configuration in one place: what may be read, and what may be asked for.

import Bytes

/// Bounds of what is read, which decide how much memory loading takes.
public enum ConfigurationLimits {
  /// The largest configuration file, in bytes.
  public static var fileBytesMax: Int { 65_536 }
  /// The longest line, in bytes.
  public static var lineBytesMax: Int { 2048 }
  /// All names and values together, in bytes.
  public static var textBytesMax: Int { 65_536 }
  /// All `key = value` lines together with environment variables and flags.
  public static var entriesMax: Int { 2304 }
  /// Different files, environment variables and flags that give values or complaints.
  public static var originsMax: Int { 64 }
  /// Complaints that are kept word by word; more are counted.
  public static var diagnosticsMax: Int { 64 }
  /// Room for the kept complaints, in bytes.
  public static var diagnosticBytesMax: Int { 16_384 }
  /// How much of a wrong value is shown, in bytes.
  public static var quotedBytesMax: Int { 60 }

  /// Events.
  public static var eventsMax: Int { 64 }
  /// Sensors of all events.
  public static var sensorsMax: Int { 256 }
  /// Commands.
  public static var commandsMax: Int { 32 }
  /// Headings: one of each of the six plain kinds besides the named ones, and the time before the first.
  static var sectionsMax: Int { eventsMax + sensorsMax + commandsMax + 6 + 1 }

  /// The longest token, in bytes: the platform's have 18, certificates' fingerprints 64.
  public static var tokenBytesMax: Int { 512 }
  /// The longest host name or address, in bytes (RFC 1035, section 2.3.4: 255 on the wire, 253 as text).
  public static var hostBytesMax: Int { 253 }
  /// The longest path, in bytes: what the host makes room for on the stack.
  public static var pathBytesMax: Int { 511 }
  /// The longest name of a network interface, in bytes (the kernel's IFNAMSIZ less its NUL).
  static var interfaceBytesMax: Int { 15 }
  /// The longest field name, in bytes.
  static var fieldBytesMax: Int { 64 }
}

/// Ranges and defaults of times, in the order of the reference.
enum TimeLimits {
  static var keepAlive: ClosedRange<TimeSpan> { .seconds(1)...(.seconds(65_535)) }  // two bytes [MQTT-3.1.2.10]
  static var keepAliveDefault: TimeSpan { .seconds(60) }
  /// Above this the platform's shared clients are cut down, and networks drop idle connections long before.
  static var keepAliveAdvised: TimeSpan { .seconds(3600) }
  static var connectDelayMax: ClosedRange<TimeSpan> { .zero...(.minutes(60)) }
  static var connectDelayMaxDefault: TimeSpan { .seconds(10) }
  static var sourceTimeout: ClosedRange<TimeSpan> { .milliseconds(100)...(.minutes(1)) }
  static var sourceTimeoutDefault: TimeSpan { .seconds(5) }
  static var interval: ClosedRange<TimeSpan> { .milliseconds(100)...(.seconds(7 * 86_400)) }
  static var intervalDefault: TimeSpan { .seconds(10) }
  static var commandTimeout: ClosedRange<TimeSpan> { .seconds(1)...(.minutes(60)) }
  static var commandTimeoutDefault: TimeSpan { .seconds(10) }
}

/// Ranges and defaults of sizes (in bytes) and counts.
enum SizeLimits {
  static var packet: ClosedRange<Int> { 1024...(129 * 1024) }  // the platform's largest payload and its frame
  static var packetDefault: Int { 8 * 1024 }
  static var queue: ClosedRange<Int> { 1024...(1024 * 1024) }
  static var queueDefault: Int { 32 * 1024 }
  static var inflight: ClosedRange<Int> { 1...100 }
  static var inflightDefault: Int { 10 }
  /// Unacknowledged messages that the platform takes from a device.
  static var inflightAdvised: Int { 10 }
  static var messagesPerSecond: ClosedRange<Int> { 0...1000 }
  /// What the platform takes from a device.
  static var messagesPerSecondDefault: Int { 10 }
  static var decimals: ClosedRange<Int> { 0...18 }
}
