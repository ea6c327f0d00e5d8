// What a peer can do wrong. Every fault ends the connection [MQTT-4.8.0-1]; the clause goes into the log.

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
  public var clause: StaticString {
    switch self {
    case .packetTypeReserved: "MQTT-2.2.1"
    case .flagsInvalid: "MQTT-2.2.2-2"
    case .remainingLengthTooLong, .lengthMismatch, .packetTooLarge: "MQTT-2.2.3"
    case .packetIdentifierZero: "MQTT-2.3.1-1"
    case .textNotUTF8: "MQTT-1.5.3-1"
    case .textHasNull: "MQTT-1.5.3-2"
    case .topicEmpty: "MQTT-4.7.3-1"
    case .topicHasWildcard: "MQTT-3.3.2-2"
    case .filterMultiLevelWildcard: "MQTT-4.7.1-2"
    case .filterSingleLevelWildcard: "MQTT-4.7.1-3"
    case .protocolNameWrong: "MQTT-3.1.2-1"
    case .protocolLevelUnsupported: "MQTT-3.1.2-2"
    case .connectFlagReserved: "MQTT-3.1.2-3"
    case .willFlagsWithoutWill: "MQTT-3.1.2-11"
    case .willQoSReserved: "MQTT-3.1.2-14"
    case .passwordWithoutUserName: "MQTT-3.1.2-22"
    case .connackFlagReserved: "MQTT-3.2.2"
    case .sessionPresentWithRefusal: "MQTT-3.2.2-4"
    case .sessionPresentAfterClean: "MQTT-3.2.2-1"
    case .publishQoSReserved: "MQTT-3.3.1-4"
    case .duplicateWithoutQoS: "MQTT-3.3.1-2"
    case .subscribeEmpty: "MQTT-3.8.3-3"
    case .subscribeQoSReserved: "MQTT-3.8.3-4"
    case .unsubscribeEmpty: "MQTT-3.10.3-2"
    case .subackCodeReserved: "MQTT-3.9.3-2"
    case .subackCodeCount: "MQTT-3.8.4-5"
    case .subackUnknown: "MQTT-2.3.1-7"
    case .answerOfWrongKind, .publishTimeout: "MQTT-3.3.4-1"
    case .packetBeforeConnack, .serverSpeaksTLS, .serverSpeaksNoMQTT, .connackTimeout: "MQTT-3.2.0-1"
    case .connackTwice, .packetNotForClient: "MQTT-4.8.0-1"
    case .pingTimeout: "MQTT-3.12.4-1"
    case .requestTimeout: "MQTT-3.8.4-1"
    case .sendTimeout: "MQTT-4.2"
    }
  }

  /// The fault in words, for a log.
  public var what: StaticString {
    switch self {
    case .packetTypeReserved: "reserved packet type"
    case .flagsInvalid: "wrong flags in the fixed header"
    case .remainingLengthTooLong: "remaining length of more than four bytes"
    case .lengthMismatch: "the fields do not fit the packet's length"
    case .packetTooLarge: "a packet larger than the input buffer"
    case .packetIdentifierZero: "packet identifier 0"
    case .textNotUTF8: "text is not well-formed UTF-8"
    case .textHasNull: "text holds U+0000"
    case .topicEmpty: "empty topic"
    case .topicHasWildcard: "wildcard in a topic name"
    case .filterMultiLevelWildcard: "# is not the whole last level of a topic filter"
    case .filterSingleLevelWildcard: "+ is not a whole level of a topic filter"
    case .protocolNameWrong: "the protocol name is not MQTT"
    case .protocolLevelUnsupported: "the protocol level is not 4"
    case .connectFlagReserved: "reserved bit in the connect flags"
    case .willFlagsWithoutWill: "will QoS or will retain without a will"
    case .willQoSReserved: "will QoS 3"
    case .passwordWithoutUserName: "password without user name"
    case .connackFlagReserved: "reserved bit in the connect acknowledge flags"
    case .sessionPresentWithRefusal: "session present in a refusal"
    case .sessionPresentAfterClean: "session present, but a clean session was asked for"
    case .publishQoSReserved: "QoS 3"
    case .duplicateWithoutQoS: "DUP with QoS 0"
    case .subscribeEmpty: "SUBSCRIBE without a topic filter"
    case .subscribeQoSReserved: "reserved bits or QoS 3 in SUBSCRIBE"
    case .unsubscribeEmpty: "UNSUBSCRIBE without a topic filter"
    case .subackCodeReserved: "reserved return code in SUBACK"
    case .subackCodeCount: "SUBACK without exactly one return code for each filter"
    case .subackUnknown: "SUBACK or UNSUBACK for a packet identifier that waits for none"
    case .answerOfWrongKind: "acknowledgement of another quality of service"
    case .packetBeforeConnack: "another packet before CONNACK"
    case .serverSpeaksTLS: "the server speaks TLS at this port"
    case .serverSpeaksNoMQTT: "the server speaks no MQTT at this port"
    case .connackTwice: "a second CONNACK"
    case .packetNotForClient: "a packet that only clients send"
    case .connackTimeout: "no CONNACK in time"
    case .pingTimeout: "no PINGRESP in time"
    case .publishTimeout: "no PUBACK, PUBREC or PUBCOMP in time"
    case .requestTimeout: "no SUBACK or UNSUBACK in time"
    case .sendTimeout: "the peer takes no bytes"
    }
  }
}
