// One place for a running program of a command.

import Bytes
import HostInterface
import IoTPlatform

/// How far the end of a program has been asked for.
enum ProgramPhase {
  /// The slot is free.
  case free
  /// It runs; at this moment its time is up.
  case running(until: Instant)
  /// It was asked to end; at this moment it is killed.
  case stopping(until: Instant)
  /// It was killed, and its end is awaited.
  case killed
}

/// A running program with what it has written so far.
struct ProgramSlot: ~Copyable {
  /// The longest name of a command that is kept for the outcome: all that can be configured.
  static var nameBytesMax: Int { IdentityRules.componentBytesMax }

  var phase = ProgramPhase.free
  /// Whether it was stopped because its time was up.
  var isTimedOut = false
  var name: ByteBuffer
  var output: ByteBuffer

  init(from arena: inout Arena) throws(ArenaExhausted) {
    // Both before either is stored: a noncopyable value cannot be half made.
    let name = try ByteBuffer(capacity: ProgramSlot.nameBytesMax, for: "program output", from: &arena)
    let output = try ByteBuffer(capacity: HostLimits.programOutputBytesMax, for: "program output", from: &arena)
    self.name = name
    self.output = output
  }

  var isFree: Bool {
    if case .free = phase { return true }
    return false
  }

  /// The next moment at which something has to be done to the program.
  var deadline: Instant? {
    switch phase {
    case .running(let until), .stopping(let until): until
    case .free, .killed: nil
    }
  }
}
