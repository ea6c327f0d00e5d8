// What a client can be told, and the bounds of that.

import Bytes

/// Settings of a client. Values out of range are moved to the nearest bound.
public struct ClientOptions: Sendable, BitwiseCopyable {
  /// The longest pause between two packets from us, 0...65,535 s, in whole seconds on the wire; 0 turns pings off.
  public var keepAlive: TimeSpan
  /// Whether each connection begins a new session.
  public var cleanSession: Bool
  /// How many messages may be unconfirmed at a time, 1...`ClientLimits.inflightMax`.
  public var inflightMax: Int
  /// Room for their packets in bytes, at least one packet of the largest size; nil for two of them.
  public var inflightBytesMax: Int?
  /// Whether the owner says when a message of QoS 1 that came in is acknowledged, by `Client.acknowledge`. Otherwise it
  /// is before it is told.
  public var acknowledgesByHand = false
  /// The first packet identifier. A program that keeps a durable session but not its state over restarts starts at a
  /// random one, so that the server does not take a new QoS 2 message for a repetition of one from before.
  public var firstPacketIdentifier: UInt16
  /// How long the server may take for CONNACK: servers that punish reconnect storms answer late, not never.
  public var connackTimeout: TimeSpan
  /// How long the server may take for PUBACK, PUBREC, PUBCOMP, SUBACK and UNSUBACK, and for taking bytes at all.
  public var acknowledgementTimeout: TimeSpan
  /// How long the server may take for PINGRESP; nil for the keep alive, 20 s at most.
  public var pingTimeout: TimeSpan?

  /// Settings with defaults for everything but the session.
  public init(
    keepAlive: TimeSpan = .seconds(60), cleanSession: Bool, inflightMax: Int = 10, inflightBytesMax: Int? = nil,
    firstPacketIdentifier: UInt16 = 1, connackTimeout: TimeSpan = .seconds(60),
    acknowledgementTimeout: TimeSpan = .seconds(60), pingTimeout: TimeSpan? = nil
  ) {
    self.keepAlive = keepAlive
    self.cleanSession = cleanSession
    self.inflightMax = inflightMax
    self.inflightBytesMax = inflightBytesMax
    self.firstPacketIdentifier = firstPacketIdentifier
    self.connackTimeout = connackTimeout
    self.acknowledgementTimeout = acknowledgementTimeout
    self.pingTimeout = pingTimeout
  }
}

/// Bounds of a client.
public enum ClientLimits {
  /// The largest in-flight window.
  public static var inflightMax: Int { 1024 }
  /// Messages of QoS 1 that the owner may leave unacknowledged at a time: as many as the most generous server sends.
  /// With more, the newest are acknowledged out of turn.
  public static var unacknowledgedMax: Int { 1024 }
  /// SUBSCRIBE and UNSUBSCRIBE packets that wait for an answer at a time.
  public static var requestsMax: Int { 8 }
  /// The smallest `packetBytesMax`, in bytes: a short CONNECT fits.
  public static var packetBytesMin: Int { 128 }
  /// The largest `packetBytesMax`, in bytes: that of the standard.
  public static var packetBytesMax: Int { 5 + PacketLimits.remainingLengthMax }
  /// Room of the output that publishes and requests leave free, in bytes: acknowledgements must get through, for it is
  /// them that the peer waits for before it takes more.
  public static var controlBytes: Int { 64 }
  /// Room that acknowledgements leave free in turn, in bytes: PINGREQ and DISCONNECT.
  static var lastBytes: Int { 4 }
  /// The largest acknowledgement, in bytes.
  static var answerBytes: Int { 4 }
  /// How much before its time a ping goes out, at most: the pause between two packets must not exceed the keep alive
  /// [MQTT-3.1.2-23], and waking and sending take time.
  static var keepAliveMargin: TimeSpan { .milliseconds(500) }
}
