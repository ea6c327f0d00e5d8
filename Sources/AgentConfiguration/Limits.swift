// Every bound of a configuration in one place: what may be read, and what may be asked for.

import Bytes
import HostInterface

/// Bounds of what is read, which decide how much memory loading takes.
public enum ConfigurationLimits {
  /// The largest configuration file, in bytes.
  public static var fileBytesMax: Int { 65_536 }
  /// The longest line, in bytes.
  public static var lineBytesMax: Int { 2048 }
  /// All names and values together, in bytes.
  public static var textBytesMax: Int { 65_536 }
  /// All `key = value` lines of named sections: each may have all the keys of its kind.
  static var entriesMax: Int {
    eventsMax * keyCount(of: .event) + sensorsMax * keyCount(of: .sensor) + outputsMax * keyCount(of: .output)
      + (commandsMax + actionsMax) * keyCount(of: .command)
  }
  /// What is said without a section's name: each key once in each layer, and variables of other programs.
  static var plainEntriesMax: Int {
    (Int(Key.foreign.rawValue) + 1) * (Int(Layer.flag.rawValue) + 1) + EnvironmentVariable.count
  }
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
  /// Outputs.
  public static var outputsMax: Int { 32 }
  /// Commands.
  public static var commandsMax: Int { 32 }
  /// Custom actions.
  public static var actionsMax: Int { 32 }
  /// What the names of all bundles take in the message that says what the device supports, in bytes.
  static var bundleBytesMax: Int { 1024 }
  /// Headings: one of each of the eight plain kinds besides the named ones, and the time before the first.
  static var sectionsMax: Int { eventsMax + sensorsMax + outputsMax + commandsMax + actionsMax + 8 + 1 }

  /// The longest token, in bytes: the platform's have 18, certificates' fingerprints 64.
  public static var tokenBytesMax: Int { 512 }
  /// The longest host name or address, in bytes: what a link takes.
  public static var hostBytesMax: Int { LinkEndpoint.nameBytesMax }
  /// The longest path, in bytes: what the host makes room for on the stack.
  public static var pathBytesMax: Int { 511 }
  /// The longest name of a network interface, in bytes (the kernel's IFNAMSIZ less its NUL).
  static var interfaceBytesMax: Int { 15 }
  /// The longest piece of what is told about the device, in bytes.
  public static var informationBytesMax: Int { 128 }
  /// The longest unit, in bytes.
  static var unitBytesMax: Int { 16 }
  /// The longest field name, in bytes.
  static var fieldBytesMax: Int { 64 }
}

/// What is advised against, though it can be done.
enum AdvisedLimits {
  /// Above this the platform's shared clients are cut down, and networks drop idle connections long before.
  static var keepAliveMax: TimeSpan { .seconds(3600) }
  /// Unacknowledged messages that the platform takes from a device.
  static var inflightMax: Int { 10 }
}

/// How many keys sections of a kind have.
private func keyCount(of section: SectionKind) -> Int {
  var count = 0
  for index in KeyTable.keys.indices where KeyTable.keys[index].section == section { count += 1 }
  return count
}
