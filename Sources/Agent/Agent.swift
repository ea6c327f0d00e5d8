// The agent: parts that own their state, and what passes between them. This file composes and routes, and nothing else.
//
// The program's loop is: step, wait until the returned moment or until the host has news, step again. A step does a
// bounded amount of work and never blocks.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT
import Spool

/// What the agent counts, for its log and for tests.
public struct AgentCounters: Equatable, Sendable {
  /// Connections that the server accepted.
  public let connections: UInt64
  /// Events published or queued.
  public let events: UInt64
  /// QoS 0 events that could not be sent.
  public let eventsSkipped: UInt64
  /// Messages that were dropped from the queue: for want of room, given up, or set aside while they waited.
  public let eventsDropped: UInt64
  /// Messages that could never be sent, whether they waited or not.
  public let eventsSetAside: UInt64
  /// Commands carried out or refused, redeliveries not included.
  public let commands: UInt64
}

/// The whole agent.
public struct Agent: ~Copyable {
  private let pinned = Pinned()
  private var settings: Settings
  private var log: LogWriter
  private var clock: ClockFloor
  private var uplink: Uplink
  private var outbox: Outbox
  private var events: EventCollector
  private var commands: CommandRunner
  private var outputs: OutputRunner
  private var management: Management
  private var control: Control
  private var watchdogs: Watchdogs
  /// When a clean end was asked for, the moment at which it stops waiting.
  private var stopDeadline: Instant?

  /// Builds the agent from `plan`, with buffers from `arena` in the sizes that its settings name.
  ///
  /// `buildTime` is the lower bound of the time of day where nothing later was stored. `seed` drives all jitter. The
  /// first connection is attempted after the settings' random first delay.
  public init(
    plan: consuming Plan, buildTime: WallTime, now: Instant, seed: UInt64, from arena: inout Arena
  ) throws(ArenaExhausted) {
    AgentLimits.check()
    let mqtt = plan.settings.mqtt
    var random = RandomSource(seed: seed)
    var options = ClientOptions(
      keepAlive: mqtt.keepAlive, cleanSession: mqtt.cleanSession, inflightMax: mqtt.inflightMax,
      // A durable session may outlive this process: a random start keeps a new message from looking like an old one.
      firstPacketIdentifier: UInt16(truncatingIfNeeded: random.next()))
    // Commands are acknowledged when they are taken.
    options.acknowledgesByHand = true
    // The small ones first: together they share pages, while of the large ones little more than the beginning is used.
    log = LogWriter(
      threshold: plan.settings.agent.logLevel, isManaged: plan.settings.management.isManaged, in: &arena)
    clock = ClockFloor(buildTime: buildTime, now: now, in: &arena)
    uplink = Uplink(random: random, connectDelayMax: mqtt.connectDelayMax, now: now, in: &arena)
    outbox = Outbox(
      client: Client(options: options, packetBytesMax: mqtt.packetBytesMax, in: &arena), queueBytes: mqtt.queueBytes,
      messagesPerSecondMax: mqtt.messagesPerSecondMax, flash: plan.settings.flashOptions(), in: &arena)
    events = EventCollector(table: plan.table, packetBytesMax: mqtt.packetBytesMax, in: &arena)
    commands = CommandRunner(
      packetBytesMax: mqtt.packetBytesMax, hasActions: plan.settings.management.isManaged, in: &arena)
    management = Management(
      isManaged: plan.settings.management.isManaged, updates: plan.settings.firmware.isConfigured,
      random: RandomSource(seed: random.next()), in: &arena)
    control = Control(now: now, in: &arena)
    watchdogs = Watchdogs(now: now)
    outputs = plan.outputs
    settings = plan.settings
    try arena.check()
    if management.isManaged {
      uplink.subscribe(to: Topics.managementFilter, qos: .atLeastOnce)
      uplink.holdBack()
    }
    if settings.acceptsCommands { uplink.subscribe(to: Topics.commandFilter, qos: .atLeastOnce) }
    log.isDiagnosing = settings.management.tellsFaults && management.isManaged
  }

  // MARK: The loop

  /// Does what is due and gives the moment at which there is more to do. Handles at most `packetsPerStepMax` packets,
  /// one round of due events, and the programs.
  public mutating func step<H: Host & ~Copyable>(_ host: inout H) -> Instant {
    let now = host.now()
    if log.beginTurn(now, &host) { management.wake() }
    if now >= watchdogs.deadline { watchdogs.advance(settings, now, &log, &host) }
    if now >= outputs.deadline { outputs.advance(settings, now, &log, &host) }
    clock.advance(now, &log, &host)
    guard clock.isSettled(at: now) else {
      return min(clock.deadline(now) ?? now + AgentLimits.idleMax, watchdogs.deadline)
    }
    let isEnding = stopDeadline != nil
    var hasMore = uplink.isQuiet(now, host) ? false : connect(isEnding: isEnding, now, &host)
    if host.hasControlNews || control.isDue(now) { hasMore = serve(now, &host) || hasMore }
    if management.isDue(now) { manage(isEnding: isEnding, now, &host) }
    commands.advance(settings, clock, &outbox, &management, now, &log, &host)
    if !isEnding { events.collect(settings, clock, &outbox, now, &log, &host) }
    outbox.sendQueued(now, &log, &host)
    if outbox.flash.isActive { driveFlash(isEnding: isEnding, now, &host) }
    // What could not be done for want of room in the output can be done as soon as something has been sent. Nothing
    // else may wake us for it: the host was not asked for more input, and no answer may be due.
    let lackedRoom = uplink.lacksRoom(outbox.client) || outbox.lacksRoom(now) || management.isBusy
    let hasSent = flush(now, &host)
    if isEnding { endIfDone(now, &host) }
    return hasMore || (lackedRoom && hasSent) ? now : nextDeadline(now)
  }

  /// Moves the connection forward, and routes what has come; true when there may be more.
  private mutating func connect<H: Host & ~Copyable>(isEnding: Bool, _ now: Instant, _ host: inout H) -> Bool {
    uplink.advance(isEnding: isEnding, settings, &clock, &outbox.client, now, &log, &host)
    let hasMore = receive(now, &host)
    if !uplink.watch(&outbox.client, now, &log, &host) { noteLoss(byPeer: false, now, &host) }
    if uplink.isOnline != watchdogs.isToldOnline { watchdogs.tell(isOnline: uplink.isOnline, &host) }
    if uplink.isOnline != outputs.isToldOnline { outputs.tell(isOnline: uplink.isOnline, settings, now) }
    return hasMore
  }

  private mutating func receive<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    for _ in 0..<AgentLimits.packetsPerStepMax {
      switch uplink.receive(&outbox.client, now, &log, &host) {
      case .nothing: return false
      case .handled: continue
      case .acknowledged(let token):
        guard !Management.isOwn(token) else {
          management.acknowledge(token, now)
          continue
        }
        outbox.acknowledge(token, now)
        // Messages from flash have no order among the others, and prove nothing.
        if token & FlashQueue.tokenBit == 0 { commands.noteAnswer(token, outbox, now) }
      case .connected(let sessionPresent):
        commands.beginConnection(sessionPresent: sessionPresent, now)
        management.beginConnection()
        events.noteRoom()
      case .message(let message): route(message, now, &host)
      case .lost(let byPeer):
        noteLoss(byPeer: byPeer, now, &host)
        return false
      }
    }
    uplink.interruptReceiving()
    return true
  }

  @inline(__always)
  private mutating func flush<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    guard !outbox.client.output.isEmpty else { return false }
    switch uplink.flush(&outbox.client, now, &log, &host) {
    case .nothing: return false
    case .sent:
      if outbox.client.output.isEmpty { events.noteRoom() }
      return true
    case .lost(let byPeer):
      noteLoss(byPeer: byPeer, now, &host)
      return true
    }
  }

  private mutating func noteLoss<H: Host & ~Copyable>(byPeer: Bool, _ now: Instant, _ host: inout H) {
    if byPeer { outbox.abandonPoison(now, &log, &host) }
  }

  @inline(__always)
  private mutating func nextDeadline(_ now: Instant) -> Instant {
    var deadline = min(uplink.deadline(outbox.client, now), watchdogs.deadline)
    guard !uplink.isEnded else { return deadline }
    deadline = min(min(deadline, management.deadline), min(log.nextAccount, control.deadline))
    deadline = min(min(deadline, outputs.deadline), min(commands.deadline, outbox.deadline(now)))
    if outbox.flash.isActive { deadline = min(deadline, outbox.drain.deadline) }
    return min(deadline, stopDeadline ?? events.deadline(outbox))
  }

  @inline(never)  // beside the agents without a queue on flash
  private mutating func driveFlash<H: Host & ~Copyable>(isEnding: Bool, _ now: Instant, _ host: inout H) {
    let time = clock.wallTime(&host)
    outbox.driveFlash(isEnding: isEnding, at: time, now, &log, &host)
    guard outbox.endsGap(now) else { return }
    // Free between two events.
    events.payload.removeAll()
    var envelope = EventEnvelope(into: &events.payload)
    outbox.writeGap(&envelope, into: &events.payload, now)
    envelope.finish(at: time, using: &events.stamp, into: &events.payload)
    let topic: StaticString = "iot-2/evt/queue/fmt/json"
    outbox.publish(
      events.payload, on: TopicName(alreadyChecked: topic.bytes), qos: .atLeastOnce, now, &log, &host)
  }

  /// Moves device management forward, which decides whether there may be a connection.
  @inline(never)  // beside the turns in which nothing of it is due
  private mutating func manage<H: Host & ~Copyable>(isEnding: Bool, _ now: Instant, _ host: inout H) {
    let subscription = uplink.subscriptions.state(of: Topics.managementFilter)
    management.advance(isEnding: isEnding, subscription, settings, clock, &outbox, now, &log, &host)
    if isEnding { return }
    if management.wantsEnd {
      // What hangs in the place of this program is restarted by the hardware.
      watchdogs.isHandedOver = true
      stop(reason: "update", &host)
    }
    if management.keepsOffline { uplink.hold(&outbox.client, now, &log, &host) } else { uplink.release() }
  }

  // MARK: Local programs

  /// Answers local programs; true when more of them wait.
  @inline(never)  // beside the turns in which none has anything to say
  private mutating func serve<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    for _ in 0..<ControlLimits.piecesPerTurnMax {
      guard control.next(now, &host) else { return false }
      if !control.isComplete { answer(now, &host) }
      guard control.send(now, &host) else { return false }
    }
    return true
  }

  /// Writes the answer to a request, or the next piece of it.
  private mutating func answer<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    switch control.verb {
    case nil: control.finish(.unknownVerb)
    case .status:
      control.writeStatus(uplink, outbox, events, commands, management, watchdogs, settings, now, &host)
    case .location, .diagnose, .unmanage, .manage:
      control.finish(takeLocal(control, &management, now, &log, &host))
    case .publish:
      do throws(ControlOutcome) {
        control.finish(try events.push(control.request, settings, clock, &outbox, now, &log, &host))
      } catch {
        control.finish(error)
      }
    }
  }

  // MARK: Routing

  /// Gives a message to the part that it is for.
  @inline(never)  // beside the turns of events, whose code is resident all day
  private mutating func route<H: Host & ~Copyable>(
    _ message: IncomingMessage, _ now: Instant, _ host: inout H
  ) {
    switch Topics.classify(outbox.input.extracting(message.topic)) {
    case .command(let topic):
      let request = commands.take(
        message, topic, isAction: false, settings, clock, &outbox, &management, now, &log, &host)
      carryOut(request, of: message, now, &host)
    case .managementRequest(let request):
      let turn = management.take(
        request, outbox.input.extracting(message.payload), isDuplicate: message.isDuplicate, settings, now, &log,
        &host)
      switch turn {
      case .taken: outbox.client.acknowledge(message.packetIdentifier, now: now)
      case .pending: management.hold(message.packetIdentifier)
      case .customAction:
        _ = commands.take(
          message, Topics.customAction(outbox.input.extracting(message.topic)), isAction: true, settings, clock,
          &outbox, &management, now, &log, &host)
      }
    case .managementAnswer:
      management.takeAnswer(outbox.input.extracting(message.payload), settings, now, &log, &host)
      outbox.client.acknowledge(message.packetIdentifier, now: now)
    case .notification, .stranger:
      outbox.client.acknowledge(message.packetIdentifier, now: now)
      log.begin(.debug, "mqtt message-ignored")
      log.end(to: &host)
    }
  }

  /// Has the event collector do what a built-in command asks for.
  private mutating func carryOut<H: Host & ~Copyable>(
    _ request: CommandRequest, of message: IncomingMessage, _ now: Instant, _ host: inout H
  ) {
    let eventCount: Int
    switch request {
    case .none: return
    case .write: return write(message, now, &host)
    case .trigger(let request):
      eventCount = events.trigger(request, in: outbox.input.extracting(message.payload), settings, now)
    case .setInterval(let request, let interval):
      eventCount = events.setInterval(
        interval, of: request, in: outbox.input.extracting(message.payload), settings, now)
    }
    commands.finish(eventCount > 0 ? .ok : .unknown, clock, &outbox, &management, now, &log, &host)
  }

  /// Sets an output.
  private mutating func write<H: Host & ~Copyable>(_ message: IncomingMessage, _ now: Instant, _ host: inout H) {
    var outcome = CommandOutcome.unknown
    commands.written = nil
    if let output = outputs.index(ofCommand: commands.takenName, settings) {
      outcome = outputs.take(
        output, outbox.input.extracting(message.payload), settings, now, &log, &host, written: &commands.written)
    }
    commands.finish(outcome, clock, &outbox, &management, now, &log, &host)
    commands.written = nil
  }

  // MARK: Beginning, changing, ending

  /// Logs the start. The arenas are those that the agent's memory came from.
  public mutating func logStart<H: Host & ~Copyable>(
    version: Span<UInt8>, connection: borrowing Arena, configuration: borrowing Arena, _ host: inout H
  ) {
    log.writeStart(of: settings, version: version, to: &host)
    log.writeMemory(connection: connection, configuration: configuration, to: &host)
    log.warn(about: settings, to: &host)
    uplink.logFirstWait(&log, &host)
  }

  /// Logs why there is no control socket: where the configuration says, or at `usualPlace`.
  public mutating func logUncontrolled<H: Host & ~Copyable>(
    _ failure: ControlFailure, usualPlace: Span<UInt8>, _ host: inout H
  ) {
    let path = settings.bytes(settings.agent.controlSocket)
    // Nobody has asked for it where the usual places cannot be had.
    let isExpected = !path.isEmpty || failure == .inUse
    log.begin(isExpected ? .warning : .info, "control not-opened")
    log.add("reason", failure.name)
    log.add("path", text: path.isEmpty ? usualPlace : path)
    log.end(to: &host)
  }

  /// Whether going over to `newSettings` takes a new connection, and so a new agent.
  public func needsNewConnection(for newSettings: borrowing Settings) -> Bool {
    newSettings.needsNewConnection(comparedTo: settings)
  }

  /// Takes over a new configuration whose connection settings equal the present ones; connection, queue and running
  /// programs go on. The caller has opened the new sources on the host.
  public mutating func reload<H: Host & ~Copyable>(plan: consuming Plan, _ host: inout H) {
    events.replaceTable(plan.table, settings, plan.settings)
    if !settings.hasSameWatchdog(as: plan.settings) { watchdogs.change(host.now(), &host) }
    outputs = plan.outputs
    if uplink.isOnline { outputs.tell(isOnline: true, plan.settings, host.now()) }
    settings = plan.settings
    log.threshold = settings.agent.logLevel
    log.isDiagnosing = settings.management.tellsFaults && management.isManaged
    outbox.limitRate(messagesPerSecond: settings.mqtt.messagesPerSecondMax)
    management.noteSettings(host.now())
    log.writeReloaded(connection: "kept", to: &host)
  }

  /// Asks for a clean end because a new configuration takes a new connection, which is another agent's. It takes over
  /// the hardware's watchdog where it `isGuarded`.
  public mutating func stopForNewConnection<H: Host & ~Copyable>(isGuarded: Bool, _ host: inout H) {
    watchdogs.isHandedOver = isGuarded
    log.writeReloaded(connection: "new", to: &host)
    stop(reason: "reload", &host)
  }

  /// Logs that a new configuration was wrong and the present one stays.
  public mutating func logReloadRefused<H: Host & ~Copyable>(_ host: inout H) { log.writeReloadRefused(to: &host) }

  /// Asks for a clean end: what is in flight gets `stopTimeout` to be acknowledged, then DISCONNECT is sent.
  @inline(never)  // beside the turns of the loop
  public mutating func stop<H: Host & ~Copyable>(reason: StaticString, _ host: inout H) {
    guard stopDeadline == nil else { return }
    let now = host.now()
    stopDeadline = now + AgentLimits.stopTimeout
    clock.prepareEnd(now)
    commands.prepareEnd(clock, &outbox, &management, now, &log, &host)
    log.write(.info, "agent stopping", "reason", reason, to: &host)
  }

  /// Carries a requested end through: without a connection as soon as what is known is stored, otherwise when nothing
  /// is owed either, or time is up.
  @inline(never)  // beside the turns of an agent that goes on
  private mutating func endIfDone<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    guard let stopDeadline, !uplink.isEnded else { return }
    let owesNothing =
      clock.isReadyToEnd && outbox.isStored && (!uplink.isOnline || (outbox.isDrained && management.isDrained))
    guard owesNothing || now >= stopDeadline else { return }
    uplink.end(&outbox.client, now, &log, &host)
    commands.stopAll(&host)
    outputs.end(settings, &log, &host)
    watchdogs.end(isGoingDown: management.keepsOffline, settings, &log, &host)
    log.tellLeftOut(&host)
    log.begin(.info, "agent stopped")
    log.add("unacknowledged", outbox.pendingCount)
    log.end(to: &host)
  }

  // MARK: What others may know

  /// Whether a clean end is complete; the host's link is closed then.
  public var isEnded: Bool { uplink.isEnded }

  /// Whether the server has accepted the present connection.
  public var isOnline: Bool { uplink.isOnline }

  /// QoS 1 and 2 messages that wait for the network.
  public var queuedCount: Int { outbox.waitingCount }

  /// QoS 1 and 2 messages that were handed to the client and are not acknowledged yet.
  public var inflightCount: Int { outbox.client.inflightCount }

  /// What became of the subscription to `filter`.
  public func subscription(to filter: StaticString) -> SubscriptionState { uplink.subscriptions.state(of: filter) }

  /// What has happened so far.
  public var counters: AgentCounters {
    AgentCounters(
      connections: uplink.connectionCount, events: outbox.counters.messages,
      eventsSkipped: outbox.counters.skipped, eventsDropped: outbox.droppedCount,
      eventsSetAside: outbox.counters.setAside,
      commands: commands.count)
  }
}

// As members of one value the request and what takes it would overlap.
private func takeLocal<H: HostLog & ~Copyable>(
  _ control: borrowing Control, _ management: inout Management, _ now: Instant, _ log: inout LogWriter,
  _ host: inout H
) -> ControlOutcome {
  guard let verb = control.verb else { return .unknownVerb }
  return management.take(verb, control.request, now, &log, &host)
}
