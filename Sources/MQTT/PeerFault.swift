// What a peer can do wrong. Every fault ends the connection [MQTT-4.8.0-1]; the clause goes into the log.

import Bytes

/// A violation of MQTT 3.1.1 by the peer, or its silence where the standard wants an answer.
///
/// Where the standard has a rule without a number, `clause` is the section.
public enum PeerFault: UInt8, Error, Equatable, Sendable, BitwiseCopyable {
  // Framing.
  case packetTypeReserved, flagsInvalid, remainingLengthTooLong, lengthMismatch, packetTooLarge
  // Fields that several packets have.
  case packetIdentifierZero, textNotUTF8, textHasNull
  case topicEmpty, topicHasWildcard, filterMultiLevelWildcard, filterSingleLevelWildcard
  // CONNECT and CONNACK.
  case protocolNameWrong, protocolLevelUnsupported, connectFlagReserved, willFlagsWithoutWill, willQoSReserved
  case passwordWithoutUserName, connackFlagReserved, sessionPresentWithRefusal, sessionPresentAfterClean
  // PUBLISH, SUBSCRIBE, UNSUBSCRIBE and their answers.
  case publishQoSReserved, duplicateWithoutQoS, subscribeEmpty, subscribeQoSReserved, unsubscribeEmpty
  case subackCodeReserved, subackCodeCount, subackUnknown, answerOfWrongKind
  // The order of packets.
  case packetBeforeConnack, connackTwice, packetNotForClient, serverSpeaksTLS, serverSpeaksNoMQTT
  // Silence.
  case connackTimeout, pingTimeout, publishTimeout, requestTimeout, sendTimeout

  /// What sort of fault this is.
  public enum Kind: UInt8, Equatable, Sendable, BitwiseCopyable {
    /// The bytes are not a packet.
    case malformed
    /// The packet has no place here.
    case violation
    /// The packet does not fit our memory.
    case tooLarge
    /// Something did not come in time.
    case timeout
  }

  /// What speaks where a byte other than CONNACK's comes first; nil if it could be MQTT.
  static func stranger(ofFirstByte byte: UInt8) -> PeerFault? {
    switch byte {
    // The records of an alert and of a handshake (RFC 8446 5.1).
    case 21, 22: .serverSpeaksTLS
    // HTTP/1.1, SSH-2.0.
    case UInt8(ascii: "H"), UInt8(ascii: "S"): .serverSpeaksNoMQTT
    default: nil
    }
  }

  /// What sort of fault this is.
  public var kind: Kind {
    switch self {
    case .packetTooLarge: .tooLarge
    case .packetBeforeConnack, .connackTwice, .packetNotForClient, .sessionPresentAfterClean, .subackUnknown,
      .answerOfWrongKind:
      .violation
    case .connackTimeout, .pingTimeout, .publishTimeout, .requestTimeout, .sendTimeout: .timeout
    default: .malformed
    }
  }

  /// The statement of the standard that was violated, or its section.
  public var clause: Span<UInt8> {
    @_lifetime(immortal)
    get { PeerFault.clauses.word(Int(rawValue)) }
  }

  /// The fault in words, for a log.
  public var what: Span<UInt8> {
    @_lifetime(immortal)
    get { PeerFault.words.word(Int(rawValue)) }
  }

  // Both in the order of the cases: as switches they would be three times as large.
  static var clauses: WordList {
    WordList(
      """
      MQTT-2.2.1|MQTT-2.2.2-2|MQTT-2.2.3|MQTT-2.2.3|MQTT-2.2.3|MQTT-2.3.1-1|MQTT-1.5.3-1|MQTT-1.5.3-2|\
      MQTT-4.7.3-1|MQTT-3.3.2-2|MQTT-4.7.1-2|MQTT-4.7.1-3|MQTT-3.1.2-1|MQTT-3.1.2-2|MQTT-3.1.2-3|\
      MQTT-3.1.2-11|MQTT-3.1.2-14|MQTT-3.1.2-22|MQTT-3.2.2|MQTT-3.2.2-4|MQTT-3.2.2-1|MQTT-3.3.1-4|\
      MQTT-3.3.1-2|MQTT-3.8.3-3|MQTT-3.8.3-4|MQTT-3.10.3-2|MQTT-3.9.3-2|MQTT-3.8.4-5|MQTT-2.3.1-7|\
      MQTT-3.3.4-1|MQTT-3.2.0-1|MQTT-4.8.0-1|MQTT-4.8.0-1|MQTT-3.2.0-1|MQTT-3.2.0-1|MQTT-3.2.0-1|\
      MQTT-3.12.4-1|MQTT-3.3.4-1|MQTT-3.8.4-1|MQTT-4.2
      """)
  }

  static var words: WordList {
    WordList(
      """
      reserved packet type|wrong flags in the fixed header|remaining length of more than four bytes|\
      the fields do not fit the packet's length|a packet larger than the input buffer|packet identifier 0|\
      text is not well-formed UTF-8|text holds U+0000|empty topic|wildcard in a topic name|\
      # is not the whole last level of a topic filter|+ is not a whole level of a topic filter|\
      the protocol name is not MQTT|the protocol level is not 4|reserved bit in the connect flags|\
      will QoS or will retain without a will|will QoS 3|password without user name|\
      reserved bit in the connect acknowledge flags|session present in a refusal|\
      session present, but a clean session was asked for|QoS 3|DUP with QoS 0|\
      SUBSCRIBE without a topic filter|reserved bits or QoS 3 in SUBSCRIBE|\
      UNSUBSCRIBE without a topic filter|reserved return code in SUBACK|\
      SUBACK without exactly one return code for each filter|\
      SUBACK or UNSUBACK for a packet identifier that waits for none|\
      acknowledgement of another quality of service|another packet before CONNACK|a second CONNACK|\
      a packet that only clients send|the server speaks TLS at this port|\
      the server speaks no MQTT at this port|no CONNACK in time|no PINGRESP in time|\
      no PUBACK, PUBREC or PUBCOMP in time|no SUBACK or UNSUBACK in time|the peer takes no bytes
      """)
  }
}
