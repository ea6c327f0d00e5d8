// The fourteen control packets of MQTT 3.1.1 as values. All ranges are of the bytes that were decoded.

/// A control packet's type (section 2.2.1).
public enum PacketType: UInt8, Equatable, Sendable, BitwiseCopyable {
  case connect = 1, connack, publish, puback, pubrec, pubrel, pubcomp
  case subscribe, suback, unsubscribe, unsuback, pingreq, pingresp, disconnect

  /// The lower half of the first byte, fixed for all types but PUBLISH, for which this is 0 (table 2.2).
  var fixedFlags: UInt8 {
    switch self {
    case .pubrel, .subscribe, .unsubscribe: 0b0010
    default: 0
    }
  }

  /// The first byte of a packet of this type; for PUBLISH the one with all flags clear.
  var firstByte: UInt8 { rawValue << 4 | fixedFlags }
}

/// Quality of service: how often a message may arrive (section 4.3).
public enum QoS: UInt8, Equatable, Sendable, BitwiseCopyable {
  case atMostOnce, atLeastOnce, exactlyOnce
}

/// A decoded control packet.
public enum Packet: Equatable, Sendable {
  case connect(Connect)
  case connack(sessionPresent: Bool, returnCode: UInt8)
  case publish(Publish)
  case puback(packetIdentifier: UInt16)
  case pubrec(packetIdentifier: UInt16)
  case pubrel(packetIdentifier: UInt16)
  case pubcomp(packetIdentifier: UInt16)
  /// `filters` is at least one pair of filter and QoS, all checked; `nextSubscription` walks it.
  case subscribe(packetIdentifier: UInt16, filters: Range<Int>)
  /// One byte for each filter: the granted QoS, or 0x80.
  case suback(packetIdentifier: UInt16, returnCodes: Range<Int>)
  /// `filters` is at least one filter, all checked; `nextFilter` walks it.
  case unsubscribe(packetIdentifier: UInt16, filters: Range<Int>)
  case unsuback(packetIdentifier: UInt16)
  case pingreq
  case pingresp
  case disconnect
}

/// What a CONNECT packet says (section 3.1).
public struct Connect: Equatable, Sendable {
  /// The client identifier; may be empty.
  public var clientID: Range<Int>
  /// Whether any earlier session is to be discarded.
  public var cleanSession: Bool
  /// The longest pause between two packets from the client, in seconds; 0 turns the check off.
  public var keepAliveSeconds: UInt16
  /// What the server publishes when the connection ends without DISCONNECT.
  public var will: Will?
  /// The user's name.
  public var userName: Range<Int>?
  /// The password: any bytes.
  public var password: Range<Int>?

  /// A message that the server keeps for the client's unexpected end.
  public struct Will: Equatable, Sendable {
    /// Where it goes.
    public var topic: Range<Int>
    /// What it says.
    public var payload: Range<Int>
    /// How it is delivered.
    public var qos: QoS
    /// Whether the server is to keep it for later subscribers.
    public var isRetained: Bool
  }
}

/// What a PUBLISH packet says (section 3.3).
public struct Publish: Equatable, Sendable {
  /// Where the message goes.
  public var topic: Range<Int>
  /// What it says.
  public var payload: Range<Int>
  /// How it is delivered.
  public var qos: QoS
  /// Whether this may be a repetition of an earlier attempt.
  public var isDuplicate: Bool
  /// Whether the server keeps, or has kept, the message for later subscribers.
  public var isRetained: Bool
  /// 1...65535, or 0 with QoS 0.
  public var packetIdentifier: UInt16
}
