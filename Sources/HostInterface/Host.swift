// The seam between the agent and the machine it runs on.
//
// `LinuxHost` is the real one. The simulator of the tests is another, with a seeded network and clock. Embedded Swift
// has no `any`, so whoever needs a host is generic over this protocol.

import Bytes

/// Everything that the agent asks of the world. No call blocks; what takes time is asked for again after a wake-up.
public protocol Host: ~Copyable {
  // MARK: Time

  /// The boot-time clock: counts suspend, never jumps, never goes back.
  mutating func now() -> Instant

  /// UTC; nil while the system's clock is earlier than the clock floor (build time, last known time), so wrong.
  mutating func wallTime() -> WallTime?

  // MARK: The link to the server: at most one at a time

  /// Begins look-up, connection and TLS handshake towards the server that the host was set up with. Any earlier link
  /// must have been closed. Every address is tried; `deadline` ends the whole attempt.
  mutating func openLink(deadline: Instant)

  /// Moves a link that is being opened forward and says where it stands.
  mutating func pollLink() -> LinkState

  /// Sends the beginning of `bytes`, which must not be empty, as far as the system takes it.
  ///
  /// `.moved` is at least 1. After `.ended` the link is dead; the caller closes it.
  mutating func send(_ bytes: Span<UInt8>) -> LinkTransfer

  /// Receives what is there into the free room of `buffer`, which must not be full. Same results as `send`; the peer's
  /// orderly end is `.ended(.closedByPeer)`.
  mutating func receive(into buffer: inout ByteBuffer) -> LinkTransfer

  /// Ends the link, orderly where that needs no waiting. Harmless without a link.
  mutating func closeLink()

  /// Appends what is known about the open link or the last failure as ` key=value` pairs for a log line (address, TLS
  /// version, whether the session was resumed, certificate's issuer…); each begins with a space.
  mutating func describeLink(into line: inout ByteBuffer)

  // MARK: Sensors

  /// Begins to read source `index` where that takes time, and says whether `readSource` has something to say at once.
  ///
  /// A caller that needs several sources together asks for all of them first, so that slow ones are read side by side,
  /// and reads when all are ready or its patience ends. An answer waits until it is read.
  mutating func prepareSource(_ index: Int) -> Bool

  /// Appends the raw text of source `index` (the order in which sources were opened) to `buffer`, at most
  /// `HostLimits.sourceBytesMax` bytes of it; the rest of a longer one is ignored.
  ///
  /// `.pending`: the source is slow and is being read elsewhere; the host wakes the loop when it is there.
  mutating func readSource(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead

  // MARK: Programs for commands

  /// Starts the program of command `command` (the order in which commands were configured) in `slot`
  /// (0..<`HostLimits.programsMax`), with `input` on its standard input, and reports whether it could be started.
  mutating func startProgram(slot: Int, command: Int, input: Span<UInt8>) -> ProgramStart

  /// Moves the program in `slot` forward: collects at most `HostLimits.programOutputBytesMax` bytes of what it writes
  /// (standard output and error together) into `output`, discards the rest, and says whether it has ended. After an end
  /// the slot is free.
  mutating func pollProgram(slot: Int, output: inout ByteBuffer) -> ProgramState

  /// Signals the program in `slot` and all its children: first politely, then, `forcibly`, for good.
  mutating func stopProgram(slot: Int, forcibly: Bool)

  // MARK: Log

  /// Writes one log line, without line feed, already filtered by level. Never blocks; a line that cannot be written is
  /// lost.
  mutating func writeLog(_ level: LogLevel, _ line: Span<UInt8>)
}

extension Host where Self: ~Copyable {
  /// A host without slow sources is always ready.
  public mutating func prepareSource(_ index: Int) -> Bool { true }
}

/// Bounds of what a host does for the agent.
public enum HostLimits {
  /// The longest raw text of one source, in bytes: all of /proc/meminfo fits.
  public static var sourceBytesMax: Int { 4096 }
  /// Programs that run at the same time.
  public static var programsMax: Int { 4 }
  /// What is kept of a program's output, in bytes.
  public static var programOutputBytesMax: Int { 1024 }
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
}
