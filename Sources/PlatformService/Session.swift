// What outlives a connection, and what does not.

import Bytes
import MQTT

/// A session: subscriptions and messages of one client. A clean one ends with its connection.
final class Session {
  /// The key under which it is known: the client identifier, or a private one for members of a shared application.
  let id: String
  /// The client identifier on the wire.
  let clientID: String
  let identity: ClientIdentity
  unowned let organization: Organization
  /// The number in the database; nil for a clean session.
  let number: Int64?
  /// The connection, while there is one.
  var connection: Connection?
  /// The device or gateway that this client is.
  var device: Device?
  /// When the session ends unless its client comes; nil while it is connected, and for a clean session.
  var forgetAt: Instant?
  /// Since when the client is away, as it is kept over a restart; nil where `forgetAt` is.
  var awaySince: WallTime?
  var subscriptions: [Subscription] = []
  var queue: MessageQueue
  /// QoS 2 messages that were taken and not yet released, by packet identifier.
  var receivedIdentifiers: Set<UInt16> = []
  /// Scratch of the delivery going on: where this session stands in its list.
  var deliveryNumber: UInt64 = 0
  var deliveryIndex = 0

  struct Subscription {
    let filter: TopicFilter
    /// As the client wrote it.
    let text: [UInt8]
    var qos: UInt8
  }

  init(id: String, clientID: String, identity: ClientIdentity, organization: Organization, number: Int64?) {
    self.id = id
    self.clientID = clientID
    self.identity = identity
    self.organization = organization
    self.number = number
    switch identity {
    case .device: queue = MessageQueue(inflightMax: ServiceLimits.deviceInflightMax)
    default: queue = MessageQueue(inflightMax: ServiceLimits.applicationInflightMax)
    }
  }

  var isDurable: Bool { number != nil }

  /// The application that shares this session's messages among its connections.
  var sharedApplicationID: String? {
    if case .sharedApplication(_, let id, _) = identity { id } else { nil }
  }

  var isApplication: Bool { identity.applicationID != nil }

  /// Whether topics are written with type and device in them for this client.
  var usesLongForm: Bool {
    if case .device = identity { false } else { true }
  }

  var subscriptionsMax: Int {
    isApplication ? ServiceLimits.applicationSubscriptionsMax : ServiceLimits.deviceSubscriptionsMax
  }

  var receiveMax: Int {
    switch identity {
    case .device: ServiceLimits.deviceReceiveMax
    case .gateway: ServiceLimits.gatewayReceiveMax
    case .application, .sharedApplication: ServiceLimits.applicationReceiveMax
    }
  }

  var record: SessionRecord? {
    number.map { number in
      SessionRecord(
        clientID: clientID, number: number,
        subscriptions: subscriptions.map {
          SubscriptionRecord(filter: String(decoding: $0.text, as: UTF8.self), qos: $0.qos)
        }, awaySince: awaySince?.milliseconds)
    }
  }
}

/// A message of QoS 1 or 2 on its way to a client.
struct QueuedMessage {
  let sequence: Int64
  let topic: [UInt8]
  let payload: [UInt8]
  let qos: QoS
  var isReleased = false
  /// Whether it was in flight on an earlier connection, or may have been before a restart.
  var wasSent = false
  /// The step of a device-management request that this message is.
  var step: StepDelivery?

  /// [MQTT-2.3.1-4]: not in use by another message, since far fewer than 65,535 wait at a time. It follows from the
  /// place, so that it is the same after a restart without being stored.
  var packetIdentifier: UInt16 { UInt16(truncatingIfNeeded: (sequence - 1) % 65_535 + 1) }
  var byteCount: Int { topic.count + payload.count }
}

/// The messages of one session, in order: those in flight, then those that wait.
struct MessageQueue {
  let inflightMax: Int
  private(set) var inflight: [QueuedMessage] = []
  private var waiting: [QueuedMessage] = []
  /// Elements of `waiting` before this one are gone.
  private var waitingStart = 0
  private(set) var byteCount = 0
  private var nextSequence: Int64 = 1

  /// Bytes in flight at a time, but for a first message that is larger.
  static let inflightBytesMax = 1 << 20

  init(inflightMax: Int) { self.inflightMax = inflightMax }

  var count: Int { inflight.count + waiting.count - waitingStart }
  var isEmpty: Bool { count == 0 }

  mutating func append(topic: [UInt8], payload: [UInt8], qos: QoS, step: StepDelivery?) -> QueuedMessage {
    let message = QueuedMessage(sequence: nextSequence, topic: topic, payload: payload, qos: qos, step: step)
    nextSequence += 1
    waiting.append(message)
    byteCount += message.byteCount
    return message
  }

  mutating func restore(_ record: MessageRecord, step: StepDelivery?) {
    waiting.append(
      QueuedMessage(
        sequence: record.sequence, topic: record.topic, payload: record.payload,
        qos: QoS(rawValue: record.qos) ?? .atLeastOnce, isReleased: record.isReleased, wasSent: true,
        step: step))
    byteCount += record.topic.count + record.payload.count
    nextSequence = max(nextSequence, record.sequence + 1)
  }

  /// Whether another message may go out now.
  var hasRoomInFlight: Bool {
    inflight.count < inflightMax
      && (inflight.isEmpty || inflight.reduce(0) { $0 + $1.byteCount } < MessageQueue.inflightBytesMax)
  }

  /// Puts the oldest waiting message in flight.
  mutating func startNext() -> QueuedMessage? {
    guard waitingStart < waiting.count else { return nil }
    // Only where one message went unanswered for 65,535 others: they wait for it.
    let identifier = waiting[waitingStart].packetIdentifier
    guard !inflight.contains(where: { $0.packetIdentifier == identifier }) else { return nil }
    guard let message = removeOldestWaiting() else { return nil }
    byteCount += message.byteCount
    inflight.append(message)
    return message
  }

  /// Takes away the oldest waiting message.
  mutating func removeOldestWaiting() -> QueuedMessage? {
    guard waitingStart < waiting.count else { return nil }
    let message = waiting[waitingStart]
    waitingStart += 1
    if waitingStart == waiting.count {
      waiting.removeAll(keepingCapacity: waiting.count <= 16)
      waitingStart = 0
    } else if waitingStart >= 64, waitingStart * 2 >= waiting.count {
      waiting.removeFirst(waitingStart)
      waitingStart = 0
    }
    byteCount -= message.byteCount
    return message
  }

  /// Takes the message with this identifier out of flight.
  mutating func remove(packetIdentifier: UInt16, qos: QoS) -> QueuedMessage? {
    guard let index = inflight.firstIndex(where: { $0.packetIdentifier == packetIdentifier && $0.qos == qos }) else {
      return nil
    }
    let message = inflight.remove(at: index)
    byteCount -= message.byteCount
    return message
  }

  /// Notes that the message with this identifier reached the client; nil if there is none.
  mutating func release(packetIdentifier: UInt16) -> QueuedMessage? {
    guard
      let index = inflight.firstIndex(where: { $0.packetIdentifier == packetIdentifier && $0.qos == .exactlyOnce })
    else { return nil }
    inflight[index].isReleased = true
    return inflight[index]
  }

  /// All messages, in order, with none in flight any more.
  mutating func drain() -> [QueuedMessage] {
    let all = inflight + waiting[waitingStart...]
    self = MessageQueue(inflightMax: inflightMax)
    return all
  }

  /// What was in flight on an earlier connection is to be sent again.
  mutating func rewind() {
    guard !inflight.isEmpty else { return }
    for index in inflight.indices { inflight[index].wasSent = true }
    waiting.replaceSubrange(..<waitingStart, with: inflight)
    waitingStart = 0
    inflight.removeAll()
  }
}

/// One network connection.
final class Connection {
  let id: ConnectionID
  let peer: Peer
  let opened: Moment
  var session: Session?
  var state = State.awaitingConnect
  /// Whether there was no room for it: it is only told so, unless there is room when its CONNECT comes.
  var isSurplus = false
  /// The last moment at which a packet came.
  var lastReceived: Instant
  /// One and a half times the keep alive [MQTT-3.1.2-24]; nil for none.
  var silenceMax: TimeSpan?
  var connectTime: WallTime
  var traffic = MonitoringMessage.Traffic()
  var user: String?
  var will: Will?
  /// What it has published; above its rate the platform reads more slowly, and nothing is lost.
  var rate = RateBucket(.unlimited)
  /// Nothing more is, or was, read before this moment.
  var pausedUntil: Instant?
  /// Since when the peer takes no bytes.
  var blockedSince: Instant?
  /// What the input being handled has sent, in QoS 0 messages.
  private var burst = (input: UInt64(0), byteCount: 0)
  /// Messages of QoS 0 that were dropped because the peer takes no bytes.
  var droppedCount = 0
  /// Messages of this connection that an illegal topic or a limit made us ignore.
  var ignoredCount = 0

  enum State {
    case awaitingConnect
    /// CONNECT waits until it is handled.
    case delayed(until: Instant, connect: [UInt8])
    case established
  }

  struct Will {
    let topic: [UInt8]
    let payload: [UInt8]
    let qos: QoS
  }

  init(id: ConnectionID, peer: Peer, now: Moment) {
    self.id = id
    self.peer = peer
    opened = now
    lastReceived = now.instant
    connectTime = now.wall
  }

  /// Since when the peer could have been heard and was not.
  var listenedSince: Instant { max(lastReceived, pausedUntil ?? lastReceived) }

  /// Counts a QoS 0 message to the client; false where it takes no bytes, or gets too many at once.
  func takesMessage(bytes count: Int, input: UInt64) -> Bool {
    if burst.input != input { burst = (input, 0) }
    guard blockedSince == nil, burst.byteCount + count <= ServiceLimits.burstBytesMax else { return false }
    burst.byteCount += count
    return true
  }

  var protocolName: String { peer.isWebSocket ? "mqtt4-ws" : "mqtt4" }
}
