// Commands: three that are built in, and programs that the configuration names. Nothing else is ever executed.
//
// Custom actions of device management are commands as well, under names that no command can have: they differ in how
// their programs get parameters, and in that an answer is owed instead of an event.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import JSON
import MQTT
import Spool

/// What is left to do about a command.
enum CommandRequest {
  /// Nothing: it runs, has been answered, or was known already.
  case none
  /// The named events are due now.
  case trigger(BuiltInRequest)
  /// The named events have this interval from now on.
  case setInterval(BuiltInRequest, TimeSpan)
  /// The output with this command, if there is any, is to be set.
  case write
}

/// How far a command has come by being begun.
private enum Beginning {
  /// All is done.
  case over(CommandOutcome)
  /// Another part has to do it.
  case asksFor(CommandRequest)
  /// Its program runs.
  case running(slot: Int, timeout: TimeSpan)
  /// Its program cannot run now.
  case mustWait
}

/// Takes commands, runs their programs, and publishes what came of them.
struct CommandRunner: ~Copyable {
  private let pinned = Pinned()
  private var recent = RecentCommands()
  /// Commands that wait until a program can run, by name and payload, in the order in which they came: each has its
  /// entry in `recent`. They are not acknowledged, so that the server keeps them as well.
  private var waiting: MessageQueue
  /// Whether the agent ends: then no program is started any more.
  private var isEnding = false
  /// Whether a retained command was logged.
  private var hasSeenRetained = false
  private var slots: PerProgram<ProgramSlot>
  /// How many slots are not free, so that a turn of the loop need not look at any when none is.
  private var runningCount = 0
  /// The name of the command that is being taken, or that has ended; of an action, as much of it as is logged.
  private var name: ByteBuffer
  /// Whether that is an action, and the identifier of the request for it.
  private var isAction = false
  private var identifier: ByteBuffer
  /// What an output has been set to by the command that is being taken.
  var written: Int?
  /// The outcome being written.
  private var payload: ByteBuffer
  /// Commands carried out or refused, redeliveries not included.
  private(set) var count: UInt64 = 0

  /// The name of the command that was taken last.
  var takenName: Span<UInt8> {
    @_lifetime(borrow self)
    get { name.span }
  }

  /// Takes buffers for names, outputs and one outcome from `arena`, and one for commands that wait, which has room for
  /// any that fits a packet of `packetBytesMax`.
  ///
  /// - Parameter hasActions: whether there may be custom actions.
  init(packetBytesMax: Int, hasActions: Bool, in arena: inout Arena) {
    name = ByteBuffer(
      capacity: AgentLimits.programNameBytesMax(hasActions: hasActions), for: "scratch", in: &arena)
    identifier = ByteBuffer(
      capacity: hasActions ? PendingAction.identifierBytesMax : 0, for: "scratch", in: &arena)
    payload = ByteBuffer(capacity: AgentLimits.outcomeBytesMax, for: "payload", in: &arena)
    waiting = MessageQueue(byteCapacity: packetBytesMax, in: &arena)
    slots = PerProgram<ProgramSlot> { _ in ProgramSlot(hasActions: hasActions, in: &arena) }
  }

  /// The server has accepted a connection; without a session of ours identifiers start anew.
  mutating func beginConnection(sessionPresent: Bool, _ now: Instant) {
    recent.beginConnection(isNewSession: !sessionPresent, now)
  }

  /// The agent is asked to end: what comes now, or waits, is left to the server.
  /// Actions that run are ended, and answered, while they still can be.
  @inline(never)  // small code
  mutating func prepareEnd<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ management: inout Management, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    isEnding = true
    guard runningCount > 0 else { return }
    for slot in slots.indices { interrupt(slot, clock, &outbox, &management, now, &log, &host) }
  }

  @inline(never)  // small code: the loop around it is unrolled
  private mutating func interrupt<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ slot: Int, _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ management: inout Management,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard !slots[slot].isFree, slots[slot].isAction else { return }
    abandon(slot, &host)
    runningCount -= 1
    recall(slot)
    report(.interrupted, status: nil, slot: nil, clock, &outbox, &management, now, &log, &host)
  }

  /// The server has answered the message with `token`, and so has all that was sent before it.
  @inline(__always)
  mutating func noteAnswer(_ token: UInt64, _ outbox: borrowing Outbox, _ now: Instant) {
    if recent.awaitsProof { recent.noteAnswer(token: token, next: outbox.provingToken, now) }
  }

  // MARK: Taking

  /// Takes a command that has arrived, once. What concerns other parts is handed back, and finished with `finish`.
  ///
  /// - Parameter isAction: whether it is a request for a custom action, which `management` has looked at.
  @inline(never)  // small code
  mutating func take<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ message: IncomingMessage, _ topic: CommandTopic, isAction: Bool, _ settings: borrowing Settings,
    _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ management: inout Management, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) -> CommandRequest {
    self.isAction = isAction
    let identifier = message.qos == .atLeastOnce ? message.packetIdentifier : 0
    let isWholeName = copyName(topic.name, of: message, outbox)
    if message.isRetained, !settings.mqtt.takesRetainedCommands {
      outbox.client.acknowledge(identifier, now: now)
      noteRetained(&log, &host)
      return .none
    }
    var digest = RecentCommands.digest(
      topic: outbox.input.extracting(message.topic), payload: outbox.input.extracting(message.payload))
    // What was thrown away may have been anything.
    if message.isTruncated { digest ^= UInt32(identifier) }
    if identifier > 0 {
      switch recent.judge(packetIdentifier: identifier, isDuplicate: message.isDuplicate, digest: digest, now) {
      case .new: break
      case .waiting: return .none
      case .copy:
        outbox.client.acknowledge(identifier, now: now)
        return .none
      case .repetition:
        outbox.client.acknowledge(identifier, now: now)
        finish(.redelivered, clock, &outbox, &management, now, &log, &host)
        return .none
      }
    }
    let beginning = begin(message, topic, isWholeName: isWholeName, settings, outbox, &host)
    if case .mustWait = beginning, wait(for: message, topic, outbox) {
      recent.note(packetIdentifier: identifier, digest: digest, isWaiting: true, next: nil, now)
      return .none
    }
    if identifier > 0 {
      outbox.client.acknowledge(identifier, now: now)
      recent.note(
        packetIdentifier: identifier, digest: digest, isWaiting: false, next: outbox.provingToken, now)
    }
    note(beginning, clock, &outbox, &management, now, &log, &host)
    if case .asksFor(let request) = beginning { return request }
    return .none
  }

  /// Begins what the command `name` asks for.
  private mutating func begin<H: HostPrograms & ~Copyable>(
    _ message: IncomingMessage, _ topic: CommandTopic, isWholeName: Bool, _ settings: borrowing Settings,
    _ outbox: borrowing Outbox, _ host: inout H
  ) -> Beginning {
    let input = outbox.input.extracting(message.payload)
    if isAction {
      let data = readAction(input, identifier: &identifier, variables: &payload)
      return startAction(outbox.input.extracting(message.topic).extracting(topic.name), input, data, settings, &host)
    }
    if message.isTruncated { return .over(.tooLarge) }
    // What is left of a longer name may be another command's.
    if !isWholeName { return .over(.unknown) }
    if name.span.equals("ping") { return .over(.ok) }
    guard name.span.equals("publish") || name.span.equals("interval") else {
      if settings.outputs.count > 0, configuredCommand(name.span, settings) == nil {
        return isEnding ? .mustWait : .asksFor(.write)
      }
      return startProgram(name.span, input, Span(), settings, &host)
    }
    let request = builtInRequest(input)
    if case .none = request { return .over(.refused) }
    return .asksFor(request)
  }

  /// Keeps the books about the command `name`, which has begun as far as it could and does not wait.
  @inline(never)  // small code
  private mutating func note<H: HostClock & HostLog & ~Copyable>(
    _ beginning: Beginning, _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ management: inout Management,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    count += 1
    switch beginning {
    case .asksFor: break
    case .running(let slot, let timeout):
      slots[slot].begin(name, isAction: isAction, identifier, until: now + timeout)
      runningCount += 1
    case .over(let outcome): finish(outcome, clock, &outbox, &management, now, &log, &host)
    case .mustWait: finish(.busy, clock, &outbox, &management, now, &log, &host)
    }
  }

  /// Has a command wait that cannot run now; false where there is nothing to wait for, or too many wait.
  private mutating func wait(
    for message: IncomingMessage, _ topic: CommandTopic, _ outbox: borrowing Outbox
  ) -> Bool {
    guard runningCount > 0 || isEnding, recent.waitingCount < RecentCommands.waitingMax,
      waiting.hasRoom(topicCount: topic.name.count, payloadCount: message.payload.count)
    else { return false }
    _ = waiting.append(
      topic: outbox.input.extracting(message.topic).extracting(topic.name),
      payload: outbox.input.extracting(message.payload), qos: QoS.atLeastOnce.rawValue)
    return true
  }

  /// A command that the server had kept from before the subscription comes with each connection.
  private mutating func noteRetained<H: HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    guard !hasSeenRetained else { return }
    hasSeenRetained = true
    log.begin(.warning, "command retained")
    log.add("command", text: name)
    log.end(to: &host)
  }

  /// Copies the command's name, cut to the longest that can be configured.
  ///
  /// - Returns: whether that is all of it.
  private mutating func copyName(
    _ range: Range<Int>, of message: IncomingMessage, _ outbox: borrowing Outbox
  ) -> Bool {
    let text = outbox.input.extracting(message.topic).extracting(range)
    name.removeAll()
    let byteCountMax = isAction ? name.capacity : AgentLimits.commandNameBytesMax
    name.append(text.extracting(0..<min(text.count, byteCountMax)))
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
    _ outcome: CommandOutcome, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ management: inout Management, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    report(outcome, status: nil, slot: nil, clock, &outbox, &management, now, &log, &host)
  }

  // MARK: Programs

  /// Starts the program of the action `name`; `text` is the request for it, and `data` its parameters in there, or nil
  /// where it is malformed. They are in `payload` as variables.
  @inline(never)  // small code
  private func startAction<H: HostPrograms & ~Copyable>(
    _ name: Span<UInt8>, _ text: Span<UInt8>, _ data: Range<Int>?, _ settings: borrowing Settings, _ host: inout H
  ) -> Beginning {
    guard let data else { return .over(configuredCommand(name, settings) == nil ? .unknown : .refused) }
    let input = data.isEmpty ? StaticString("{}").bytes : text.extracting(data)
    return startProgram(name, input, payload.span, settings, &host)
  }

  /// Starts the program of the command `name` in a free slot.
  @inline(never)  // small code
  private func startProgram<H: HostPrograms & ~Copyable>(
    _ name: Span<UInt8>, _ input: Span<UInt8>, _ variables: Span<UInt8>, _ settings: borrowing Settings,
    _ host: inout H
  ) -> Beginning {
    guard let command = configuredCommand(name, settings) else { return .over(.unknown) }
    guard !isEnding, let slot = freeSlot() else { return .mustWait }
    switch host.startProgram(slot: slot, command: command, input: input, variables: variables) {
    case .notExecutable: return .over(.notExecutable)
    case .noResources: return .mustWait
    case .started: return .running(slot: slot, timeout: settings.commands[command].timeout)
    }
  }

  private func configuredCommand(_ name: Span<UInt8>, _ settings: borrowing Settings) -> Int? {
    let actions = settings.firstAction..<settings.commands.count
    for index in isAction ? actions : 0..<actions.lowerBound
    where settings.bytes(settings.commands[index].name).equals(name) { return index }
    return nil
  }

  private func freeSlot() -> Int? {
    for slot in slots.indices where slots[slot].isFree { return slot }
    return nil
  }

  /// Looks after the running programs: collects output, enforces time limits, reports ends.
  @inline(__always)
  mutating func advance<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ management: inout Management, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard runningCount > 0 else { return }
    for slot in slots.indices where !slots[slot].isFree { poll(slot, clock, &outbox, &management, now, &log, &host) }
    if waiting.count > 0, !isEnding { startWaiting(settings, clock, &outbox, &management, now, &log, &host) }
  }

  /// Starts the programs of commands that wait, in the order in which they came, as far as they can run now.
  @inline(never)  // beside the turns in which none waits
  private mutating func startWaiting<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ management: inout Management, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    while let front = waiting.front {
      name.removeAll()
      append(front.topic.prefix(name.capacity), of: waiting, to: &name)
      isAction = waiting.bytes.extracting(front.topic).firstIndex(of: UInt8(ascii: "/")) != nil
      let beginning: Beginning
      if isAction {
        let data = readAction(front, of: waiting, &identifier, &payload)
        beginning = startAction(
          waiting.bytes.extracting(front.topic), waiting.bytes.extracting(front.payload), data, settings, &host)
      } else {
        beginning = startProgram(name.span, waiting.bytes.extracting(front.payload), Span(), settings, &host)
      }
      if case .mustWait = beginning, runningCount > 0 { return }
      waiting.removeFront()
      outbox.client.acknowledge(recent.takeWaiting(now), now: now)
      note(beginning, clock, &outbox, &management, now, &log, &host)
    }
  }

  @inline(never)  // small code: the loop around it is unrolled
  private mutating func poll<H: HostClock & HostPrograms & HostLog & ~Copyable>(
    _ slot: Int, _ clock: borrowing ClockFloor, _ outbox: inout Outbox, _ management: inout Management,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch host.pollProgram(slot: slot, output: &slots[slot].output) {
    case .exited(let status):
      finishProgram(slot, exitStatus: status, signal: 0, clock, &outbox, &management, now, &log, &host)
    case .signalled(let signal):
      finishProgram(slot, exitStatus: nil, signal: signal, clock, &outbox, &management, now, &log, &host)
    case .notStarted(let start):
      runningCount -= 1
      recall(slot)
      slots[slot].abandon()
      report(CommandOutcome(failedStart: start), status: nil, slot: nil, clock, &outbox, &management, now, &log, &host)
    case .running:
      guard now >= slots[slot].deadline else { return }
      host.stopProgram(slot: slot, forcibly: slots[slot].passDeadline(now))
    }
  }

  private mutating func finishProgram<H: HostClock & HostLog & ~Copyable>(
    _ slot: Int, exitStatus: Int?, signal: Int, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ management: inout Management, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let (outcome, status) = slots[slot].finish(exitStatus: exitStatus, signal: signal)
    runningCount -= 1
    recall(slot)
    report(outcome, status: status, slot: slot, clock, &outbox, &management, now, &log, &host)
  }

  /// What follows is about the command or action whose program is in `slot`.
  @inline(never)  // small code
  private mutating func recall(_ slot: Int) {
    name.removeAll()
    identifier.removeAll()
    isAction = slots[slot].isAction
    slots[slot].appendName(to: &name, &identifier)
  }

  // Called from three places, each of which would be twice as large with it.
  /// Publishes and logs the outcome of the command `name`, with the output of the program that was in `slot`.
  @inline(never)
  private mutating func report<H: HostClock & HostLog & ~Copyable>(
    _ outcome: CommandOutcome, status: Int?, slot: Int?, _ clock: borrowing ClockFloor, _ outbox: inout Outbox,
    _ management: inout Management, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    log.begin(
      outcome == .ok ? .info : .warning,
      isAction
        ? "management action-ended" : outcome == .redelivered ? "command redelivered" : "command finished")
    log.add(isAction ? "action" : "command", text: name)
    log.add("outcome", outcome.name)
    if let status { log.add("status", status) }
    log.end(to: &host)
    guard !isAction else { return answer(outcome, status: status, slot: slot, &management, now, &log, &host) }
    let topic = TopicName(alreadyChecked: Topics.commandOutcome.bytes)
    let time = clock.wallTime(&host)
    var isCut = false
    if let slot { isCut = slots[slot].cutOutput(to: AgentLimits.outcomeOutputBytesMax) }
    write(outcome, status: status, slot: slot, isCut: isCut, time)
    // Each turn cuts some output off.
    while let slot, !slots[slot].output.isEmpty,
      !outbox.client.fitsNow(byteCount: topic.bytes.count + payload.count, qos: .atLeastOnce)
    {
      _ = slots[slot].cutOutput(to: slots[slot].output.count - AgentLimits.outcomeCutBytes)
      write(outcome, status: status, slot: slot, isCut: true, time)
    }
    outbox.publish(payload, on: topic, qos: .atLeastOnce, now, &log, &host)
  }

  /// Answers the request for an action, once: that of a redelivery is on its way, or has arrived.
  @inline(never)  // small code
  private mutating func answer<H: HostLog & ~Copyable>(
    _ outcome: CommandOutcome, status: Int?, slot: Int?, _ management: inout Management, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    guard !identifier.isEmpty, outcome != .redelivered else { return }
    beginAnswer(outcome.code, to: identifier, in: &payload)
    if outcome != .ok {
      payload.append(",\"message\":\"")
      payload.append(outcome == .failed ? "status" : outcome == .unknown ? "not supported" : outcome.name)
      if let status {
        payload.append(UInt8(ascii: " "))
        payload.append(decimal: status)
      }
      if let slot { slots[slot].appendLastLine(to: &payload) }
      payload.append(UInt8(ascii: "\""))
    }
    management.answer(payload, now, &log, &host)
  }

  /// Writes the outcome of the command `name`, with the output in `slot`.
  @inline(never)  // small code
  private mutating func write(_ outcome: CommandOutcome, status: Int?, slot: Int?, isCut: Bool, _ time: WallTime?) {
    payload.removeAll()
    var envelope = EventEnvelope(into: &payload)
    envelope.member("command", text: name, into: &payload)
    envelope.member("outcome", text: outcome.name.bytes, into: &payload)
    if let status { envelope.member("status", status, into: &payload) }
    if let written { envelope.member("value", written, into: &payload) }
    if let slot { envelope.member("output", text: slots[slot].output, into: &payload) }
    if isCut { envelope.member("truncated", into: &payload) }
    envelope.finish(at: time, into: &payload)
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

// The queue's bytes are borrowed while the buffers change: as members of one value they would overlap.
private func append(_ range: Range<Int>, of queue: borrowing MessageQueue, to buffer: inout ByteBuffer) {
  buffer.append(queue.bytes.extracting(range))
}

private func readAction(
  _ message: QueuedMessage, of queue: borrowing MessageQueue, _ identifier: inout ByteBuffer,
  _ variables: inout ByteBuffer
) -> Range<Int>? {
  readAction(queue.bytes.extracting(message.payload), identifier: &identifier, variables: &variables)
}

private func beginAnswer(_ code: Int, to identifier: borrowing ByteBuffer, in payload: inout ByteBuffer) {
  payload.beginManagementAnswer(code, to: identifier.span)
}
