// Messages that wait for the network. This one is in memory and ends with the program; a queue on flash takes its place
// behind the same five operations.

import Bytes

/// A waiting message; the ranges are of the queue's `bytes`.
public struct QueuedMessage: Equatable, Sendable {
  /// The topic it goes to.
  public let topic: Range<Int>
  /// What it says.
  public let payload: Range<Int>
  /// The quality of service it is owed, 1 or 2.
  public let qos: UInt8
  /// Names it in `acknowledge`; counts up from 1 in the order of `append`.
  public let token: UInt64
}

/// A bounded queue, oldest first. Where a new message does not fit, the oldest make room and are counted.
public struct MessageQueue: ~Copyable {
  private let pinned = Pinned()
  // A record, padded by nothing: total length (4 bytes), topic length (2), quality of service (1), topic, payload.
  private static var headerBytes: Int { 7 }

  private var records: ByteBuffer
  private var nextToken: UInt64 = 1
  /// How many messages wait.
  public private(set) var count = 0
  /// How many messages were dropped since the start, the ones too large for the queue included.
  public private(set) var droppedCount: UInt64 = 0
  /// How many messages the server has confirmed since the start.
  public private(set) var acknowledgedCount: UInt64 = 0

  /// Takes `byteCapacity` bytes for records, 7 bytes of overhead each.
  public init(byteCapacity: Int, from arena: inout Arena) throws(ArenaExhausted) {
    records = try ByteBuffer(capacity: byteCapacity, for: "queue", from: &arena)
  }

  /// The memory that `QueuedMessage` ranges refer to.
  public var bytes: Span<UInt8> {
    @_lifetime(borrow self)
    get { records.span }
  }

  /// Adds a message, dropping the oldest ones where room is needed, and itself when even an empty queue is too small.
  ///
  /// - Returns: how many messages were dropped for it.
  public mutating func append(topic: Span<UInt8>, payload: Span<UInt8>, qos: UInt8) -> Int {
    let byteCount = MessageQueue.headerBytes + topic.count + payload.count
    guard byteCount <= records.capacity, topic.count <= Int(UInt16.max) else {
      droppedCount += 1
      return 1
    }
    var dropped = 0
    while records.freeCount < byteCount {
      removeFront()
      dropped += 1
    }
    droppedCount += UInt64(dropped)
    records.append(bigEndian: UInt16(truncatingIfNeeded: byteCount >> 16))
    records.append(bigEndian: UInt16(truncatingIfNeeded: byteCount))
    records.append(bigEndian: UInt16(topic.count))
    records.append(qos)
    records.append(topic)
    records.append(payload)
    count += 1
    nextToken += 1
    return dropped
  }

  /// The oldest waiting message.
  public var front: QueuedMessage? {
    guard count > 0 else { return nil }
    let topicStart = MessageQueue.headerBytes
    let topicEnd = topicStart + (Int(records[4]) << 8 | Int(records[5]))
    return QueuedMessage(
      topic: topicStart..<topicEnd, payload: topicEnd..<frontBytes, qos: records[6],
      token: nextToken - UInt64(count))
  }

  /// Removes the oldest waiting message: the client has it now, and resends it by itself until it is acknowledged.
  public mutating func removeFront() {
    guard count > 0 else { return }
    records.removeFirst(frontBytes)
    count -= 1
  }

  /// Takes a token for a message that need not wait, so that every message has one.
  public mutating func tokenForDirectMessage() -> UInt64? {
    // Tokens are implied by the order in the queue, so only an empty queue can be passed by.
    guard count == 0 else { return nil }
    defer { nextToken += 1 }
    return nextToken
  }

  /// The server has the message. A queue on flash deletes it now; this one only counts.
  public mutating func acknowledge(_ token: UInt64) {
    acknowledgedCount += 1
  }

  /// The message was given up; nobody knows whether the server has it. It counts as dropped.
  public mutating func abandon(_ token: UInt64) {
    droppedCount += 1
  }

  private var frontBytes: Int {
    Int(records[0]) << 24 | Int(records[1]) << 16 | Int(records[2]) << 8 | Int(records[3])
  }
}
