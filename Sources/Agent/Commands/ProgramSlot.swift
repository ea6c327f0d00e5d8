// One place for a running program of a command or an action.

import Bytes
import HostInterface
import JSON

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
  /// The name of its command or action, and behind that the identifier of the request for it, which may be empty.
  private var name: ByteBuffer
  private var nameCount = 0
  /// Whether it belongs to a custom action.
  private(set) var isAction = false
  var output: ByteBuffer

  init(hasActions: Bool, in arena: inout Arena) {
    let byteCount =
      AgentLimits.programNameBytesMax(hasActions: hasActions) + (hasActions ? PendingAction.identifierBytesMax : 0)
    name = ByteBuffer(capacity: byteCount, for: "program output", in: &arena)
    output = ByteBuffer(capacity: HostLimits.programOutputBytesMax, for: "program output", in: &arena)
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

  /// The program of command `name` has started; or that of an action, which was asked for with `identifier`.
  mutating func begin(
    _ name: borrowing ByteBuffer, isAction: Bool, _ identifier: borrowing ByteBuffer, until: Instant
  ) {
    precondition(isFree)
    phase = .running(until: until)
    output.removeAll()
    self.name.removeAll()
    self.name.append(name)
    nameCount = name.count
    self.isAction = isAction
    if isAction { self.name.append(identifier) }
  }

  /// Appends the name of its command or action, and the identifier of the request for it.
  func appendName(to name: inout ByteBuffer, _ identifier: inout ByteBuffer) {
    name.append(self.name.span.extracting(0..<nameCount))
    identifier.append(self.name.span.extracting(nameCount..<self.name.count))
  }

  /// Appends the last line of its output that is not empty, as a part of a JSON string.
  func appendLastLine(to payload: inout ByteBuffer) {
    var end = output.count
    while end > 0, output[end - 1] <= 0x20 { end -= 1 }
    guard end > 0 else { return }
    var start = end
    while start > 0, output[start - 1] != UInt8(ascii: "\n") { start -= 1 }
    payload.append(": ")
    payload.appendJSON(insideString: output.span.extracting(start..<min(end, start + AgentLimits.actionLineBytesMax)))
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
