// Packets become bytes. An encoder writes a whole packet or nothing: it returns false where the packet does not fit.

import Bytes

/// A message that the server keeps for the client's unexpected end (section 3.1.2.5).
public struct WillFields: ~Escapable {
  /// Where it goes; a topic name.
  public let topic: Span<UInt8>
  /// What it says, 65,535 bytes at most.
  public let payload: Span<UInt8>
  /// How it is delivered.
  public let qos: QoS
  /// Whether the server is to keep it for later subscribers.
  public let isRetained: Bool

  /// A will of these parts.
  @_lifetime(copy topic, copy payload)
  public init(topic: Span<UInt8>, payload: Span<UInt8>, qos: QoS, isRetained: Bool) {
    self.topic = topic
    self.payload = payload
    self.qos = qos
    self.isRetained = isRetained
  }
}

/// Who connects: the text and binary fields of CONNECT (section 3.1.3).
public struct ConnectFields: ~Escapable {
  /// The client identifier; empty only with a clean session [MQTT-3.1.3-7].
  public let clientID: Span<UInt8>
  /// The user's name.
  public let userName: Span<UInt8>?
  /// The password: any bytes, and only with a user name [MQTT-3.1.2-22].
  public let password: Span<UInt8>?
  /// What the server publishes when the connection ends without DISCONNECT.
  public let will: WillFields?

  /// Fields of these parts.
  @_lifetime(copy clientID, copy userName, copy password, copy will)
  public init(
    clientID: Span<UInt8>, userName: Span<UInt8>? = nil, password: Span<UInt8>? = nil, will: WillFields? = nil
  ) {
    self.clientID = clientID
    self.userName = userName
    self.password = password
    self.will = will
  }

  /// Bytes behind the fixed header.
  fileprivate var remainingLength: Int {
    var length = 10 + 2 + clientID.count
    if let will { length += 4 + will.topic.count + will.payload.count }
    if let userName { length += 2 + userName.count }
    if let password { length += 2 + password.count }
    return length
  }
}

/// The size of a PUBLISH packet.
struct PublishSize: BitwiseCopyable {
  let remainingLength: Int
  var byteCount: Int {
    @inline(__always) get { packetByteCount(remainingLength: remainingLength) }
  }

  /// The counts must be of real memory; then the sum cannot overflow.
  @inline(__always)
  init(topicCount: Int, payloadCount: Int, qos: QoS) {
    remainingLength = 2 + topicCount + (qos == .atMostOnce ? 0 : 2) + payloadCount
  }
}

/// The size of a packet with this remaining length.
func packetByteCount(remainingLength: Int) -> Int {
  1 + remainingLengthCount(remainingLength) + remainingLength
}

extension ByteBuffer {
  /// Appends CONNECT, protocol level 4. The fields must keep the rules that `Client.open` checks.
  public mutating func appendConnect(
    _ fields: borrowing ConnectFields, cleanSession: Bool, keepAliveSeconds: UInt16
  ) -> Bool {
    let remainingLength = fields.remainingLength
    guard hasRoom(remainingLength: remainingLength) else { return false }
    appendHeader(PacketType.connect.firstByte, remainingLength: remainingLength, beginning: 4)
    append("MQTT")
    append(4)
    var flags: UInt8 = cleanSession ? ConnectFlags.cleanSession : 0
    if let will = fields.will {
      flags |= ConnectFlags.will | will.qos.rawValue << 3
      if will.isRetained { flags |= ConnectFlags.willRetain }
    }
    if fields.userName != nil { flags |= ConnectFlags.userName }
    if fields.password != nil { flags |= ConnectFlags.password }
    append(flags)
    append(bigEndian: keepAliveSeconds)
    // [MQTT-3.1.3-1]: in this order.
    append(field: fields.clientID)
    if let will = fields.will {
      append(field: will.topic)
      append(field: will.payload)
    }
    if let userName = fields.userName { append(field: userName) }
    if let password = fields.password { append(field: password) }
    return true
  }

  /// Appends CONNACK.
  public mutating func appendConnack(sessionPresent: Bool, returnCode: UInt8) -> Bool {
    guard hasRoom(remainingLength: 2) else { return false }
    appendHeader(
      PacketType.connack.firstByte, remainingLength: 2,
      beginning: (sessionPresent ? 0x0100 : 0) | UInt16(returnCode))
    return true
  }

  /// Appends PUBLISH. `packetIdentifier` is left out with QoS 0 [MQTT-2.3.1-5].
  public mutating func appendPublish(
    topic: Span<UInt8>, payload: Span<UInt8>, qos: QoS, isRetained: Bool, isDuplicate: Bool, packetIdentifier: UInt16
  ) -> Bool {
    let size = PublishSize(topicCount: topic.count, payloadCount: payload.count, qos: qos)
    guard topic.count <= PacketLimits.fieldBytesMax, hasRoom(remainingLength: size.remainingLength) else {
      return false
    }
    appendPublish(
      flags: PublishFlags.of(qos, isRetained: isRetained, isDuplicate: isDuplicate), size: size, topic: topic,
      packetIdentifier: packetIdentifier, payload: payload)
    return true
  }

  /// Appends PUBLISH of a size whose room the caller has checked.
  mutating func appendPublish(
    flags: UInt8, size: PublishSize, topic: Span<UInt8>, packetIdentifier: UInt16, payload: Span<UInt8>
  ) {
    appendHeader(
      PacketType.publish.firstByte | flags, remainingLength: size.remainingLength,
      beginning: UInt16(truncatingIfNeeded: topic.count))
    appendInline(topic)
    if packetIdentifier != 0 { append(bigEndian: packetIdentifier) }
    appendInline(payload)
  }

  /// Appends PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK, which consist of their packet identifier.
  public mutating func appendAnswer(_ type: PacketType, packetIdentifier: UInt16) -> Bool {
    guard hasRoom(remainingLength: 2) else { return false }
    appendHeader(type.firstByte, remainingLength: 2, beginning: packetIdentifier)
    return true
  }

  /// Appends SUBSCRIBE with one filter.
  public mutating func appendSubscribe(packetIdentifier: UInt16, filter: Span<UInt8>, qos: QoS) -> Bool {
    let remainingLength = 2 + 2 + filter.count + 1
    guard filter.count <= PacketLimits.fieldBytesMax, hasRoom(remainingLength: remainingLength) else { return false }
    appendHeader(
      PacketType.subscribe.firstByte, remainingLength: remainingLength, beginning: packetIdentifier)
    append(field: filter)
    append(qos.rawValue)
    return true
  }

  /// Appends SUBACK; `returnCodes` has one byte for each filter: the granted QoS, or 0x80 [MQTT-3.9.3-2].
  public mutating func appendSuback(packetIdentifier: UInt16, returnCodes: Span<UInt8>) -> Bool {
    guard hasRoom(remainingLength: 2 + returnCodes.count) else { return false }
    appendHeader(
      PacketType.suback.firstByte, remainingLength: 2 + returnCodes.count, beginning: packetIdentifier)
    append(returnCodes)
    return true
  }

  /// Appends UNSUBSCRIBE with one filter.
  public mutating func appendUnsubscribe(packetIdentifier: UInt16, filter: Span<UInt8>) -> Bool {
    let remainingLength = 2 + 2 + filter.count
    guard filter.count <= PacketLimits.fieldBytesMax, hasRoom(remainingLength: remainingLength) else { return false }
    appendHeader(
      PacketType.unsubscribe.firstByte, remainingLength: remainingLength, beginning: packetIdentifier)
    append(field: filter)
    return true
  }

  /// Appends PINGREQ, PINGRESP or DISCONNECT, which consist of their fixed header.
  public mutating func appendBare(_ type: PacketType) -> Bool {
    guard freeCount >= 2 else { return false }
    append(word: UInt64(type.firstByte), byteCount: 2)
    return true
  }

  private func hasRoom(remainingLength: Int) -> Bool {
    remainingLength <= PacketLimits.remainingLengthMax
      && packetByteCount(remainingLength: remainingLength) <= freeCount
  }

  /// Appends a fixed header and the two bytes behind it, which every longer packet has.
  private mutating func appendHeader(_ firstByte: UInt8, remainingLength: Int, beginning: UInt16) {
    if remainingLength < 0x80 {
      let header = UInt64(firstByte) | UInt64(truncatingIfNeeded: remainingLength) << 8
      append(word: header | UInt64(beginning.byteSwapped) << 16, byteCount: 4)
      return
    }
    appendLongHeader(firstByte, remainingLength: remainingLength, beginning: beginning)
  }

  private mutating func appendLongHeader(_ firstByte: UInt8, remainingLength: Int, beginning: UInt16) {
    var header = UInt64(firstByte)
    var rest = UInt64(truncatingIfNeeded: remainingLength)
    var byteCount = 1
    // At most four turns.
    repeat {
      header |= (rest & 0x7F | (rest >= 0x80 ? 0x80 : 0)) << UInt64(truncatingIfNeeded: byteCount * 8)
      rest >>= 7
      byteCount += 1
    } while rest > 0
    header |= UInt64(beginning.byteSwapped) << UInt64(truncatingIfNeeded: byteCount * 8)
    append(word: header, byteCount: byteCount + 2)
  }

  /// Appends bytes with their count in front; the caller has checked that there are at most 65,535.
  private mutating func append(field: Span<UInt8>) {
    append(bigEndian: UInt16(truncatingIfNeeded: field.count))
    append(field)
  }
}

/// The bits of PUBLISH's first byte (section 3.3.1).
enum PublishFlags {
  static func of(_ qos: QoS, isRetained: Bool, isDuplicate: Bool) -> UInt8 {
    qos.rawValue << 1 | (isRetained ? 0b0001 : 0) | (isDuplicate ? duplicate : 0)
  }

  static var duplicate: UInt8 { 0b1000 }
}
