import Bytes
import TestSupport

@testable import MQTT

/// What a client told, with the bytes that its ranges meant.
enum Told: Equatable {
  case event(ClientEvent)
  case message(
    topic: String, payload: [UInt8], qos: QoS, isDuplicate: Bool = false, isRetained: Bool = false,
    packetIdentifier: UInt16 = 0, isTruncated: Bool = false)
}

/// A client with a clock and a wire to hold in the hand.
final class Harness {
  var client: Client
  var now = Instant(milliseconds: 5_000_000)
  /// A deadline that has come but is not served would be ticked at for ever.
  private var tickCount = 0

  init(_ options: ClientOptions = ClientOptions(cleanSession: true), packetBytesMax: Int = 1024) throws {
    var arena = makeArena(byteCount: 40 * 1024 + 5 * packetBytesMax)
    client = try Client(options: options, packetBytesMax: packetBytesMax, from: &arena)
  }

  // `#expect` cannot look into a value that is not copyable, so these stand before the client.
  var isConnected: Bool { client.isConnected }
  var inflightCount: Int { client.inflightCount }
  var hasUnacknowledged: Bool { client.hasUnacknowledged }
  var attempts: Int { client.oldestInflightAttempts }
  var deadline: Instant? { client.deadline() == .never ? nil : client.deadline() }
  var outputFreeCount: Int { client.output.freeCount }
  func fits(_ byteCount: Int, _ qos: QoS) -> Bool { client.fits(byteCount: byteCount, qos: qos) }
  func abandonOldest() -> UInt64? { client.abandonOldestInflight(now: now)?.token }
  func abandonTooLarge() -> UInt64? { client.abandonTooLarge()?.token }
  var publishBytesMax: Int { client.publishBytesMax }
  func tick() throws(PeerFault) { try client.tick(now: now) }

  /// Lets time pass.
  func wait(_ span: TimeSpan) { now = now + span }

  /// Opens a connection as client `c` and takes CONNECT off the output.
  @discardableResult
  func open() throws -> [UInt8] {
    let clientID = "c".utf8Array
    try client.open(ConnectFields(clientID: clientID.span), now: now)
    return sent()
  }

  /// Opens a connection that the server accepts; gives what the client wrote after CONNACK.
  @discardableResult
  func connect(sessionPresent: Bool = false) throws -> [UInt8] {
    try open()
    _ = try receive([0x20, 2, sessionPresent ? 1 : 0, 0])
    return sent()
  }

  /// Loses the link and connects again.
  func reconnect(sessionPresent: Bool) throws -> [UInt8] {
    client.linkClosed()
    return try connect(sessionPresent: sessionPresent)
  }

  /// Everything that the client wrote, taken off its output.
  func sent() -> [UInt8] {
    let bytes = client.outputBytes()
    if !bytes.isEmpty { client.removeSent(bytes.count, now: now) }
    return bytes
  }

  /// Lets `bytes` arrive, as many at a time as fit, and gives what the client told of them.
  func receive(_ bytes: [UInt8]) throws -> [Told] {
    var told: [Told] = []
    var rest = bytes[...]
    repeat {
      let count = min(rest.count, client.input.freeCount)
      client.input.append(Array(rest.prefix(count)).span)
      rest = rest.dropFirst(count)
      while let event = try client.nextEvent(now: now) { told.append(describe(event)) }
      if count == 0 { break }
    } while !rest.isEmpty
    return told
  }

  private func describe(_ event: ClientEvent) -> Told {
    guard case .message(let message) = event else { return .event(event) }
    let input = client.inputBytes()
    return .message(
      topic: Array(input[message.topic]).text, payload: Array(input[message.payload]), qos: message.qos,
      isDuplicate: message.isDuplicate, isRetained: message.isRetained, packetIdentifier: message.packetIdentifier,
      isTruncated: message.isTruncated)
  }

  func publish(
    _ topic: String, _ payload: String, _ qos: QoS, isRetained: Bool = false, token: UInt64 = 0
  ) throws(PublishRefusal) {
    let topic = Array(topic.utf8)
    let payload = Array(payload.utf8)
    try client.publish(
      topic: topic.span, payload: payload.span, qos: qos, isRetained: isRetained, token: token, now: now)
  }

  func subscribe(_ filter: String, _ qos: QoS) -> UInt16? {
    let filter = Array(filter.utf8)
    return client.subscribe(filter: filter.span, qos: qos, now: now)
  }

  func unsubscribe(_ filter: String) -> UInt16? {
    let filter = Array(filter.utf8)
    return client.unsubscribe(filter: filter.span, now: now)
  }

  /// Ticks at the next deadline, if it is no later than `limit` from now.
  func tickAtDeadline(within limit: TimeSpan) throws -> Bool {
    tickCount += 1
    if tickCount > 1000 { throw PeerFault.lengthMismatch }
    guard let deadline, deadline <= now + limit else { return false }
    now = max(now, deadline)
    try client.tick(now: now)
    return true
  }
}

extension Client {
  func inputBytes() -> [UInt8] { Array(input.span) }
  func outputBytes() -> [UInt8] { Array(output.span) }
}

extension String {
  var utf8Array: [UInt8] { Array(utf8) }
}

// `#expect` takes no spans, so these take arrays.

func decode(_ bytes: [UInt8]) throws(PeerFault) -> Packet { try Packet.decode(bytes.span) }
func extent(_ bytes: [UInt8]) throws(PeerFault) -> PacketExtent? { try PacketExtent(bytes.span) }
func fault(ofName name: [UInt8]) -> PeerFault? { topicNameFault(name.span) }
func fault(ofFilter filter: String) -> PeerFault? { topicFilterFault(filter.utf8Array.span) }
func does(_ filter: String, match topic: String) -> Bool {
  topicFilter(filter.utf8Array.span, matches: topic.utf8Array.span)
}

/// A whole packet of a first byte and what follows the remaining length.
func packet(_ firstByte: UInt8, _ body: [UInt8]) -> [UInt8] {
  var bytes = [firstByte]
  var rest = body.count
  repeat {
    bytes.append(UInt8(rest & 0x7F) | (rest > 0x7F ? 0x80 : 0))
    rest >>= 7
  } while rest > 0
  return bytes + body
}

/// A string field: count and bytes.
func field(_ text: String) -> [UInt8] { field(Array(text.utf8)) }

/// A binary field: count and bytes.
func field(_ bytes: [UInt8]) -> [UInt8] { [UInt8(bytes.count >> 8), UInt8(bytes.count & 0xFF)] + bytes }

/// A PUBLISH packet.
func publishPacket(
  _ topic: String, _ payload: [UInt8], qos: QoS = .atMostOnce, identifier: UInt16 = 0, isDuplicate: Bool = false,
  isRetained: Bool = false
) -> [UInt8] {
  packet(
    0x30 | (isDuplicate ? 8 : 0) | qos.rawValue << 1 | (isRetained ? 1 : 0),
    field(topic) + (qos == .atMostOnce ? [] : [UInt8(identifier >> 8), UInt8(identifier & 0xFF)]) + payload)
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK.
func answerPacket(_ type: PacketType, _ identifier: UInt16) -> [UInt8] {
  packet(
    type.rawValue << 4 | (type == .pubrel ? 2 : 0), [UInt8(identifier >> 8), UInt8(identifier & 0xFF)])
}

/// Cuts bytes that a client or server wrote into packets.
func packets(in bytes: [UInt8]) throws -> [[UInt8]] {
  var found: [[UInt8]] = []
  var rest = bytes[...]
  while !rest.isEmpty {
    guard let extent = try extent(Array(rest.prefix(5))), rest.count >= extent.byteCount else {
      throw PeerFault.lengthMismatch
    }
    found.append(Array(rest.prefix(extent.byteCount)))
    rest = rest.dropFirst(extent.byteCount)
  }
  return found
}
