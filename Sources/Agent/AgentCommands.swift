// Commands: three that are built in, and programs that the configuration names. Nothing else is ever executed.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import JSON
import MQTT
import Telemetry

/// How a command ended, as published in the outcome event.
enum CommandOutcome {
  case ok, failed, timeout, refused, busy, unknown, notExecutable, tooLarge

  var name: StaticString {
    switch self {
    case .ok: "ok"
    case .failed: "failed"
    case .timeout: "timeout"
    case .refused: "refused"
    case .busy: "busy"
    case .unknown: "unknown"
    case .notExecutable: "not-executable"
    case .tooLarge: "too-large"
    }
  }
}

extension Agent {
  /// Carries out a command that has arrived, once.
  mutating func handleMessage<H: Host & ~Copyable>(
    _ message: IncomingMessage, _ now: Instant, _ host: inout H
  ) {
    guard let isWholeName = copyCommandName(of: message, in: client.input, into: &scratch) else {
      log.begin(.debug, "mqtt", "message-ignored")
      log.end(to: &host)
      return
    }
    if message.qos == .atLeastOnce, isRedelivery(message, in: client.input, among: &recentCommands) { return }
    counters.commands += 1
    guard !message.isTruncated else { return report(.tooLarge, status: nil, slot: nil, now, &host) }
    // What is left of a longer name may be another command's.
    guard isWholeName else { return report(.unknown, status: nil, slot: nil, now, &host) }
    if scratch.span.equals("ping") { return report(.ok, status: nil, slot: nil, now, &host) }
    if scratch.span.equals("publish") { return triggerEvents(message.payload, now, &host) }
    if scratch.span.equals("interval") { return changeInterval(message.payload, now, &host) }
    startProgram(message.payload, now, &host)
  }

  // MARK: Built in

  /// `publish`: makes one event due now, or all of them where the payload names none.
  private mutating func triggerEvents<H: Host & ~Copyable>(
    _ range: Range<Int>, _ now: Instant, _ host: inout H
  ) {
    guard let request = BuiltInRequest(parsing: range, of: client.input) else {
      return report(.refused, status: nil, slot: nil, now, &host)
    }
    var triggered = 0
    for index in 0..<plan.events.count where request.names(event: index, of: plan.settings, in: client.input) {
      plan.events[index].schedule.trigger(at: now)
      triggered += 1
    }
    report(triggered > 0 ? .ok : .unknown, status: nil, slot: nil, now, &host)
  }

  /// `interval`: changes an event's interval for the running process.
  private mutating func changeInterval<H: Host & ~Copyable>(
    _ range: Range<Int>, _ now: Instant, _ host: inout H
  ) {
    guard let request = BuiltInRequest(parsing: range, of: client.input), let interval = request.interval else {
      return report(.refused, status: nil, slot: nil, now, &host)
    }
    var changed = 0
    for index in 0..<plan.events.count where request.names(event: index, of: plan.settings, in: client.input) {
      plan.events[index].schedule.setInterval(interval, now: now)
      // Slow sources that are being read belong to the event that will not come.
      plan.events[index].collectionDeadline = nil
      changed += 1
    }
    report(changed > 0 ? .ok : .unknown, status: nil, slot: nil, now, &host)
  }

  // MARK: Programs

  private mutating func startProgram<H: Host & ~Copyable>(
    _ range: Range<Int>, _ now: Instant, _ host: inout H
  ) {
    guard let command = configuredCommand() else { return report(.unknown, status: nil, slot: nil, now, &host) }
    guard let slot = freeSlot() else { return report(.busy, status: nil, slot: nil, now, &host) }
    let start = host.startProgram(slot: slot, command: command, input: client.input.span.extracting(range))
    switch start {
    case .started:
      runningPrograms += 1
      programs[slot].phase = .running(until: now + plan.settings.commands[command].timeout)
      programs[slot].isTimedOut = false
      programs[slot].output.removeAll()
      programs[slot].name.removeAll()
      programs[slot].name.append(scratch)
    case .notExecutable: report(.notExecutable, status: nil, slot: nil, now, &host)
    case .noResources: report(.busy, status: nil, slot: nil, now, &host)
    }
  }

  private func configuredCommand() -> Int? {
    for index in 0..<plan.settings.commands.count
    where plan.settings.bytes(plan.settings.commands[index].name).equals(scratch.span) { return index }
    return nil
  }

  // Called where the agent is being changed, a function that is not inlined would get a copy of it.
  @inline(__always)
  private func freeSlot() -> Int? {
    for slot in programs.indices where programs[slot].isFree { return slot }
    return nil
  }

  /// Looks after the running programs: collects output, enforces time limits, reports ends.
  mutating func pollPrograms<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    guard runningPrograms > 0 else { return }
    for slot in programs.indices where !programs[slot].isFree {
      let state = host.pollProgram(slot: slot, output: &programs[slot].output)
      switch state {
      case .exited(let status):
        finishProgram(slot, programs[slot].isTimedOut ? .timeout : status == 0 ? .ok : .failed, status, now, &host)
      case .signalled(let signal):
        // A shell's way to tell a signal from a status.
        finishProgram(slot, programs[slot].isTimedOut ? .timeout : .failed, 128 + signal, now, &host)
      case .running:
        guard let deadline = programs[slot].deadline, now >= deadline else { continue }
        switch programs[slot].phase {
        case .running:
          programs[slot].isTimedOut = true
          programs[slot].phase = .stopping(until: now + AgentLimits.programGrace)
          host.stopProgram(slot: slot, forcibly: false)
        case .stopping:
          programs[slot].phase = .killed
          host.stopProgram(slot: slot, forcibly: true)
        case .free, .killed: break
        }
      }
    }
  }

  @inline(__always)
  func programDeadline() -> Instant? {
    guard runningPrograms > 0 else { return nil }
    var deadline: Instant?
    for slot in programs.indices { deadline = earlier(deadline, programs[slot].deadline) }
    return deadline
  }

  /// The agent ends: so do the programs that it started.
  mutating func stopPrograms<H: Host & ~Copyable>(_ host: inout H) {
    for slot in programs.indices where !programs[slot].isFree {
      host.stopProgram(slot: slot, forcibly: true)
      programs[slot].phase = .free
    }
    runningPrograms = 0
  }

  private mutating func finishProgram<H: Host & ~Copyable>(
    _ slot: Int, _ outcome: CommandOutcome, _ status: Int, _ now: Instant, _ host: inout H
  ) {
    programs[slot].phase = .free
    runningPrograms -= 1
    scratch.removeAll()
    scratch.append(programs[slot].name)
    report(outcome, status: status, slot: slot, now, &host)
  }

  // MARK: Outcome

  /// Publishes the outcome of the command whose name `scratch` holds, as event `command`, and logs it.
  private mutating func report<H: Host & ~Copyable>(
    _ outcome: CommandOutcome, status: Int?, slot: Int?, _ now: Instant, _ host: inout H
  ) {
    log.begin(outcome == .ok ? .info : .warning, "command", "finished")
    log.add("command", text: scratch)
    log.add("outcome", outcome.name)
    if let status { log.add("status", status) }
    log.end(to: &host)

    payload.removeAll()
    var envelope = EventEnvelope(into: &payload)
    envelope.member("command", text: scratch, into: &payload)
    envelope.member("outcome", text: outcome.name.bytes, into: &payload)
    if let status { envelope.member("status", status, into: &payload) }
    if let slot { envelope.member("output", text: programs[slot].output, into: &payload) }
    envelope.finish(at: host.wallTime(), into: &payload)
    publishPayload(on: plan.outcomeTopic, qos: .atLeastOnce, now, &host)
  }
}

/// Copies the name of the command that `message` is, cut to the longest that can be configured, into `buffer`.
///
/// - Returns: whether that is all of the name; nil when the message is no command.
private func copyCommandName(
  of message: IncomingMessage, in input: borrowing ByteBuffer, into buffer: inout ByteBuffer
) -> Bool? {
  let topic = input.span.extracting(message.topic)
  guard let command = Topics.parseCommand(topic) else { return nil }
  let name = topic.extracting(command.name)
  buffer.removeAll()
  buffer.append(name.extracting(0..<min(name.count, ProgramSlot.nameBytesMax)))
  return name.count <= ProgramSlot.nameBytesMax
}

private func isRedelivery(
  _ message: IncomingMessage, in input: borrowing ByteBuffer, among recentCommands: inout RecentCommands
) -> Bool {
  recentCommands.isRedelivery(
    packetIdentifier: message.packetIdentifier, isDuplicate: message.isDuplicate,
    topic: input.span.extracting(message.topic), payload: input.span.extracting(message.payload))
}
