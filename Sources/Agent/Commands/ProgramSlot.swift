// One place for a running program of a command.

import Bytes
import HostInterface

/// How far the end of a program has been asked for. This is the only account of it: a host starts programs, signals
/// them, and says what the system says.
enum ProgramPhase {
  /// The slot is free.
  case free
  /// It runs; at this moment its time is up.
  case running(until: Instant)
  /// Its time was up, and it was asked to end; at this moment it is killed.
  case stopping(until: Instant)
  /// It was killed, and its end is awaited.
  case killed
}

/// A running program with what it has written so far.
struct ProgramSlot: ~Copyable {
  private let pinned = Pinned()
  private(set) var phase = ProgramPhase.free
  private(set) var name: ByteBuffer
  var output: ByteBuffer

  init(from arena: inout Arena) throws(ArenaExhausted) {
    // Both before either is stored: a noncopyable value cannot be half made.
    let name = try ByteBuffer(capacity: AgentLimits.commandNameBytesMax, for: "program output", from: &arena)
    let output = try ByteBuffer(capacity: HostLimits.programOutputBytesMax, for: "program output", from: &arena)
    self.name = name
    self.output = output
  }

  var isFree: Bool {
    if case .free = phase { return true }
    return false
  }

  /// The next moment at which something has to be done to the program.
  var deadline: Instant {
    switch phase {
    case .running(let until), .stopping(let until): until
    case .free, .killed: .never
    }
  }

  /// The program of command `name` has started.
  mutating func begin(_ name: borrowing ByteBuffer, until: Instant) {
    precondition(isFree)
    phase = .running(until: until)
    output.removeAll()
    self.name.removeAll()
    self.name.append(name)
  }

  /// Cuts the output to `byteCount` bytes, and a character that would be cut in two as a whole.
  ///
  /// - Returns: whether there was more.
  mutating func cutOutput(to byteCount: Int) -> Bool {
    guard output.count > byteCount else { return false }
    var end = max(byteCount, 0)
    // No character has more than four bytes; all but its first are 10xxxxxx.
    let endMin = max(end - 3, 0)
    while end > endMin, output[end] & 0xC0 == 0x80 { end -= 1 }
    output.truncate(to: end)
    return true
  }

  /// Its deadline has come.
  ///
  /// - Returns: whether it has to be stopped forcibly.
  mutating func passDeadline(_ now: Instant) -> Bool {
    switch phase {
    case .running:
      phase = .stopping(until: now + AgentLimits.programGrace)
      return false
    case .stopping:
      phase = .killed
      return true
    case .free, .killed: preconditionFailure("a program without a deadline cannot pass it")
    }
  }

  /// The program has ended in `state`, and the slot is free again; gives the outcome, and the status as a shell tells
  /// it, a signal as 128 and its number.
  mutating func finish(exitStatus: Int?, signal: Int) -> (outcome: CommandOutcome, status: Int) {
    let ended = phase
    phase = .free
    let status = exitStatus ?? 128 + signal
    switch ended {
    case .running: return (exitStatus == 0 ? .ok : .failed, status)
    case .stopping, .killed: return (.timeout, status)
    case .free: preconditionFailure("a program that does not run cannot end")
    }
  }

  /// The agent ends, and so has the program; or there never was one.
  mutating func abandon() { phase = .free }
}
