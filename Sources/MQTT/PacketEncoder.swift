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
  let byteCount: Int

  /// The counts must be of real memory; then the sum cannot overflow.
  init(topicCount: Int, payloadCount: Int, qos: QoS) {
    remainingLength = 2 + topicCount + (qos == .atMostOnce ? 0 : 2) + payloadCount
    byteCount = 1 + remainingLengthCount(remainingLength) + remainingLength
  }
}

extension ByteBuffer {
  /// Appends CONNECT, protocol level 4. The fields must keep the rules that `Client.open` checks.
  public mutating func appendConnect(
    _ fields: borrowing ConnectFields, cleanSession: Bool, keepAliveSeconds: UInt16
  ) -> Bool {
    let remainingLength = fields.remainingLength
    guard appendHeader(PacketType.connect.firstByte, remainingLength: remainingLength) else { return false }
    append(bigEndian: 4)
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
    guard appendHeader(PacketType.connack.firstByte, remainingLength: 2) else { return false }
    append(sessionPresent ? 1 : 0)
    append(returnCode)
    return true
  }

  /// Appends PUBLISH. `packetIdentifier` is left out with QoS 0 [MQTT-2.3.1-5].
  public mutating func appendPublish(
    topic: Span<UInt8>, payload: Span<UInt8>, qos: QoS, isRetained: Bool, isDuplicate: Bool, packetIdentifier: UInt16
  ) -> Bool {
    let size = PublishSize(topicCount: topic.count, payloadCount: payload.count, qos: qos)
    var firstByte = PacketType.publish.firstByte | qos.rawValue << 1
    if isRetained { firstByte |= 0b0001 }
    if isDuplicate { firstByte |= PublishFlags.duplicate }
    guard topic.count <= PacketLimits.fieldBytesMax,
      appendHeader(firstByte, remainingLength: size.remainingLength)
    else { return false }
    append(field: topic)
    if qos != .atMostOnce { append(bigEndian: packetIdentifier) }
    append(payload)
    return true
  }

  /// Appends PUBACK, PUBREC, PUBREL, PUBCOMP or UNSUBACK, which consist of their packet identifier.
  public mutating func appendAnswer(_ type: PacketType, packetIdentifier: UInt16) -> Bool {
    guard appendHeader(type.firstByte, remainingLength: 2) else { return false }
    append(bigEndian: packetIdentifier)
    return true
  }

  /// Appends SUBSCRIBE with one filter.
  public mutating func appendSubscribe(packetIdentifier: UInt16, filter: Span<UInt8>, qos: QoS) -> Bool {
    guard filter.count <= PacketLimits.fieldBytesMax,
      appendHeader(PacketType.subscribe.firstByte, remainingLength: 2 + 2 + filter.count + 1)
    else { return false }
    append(bigEndian: packetIdentifier)
    append(field: filter)
    append(qos.rawValue)
    return true
  }

  /// Appends SUBACK; `returnCodes` has one byte for each filter: the granted QoS, or 0x80 [MQTT-3.9.3-2].
  public mutating func appendSuback(packetIdentifier: UInt16, returnCodes: Span<UInt8>) -> Bool {
    guard appendHeader(PacketType.suback.firstByte, remainingLength: 2 + returnCodes.count) else { return false }
    append(bigEndian: packetIdentifier)
    append(returnCodes)
    return true
  }

  /// Appends UNSUBSCRIBE with one filter.
  public mutating func appendUnsubscribe(packetIdentifier: UInt16, filter: Span<UInt8>) -> Bool {
    guard filter.count <= PacketLimits.fieldBytesMax,
      appendHeader(PacketType.unsubscribe.firstByte, remainingLength: 2 + 2 + filter.count)
    else { return false }
    append(bigEndian: packetIdentifier)
    append(field: filter)
    return true
  }

  /// Appends PINGREQ, PINGRESP or DISCONNECT, which consist of their fixed header.
  public mutating func appendBare(_ type: PacketType) -> Bool {
    appendHeader(type.firstByte, remainingLength: 0)
  }

  /// Appends a fixed header, if it and all that follows fit.
  private mutating func appendHeader(_ firstByte: UInt8, remainingLength: Int) -> Bool {
    guard remainingLength <= PacketLimits.remainingLengthMax,
      remainingLength + 1 + remainingLengthCount(remainingLength) <= freeCount
    else { return false }
    append(firstByte)
    var rest = remainingLength
    // At most four turns.
    while rest >= 0x80 {
      append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    append(UInt8(truncatingIfNeeded: rest))
    return true
  }

  /// Appends bytes with their count in front; the caller has checked that there are at most 65,535.
  private mutating func append(field: Span<UInt8>) {
    append(bigEndian: UInt16(truncatingIfNeeded: field.count))
    append(field)
  }
}

/// The bits of PUBLISH's first byte (section 3.3.1).
enum PublishFlags {
  static var duplicate: UInt8 { 0b1000 }
}
