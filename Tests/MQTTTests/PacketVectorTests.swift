import Bytes
import TestSupport
import Testing

@testable import MQTT

/// One packet as bytes and as a value, and how it is written.
private struct Vector {
  let name: String
  let bytes: [UInt8]
  let packet: Packet
  let encode: (inout ByteBuffer) -> Bool
}

private func vectors() -> [Vector] {
  connectVectors() + publishVectors() + answerVectors() + subscriptionVectors()
    + [
      Vector(name: "CONNACK accepted, session present", bytes: [0x20, 2, 1, 0]) {
        $0.appendConnack(sessionPresent: true, returnCode: 0)
      } packet: {
        .connack(sessionPresent: true, returnCode: 0)
      },
      Vector(name: "CONNACK not authorised", bytes: [0x20, 2, 0, 5]) {
        $0.appendConnack(sessionPresent: false, returnCode: 5)
      } packet: {
        .connack(sessionPresent: false, returnCode: 5)
      },
      Vector(name: "PINGREQ", bytes: [0xC0, 0]) {
        $0.appendBare(.pingreq)
      } packet: {
        .pingreq
      },
      Vector(name: "PINGRESP", bytes: [0xD0, 0]) {
        $0.appendBare(.pingresp)
      } packet: {
        .pingresp
      },
      Vector(name: "DISCONNECT", bytes: [0xE0, 0]) {
        $0.appendBare(.disconnect)
      } packet: {
        .disconnect
      },
    ]
}

extension Vector {
  init(
    name: String, bytes: [UInt8], encode: @escaping (inout ByteBuffer) -> Bool, packet: () -> Packet
  ) {
    self.init(name: name, bytes: bytes, packet: packet(), encode: encode)
  }
}

private func connectVectors() -> [Vector] {
  let device: [UInt8] =
    [0x10, 59, 0, 4] + "MQTT".utf8Array + [4, 0xC0, 0, 60]
    + [0, 14] + "d:ab12cd:edge1".utf8Array + [0, 14] + "use-token-auth".utf8Array + [0, 15]
    + "to#ken=0123456\u{1}".utf8Array
  // Section 3.1.3.5's example has client, will, user and password; this is all of it.
  let everything: [UInt8] =
    [0x10, 35, 0, 4] + "MQTT".utf8Array + [4, 0b1111_0110, 0x01, 0x2C]
    + [0, 3] + "c-1".utf8Array + [0, 3] + "w/t".utf8Array + [0, 4, 0, 1, 2, 0xFF]
    + [0, 3] + "usr".utf8Array + [0, 2, 0xC3, 0x28]
  let bare: [UInt8] = [0x10, 12, 0, 4] + "MQTT".utf8Array + [4, 2, 0, 0, 0, 0]
  return [
    Vector(name: "CONNECT of a device: durable, with user and password", bytes: device) {
      let id = "d:ab12cd:edge1".utf8Array
      let user = "use-token-auth".utf8Array
      let password = "to#ken=0123456\u{1}".utf8Array
      return $0.appendConnect(
        ConnectFields(clientID: id.span, userName: user.span, password: password.span),
        cleanSession: false, keepAliveSeconds: 60)
    } packet: {
      .connect(
        Connect(
          clientID: 14..<28, cleanSession: false, keepAliveSeconds: 60, will: nil, userName: 30..<44,
          password: 46..<61))
    },
    Vector(name: "CONNECT with everything; password and will payload are any bytes", bytes: everything) {
      let id = "c-1".utf8Array
      let user = "usr".utf8Array
      let password: [UInt8] = [0xC3, 0x28]
      let topic = "w/t".utf8Array
      let payload: [UInt8] = [0, 1, 2, 0xFF]
      return $0.appendConnect(
        ConnectFields(
          clientID: id.span, userName: user.span, password: password.span,
          will: WillFields(topic: topic.span, payload: payload.span, qos: .exactlyOnce, isRetained: true)),
        cleanSession: true, keepAliveSeconds: 300)
    } packet: {
      .connect(
        Connect(
          clientID: 14..<17, cleanSession: true, keepAliveSeconds: 300,
          will: Connect.Will(topic: 19..<22, payload: 24..<28, qos: .exactlyOnce, isRetained: true),
          userName: 30..<33, password: 35..<37))
    },
    Vector(name: "CONNECT with an empty client identifier", bytes: bare) {
      $0.appendConnect(ConnectFields(clientID: [UInt8]().span), cleanSession: true, keepAliveSeconds: 0)
    } packet: {
      .connect(
        Connect(clientID: 14..<14, cleanSession: true, keepAliveSeconds: 0, will: nil, userName: nil, password: nil))
    },
  ]
}

private func publishVectors() -> [Vector] {
  func vector(
    _ name: String, _ bytes: [UInt8], topic: Range<Int>, payload: Range<Int>, _ qos: QoS, dup: Bool, retain: Bool,
    _ identifier: UInt16
  ) -> Vector {
    Vector(name: name, bytes: bytes) {
      $0.appendPublish(
        topic: Array(bytes[topic]).span, payload: Array(bytes[payload]).span, qos: qos, isRetained: retain,
        isDuplicate: dup, packetIdentifier: identifier)
    } packet: {
      .publish(
        Publish(
          topic: topic, payload: payload, qos: qos, isDuplicate: dup, isRetained: retain,
          packetIdentifier: identifier))
    }
  }
  func long(_ count: Int, _ length: [UInt8]) -> Vector {
    let header = 1 + length.count
    return vector(
      "PUBLISH with a remaining length of \(length.count) bytes",
      [0x30] + length + [0, 1, 0x61] + [UInt8](repeating: 7, count: count), topic: header + 2..<header + 3,
      payload: header + 3..<header + 3 + count, .atMostOnce, dup: false, retain: false, 0)
  }
  return [
    // Section 3.3.2's example: topic a/b, packet identifier 10.
    vector(
      "PUBLISH of section 3.3.2", [0x32, 7, 0, 3, 0x61, 0x2F, 0x62, 0, 10], topic: 4..<7, payload: 9..<9,
      .atLeastOnce, dup: false, retain: false, 10),
    vector(
      "PUBLISH QoS 0 retained", [0x31, 6, 0, 3, 0x61, 0x2F, 0x62, 0xFF], topic: 4..<7, payload: 7..<8, .atMostOnce,
      dup: false, retain: true, 0),
    vector(
      "PUBLISH QoS 2 again", [0x3C, 7, 0, 1, 0x61, 0xFF, 0xFF, 1, 2], topic: 4..<5, payload: 7..<9, .exactlyOnce,
      dup: true, retain: false, 65535),
    // Table 2.4: the borders of the remaining length.
    long(124, [0x7F]), long(125, [0x80, 0x01]), long(16_380, [0xFF, 0x7F]), long(16_381, [0x80, 0x80, 0x01]),
    long(2_097_148, [0xFF, 0xFF, 0x7F]), long(2_097_149, [0x80, 0x80, 0x80, 0x01]),
  ]
}

private func answerVectors() -> [Vector] {
  func vector(_ type: PacketType, _ firstByte: UInt8, _ packet: Packet) -> Vector {
    Vector(name: "\(type)", bytes: [firstByte, 2, 0x12, 0x34], packet: packet) {
      $0.appendAnswer(type, packetIdentifier: 0x1234)
    }
  }
  return [
    vector(.puback, 0x40, .puback(packetIdentifier: 0x1234)),
    vector(.pubrec, 0x50, .pubrec(packetIdentifier: 0x1234)),
    vector(.pubrel, 0x62, .pubrel(packetIdentifier: 0x1234)),
    vector(.pubcomp, 0x70, .pubcomp(packetIdentifier: 0x1234)),
    vector(.unsuback, 0xB0, .unsuback(packetIdentifier: 0x1234)),
  ]
}

private func subscriptionVectors() -> [Vector] {
  [
    Vector(name: "SUBSCRIBE", bytes: [0x82, 8, 0, 10, 0, 3, 0x61, 0x2F, 0x2B, 2]) {
      $0.appendSubscribe(packetIdentifier: 10, filter: "a/+".utf8Array.span, qos: .exactlyOnce)
    } packet: {
      .subscribe(packetIdentifier: 10, filters: 4..<10)
    },
    Vector(name: "SUBACK of three filters", bytes: [0x90, 5, 0, 10, 2, 0x80, 0]) {
      $0.appendSuback(packetIdentifier: 10, returnCodes: ([2, 0x80, 0] as [UInt8]).span)
    } packet: {
      .suback(packetIdentifier: 10, returnCodes: 4..<7)
    },
    Vector(name: "UNSUBSCRIBE", bytes: [0xA2, 5, 0, 10, 0, 1, 0x23]) {
      $0.appendUnsubscribe(packetIdentifier: 10, filter: "#".utf8Array.span)
    } packet: {
      .unsubscribe(packetIdentifier: 10, filters: 4..<7)
    },
  ]
}

@Suite struct PacketVectorTests {
  @Test func everyPacketIsDecodedAsTheStandardDrawsIt() throws {
    for vector in vectors() { #expect(try decode(vector.bytes) == vector.packet, "\(vector.name)") }
  }

  @Test func everyPacketIsEncodedAsTheStandardDrawsIt() {
    for vector in vectors() {
      var buffer = makeBuffer(capacity: vector.bytes.count)
      let isWritten = vector.encode(&buffer)
      let bytes = Array(buffer.span)
      #expect(isWritten && bytes == vector.bytes, "\(vector.name)")
    }
  }

  /// A packet is written whole or not at all.
  @Test func nothingIsWrittenWithoutRoom() {
    for vector in vectors() where vector.bytes.count < 100 {
      for room in 0..<vector.bytes.count {
        var buffer = makeBuffer(capacity: room)
        let isWritten = vector.encode(&buffer)
        let isUntouched = buffer.isEmpty && !buffer.hasOverflowed
        #expect(!isWritten && isUntouched, "\(vector.name) in \(room) bytes")
      }
    }
  }

  /// Behind consumed bytes, where the room is first made by moving.
  @Test func packetsAreWrittenBehindConsumedBytes() {
    for vector in vectors() where vector.bytes.count < 100 {
      var buffer = makeBuffer([1, 2, 3, 4, 5, 6, 7], capacity: vector.bytes.count + 1)
      buffer.append([UInt8](repeating: 9, count: buffer.freeCount).span)
      buffer.removeFirst(buffer.count - 1)
      let isWritten = vector.encode(&buffer)
      let bytes = Array(Array(buffer.span).dropFirst())
      #expect(isWritten && bytes == vector.bytes, "\(vector.name)")
    }
  }

  @Test func allFourteenTypesHaveAVector() {
    let types = Set(vectors().map { $0.bytes[0] >> 4 })
    #expect(types == Set(1...14))
  }

  @Test func fieldsBeyond65535BytesAreNotWritten() {
    let long = [UInt8](repeating: 0x61, count: 65_536)
    var buffer = makeBuffer(capacity: 1 << 20)
    let isPublishWritten = buffer.appendPublish(
      topic: long.span, payload: [UInt8]().span, qos: .atMostOnce, isRetained: false, isDuplicate: false,
      packetIdentifier: 0)
    let isSubscribeWritten = buffer.appendSubscribe(packetIdentifier: 1, filter: long.span, qos: .atMostOnce)
    let isUnsubscribeWritten = buffer.appendUnsubscribe(packetIdentifier: 1, filter: long.span)
    let count = buffer.count
    #expect(!isPublishWritten && !isSubscribeWritten && !isUnsubscribeWritten && count == 0)
  }

  @Test func filtersAreWalkedOneByOne() throws {
    let bytes = packet(0x82, [0, 1] + field("a/#") + [1] + field("+") + [0] + field("b") + [2])
    guard case .subscribe(1, var filters) = try decode(bytes) else { throw PeerFault.lengthMismatch }
    var found: [String] = []
    while let (filter, qos) = Packet.nextSubscription(in: bytes.span, &filters) {
      found.append("\(Array(bytes[filter]).text) \(qos.rawValue)")
    }
    #expect(found == ["a/# 1", "+ 0", "b 2"])
    let other = packet(0xA2, [0, 2] + field("x") + field("y/+"))
    guard case .unsubscribe(2, var rest) = try decode(other) else { throw PeerFault.lengthMismatch }
    found = []
    while let filter = Packet.nextFilter(in: other.span, &rest) { found.append(Array(other[filter]).text) }
    #expect(found == ["x", "y/+"])
  }

  /// All prefixes of all packets: the extent is known as soon as it can be, and no part is taken for a whole.
  @Test func everyTruncationIsIncompleteOrRefused() throws {
    for vector in vectors() where vector.bytes.count < 20_000 {
      for count in 0..<min(vector.bytes.count, 600) {
        let part = Array(vector.bytes.prefix(count))
        let extent = try extent(part)
        if let extent { #expect(extent.byteCount == vector.bytes.count) }
        #expect(throws: PeerFault.lengthMismatch) { try decode(part) }
      }
    }
  }

  /// All values of all bytes: never a trap, and what decodes keeps within the packet.
  @Test func everySingleByteCorruptionIsDecodedOrRefused() {
    for vector in vectors() where vector.bytes.count < 100 {
      for index in vector.bytes.indices {
        for value in UInt8.min...UInt8.max {
          var bytes = vector.bytes
          bytes[index] = value
          guard let packet = try? decode(bytes) else { continue }
          for range in packet.ranges {
            #expect(range.lowerBound >= 0 && range.upperBound <= bytes.count, "\(vector.name) \(index) \(value)")
          }
        }
      }
    }
  }
}

extension Packet {
  var ranges: [Range<Int>] {
    switch self {
    case .connect(let connect):
      [connect.clientID, connect.will?.topic, connect.will?.payload, connect.userName, connect.password].compactMap(
        \.self)
    case .publish(let publish): [publish.topic, publish.payload]
    case .subscribe(_, let filters), .unsubscribe(_, let filters): [filters]
    case .suback(_, let returnCodes): [returnCodes]
    default: []
    }
  }
}
