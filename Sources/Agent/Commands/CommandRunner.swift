// Commands: three that are built in, and programs that the configuration names. Nothing else is ever executed.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import JSON
import MQTT

/// What is left to do about a command.
enum CommandRequest {
  /// Nothing: it runs, has been answered, or was known already.
  case none
  /// The named events are due now.
  case trigger(BuiltInRequest)
  /// The named events have this interval from now on.
  case setInterval(BuiltInRequest, TimeSpan)
}

/// Takes commands, runs their programs, and publishes what came of them.
struct CommandRunner: ~Copyable {
  private let pinned = Pinned()
  private var recent = RecentCommands()
  private var slots: PerProgram<ProgramSlot>
  /// How many slots are not free, so that a turn of the loop need not look at any when none is.
  private var runningCount = 0
  /// The name of the command that is being taken.
  private var name: ByteBuffer
  /// The outcome being written.
  private var payload: ByteBuffer
  /// Commands carried out or refused, redeliveries not included.
  private(set) var count: UInt64 = 0

  /// Takes buffers for names, outputs and one outcome from `arena`.
  init(from arena: inout Arena) throws(ArenaExhausted) {
    let name = try ByteBuffer(capacity: AgentLimits.commandNameBytesMax, for: "scratch", from: &arena)
    let payload = try ByteBuffer(capacity: AgentLimits.outcomeBytesMax, for: "payload", from: &arena)
    slots = try PerProgram<ProgramSlot> { _ throws(ArenaExhausted) in try ProgramSlot(from: &arena) }
    self.name = name
    self.payload = payload
  }

  /// The server has no session of ours: identifiers start anew.
  mutating func forgetSession() { recent.removeAll() }

  // MARK: Taking

  /// Takes a command that has arrived, once. What concerns other parts is handed back, and finished with `finish`.
  mutating func take<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ message: IncomingMessage, _ topic: CommandTopic, _ settings: borrowing Settings, _ clock: borrowing ClockFloor,
    _ outbox: inout Outbox, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> CommandRequest {
    if message.qos == .atLeastOnce, isRedelivery(message, outbox) { return .none }
    count += 1
    let isWholeName = copyName(topic.name, of: message, outbox)
    var outcome: CommandOutcome?
    var request = CommandRequest.none
    if message.isTruncated {
      outcome = .tooLarge
    } else if !isWholeName {
      // What is left of a longer name may be another command's.
      outcome = .unknown
    } else if name.span.equals("ping") {
      outcome = .ok
    } else if name.span.equals("publish") || name.span.equals("interval") {
      request = builtInRequest(outbox.input.extracting(message.payload))
      if case .none = request { outcome = .refused }
    } else {
      outcome = startProgram(outbox.input.extracting(message.payload), settings, now, &host)
    }
    if let outcome { finish(outcome, clock, &outbox, now, &log, &host) }
    return request
  }

  private mutating func isRedelivery(_ message: IncomingMessage, _ outbox: borrowing Outbox) -> Bool {
    recent.isRedelivery(
      packetIdentifier: message.packetIdentifier, isDuplicate: message.isDuplicate,
      topic: outbox.input.extracting(message.topic), payload: outbox.input.extracting(message.payload))
  }

  /// Copies the command's name, cut to the longest that can be configured.
  ///
  /// - Returns: whether that is all of it.
  private mutating func copyName(
    _ range: Range<Int>, of message: IncomingMessage, _ outbox: borrowing Outbox
  ) -> Bool {
    let text = outbox.input.extracting(message.topic).extracting(range)
    name.removeAll()
    name.append(text.extracting(0..<min(text.count, AgentLimits.commandNameBytesMax)))
    return text.count <= AgentLimits.commandNameBytesMax
  }

  /// What the built-in command `name` asks for with `payload`; none where the payload is wrong.
  private func builtInRequest(_ payload: Span<UInt8>) -> CommandRequest {
    guard let request = BuiltInRequest(parsing: payload) else { return .none }
    if name.span.equals("publish") { return .trigger(request) }
    guard let interval = request.interval else { return .none }
    return .setInterval(request, interval)
  }

  /// Publishes and logs the outcome of the command that was taken last.
  mutating func finish<H: HostClock & HostLog & ~Copyable>(
    _ outcome: CommandOutcome, _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    report(outcome, status: nil, slot: nil, clock, &outbox, now, &log, &host)
  }

  // MARK: Programs

  /// Starts the program of the command `name`; gives the outcome where it does not start.
  private mutating func startProgram<H: HostPrograms & ~Copyable>(
    _ input: Span<UInt8>, _ settings: borrowing Settings, _ now: Instant, _ host: inout H
  ) -> CommandOutcome? {
    guard let command = configuredCommand(settings) else { return .unknown }
    guard let slot = freeSlot() else { return .busy }
    let start = host.startProgram(slot: slot, command: command, input: input)
    guard start == .started else { return CommandOutcome(failedStart: start) }
    slots[slot].begin(name, until: now + settings.commands[command].timeout)
    runningCount += 1
    return nil
  }

  private func configuredCommand(_ settings: borrowing Settings) -> Int? {
    for index in 0..<settings.commands.count
    where settings.bytes(settings.commands[index].name).equals(name.span) { return index }
    return nil
  }

  private func freeSlot() -> Int? {
    for slot in slots.indices where slots[slot].isFree { return slot }
    return nil
  }

  /// Looks after the running programs: collects output, enforces time limits, reports ends.
  @inline(__always)
  mutating func advance<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard runningCount > 0 else { return }
    for slot in slots.indices where !slots[slot].isFree { poll(slot, clock, &outbox, now, &log, &host) }
  }

  @inline(never)  // small code: the loop around it is unrolled
  private mutating func poll<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ slot: Int, _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    switch host.pollProgram(slot: slot, output: &slots[slot].output) {
    case .exited(let status):
      finishProgram(slot, exitStatus: status, signal: 0, clock, &outbox, now, &log, &host)
    case .signalled(let signal):
      finishProgram(slot, exitStatus: nil, signal: signal, clock, &outbox, now, &log, &host)
    case .notStarted(let start):
      runningCount -= 1
      name.removeAll()
      name.append(slots[slot].name)
      slots[slot].abandon()
      report(CommandOutcome(failedStart: start), status: nil, slot: nil, clock, &outbox, now, &log, &host)
    case .running:
      guard now >= slots[slot].deadline else { return }
      host.stopProgram(slot: slot, forcibly: slots[slot].passDeadline(now))
    }
  }

  private mutating func finishProgram<H: HostClock & HostLog & ~Copyable>(
    _ slot: Int, exitStatus: Int?, signal: Int, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let (outcome, status) = slots[slot].finish(exitStatus: exitStatus, signal: signal)
    runningCount -= 1
    name.removeAll()
    name.append(slots[slot].name)
    report(outcome, status: status, slot: slot, clock, &outbox, now, &log, &host)
  }

  // Called from three places, each of which would be twice as large with it.
  /// Publishes and logs the outcome of the command `name`, with the output of the program that was in `slot`.
  @inline(never)
  private mutating func report<H: HostClock & HostLog & ~Copyable>(
    _ outcome: CommandOutcome, status: Int?, slot: Int?, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    log.begin(outcome == .ok ? .info : .warning, "command finished")
    log.add("command", text: name)
    log.add("outcome", outcome.name)
    if let status { log.add("status", status) }
    log.end(to: &host)
    payload.removeAll()
    var envelope = EventEnvelope(into: &payload)
    envelope.member("command", text: name, into: &payload)
    envelope.member("outcome", text: outcome.name.bytes, into: &payload)
    if let status { envelope.member("status", status, into: &payload) }
    if let slot { envelope.member("output", text: slots[slot].output, into: &payload) }
    envelope.finish(at: clock.wallTime(&host), into: &payload)
    let topic = TopicName(alreadyChecked: Topics.commandOutcome.bytes)
    outbox.publish(payload, on: topic, qos: .atLeastOnce, now, &log, &host)
  }

  /// The next moment at which something has to be done to a program.
  @inline(__always)
  var deadline: Instant { runningCount > 0 ? slotDeadline : .never }

  private var slotDeadline: Instant {
    var deadline = Instant.never
    for slot in slots.indices { deadline = min(deadline, slots[slot].deadline) }
    return deadline
  }

  /// The agent ends: so do the programs that it started.
  mutating func stopAll<H: HostPrograms & ~Copyable>(_ host: inout H) {
    guard runningCount > 0 else { return }
    for slot in slots.indices { abandon(slot, &host) }
    runningCount = 0
  }

  @inline(never)  // small code: the loop around it is unrolled
  private mutating func abandon<H: HostPrograms & ~Copyable>(_ slot: Int, _ host: inout H) {
    guard !slots[slot].isFree else { return }
    host.stopProgram(slot: slot, forcibly: true)
    slots[slot].abandon()
  }
}
