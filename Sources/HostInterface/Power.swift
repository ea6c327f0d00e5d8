// Starting anew.

/// The machine's power. No part of the agent restarts a machine yet, so only the simulator has it: see the README's
/// list of what is not done.
public protocol HostPower: ~Copyable {
  /// What made the machine start last, as far as it can tell.
  mutating func lastStart() -> LastStart

  /// Asks for an orderly restart of the machine: programs are ended, file systems written.
  ///
  /// `.accepted` means that the restart is under way and that this process is about to be ended; it may still go on for
  /// a while, and is not told again.
  mutating func reboot() -> RebootAnswer
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
