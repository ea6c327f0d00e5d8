// Starting anew: restarting the machine, and programs that do so or that reset it.

import Bytes

/// The machine's power, and one program at a time that acts upon the whole machine.
///
/// Such a program differs from those of commands: it outlives the agent, because it may well end it, and nobody wants
/// what it writes.
public protocol HostPower: ~Copyable {
  /// What made the machine start last, as far as it can tell.
  mutating func lastStart() -> LastStart

  /// Names this run of the machine: a restart, and nothing else, makes it another one.
  mutating func bootIdentifier() -> BootIdentifier

  /// Whether `startAction` has a chance: the program is there and may be executed; or, where `program` is empty, we may
  /// restart the machine.
  mutating func mayStartAction(_ program: Span<UInt8>) -> Bool

  /// Starts the program at an absolute path, without arguments and input; an empty path is the system's own orderly
  /// restart, for which file systems are written first. None may be running.
  ///
  /// - Returns: whether something has been started; what it comes to `pollAction` tells.
  mutating func startAction(_ program: Span<UInt8>) -> Bool

  /// Says whether what was started has ended, and how. The host wakes the loop when it has. To be called until it has.
  mutating func pollAction() -> ProgramState

  /// Kills what was started. `pollAction` tells its end.
  mutating func stopAction()

  /// Restarts the machine at once, for when the orderly way does not come to its end: programs are not ended, file
  /// systems not written.
  ///
  /// `.accepted` means that the restart is under way; it may still go on for a while, and is not told again.
  mutating func reboot() -> RebootAnswer
}

/// A run of the machine.
public struct BootIdentifier: Equatable, Sendable, BitwiseCopyable {
  /// Sixteen bytes.
  public let words: (UInt64, UInt64)

  /// The run that has these bytes; zeros where the machine does not tell.
  public init(_ high: UInt64, _ low: UInt64) { words = (high, low) }

  /// Whether both are the same run.
  public static func == (left: BootIdentifier, right: BootIdentifier) -> Bool {
    left.words.0 == right.words.0 && left.words.1 == right.words.1
  }
}

/// Why a machine started.
public enum LastStart: UInt8, Sendable, BitwiseCopyable {
  /// The machine does not say.
  case unknown
  /// Power came.
  case power
  /// Somebody asked for it.
  case request
  /// A watchdog saw it hang.
  case watchdog

  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .unknown: "unknown"
    case .power: "power"
    case .request: "request"
    case .watchdog: "watchdog"
    }
  }
}

/// What became of the wish to restart.
public enum RebootAnswer: UInt8, Sendable, BitwiseCopyable {
  /// It is under way.
  case accepted
  /// We may not.
  case notPermitted
  /// The system cannot now.
  case failed
}
