import Bytes
import TestSupport
import Testing

@testable import MQTT

private let connectStart: [UInt8] = [0, 4] + "MQTT".utf8Array + [4]

/// Malformed bytes, each with the fault that they are.
private let malformed: [(String, [UInt8], PeerFault)] = [
  ("type 0", [0x00, 0], .packetTypeReserved),
  ("type 15", [0xF0, 0], .packetTypeReserved),
  ("CONNECT flags", [0x11, 0], .flagsInvalid),
  ("CONNACK flags", [0x21, 2, 0, 0], .flagsInvalid),
  ("PUBACK flags", [0x42, 2, 0, 1], .flagsInvalid),
  ("PUBREC flags", [0x52, 2, 0, 1], .flagsInvalid),
  ("PUBREL flags [MQTT-3.6.1-1]", [0x60, 2, 0, 1], .flagsInvalid),
  ("PUBCOMP flags", [0x71, 2, 0, 1], .flagsInvalid),
  ("SUBSCRIBE flags [MQTT-3.8.1-1]", [0x80, 6, 0, 1, 0, 1, 0x61, 0], .flagsInvalid),
  ("SUBACK flags", [0x98, 3, 0, 1, 0], .flagsInvalid),
  ("UNSUBSCRIBE flags [MQTT-3.10.1-1]", [0xA0, 5, 0, 1, 0, 1, 0x61], .flagsInvalid),
  ("UNSUBACK flags", [0xB4, 2, 0, 1], .flagsInvalid),
  ("PINGREQ flags", [0xC8, 0], .flagsInvalid),
  ("PINGRESP flags", [0xD1, 0], .flagsInvalid),
  ("DISCONNECT flags [MQTT-3.14.1-1]", [0xE2, 0], .flagsInvalid),
  ("remaining length of five bytes", [0x30, 0x80, 0x80, 0x80, 0x80, 1], .remainingLengthTooLong),
  ("PUBLISH QoS 3", publishQoS3, .publishQoSReserved),
  ("PUBLISH DUP with QoS 0", [0x38, 3, 0, 1, 0x61], .duplicateWithoutQoS),
  ("PUBLISH without topic", [0x30, 0], .lengthMismatch),
  ("PUBLISH with half a topic length", [0x30, 1, 0], .lengthMismatch),
  ("PUBLISH with a topic beyond the end", [0x30, 3, 0, 2, 0x61], .lengthMismatch),
  ("PUBLISH with an empty topic", [0x30, 2, 0, 0], .topicEmpty),
  ("PUBLISH with half an identifier", [0x32, 4, 0, 1, 0x61, 1], .lengthMismatch),
  ("PUBLISH with identifier 0", [0x32, 5, 0, 1, 0x61, 0, 0], .packetIdentifierZero),
  ("PUBLISH to a # topic", [0x30, 3, 0, 1, 0x23], .topicHasWildcard),
  ("PUBLISH to a + topic", packet(0x30, field("sport/+/player1")), .topicHasWildcard),
  ("PUBLISH topic with U+0000", packet(0x30, field("some/\0topic/name")), .textHasNull),
  ("PUBLISH topic with a surrogate", packet(0x30, field([0x61, 0xED, 0xA0, 0x80])), .textNotUTF8),
  ("PUBLISH topic with an overlong slash", packet(0x30, field([0xC0, 0xAF, 0x61])), .textNotUTF8),
  ("PUBLISH topic above U+10FFFF", packet(0x30, field([0xF4, 0x90, 0x80, 0x80])), .textNotUTF8),
  ("PUBLISH topic cut in a character", packet(0x30, field([0x61, 0xE2, 0x82])), .textNotUTF8),
  ("PUBACK identifier 0", [0x40, 2, 0, 0], .packetIdentifierZero),
  ("PUBREC identifier 0", [0x50, 2, 0, 0], .packetIdentifierZero),
  ("PUBREL identifier 0", [0x62, 2, 0, 0], .packetIdentifierZero),
  ("PUBCOMP identifier 0", [0x70, 2, 0, 0], .packetIdentifierZero),
  ("PUBACK too short", [0x40, 1, 0], .lengthMismatch),
  ("PUBACK too long", [0x40, 3, 0, 1, 0], .lengthMismatch),
  ("PINGREQ with a body", [0xC0, 1, 0], .lengthMismatch),
  ("PINGRESP with a body", [0xD0, 1, 0], .lengthMismatch),
  ("DISCONNECT with a body", [0xE0, 1, 0], .lengthMismatch),
  ("CONNACK too short", [0x20, 1, 0], .lengthMismatch),
  ("CONNACK too long", [0x20, 3, 0, 0, 0], .lengthMismatch),
  ("CONNACK reserved flag", [0x20, 2, 2, 0], .connackFlagReserved),
  ("CONNACK session present with a refusal", [0x20, 2, 1, 5], .sessionPresentWithRefusal),
  ("SUBACK without codes", [0x90, 2, 0, 1], .subackCodeCount),
  ("SUBACK code 3", [0x90, 3, 0, 1, 3], .subackCodeReserved),
  ("SUBACK code 0x81", [0x90, 4, 0, 1, 0, 0x81], .subackCodeReserved),
  ("SUBSCRIBE without filters", [0x82, 2, 0, 1], .subscribeEmpty),
  ("SUBSCRIBE identifier 0", [0x82, 6, 0, 0, 0, 1, 0x61, 0], .packetIdentifierZero),
  ("SUBSCRIBE without QoS", [0x82, 5, 0, 1, 0, 1, 0x61], .lengthMismatch),
  ("SUBSCRIBE QoS 3", [0x82, 6, 0, 1, 0, 1, 0x61, 3], .subscribeQoSReserved),
  ("SUBSCRIBE reserved bits", [0x82, 6, 0, 1, 0, 1, 0x61, 0x81], .subscribeQoSReserved),
  ("SUBSCRIBE empty filter", [0x82, 5, 0, 1, 0, 0, 0], .topicEmpty),
  ("SUBSCRIBE a#", packet(0x82, [0, 1] + field("a#") + [0]), .filterMultiLevelWildcard),
  ("SUBSCRIBE +a", packet(0x82, [0, 1] + field("+a") + [0]), .filterSingleLevelWildcard),
  ("UNSUBSCRIBE without filters", [0xA2, 2, 0, 1], .unsubscribeEmpty),
  ("UNSUBSCRIBE identifier 0", [0xA2, 5, 0, 0, 0, 1, 0x61], .packetIdentifierZero),
  ("CONNECT of MQTT 3.1", packet(0x10, field("MQIsdp") + [3, 2, 0, 0] + field("c")), .protocolNameWrong),
  ("CONNECT of level 5", packet(0x10, field("MQTT") + [5, 2, 0, 0] + field("c")), .protocolLevelUnsupported),
  ("CONNECT reserved flag", packet(0x10, connectStart + [3, 0, 0] + field("c")), .connectFlagReserved),
  ("CONNECT will QoS without will", packet(0x10, connectStart + [0x0A, 0, 0] + field("c")), .willFlagsWithoutWill),
  ("CONNECT will retain without will", packet(0x10, connectStart + [0x22, 0, 0] + field("c")), .willFlagsWithoutWill),
  (
    "CONNECT will QoS 3", packet(0x10, connectStart + [0x1E, 0, 0] + field("c") + field("t") + field("p")),
    .willQoSReserved
  ),
  (
    "CONNECT will to a wildcard", packet(0x10, connectStart + [0x06, 0, 0] + field("c") + field("#") + field("p")),
    .topicHasWildcard
  ),
  ("CONNECT will missing", packet(0x10, connectStart + [0x06, 0, 0] + field("c")), .lengthMismatch),
  (
    "CONNECT password without user", packet(0x10, connectStart + [0x42, 0, 0] + field("c") + field("p")),
    .passwordWithoutUserName
  ),
  ("CONNECT user missing", packet(0x10, connectStart + [0x82, 0, 0] + field("c")), .lengthMismatch),
  ("CONNECT without client identifier", packet(0x10, connectStart + [2, 0, 0]), .lengthMismatch),
  ("CONNECT with bytes behind", packet(0x10, connectStart + [2, 0, 0] + field("c") + [0]), .lengthMismatch),
  (
    "CONNECT client identifier not UTF-8", packet(0x10, connectStart + [2, 0, 0] + field([0xFF])),
    .textNotUTF8
  ),
  (
    "CONNECT user with U+0000", packet(0x10, connectStart + [0x82, 0, 0] + field("c") + field("\0")),
    .textHasNull
  ),
]

private let publishQoS3: [UInt8] = [0x36, 5, 0, 1, 0x61, 0, 1]

@Suite struct PacketFaultTests {
  @Test func everyMalformedPacketIsRefusedForItsReason() {
    for (name, bytes, fault) in malformed {
      do {
        let packet = try decode(bytes)
        Issue.record("\(name) was decoded as \(packet)")
      } catch {
        #expect(error == fault, "\(name)")
      }
    }
  }

  /// The faults that are in the first byte are seen before the rest has come.
  @Test func aWrongFirstByteIsRefusedAtOnce() {
    for (name, bytes, fault) in malformed {
      switch fault {
      case .packetTypeReserved, .flagsInvalid, .publishQoSReserved, .duplicateWithoutQoS:
        #expect(throws: fault, "\(name)") { try extent(Array(bytes.prefix(1))) }
      default: break
      }
    }
  }

  @Test func everyFaultNamesAClauseAndSaysWhat() {
    var raw: UInt8 = 0
    var clauses = 0
    while let fault = PeerFault(rawValue: raw) {
      let isNamed = fault.clause.starts(with: "MQTT-") && fault.what.count >= 5
      #expect(isNamed)
      clauses += 1
      raw += 1
    }
    #expect(clauses > 30)
    // No more words than faults, and each at its place.
    let isEnd = PeerFault.clauses.word(clauses).isEmpty && PeerFault.words.word(clauses).isEmpty
    #expect(isEnd)
    let places: [(PeerFault, StaticString, StaticString)] = [
      (.packetTypeReserved, "MQTT-2.2.1", "reserved packet type"),
      (.packetTooLarge, "MQTT-2.2.3", "a packet larger than the input buffer"),
      (.connackFlagReserved, "MQTT-3.2.2", "reserved bit in the connect acknowledge flags"),
      (.publishQoSReserved, "MQTT-3.3.1-4", "QoS 3"),
      (.answerOfWrongKind, "MQTT-3.3.4-1", "acknowledgement of another quality of service"),
      (.serverSpeaksNoMQTT, "MQTT-3.2.0-1", "the server speaks no MQTT at this port"),
      (.publishTimeout, "MQTT-3.3.4-1", "no PUBACK, PUBREC or PUBCOMP in time"),
      (.sendTimeout, "MQTT-4.2", "the peer takes no bytes"),
    ]
    for (fault, clause, what) in places {
      let isThere = fault.clause.equals(clause) && fault.what.equals(what)
      #expect(isThere, "\(fault)")
    }
  }

  @Test func timeoutsAreAKindOfTheirOwn() {
    #expect(PeerFault.pingTimeout.kind == .timeout)
    #expect(PeerFault.topicEmpty.kind == .malformed)
    #expect(PeerFault.connackTwice.kind == .violation)
    #expect(PeerFault.packetTooLarge.kind == .tooLarge)
  }

  /// Section 2.2.3 does not forbid more bytes than needed, so they are accepted.
  @Test func remainingLengthMayBeLongerThanNeeded() throws {
    #expect(try decode([0xD0, 0x80, 0x00]) == .pingresp)
    #expect(try decode([0x40, 0x82, 0x80, 0x00, 0, 7]) == .puback(packetIdentifier: 7))
  }
}
