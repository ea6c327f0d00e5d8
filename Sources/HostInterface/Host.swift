// The seam between the agent and the machine it runs on.
//
// `LinuxHost` is the real one. The simulator of the tests is another, with a seeded network, disk and clock. Each facet
// is a protocol of its own, and a part of the agent is generic over those facets that it uses; Embedded Swift has no
// `any`, so whoever needs a host is generic.
//
// Three rules hold for all of them:
//
// - No call blocks. What takes time answers "not yet" (`.opening`, `.wouldBlock`, `.pending`, `.running`) and is asked
//   again later.
// - The host wakes the loop when asking again makes sense: it, and nobody else, knows what is waited for. The agent
//   names the moment at which it wants to be woken without news.
// - A wake-up says nothing about its cause. Whoever can have something new asks, and asking too often is harmless.

import Bytes

/// All that the agent as a whole asks of the world.
public protocol Host:
  HostClock, HostLinks, HostStorage, HostSensors, HostOutputs, HostPrograms, HostPower, HostLocation, HostFirmware,
  HostControl, HostWatchdogs, HostLog, ~Copyable
{}

/// The two clocks of the machine.
public protocol HostClock: ~Copyable {
  /// The boot-time clock: counts suspend, never jumps, never goes back.
  mutating func now() -> Instant

  /// The time of day as the system has it, right or wrong: a board without a battery starts in 1970. Whoever needs to
  /// know whether to believe it asks the agent's clock floor.
  mutating func systemTime() -> WallTime

  /// Whether the system says that its time of day follows a reference, a time server's for instance. False where nobody
  /// keeps it right, and where it cannot be asked.
  mutating func isTimeSynchronised() -> Bool
}

/// Where log lines go.
public protocol HostLog: ~Copyable {
  /// Writes one log line, without line feed, already filtered by level. Never blocks; a line that cannot be written is
  /// lost.
  mutating func writeLog(_ level: LogLevel, _ line: Span<UInt8>)
}

/// How much a log line matters, in the order of RFC 5424's severities.
public enum LogLevel: UInt8, Comparable, Sendable, BitwiseCopyable {
  /// Something is broken and needs a person.
  case error
  /// Something is wrong and may mend itself.
  case warning
  /// A change of state that belongs to normal life.
  case info
  /// What a developer wants to see.
  case debug

  /// The more important of two comes first.
  public static func < (left: LogLevel, right: LogLevel) -> Bool { left.rawValue < right.rawValue }

  /// The word in a log line and in a configuration.
  public var name: StaticString {
    switch self {
    case .error: "error"
    case .warning: "warning"
    case .info: "info"
    case .debug: "debug"
    }
  }
}
