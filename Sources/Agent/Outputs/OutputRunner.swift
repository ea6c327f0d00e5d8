// Outputs: safe from the start, set by commands, and safe again when nobody can tell them otherwise any more.

import AgentConfiguration
import Bytes
import HostInterface

/// One output at work.
struct OutputEntry: BitwiseCopyable {
  /// What it was told last; nil while it could not be.
  fileprivate(set) var value: Int?
  /// What a command has asked for, and until when.
  fileprivate var wanted: Int?
  fileprivate var end = Instant.never
  /// How long each half of blinking lasts; zero for none of it.
  fileprivate var blink = TimeSpan.zero
  /// When something is to be done next.
  fileprivate var due: Instant
  /// From when on another command is taken.
  fileprivate var allowedFrom = Instant(milliseconds: .min)
  /// Whether it was told last that it cannot be set.
  fileprivate var isFailing = false
}

/// Sets the outputs of one configuration.
struct OutputRunner: ~Copyable {
  private let pinned = Pinned()
  private(set) var entries: FixedArray<OutputEntry>
  /// When something is to be done.
  private(set) var deadline = Instant.never
  /// Since when there is no connection; `never` while there is one.
  private var offlineSince: Instant

  /// All are to have their safe values at `now`.
  init(settings: borrowing Settings, now: Instant, in arena: inout Arena) {
    entries = FixedArray(capacity: settings.outputs.count, for: "outputs", in: &arena)
    for _ in 0..<settings.outputs.count { _ = entries.append(OutputEntry(due: now)) }
    offlineSince = now
    if entries.count > 0 { deadline = now }
  }

  /// The output that a command is for.
  func index(ofCommand name: Span<UInt8>, _ settings: borrowing Settings) -> Int? {
    for index in 0..<settings.outputs.count
    where settings.bytes(settings.outputs[index].command).equals(name) { return index }
    return nil
  }

  /// The connection has come, or gone.
  @inline(never)  // beside the turns in which it stays as it is
  mutating func tell(isOnline: Bool, _ settings: borrowing Settings, _ now: Instant) {
    offlineSince = isOnline ? .never : now
    for index in 0..<entries.count where !isOnline && settings.outputs[index].offline > .zero {
      entries[index].due = min(entries[index].due, now + settings.outputs[index].offline)
    }
    noteDeadline()
  }

  var isToldOnline: Bool { entries.count == 0 || offlineSince == .never }

  /// Does what a command for output `index` asks; `written` is the value that it has then.
  @inline(never)  // beside the turns without commands
  mutating func take<H: HostOutputs & HostLog & ~Copyable>(
    _ index: Int, _ payload: Span<UInt8>, _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H, written: inout Int?
  ) -> CommandOutcome {
    let output = settings.outputs[index]
    guard let request = OutputRequest(parsing: payload), request.value <= output.valueMax else { return .refused }
    guard now >= entries[index].allowedFrom else { return .busy }
    entries[index].allowedFrom = now + output.pause
    entries[index].wanted = request.value
    entries[index].blink = request.blink
    entries[index].end = request.duration > .zero ? now + request.duration : .never
    set(index, to: request.value, settings, &log, &host)
    schedule(index, output, now)
    noteDeadline()
    written = entries[index].value
    return written == nil ? .failed : .ok
  }

  /// Does what is due: pulses end, what blinks changes, and what must be safe becomes so.
  @inline(never)  // beside the turns in which nothing of it is due
  mutating func advance<H: HostOutputs & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    for index in 0..<entries.count where entries[index].due <= now {
      let output = settings.outputs[index]
      let isLost = offlineSince != .never && output.offline > .zero && offlineSince + output.offline <= now
      if isLost || now >= entries[index].end { entries[index].wanted = nil }
      var value = entries[index].wanted ?? output.safe
      if entries[index].wanted != nil, entries[index].blink > .zero, entries[index].value == value {
        value = output.safe
      }
      set(index, to: value, settings, &log, &host)
      schedule(index, output, now)
    }
    noteDeadline()
  }

  /// Sets all to their safe values: the agent ends.
  @inline(never)  // beside the turns of an agent that goes on
  mutating func end<H: HostOutputs & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    for index in 0..<entries.count {
      entries[index].wanted = nil
      entries[index].due = .never
      set(index, to: settings.outputs[index].safe, settings, &log, &host)
    }
    deadline = .never
  }

  private mutating func schedule(_ index: Int, _ output: OutputSettings, _ now: Instant) {
    var due = Instant.never
    if entries[index].value == nil {
      due = now + AgentLimits.outputRetryDelay
    } else if entries[index].wanted != nil {
      due = entries[index].end
      if entries[index].blink > .zero { due = min(due, now + entries[index].blink) }
      if offlineSince != .never, output.offline > .zero { due = min(due, offlineSince + output.offline) }
    }
    entries[index].due = due
  }

  private mutating func noteDeadline() {
    deadline = .never
    for index in 0..<entries.count { deadline = min(deadline, entries[index].due) }
  }

  /// Sets one; a lasting fault is logged once, and its end once.
  @inline(never)
  private mutating func set<H: HostOutputs & HostLog & ~Copyable>(
    _ index: Int, to value: Int, _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    let answer = host.setOutput(index, to: value)
    entries[index].value = answer == .done ? value : nil
    guard entries[index].isFailing != (answer != .done) else { return }
    entries[index].isFailing = answer != .done
    log.begin(answer == .done ? .info : .warning, answer == .done ? "output recovered" : "output failed")
    log.add("output", text: settings.bytes(settings.outputs[index].name))
    if answer != .done { log.add("reason", answer.name) }
    log.end(to: &host)
  }
}
