// The agent: one state machine made of the client, the queue, the schedules and the commands, generic over its host.
//
// The program's loop is: step, wait until the returned moment or until the host has news, step again. A step does a
// bounded amount of work and never blocks.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT
import Spool
import Telemetry

/// Bounds and waits of the agent, each with its reason.
public enum AgentLimits {
  /// How long a whole connection attempt may take: look-up (10 s), every address (5 s each), TLS handshake (30 s).
  public static var linkOpenTimeout: TimeSpan { .seconds(90) }
  /// How long a clean end waits for acknowledgements.
  public static var stopTimeout: TimeSpan { .seconds(5) }
  /// How many connections in a row may end on a message before it is given up: the waits between them leave a server
  /// that only restarts the time to come back.
  public static var messageAttemptsMax: Int { 5 }
  /// Packets handled in one step, so that a flood of them cannot keep sensors from being read.
  public static var packetsPerStepMax: Int { 32 }
  /// A program that does not end after the polite signal is killed after this time.
  public static var programGrace: TimeSpan { .seconds(2) }
  /// The longest sleep: nothing depends on it, it only keeps the deadline finite.
  public static var idleMax: TimeSpan { .minutes(60) }
  /// Room for a client identifier (85 bytes at most) or a command's name.
  public static var scratchBytes: Int { 256 }
  /// Room for the outcome of a command: output at its worst (every byte escaped to six) and a frame around it.
  public static var outcomeBytesMax: Int { HostLimits.programOutputBytesMax * 6 + 256 }
}

/// Where the connection to the server stands; each state has its deadline.
enum LinkPhase {
  /// No link; the next attempt begins at this moment.
  case waiting(until: Instant)
  /// The host is opening a link; given up at this moment.
  case opening(deadline: Instant)
  /// CONNECT is sent; the client watches the deadline of its answer.
  case handshaking
  /// CONNACK came at this moment.
  case online(since: Instant)
  /// All is over.
  case ended
}

/// What the agent counts, for its log and for tests.
public struct AgentCounters: Equatable, Sendable {
  /// Connections that the server accepted.
  public var connections: UInt64 = 0
  /// Events published or queued.
  public var events: UInt64 = 0
  /// QoS 0 events that could not be sent.
  public var eventsSkipped: UInt64 = 0
  /// Commands carried out or refused, redeliveries not included.
  public var commands: UInt64 = 0
}

/// The whole agent.
public struct Agent: ~Copyable {
  private let pinned = Pinned()
  var plan: Plan
  var client: Client
  /// QoS 1 and 2 messages that wait for the network.
  public internal(set) var queue: MessageQueue
  var log: LogWriter
  var phase: LinkPhase
  var reconnect: Reconnect
  var rate: RateLimit
  var recentCommands = RecentCommands()
  /// Whether the subscription still has to be asked for on this connection.
  var wantsSubscription = false
  var programs: InlineArray<4, ProgramSlot>
  /// How many of them are not free, so that a turn of the loop need not look at any when none is.
  var runningPrograms = 0
  /// Raw text of the source that was read last.
  var sourceText: ByteBuffer
  /// The payload being written.
  var payload: ByteBuffer
  /// Short text being put together.
  var scratch: ByteBuffer
  /// When a clean end was asked for, the moment at which it stops waiting.
  var stopDeadline: Instant?
  /// Whether the present outage's first drop has been logged.
  var isDropping = false
  /// How many messages had been dropped before that.
  var droppedBeforeOutage: UInt64 = 0
  /// What has happened so far.
  public internal(set) var counters = AgentCounters()

  /// Builds the agent from `plan`, with buffers from `arena` in the sizes that its settings name.
  ///
  /// `seed` drives all jitter. The first connection is attempted after the settings' random first delay.
  public init(
    plan: consuming Plan, now: Instant, seed: UInt64, from arena: inout Arena
  ) throws(ArenaExhausted) {
    let packetBytesMax = plan.settings.mqtt.packetBytesMax
    var random = RandomSource(seed: seed)
    let options = ClientOptions(
      keepAlive: plan.settings.mqtt.keepAlive, cleanSession: plan.settings.mqtt.cleanSession,
      inflightMax: plan.settings.mqtt.inflightMax,
      // A durable session may outlive this process: a random start keeps a new message from looking like an old one.
      firstPacketIdentifier: UInt16(truncatingIfNeeded: random.next()))
    // All that can fail comes before the first stored property: a noncopyable value cannot be half made.
    // The small ones first: together they share pages, while of the large ones little more than the beginning is used.
    let log = try LogWriter(threshold: plan.settings.agent.logLevel, from: &arena)
    let scratch = try ByteBuffer(capacity: AgentLimits.scratchBytes, for: "scratch", from: &arena)
    let client = try Client(options: options, packetBytesMax: packetBytesMax, from: &arena)
    let queue = try MessageQueue(byteCapacity: plan.settings.mqtt.queueBytes, from: &arena)
    let sourceText = try ByteBuffer(capacity: HostLimits.sourceBytesMax, for: "source", from: &arena)
    let payload = try ByteBuffer(
      capacity: max(packetBytesMax, AgentLimits.outcomeBytesMax), for: "payload", from: &arena)
    let programs = try InlineArray<4, ProgramSlot> { _ throws(ArenaExhausted) in try ProgramSlot(from: &arena) }
    self.client = client
    self.queue = queue
    self.log = log
    self.sourceText = sourceText
    self.payload = payload
    self.scratch = scratch
    self.programs = programs
    rate = RateLimit(messagesPerSecond: plan.settings.mqtt.messagesPerSecondMax)
    reconnect = Reconnect(random: random)
    phase = .waiting(until: now + reconnect.firstDelay(upTo: plan.settings.mqtt.connectDelayMax))
    self.plan = plan
  }

  /// Whether a clean end is complete; the host's link is closed then.
  public var isEnded: Bool {
    if case .ended = phase { return true }
    return false
  }

  /// Whether the server has accepted the present connection.
  public var isOnline: Bool {
    if case .online = phase { return true }
    return false
  }

  /// QoS 1 and 2 messages that were handed to the client and are not acknowledged yet.
  public var inflightCount: Int { client.inflightCount }

  /// Does what is due and gives the moment at which there is more to do. Handles at most `packetsPerStepMax` packets,
  /// one round of due events, and the programs.
  public mutating func step<H: Host & ~Copyable>(_ host: inout H) -> Instant {
    let now = host.now()
    advanceLink(now, &host)
    let moreToReceive = receive(now, &host)
    watchConnection(now, &host)
    subscribeIfWanted(now)
    pollPrograms(now, &host)
    collectEvents(now, &host)
    sendQueued(now, &host)
    let wasWaitingForRoom = waitsForRoom(now)
    let hasSent = flush(now, &host)
    endIfDone(now, &host)
    return moreToReceive || (wasWaitingForRoom && hasSent) ? now : nextDeadline(now)
  }

  /// Asks for a clean end: what is in flight gets `stopTimeout` to be acknowledged, then DISCONNECT is sent.
  public mutating func stop<H: Host & ~Copyable>(reason: StaticString, _ host: inout H) {
    guard stopDeadline == nil else { return }
    stopDeadline = host.now() + AgentLimits.stopTimeout
    log.begin(.info, "agent", "stopping")
    log.add("reason", reason)
    log.end(to: &host)
  }

  /// Takes over a new configuration whose connection settings equal the present ones; connection, queue and running
  /// programs go on. The caller has opened the new sources on the host.
  public mutating func reload<H: Host & ~Copyable>(plan newPlan: consuming Plan, _ host: inout H) {
    plan = newPlan
    log.threshold = plan.settings.agent.logLevel
    rate = RateLimit(messagesPerSecond: plan.settings.mqtt.messagesPerSecondMax)
    logReloaded(connection: "kept", &host)
  }

  /// Asks for a clean end because a new configuration takes a new connection, which is another agent's.
  public mutating func stopForNewConnection<H: Host & ~Copyable>(_ host: inout H) {
    logReloaded(connection: "new", &host)
    stop(reason: "reload", &host)
  }

  private mutating func logReloaded<H: Host & ~Copyable>(connection: StaticString, _ host: inout H) {
    log.begin(.info, "agent", "reloaded")
    log.add("connection", connection)
    log.end(to: &host)
  }

  /// Whether something could not be done for want of room in the output. Nothing else may wake us for it: the host was
  /// not asked for more input, and no answer may be due.
  private func waitsForRoom(_ now: Instant) -> Bool {
    guard isOnline else { return false }
    return client.lacksRoomForAnswers || wantsSubscription || (queue.count > 0 && rate.allows(at: now))
  }

  /// Whether going over to `settings` takes a new connection, and so a new agent.
  public func needsNewConnection(for settings: borrowing Settings) -> Bool {
    settings.needsNewConnection(comparedTo: plan.settings)
  }

  /// Logs that a new configuration was wrong and the present one stays.
  public mutating func logReloadRefused<H: Host & ~Copyable>(_ host: inout H) {
    log.begin(.error, "agent", "reload-refused")
    log.add("configuration", "kept")
    log.end(to: &host)
  }

  private func nextDeadline(_ now: Instant) -> Instant {
    var deadline = now + AgentLimits.idleMax
    switch phase {
    case .waiting(let until): deadline = min(deadline, until)
    case .opening(let until): deadline = min(deadline, until)
    case .handshaking, .online: deadline = min(deadline, client.deadline() ?? deadline)
    case .ended: return deadline
    }
    if let stopDeadline { deadline = min(deadline, stopDeadline) }
    deadline = min(deadline, eventDeadline(now) ?? deadline)
    deadline = min(deadline, programDeadline() ?? deadline)
    if isOnline, queue.count > 0, !rate.allows(at: now) { deadline = min(deadline, rate.allowedFrom) }
    return deadline
  }

  /// Carries a requested end through: at once without a connection, otherwise when nothing is owed or time is up.
  private mutating func endIfDone<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    guard let stopDeadline, !isEnded else { return }
    if isOnline {
      let owesNothing = queue.count == 0 && client.inflightCount == 0 && client.output.isEmpty
      guard owesNothing || now >= stopDeadline else { return }
      client.disconnect(now: now)
      flush(now, &host)
    }
    host.closeLink()
    client.linkClosed()
    stopPrograms(&host)
    phase = .ended
    log.begin(.info, "agent", "stopped")
    log.add("unacknowledged", client.inflightCount + queue.count)
    log.end(to: &host)
  }
}
