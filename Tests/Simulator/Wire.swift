// MQTT 3.1.1 as the broker model reads and writes it. Deliberately not the codec of the product: a mistake made in both
// directions alike would cancel itself out there.

/// A packet that a client may send.
enum ClientPacket: Equatable {
  case connect(ConnectPacket)
  case publish(PublishPacket)
  case puback(UInt16)
  case pubrec(UInt16)
  case pubrel(UInt16)
  case pubcomp(UInt16)
  case subscribe(UInt16, [Subscription])
  case unsubscribe(UInt16, [[UInt8]])
  case pingreq
  case disconnect
}

/// CONNECT, clause 3.1.
struct ConnectPacket: Equatable {
  var clientID: [UInt8]
  var cleanSession: Bool
  var keepAliveSeconds: Int
  var will: PublishPacket?
  var userName: [UInt8]?
  var password: [UInt8]?
}

/// PUBLISH, clause 3.3.
struct PublishPacket: Equatable {
  var topic: [UInt8]
  var payload: [UInt8]
  var qos: UInt8
  var isDuplicate = false
  var isRetained = false
  /// 0 for QoS 0.
  var identifier: UInt16 = 0
}

/// One topic filter with its highest quality of service.
struct Subscription: Equatable {
  var filter: [UInt8]
  var qos: UInt8
}

/// What a client wrote that no client may write.
struct ClientFault: Error, Equatable {
  let what: String
  init(_ what: String) { self.what = what }
}

/// Cuts the bytes of one connection into packets.
struct PacketCutter {
  private var bytes: [UInt8] = []
  private var head = 0

  mutating func append(_ more: ArraySlice<UInt8>) {
    if head > 4096 {
      bytes.removeFirst(head)
      head = 0
    }
    bytes.append(contentsOf: more)
  }

  /// Whether the beginning of a packet waits for its rest.
  var isInPacket: Bool { head < bytes.count }

  /// The next whole packet; nil when more bytes are needed.
  mutating func next() throws(ClientFault) -> ClientPacket? {
    var index = head + 1
    var length = 0
    var shift = 0
    while true {
      guard index < bytes.count else { return nil }
      let byte = bytes[index]
      length |= Int(byte & 0x7F) << shift
      shift += 7
      index += 1
      if byte & 0x80 == 0 { break }
      if shift == 28 { throw ClientFault("2.2.3: remaining length of more than 4 bytes") }
    }
    guard bytes.count - index >= length else { return nil }
    var reader = PacketReader(bytes: bytes, index: index, end: index + length)
    let first = bytes[head]
    head = index + length
    return try reader.packet(first)
  }
}

/// Reads one packet's fields.
private struct PacketReader {
  let bytes: [UInt8]
  var index: Int
  let end: Int

  mutating func packet(_ first: UInt8) throws(ClientFault) -> ClientPacket {
    let packet: ClientPacket
    switch first {
    case 0x10: packet = .connect(try connect())
    case 0x30...0x3F: packet = .publish(try publish(flags: first & 0x0F))
    case 0x40: packet = .puback(try identifier())
    case 0x50: packet = .pubrec(try identifier())
    case 0x62: packet = .pubrel(try identifier())
    case 0x70: packet = .pubcomp(try identifier())
    case 0x82:
      let identifier = try identifier()
      var subscriptions: [Subscription] = []
      while index < end {
        let filter = try text()
        let qos = try byte()
        if qos > 2 { throw ClientFault("3.8.3-4: SUBSCRIBE with reserved bits or QoS 3") }
        if filter.isEmpty { throw ClientFault("4.7.3-1: empty topic filter") }
        subscriptions.append(Subscription(filter: filter, qos: qos))
      }
      if subscriptions.isEmpty { throw ClientFault("3.8.3-3: SUBSCRIBE without a filter") }
      packet = .subscribe(identifier, subscriptions)
    case 0xA2:
      let identifier = try identifier()
      var filters: [[UInt8]] = []
      while index < end { filters.append(try text()) }
      if filters.isEmpty { throw ClientFault("3.10.3-2: UNSUBSCRIBE without a filter") }
      packet = .unsubscribe(identifier, filters)
    case 0xC0: packet = .pingreq
    case 0xE0: packet = .disconnect
    default: throw ClientFault("2.2: first byte \(first) is none that a client sends")
    }
    if index != end { throw ClientFault("packet with first byte \(first) has surplus bytes") }
    return packet
  }

  private mutating func connect() throws(ClientFault) -> ConnectPacket {
    if try text() != Array("MQTT".utf8) { throw ClientFault("3.1.2-1: protocol name") }
    if try byte() != 4 { throw ClientFault("3.1.2-2: protocol level") }
    let flags = try byte()
    if flags & 1 != 0 { throw ClientFault("3.1.2-3: reserved connect flag") }
    let keepAlive = try integer()
    var packet = ConnectPacket(
      clientID: try text(), cleanSession: flags & 2 != 0, keepAliveSeconds: Int(keepAlive), will: nil,
      userName: nil, password: nil)
    if flags & 4 != 0 {
      let topic = try text()
      let payload = try binary()
      let qos = flags >> 3 & 3
      if qos == 3 { throw ClientFault("3.1.2-14: will QoS 3") }
      packet.will = PublishPacket(topic: topic, payload: payload, qos: qos, isRetained: flags & 0x20 != 0)
    } else if flags & 0x38 != 0 {
      throw ClientFault("3.1.2-11: will flags without a will")
    }
    if flags & 0x80 != 0 {
      packet.userName = try text()
    } else if flags & 0x40 != 0 {
      throw ClientFault("3.1.2-22: password without user name")
    }
    if flags & 0x40 != 0 { packet.password = try binary() }
    return packet
  }

  private mutating func publish(flags: UInt8) throws(ClientFault) -> PublishPacket {
    let qos = flags >> 1 & 3
    if qos == 3 { throw ClientFault("3.3.1-4: QoS 3") }
    let isDuplicate = flags & 8 != 0
    if qos == 0 && isDuplicate { throw ClientFault("3.3.1-2: DUP with QoS 0") }
    let topic = try text()
    if topic.isEmpty { throw ClientFault("4.7.3-1: empty topic") }
    if topic.contains(0x23) || topic.contains(0x2B) { throw ClientFault("3.3.2-2: wildcard in a topic") }
    let identifier = qos > 0 ? try identifier() : 0
    let payload = Array(bytes[index..<end])
    index = end
    return PublishPacket(
      topic: topic, payload: payload, qos: qos, isDuplicate: isDuplicate, isRetained: flags & 1 != 0,
      identifier: identifier)
  }

  private mutating func byte() throws(ClientFault) -> UInt8 {
    guard index < end else { throw ClientFault("packet too short") }
    index += 1
    return bytes[index - 1]
  }

  private mutating func integer() throws(ClientFault) -> UInt16 {
    let high = try byte()
    return UInt16(high) << 8 | UInt16(try byte())
  }

  private mutating func identifier() throws(ClientFault) -> UInt16 {
    let identifier = try integer()
    if identifier == 0 { throw ClientFault("2.3.1-1: packet identifier 0") }
    return identifier
  }

  private mutating func binary() throws(ClientFault) -> [UInt8] {
    let count = Int(try integer())
    guard end - index >= count else { throw ClientFault("field longer than its packet") }
    index += count
    return Array(bytes[(index - count)..<index])
  }

  private mutating func text() throws(ClientFault) -> [UInt8] {
    let field = try binary()
    if String(validating: field, as: UTF8.self) == nil { throw ClientFault("1.5.3-1: text is not UTF-8") }
    if field.contains(0) { throw ClientFault("1.5.3-2: U+0000 in text") }
    return field
  }
}

/// Packets that a broker sends.
enum ServerPacket {
  static func connack(sessionPresent: Bool, code: UInt8) -> [UInt8] {
    [0x20, 2, sessionPresent ? 1 : 0, code]
  }

  static func publish(_ packet: PublishPacket) -> [UInt8] {
    var body = integer(UInt16(packet.topic.count)) + packet.topic
    if packet.qos > 0 { body += integer(packet.identifier) }
    body += packet.payload
    let flags = (packet.isDuplicate ? 8 : 0) | packet.qos << 1 | (packet.isRetained ? 1 : 0)
    return [0x30 | flags] + remainingLength(body.count) + body
  }

  static func acknowledgement(_ first: UInt8, _ identifier: UInt16) -> [UInt8] { [first, 2] + integer(identifier) }
  static func puback(_ identifier: UInt16) -> [UInt8] { acknowledgement(0x40, identifier) }
  static func pubrec(_ identifier: UInt16) -> [UInt8] { acknowledgement(0x50, identifier) }
  static func pubrel(_ identifier: UInt16) -> [UInt8] { acknowledgement(0x62, identifier) }
  static func pubcomp(_ identifier: UInt16) -> [UInt8] { acknowledgement(0x70, identifier) }
  static func unsuback(_ identifier: UInt16) -> [UInt8] { acknowledgement(0xB0, identifier) }

  static func suback(_ identifier: UInt16, _ codes: [UInt8]) -> [UInt8] {
    [0x90] + remainingLength(2 + codes.count) + integer(identifier) + codes
  }

  static var pingresp: [UInt8] { [0xD0, 0] }

  private static func integer(_ value: UInt16) -> [UInt8] {
    [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)]
  }

  static func remainingLength(_ count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = count
    repeat {
      let low = UInt8(rest % 128)
      rest /= 128
      bytes.append(rest > 0 ? low | 0x80 : low)
    } while rest > 0
    return bytes
  }
}

/// Whether `topic` matches `filter`, clause 4.7.
func matches(topic: [UInt8], filter: [UInt8]) -> Bool {
  let levels = topic.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
  let wanted = filter.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
  for (index, level) in wanted.enumerated() {
    if level.elementsEqual("#".utf8) { return true }
    guard index < levels.count else { return false }
    if level.elementsEqual("+".utf8) { continue }
    if level != levels[index] { return false }
  }
  return levels.count == wanted.count
}
