// Programs that the agent has started for commands.

import Bytes

/// Runs programs, at most one in each slot of 0..<`HostLimits.programsMax`.
///
/// A slot is taken by a start that succeeds, and is free again once `pollProgram` has told the program's end; which
/// slots are taken is the caller's to know. What the caller does about time limits is his as well: a host only starts,
/// signals, and tells what the system says.
public protocol HostPrograms: ~Copyable {
  /// Starts the program of command `command` (the order in which commands were configured) in the free `slot`, with
  /// `input` on its standard input, and reports whether it could be started. Never waits: that a file could not be
  /// executed may be known only later, and is told by `pollProgram` then.
  ///
  /// - Parameter variables: what its environment has besides: `NAME=VALUE` for each of at most
  ///   `HostLimits.programVariablesMax`, ended by a zero byte, and one more behind the last; or nothing at all.
  mutating func startProgram(
    slot: Int, command: Int, input: Span<UInt8>, variables: Span<UInt8>
  ) -> ProgramStart

  /// Moves the program in the taken `slot` forward: collects at most `HostLimits.programOutputBytesMax` bytes of what
  /// it writes (standard output and error together) into `output`, discards the rest, and says whether it has ended.
  ///
  /// `.running`: the host wakes the loop when there is output, or the end.
  mutating func pollProgram(slot: Int, output: inout ByteBuffer) -> ProgramState

  /// Signals the program in the taken `slot` and all its children: first politely, then, `forcibly`, for good. Its end
  /// is told by `pollProgram` as any other. Whatever it has started ends with it, however it ends.
  mutating func stopProgram(slot: Int, forcibly: Bool)
}

/// One of something for each program that may run at the same time: the one place where their number stands.
public typealias PerProgram<Element: ~Copyable> = InlineArray<4, Element>

/// What became of a program's start.
public enum ProgramStart: Equatable, Sendable {
  /// It runs.
  case started
  /// There is no such file, or it may not be executed.
  case notExecutable
  /// The system has no room for it now.
  case noResources
}

/// Where a program stands.
public enum ProgramState: Equatable, Sendable {
  /// It has not ended yet.
  case running
  /// It ended by itself with this status, 0...255.
  case exited(Int)
  /// A signal ended it.
  case signalled(Int)
  /// It could not be started after all; never `.started`.
  case notStarted(ProgramStart)
}
