// The client: a session and at most one connection, driven by bytes and time.
//
// The host receives into `input`, calls `nextEvent` until it gives nil, and sends from `output`, telling `removeSent`.
// It calls `tick` when `deadline` has come, after having received what is there. Whoever gets a `PeerFault` or a
// refusal closes the link and says `linkClosed`.

import Bytes

/// What a client has to tell.
public enum ClientEvent: Equatable, Sendable {
  /// The server accepted the connection. Without a session on its side, subscriptions have to be made (again).
  case connected(sessionPresent: Bool)
  /// The server refused the connection with this return code, 1...255 (section 3.2.2.3). The link is to be closed.
  case refused(returnCode: UInt8)
  /// A message came in. Its acknowledgement is already in `output`, or the owner's to ask for (`acknowledgesByHand`).
  case message(IncomingMessage)
  /// The server has the message that was published with this token.
  case acknowledged(token: UInt64)
  /// The server knows no QoS 2, as it turned out: from now on such messages go out at QoS 1. Told once.
  case qosLowered
  /// The answer to `subscribe`: the granted QoS, or 0x80 for a refusal.
  case subscribed(packetIdentifier: UInt16, returnCode: UInt8)
  /// The answer to `unsubscribe`.
  case unsubscribed(packetIdentifier: UInt16)
  /// The server is alive.
  case pingResponse
}

/// A message from the server. The ranges are of `Client.input.span` and hold until the next call of `nextEvent` or
/// `linkClosed`.
public struct IncomingMessage: Equatable, Sendable {
  /// Where it was published; empty where it is so long that it did not fit.
  public let topic: Range<Int>
  /// What it says; empty where it did not fit.
  public let payload: Range<Int>
  /// How it was delivered.
  public let qos: QoS
  /// Whether it may be a repetition. With QoS 2 a repetition is not told at all.
  public let isDuplicate: Bool
  /// Whether the server had kept it from before the subscription.
  public let isRetained: Bool
  /// 1...65535, or 0 with QoS 0.
  public let packetIdentifier: UInt16
  /// Whether it was larger than the input buffer, and its payload was thrown away.
  public let isTruncated: Bool
}

/// An MQTT 3.1.1 client without I/O. Takes all its memory when it is made.
public struct Client: ~Copyable {
  private let pinned = Pinned()
  /// What the client was made with, within bounds.
  public let options: ClientOptions
  /// The largest packet, in bytes; larger PUBLISH packets that come in lose their payload.
  public let packetBytesMax: Int
  /// What was received and not handled yet. Not full when `nextEvent` gives nil, unless `output` is.
  public var input: ByteBuffer
  /// What is to be sent.
  public internal(set) var output: ByteBuffer
  /// How long nothing may have been sent, or received, before a ping.
  let pingPause: TimeSpan
  var session: Session
  var connection: Connection
  /// Messages of QoS 1 from the server that the owner has not acknowledged, or that came behind one of those.
  var unacknowledged: FixedArray<Unacknowledged>

  /// Takes from `arena`: input and output of `packetBytesMax` each (output 64 more), the in-flight store, and 8 KB for
  /// packet identifiers.
  public init(
    options: ClientOptions, packetBytesMax: Int, from arena: inout Arena
  ) throws(ArenaExhausted) {
    self.init(options: options, packetBytesMax: packetBytesMax, in: &arena)
    try arena.check()
  }

  /// The same; see `Arena.check`.
  public init(options: ClientOptions, packetBytesMax: Int, in arena: inout Arena) {
    let packetBytesMax = min(max(packetBytesMax, ClientLimits.packetBytesMin), ClientLimits.packetBytesMax)
    var options = options
    options.inflightMax = min(max(options.inflightMax, 1), ClientLimits.inflightMax)
    options.keepAlive = min(max(options.keepAlive, .zero), .seconds(65_535))
    let inflightBytesMax = max(options.inflightBytesMax ?? 2 * packetBytesMax, packetBytesMax)
    input = ByteBuffer(capacity: packetBytesMax, for: "mqtt input", in: &arena)
    output = ByteBuffer(
      capacity: packetBytesMax + ClientLimits.controlBytes, for: "mqtt output", in: &arena)
    session = Session(
      messagesMax: options.inflightMax, bytesMax: inflightBytesMax, publishBytesMax: packetBytesMax,
      firstIdentifier: options.firstPacketIdentifier, in: &arena)
    unacknowledged = FixedArray<Unacknowledged>(
      capacity: options.acknowledgesByHand ? ClientLimits.unacknowledgedMax : 0, for: "mqtt identifiers", in: &arena)
    let margin = min(ClientLimits.keepAliveMargin.milliseconds, options.keepAlive.milliseconds / 10)
    pingPause = .milliseconds(options.keepAlive.milliseconds - margin)
    self.options = options
    self.packetBytesMax = packetBytesMax
    connection = Connection(now: Instant(milliseconds: 0))
  }

  /// Whether the server has accepted the connection, nothing has ended it, and messages may go out: not while one of
  /// them is on trial.
  public var isConnected: Bool {
    @inline(__always) get { connection.phase == .open }
  }

  /// Whether `output` lacks the room for answers that `nextEvent` needs: input may wait until some of it has been sent.
  public var lacksRoomForAnswers: Bool {
    @inline(__always) get { output.freeCount < ClientLimits.answerBytes + ClientLimits.lastBytes }
  }

  /// The largest PUBLISH that this connection takes, in bytes.
  public var publishBytesMax: Int { min(session.publishBytesMax, connection.packetBytesMax) }

  /// How many messages of QoS 1 and 2 the server has not confirmed.
  public var inflightCount: Int {
    @inline(__always) get { session.inflight.count }
  }

  /// Begins a connection on a link that has just been opened: writes CONNECT. Whatever was left in the buffers is gone.
  ///
  /// - Throws: what is wrong with `fields`, or `alreadyOpen` without `linkClosed` in between. Nothing is written then.
  public mutating func open(_ fields: borrowing ConnectFields, now: Instant) throws(OpenRefusal) {
    guard connection.phase == .closed else { throw .alreadyOpen }
    try checkConnectFields(fields, cleanSession: options.cleanSession)
    input.removeAll()
    output.removeAll()
    guard
      output.appendConnect(
        fields, cleanSession: options.cleanSession, keepAliveSeconds: keepAliveSeconds)
    else { throw .tooLarge }
    if now >= session.limitEnd { session.forgetLimit(packetBytesMax) }
    connection = Connection(now: now)
    connection.phase = .awaitingConnack
    connection.connack.begin(behind: output.count, now: now)
  }

  /// The link is gone; `moment` is given where the peer has closed it, orderly or not. Forgets the connection, and
  /// keeps the session: what is in flight goes out again by itself after the next `open`.
  @inline(never)  // small code: called from every way in which a connection ends
  public mutating func linkClosed(byPeerAt moment: Instant? = nil) {
    judge(byPeerAt: moment)
    connection = Connection(now: connection.lastReceived)
    unacknowledged.removeAll()
    input.removeAll()
    output.removeAll()
  }

  /// The first `byteCount` bytes of `output` have been sent.
  public mutating func removeSent(_ byteCount: Int, now: Instant) {
    output.removeFirst(byteCount)
    connection.noteSent(byteCount, now: now)
    if isResending { resend(now: now) }
    if unacknowledged.count > 0 { answerInOrder(now: now) }
  }

  /// Whole seconds, rounded up, so that the server never expects a ping earlier than we send it.
  private var keepAliveSeconds: UInt16 {
    UInt16(truncatingIfNeeded: (options.keepAlive.milliseconds + 999) / 1000)
  }
}

/// Why `Client.open` did not write CONNECT.
public enum OpenRefusal: UInt8, Error, Equatable, Sendable, BitwiseCopyable {
  /// The previous connection has not been closed.
  case alreadyOpen
  /// The client identifier is not UTF-8 without U+0000 [MQTT-3.1.3-4].
  case clientIDInvalid
  /// The client identifier is empty, but the session is to be kept [MQTT-3.1.3-7].
  case clientIDEmpty
  /// The user's name is not UTF-8 without U+0000 [MQTT-3.1.3-11].
  case userNameInvalid
  /// There is a password without a user name [MQTT-3.1.2-22].
  case passwordWithoutUserName
  /// The will's topic is no topic name [MQTT-3.1.3-10].
  case willTopicInvalid
  /// A field has more than 65,535 bytes.
  case fieldTooLong
  /// CONNECT does not fit the output.
  case tooLarge
}

private func checkConnectFields(_ fields: borrowing ConnectFields, cleanSession: Bool) throws(OpenRefusal) {
  let fieldBytesMax = PacketLimits.fieldBytesMax
  if fields.clientID.isEmpty && !cleanSession { throw .clientIDEmpty }
  if fields.clientID.count > fieldBytesMax { throw .fieldTooLong }
  if textFault(fields.clientID) != nil { throw .clientIDInvalid }
  if let will = fields.will {
    if will.topic.count > fieldBytesMax || will.payload.count > fieldBytesMax { throw .fieldTooLong }
    if topicNameFault(will.topic) != nil { throw .willTopicInvalid }
  }
  if let userName = fields.userName {
    if userName.count > fieldBytesMax { throw .fieldTooLong }
    if textFault(userName) != nil { throw .userNameInvalid }
  }
  if let password = fields.password {
    if fields.userName == nil { throw .passwordWithoutUserName }
    if password.count > fieldBytesMax { throw .fieldTooLong }
  }
}
