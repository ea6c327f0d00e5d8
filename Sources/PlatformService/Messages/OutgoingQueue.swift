// What is on its way to a client with QoS 1 or 2.

import Bytes
import MQTT

/// A message of QoS 1 or 2 on its way to a client.
struct OutgoingMessage {
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
struct OutgoingQueue {
  let inflightMax: Int
  private(set) var inflight: [OutgoingMessage] = []
  private var waiting: [OutgoingMessage] = []
  /// Elements of `waiting` before this one are gone.
  private var waitingStart = 0
  private(set) var byteCount = 0
  private var nextSequence: Int64 = 1

  /// Bytes in flight at a time, but for a first message that is larger.
  static let inflightBytesMax = 1 << 20

  init(inflightMax: Int) { self.inflightMax = inflightMax }

  var count: Int { inflight.count + waiting.count - waitingStart }
  var isEmpty: Bool { count == 0 }

  mutating func append(topic: [UInt8], payload: [UInt8], qos: QoS, step: StepDelivery?) -> OutgoingMessage {
    let message = OutgoingMessage(sequence: nextSequence, topic: topic, payload: payload, qos: qos, step: step)
    nextSequence += 1
    waiting.append(message)
    byteCount += message.byteCount
    return message
  }

  mutating func restore(_ record: MessageRecord, step: StepDelivery?) {
    waiting.append(
      OutgoingMessage(
        sequence: record.sequence, topic: record.topic, payload: record.payload,
        qos: QoS(rawValue: record.qos) ?? .atLeastOnce, isReleased: record.isReleased, wasSent: true,
        step: step))
    byteCount += record.topic.count + record.payload.count
    nextSequence = max(nextSequence, record.sequence + 1)
  }

  /// Whether another message may go out now.
  var hasRoomInFlight: Bool {
    inflight.count < inflightMax
      && (inflight.isEmpty || inflight.reduce(0) { $0 + $1.byteCount } < OutgoingQueue.inflightBytesMax)
  }

  /// Puts the oldest waiting message in flight.
  mutating func startNext() -> OutgoingMessage? {
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
  mutating func removeOldestWaiting() -> OutgoingMessage? {
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

  /// The message in flight with this identifier.
  func inFlight(packetIdentifier: UInt16) -> OutgoingMessage? {
    inflight.first { $0.packetIdentifier == packetIdentifier }
  }

  /// Takes the message with this identifier out of flight.
  mutating func remove(packetIdentifier: UInt16) {
    guard let index = inflight.firstIndex(where: { $0.packetIdentifier == packetIdentifier }) else { return }
    byteCount -= inflight.remove(at: index).byteCount
  }

  /// Notes that the message with this identifier reached the client; nil if there is none.
  mutating func release(packetIdentifier: UInt16) -> OutgoingMessage? {
    guard
      let index = inflight.firstIndex(where: { $0.packetIdentifier == packetIdentifier && $0.qos == .exactlyOnce })
    else { return nil }
    inflight[index].isReleased = true
    return inflight[index]
  }

  /// All messages, in order, with none in flight any more.
  mutating func drain() -> [OutgoingMessage] {
    let all = inflight + waiting[waitingStart...]
    self = OutgoingQueue(inflightMax: inflightMax)
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
