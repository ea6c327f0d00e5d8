// The parts of an agent without the agent, over a host that a test scripts.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT
import TestSupport

@testable import Agent

/// What a part needs besides itself.
final class Rig {
  var host = ScriptedHost()
  let settings: Settings
  var log: LogWriter
  var clock: ClockFloor
  var uplink: Uplink
  var outbox: Outbox
  var events: EventCollector
  var commands: CommandRunner
  var management: Management
  private var arena: Arena
  private let sources: [Int]

  static let buildTime = WallTime(milliseconds: 1_700_000_000_000)

  /// `configuration` follows a valid `[device]`; `sources` are the host's sources of its sensors.
  init(
    _ configuration: String = "", sources: [Int] = [], packetBytes: Int = 2048, queueBytes: Int = 8192,
    messagesPerSecond: Int = 0, inflightMax: Int = 4, id: String = "e7-0042", isAligned: Bool = true
  ) throws {
    var arena = makeArena(byteCount: 4 << 20)
    let settings = try makeSettings(
      """
      [device]
      org = ab12cd
      type = edge
      id = \(id)
      auth-token = secret
      [agent]
      align = \(isAligned ? "yes" : "no")
      [mqtt]
      connect-delay-max = 0s

      """ + configuration, from: &arena)
    let now = host.time
    let newLog = try LogWriter(threshold: .debug, isManaged: true, from: &arena)
    let newClock = try ClockFloor(buildTime: Rig.buildTime, now: now, from: &arena)
    let newUplink = Uplink(random: RandomSource(seed: 1), connectDelayMax: .zero, now: now, in: &arena)
    var options = ClientOptions(cleanSession: false, inflightMax: inflightMax, firstPacketIdentifier: 1)
    options.acknowledgesByHand = true
    let client = try Client(options: options, packetBytesMax: packetBytes, from: &arena)
    let newOutbox = try Outbox(
      client: client, queueBytes: queueBytes, messagesPerSecondMax: messagesPerSecond, from: &arena)
    let table = try EventTable(
      settings: settings, sources: try fixed(sources, from: &arena), now: now, from: &arena)
    let newEvents = EventCollector(table: table, packetBytesMax: packetBytes, in: &arena)
    let newCommands = CommandRunner(packetBytesMax: packetBytes, hasActions: true, in: &arena)
    let newManagement = Management(isManaged: true, updates: false, random: RandomSource(seed: 7), in: &arena)
    log = newLog
    clock = newClock
    uplink = newUplink
    outbox = newOutbox
    events = newEvents
    commands = newCommands
    management = newManagement
    self.settings = settings
    self.sources = sources
    self.arena = arena
  }

  /// The table of this rig's configuration.
  func makeTable(now: Instant) throws -> EventTable {
    try EventTable(settings: settings, sources: try fixed(sources, from: &arena), now: now, from: &arena)
  }

  // MARK: Looking

  // `#expect` takes its expressions apart, which noncopyable values do not allow.

  var isOnline: Bool { uplink.isOnline }
  var isEnded: Bool { uplink.isEnded }
  var isQuiet: Bool { uplink.isQuiet(host.time, host) }
  var uplinkDeadline: Instant { uplink.deadline(outbox.client, host.time) }
  func subscription(to filter: StaticString) -> SubscriptionState { uplink.subscriptions.state(of: filter) }

  var isClockSettled: Bool { clock.isSettled(at: host.time) }
  var clockDeadline: Instant? { clock.deadline(host.time) }
  var isClockReadyToEnd: Bool { clock.isReadyToEnd }
  var wallTime: WallTime? { clock.wallTime(&host) }
  var certificateTime: WallTime { clock.beginCheck(&host) }

  var eventDeadline: Instant { events.deadline(outbox) }

  var isDrained: Bool { outbox.isDrained }
  var isCrowded: Bool { events.isCrowded }
  var pendingCount: Int { outbox.pendingCount }
  var waitingCount: Int { outbox.queue.count }
  var droppedCount: UInt64 { outbox.queue.droppedCount }
  var acknowledgedCount: UInt64 { outbox.queue.acknowledgedCount }
  var outboxDeadline: Instant { outbox.deadline(host.time) }
  var outboxCounters: OutboxCounters { outbox.counters }

  var commandDeadline: Instant { commands.deadline }
  var commandCount: UInt64 { commands.count }

  // MARK: Turns

  /// Opens the connection without the uplink: CONNECT is sent and accepted.
  func connect(sessionPresent: Bool = false) throws {
    try outbox.client.open(ConnectFields(clientID: StaticString("test").bytes), now: host.time)
    sendAll()
    try receive([0x20, 2, sessionPresent ? 1 : 0, 0])
  }

  /// Ends it.
  func disconnect() { outbox.client.linkClosed() }

  /// Has the client handle `bytes`; gives the message that came, if any.
  @discardableResult
  func receive(_ bytes: [UInt8]) throws -> IncomingMessage? {
    outbox.client.input.append(bytes.span)
    while let event = try outbox.client.nextEvent(now: host.time) {
      switch event {
      case .message(let message): return message
      case .acknowledged(let token):
        outbox.acknowledge(token, host.time)
        commands.noteAnswer(token, outbox, host.time)
      case .connected(let sessionPresent): commands.beginConnection(sessionPresent: sessionPresent, host.time)
      default: break
      }
    }
    return nil
  }

  /// Takes what the client has written.
  @discardableResult
  func sendAll() -> [UInt8] {
    let bytes = Array(outbox.client.output.span)
    outbox.client.removeSent(bytes.count, now: host.time)
    events.noteRoom()
    return bytes
  }

  func publish(_ payload: String, on topic: String = "iot-2/evt/e/fmt/json", qos: QoS = .atLeastOnce) {
    let buffer = makeBuffer(Array(payload.utf8), capacity: max(payload.utf8.count, 1))
    let topic = Array(topic.utf8)
    outbox.publish(buffer, on: TopicName(alreadyChecked: topic.span), qos: qos, host.time, &log, &host)
  }

  func sendQueued() { outbox.sendQueued(host.time, &log, &host) }

  func collect() { events.collect(settings, clock, &outbox, host.time, &log, &host) }

  /// Has an event made due, as the command does it.
  func trigger(event: String) throws {
    let text = Array(#"{"event":"\#(event)"}"#.utf8)
    guard let request = BuiltInRequest(parsing: text.span) else { return }
    _ = events.trigger(request, in: text.span, settings, host.time)
  }

  func advanceClock() { clock.advance(host.time, &log, &host) }

  func advanceCommands() { commands.advance(settings, clock, &outbox, &management, host.time, &log, &host) }

  /// The packets that the client has written since the last time, as MQTT has them.
  func sentPackets() throws -> [SentPacket] {
    let bytes = sendAll()
    var packets: [SentPacket] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      guard let extent = try PacketExtent(Array(rest).span) else { break }
      let packet = Array(rest.prefix(extent.byteCount))
      rest = rest.dropFirst(extent.byteCount)
      packets.append(SentPacket(bytes: packet, packet: try Packet.decode(packet.span)))
    }
    return packets
  }

  /// The payloads that were published since the last time.
  func published() throws -> [String] { try sentPackets().compactMap(\.payload) }
}

/// A packet that the client has written.
struct SentPacket {
  let bytes: [UInt8]
  let packet: Packet

  var payload: String? {
    guard case .publish(let publish) = packet else { return nil }
    return Array(bytes[publish.payload]).text
  }

  var topic: String? {
    guard case .publish(let publish) = packet else { return nil }
    return Array(bytes[publish.topic]).text
  }
}

/// Settings of `text`, which must be right.
func makeSettings(_ text: String, from arena: inout Arena) throws -> Settings {
  var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
  var loader = try SettingsLoader(scratch: &scratch)
  loader.load(Array(text.utf8).span, name: StaticString("test.conf").bytes)
  guard let settings = try loader.finish(defaultID: Span(), into: &arena) else {
    throw ConfigurationFault(complaint: Array(loader.diagnostics.text(at: 0)).text)
  }
  return settings
}

private func fixed(_ values: [Int], from arena: inout Arena) throws -> FixedArray<Int> {
  var table = try FixedArray<Int>(capacity: values.count, for: "sources", from: &arena)
  for value in values { _ = table.append(value) }
  return table
}

/// A configuration that is wrong.
private struct ConfigurationFault: Error {
  let complaint: String
}
