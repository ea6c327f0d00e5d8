// Bytes become packets. Every length is checked before it is used, and every rule that can be checked without knowing
// the session is checked here.

import Bytes

extension Packet {
  /// Decodes `bytes`, which must be one whole packet.
  ///
  /// - Throws: what is wrong with it; `lengthMismatch` also when `bytes` is not exactly one packet.
  public static func decode(_ bytes: Span<UInt8>) throws(PeerFault) -> Packet {
    guard let extent = try PacketExtent(bytes), extent.byteCount == bytes.count else { throw .lengthMismatch }
    var reader = FieldReader(index: extent.headerCount, end: bytes.count)
    switch try packetType(ofFirstByte: bytes[0]) {
    case .connect:
      return .connect(try decodeConnect(bytes, &reader))
    case .subscribe:
      return try decodeSubscribe(bytes, &reader)
    case .unsubscribe:
      return try decodeUnsubscribe(bytes, &reader)
    case .pingreq:
      try reader.expectEnd()
      return .pingreq
    case .disconnect:
      try reader.expectEnd()
      return .disconnect
    case .connack, .publish, .puback, .pubrec, .pubrel, .pubcomp, .suback, .unsuback, .pingresp:
      return try decodeFromServer(bytes, headerCount: extent.headerCount)
    }
  }

  /// Decodes one whole packet that a server may send, whose fixed header has been read already. Apart from `decode`, so
  /// that a client's program does not hold the decoders of what only servers receive.
  ///
  /// - Throws: `packetNotForClient` for the other types.
  static func decodeFromServer(_ bytes: Span<UInt8>, headerCount: Int) throws(PeerFault) -> Packet {
    var reader = FieldReader(index: headerCount, end: bytes.count)
    switch try packetType(ofFirstByte: bytes[0]) {
    case .connack:
      return try decodeConnack(bytes, &reader)
    case .publish:
      return .publish(try PublishHeader(bytes, &reader).publish(payload: reader.index..<bytes.count))
    case .puback:
      return .puback(packetIdentifier: try reader.onlyPacketIdentifier(bytes))
    case .pubrec:
      return .pubrec(packetIdentifier: try reader.onlyPacketIdentifier(bytes))
    case .pubrel:
      return .pubrel(packetIdentifier: try reader.onlyPacketIdentifier(bytes))
    case .pubcomp:
      return .pubcomp(packetIdentifier: try reader.onlyPacketIdentifier(bytes))
    case .suback:
      return try decodeSuback(bytes, &reader)
    case .unsuback:
      return .unsuback(packetIdentifier: try reader.onlyPacketIdentifier(bytes))
    case .pingresp:
      try reader.expectEnd()
      return .pingresp
    case .connect, .subscribe, .unsubscribe, .pingreq, .disconnect:
      throw .packetNotForClient
    }
  }

  private static func decodeConnect(_ bytes: Span<UInt8>, _ reader: inout FieldReader) throws(PeerFault) -> Connect {
    guard bytes.extracting(try reader.field(bytes)).equals("MQTT") else { throw .protocolNameWrong }
    guard try reader.byte(bytes) == 4 else { throw .protocolLevelUnsupported }
    let flags = try reader.byte(bytes)
    let hasWill = flags & ConnectFlags.will != 0
    let willQoS = flags >> 3 & 0b11
    if flags & ConnectFlags.reserved != 0 { throw .connectFlagReserved }
    if !hasWill, willQoS != 0 || flags & ConnectFlags.willRetain != 0 { throw .willFlagsWithoutWill }
    if flags & ConnectFlags.userName == 0, flags & ConnectFlags.password != 0 { throw .passwordWithoutUserName }
    let keepAliveSeconds = try reader.integer(bytes)
    var connect = Connect(
      clientID: try reader.text(bytes), cleanSession: flags & ConnectFlags.cleanSession != 0,
      keepAliveSeconds: keepAliveSeconds)
    // [MQTT-3.1.3-1]: the fields come in this order.
    if hasWill {
      guard let qos = QoS(rawValue: willQoS) else { throw .willQoSReserved }
      let topic = try reader.text(bytes)
      if let fault = topicNameFault(bytes.extracting(topic)) { throw fault }
      connect.will = Connect.Will(
        topic: topic, payload: try reader.field(bytes), qos: qos, isRetained: flags & ConnectFlags.willRetain != 0)
    }
    if flags & ConnectFlags.userName != 0 { connect.userName = try reader.text(bytes) }
    if flags & ConnectFlags.password != 0 { connect.password = try reader.field(bytes) }
    try reader.expectEnd()
    return connect
  }

  private static func decodeConnack(_ bytes: Span<UInt8>, _ reader: inout FieldReader) throws(PeerFault) -> Packet {
    let flags = try reader.byte(bytes)
    let returnCode = try reader.byte(bytes)
    try reader.expectEnd()
    if flags & ~1 != 0 { throw .connackFlagReserved }
    if flags != 0, returnCode != 0 { throw .sessionPresentWithRefusal }
    return .connack(sessionPresent: flags != 0, returnCode: returnCode)
  }

  private static func decodeSubscribe(_ bytes: Span<UInt8>, _ reader: inout FieldReader) throws(PeerFault) -> Packet {
    let packetIdentifier = try reader.packetIdentifier(bytes)
    let start = reader.index
    if start == bytes.count { throw .subscribeEmpty }
    // Each turn takes at least four bytes.
    while reader.index < bytes.count {
      try reader.filter(bytes)
      if try reader.byte(bytes) > 2 { throw .subscribeQoSReserved }
    }
    return .subscribe(packetIdentifier: packetIdentifier, filters: start..<bytes.count)
  }

  private static func decodeSuback(_ bytes: Span<UInt8>, _ reader: inout FieldReader) throws(PeerFault) -> Packet {
    let packetIdentifier = try reader.packetIdentifier(bytes)
    if reader.index == bytes.count { throw .subackCodeCount }
    for index in reader.index..<bytes.count where bytes[index] > 2 && bytes[index] != 0x80 {
      throw .subackCodeReserved
    }
    return .suback(packetIdentifier: packetIdentifier, returnCodes: reader.index..<bytes.count)
  }

  private static func decodeUnsubscribe(
    _ bytes: Span<UInt8>, _ reader: inout FieldReader
  ) throws(PeerFault) -> Packet {
    let packetIdentifier = try reader.packetIdentifier(bytes)
    let start = reader.index
    if start == bytes.count { throw .unsubscribeEmpty }
    // Each turn takes at least three bytes.
    while reader.index < bytes.count { try reader.filter(bytes) }
    return .unsubscribe(packetIdentifier: packetIdentifier, filters: start..<bytes.count)
  }

  /// Takes the next filter and QoS off the front of `filters`, the ones of a decoded SUBSCRIBE; nil at the end.
  public static func nextSubscription(
    in bytes: Span<UInt8>, _ filters: inout Range<Int>
  ) -> (filter: Range<Int>, qos: QoS)? {
    guard let filter = nextFilter(in: bytes, &filters), !filters.isEmpty,
      let qos = QoS(rawValue: bytes[filters.lowerBound])
    else { return nil }
    filters = (filters.lowerBound + 1)..<filters.upperBound
    return (filter, qos)
  }

  /// Takes the next filter off the front of `filters`, the ones of a decoded UNSUBSCRIBE; nil at the end.
  public static func nextFilter(in bytes: Span<UInt8>, _ filters: inout Range<Int>) -> Range<Int>? {
    var reader = FieldReader(index: filters.lowerBound, end: filters.upperBound)
    guard let filter = try? reader.field(bytes) else { return nil }
    filters = reader.index..<filters.upperBound
    return filter
  }
}

/// The bits of CONNECT's flags (section 3.1.2.3).
enum ConnectFlags {
  static var reserved: UInt8 { 1 << 0 }
  static var cleanSession: UInt8 { 1 << 1 }
  static var will: UInt8 { 1 << 2 }
  static var willRetain: UInt8 { 1 << 5 }
  static var password: UInt8 { 1 << 6 }
  static var userName: UInt8 { 1 << 7 }
}

/// A PUBLISH packet up to its payload, which need not have arrived.
struct PublishHeader {
  let firstByte: UInt8
  let topic: Range<Int>
  let packetIdentifier: UInt16

  var qos: QoS { QoS(rawValue: firstByte >> 1 & 0b11) ?? .atMostOnce }

  init(firstByte: UInt8, topic: Range<Int>, packetIdentifier: UInt16) {
    self.firstByte = firstByte
    self.topic = topic
    self.packetIdentifier = packetIdentifier
  }

  /// Reads the variable header; the first byte must have been checked.
  init(_ bytes: Span<UInt8>, _ reader: inout FieldReader) throws(PeerFault) {
    firstByte = bytes[0]
    topic = try reader.field(bytes)
    if let fault = topicNameFault(bytes.extracting(topic)) { throw fault }
    // [MQTT-2.3.1-5]: no packet identifier with QoS 0.
    packetIdentifier = firstByte & 0b0110 == 0 ? 0 : try reader.packetIdentifier(bytes)
  }

  func publish(payload: Range<Int>) -> Publish {
    Publish(
      topic: topic, payload: payload, qos: qos, isDuplicate: firstByte & 0b1000 != 0,
      isRetained: firstByte & 0b0001 != 0, packetIdentifier: packetIdentifier)
  }
}

/// Reads the fields of one packet in order; `end` is where the packet ends.
struct FieldReader: BitwiseCopyable {
  private(set) var index: Int
  private let end: Int

  init(index: Int, end: Int) {
    self.index = index
    self.end = end
  }

  mutating func byte(_ bytes: Span<UInt8>) throws(PeerFault) -> UInt8 {
    guard end - index >= 1 else { throw .lengthMismatch }
    index += 1
    return bytes[index - 1]
  }

  mutating func integer(_ bytes: Span<UInt8>) throws(PeerFault) -> UInt16 {
    guard end - index >= 2 else { throw .lengthMismatch }
    index += 2
    return UInt16(bytes[index - 2]) << 8 | UInt16(bytes[index - 1])
  }

  @inline(never)  // small code: this is called from several places
  mutating func packetIdentifier(_ bytes: Span<UInt8>) throws(PeerFault) -> UInt16 {
    let value = try integer(bytes)
    if value == 0 { throw .packetIdentifierZero }
    return value
  }

  /// A packet identifier behind which the packet ends.
  mutating func onlyPacketIdentifier(_ bytes: Span<UInt8>) throws(PeerFault) -> UInt16 {
    let value = try packetIdentifier(bytes)
    try expectEnd()
    return value
  }

  /// Bytes with their count in front.
  mutating func field(_ bytes: Span<UInt8>) throws(PeerFault) -> Range<Int> {
    let count = Int(try integer(bytes))
    guard end - index >= count else { throw .lengthMismatch }
    index += count
    return (index - count)..<index
  }

  mutating func text(_ bytes: Span<UInt8>) throws(PeerFault) -> Range<Int> {
    let range = try field(bytes)
    if let fault = textFault(bytes.extracting(range)) { throw fault }
    return range
  }

  mutating func filter(_ bytes: Span<UInt8>) throws(PeerFault) {
    let range = try field(bytes)
    if let fault = topicFilterFault(bytes.extracting(range)) { throw fault }
  }

  func expectEnd() throws(PeerFault) {
    if index != end { throw .lengthMismatch }
  }
}
