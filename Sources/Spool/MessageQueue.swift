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
///
/// The records are a ring of `byteCapacity` bytes, so that adding one costs the same however many wait:
///
///     0         tail              head        byteCapacity   end
///     | newest  | free            | oldest … a long record |  …
///
/// A record begins below `byteCapacity` and is never split: where it is longer than what is left, it ends behind, and
/// the next one begins at 0. That one ends in front of `head` in any case, because all records together have no more
/// than `byteCapacity` bytes.
public struct MessageQueue: ~Copyable {
  private let pinned = Pinned()
  // A record, padded by nothing: total length (4 bytes), topic length (2), quality of service (1), topic, payload.
  private static var headerBytes: Int { 7 }
  /// As much as this has to be free in front of what is held for that to move there.
  private static var idleBytesMax: Int { 4096 }

  /// All of it counts as held, the free parts too.
  private var records: ByteBuffer
  private let byteCapacity: Int
  private let recordBytesMax: Int
  /// Where the oldest record begins, and where the next one will.
  private var head = 0
  private var tail = 0
  private var heldBytes = 0
  /// The token of the next message.
  public private(set) var nextToken: UInt64 = 1
  /// How many messages wait.
  public private(set) var count = 0
  /// How many messages were dropped since the start, the ones too large for the queue included.
  public private(set) var droppedCount: UInt64 = 0
  /// How many messages the server has confirmed since the start.
  public private(set) var acknowledgedCount: UInt64 = 0

  /// Takes `byteCapacity` bytes for records, 7 bytes of overhead each, and room for one more of the largest.
  ///
  /// `messageBytesMax` is what topic and payload have together at most; a larger message is dropped.
  public init(
    byteCapacity: Int, messageBytesMax: Int? = nil, from arena: inout Arena
  ) throws(ArenaExhausted) {
    self.init(byteCapacity: byteCapacity, messageBytesMax: messageBytesMax, in: &arena)
    try arena.check()
  }

  /// The same; see `Arena.check`.
  public init(byteCapacity: Int, messageBytesMax: Int? = nil, in arena: inout Arena) {
    let messageBytesMax = min(messageBytesMax ?? byteCapacity, byteCapacity)
    recordBytesMax = min(messageBytesMax + MessageQueue.headerBytes, byteCapacity)
    self.byteCapacity = byteCapacity
    records = ByteBuffer(capacity: byteCapacity + max(recordBytesMax - 1, 0), for: "queue", in: &arena)
    records.commit(records.capacity)
  }

  /// The memory that `QueuedMessage` ranges refer to.
  public var bytes: Span<UInt8> {
    @_lifetime(borrow self)
    get { records.span }
  }

  /// Whether a message fits without another being dropped.
  public func hasRoom(topicCount: Int, payloadCount: Int) -> Bool {
    let byteCount = MessageQueue.headerBytes + topicCount + payloadCount
    return byteCount <= recordBytesMax && heldBytes + byteCount <= byteCapacity
  }

  /// Adds a message, dropping the oldest ones where room is needed, and itself when even an empty queue is too small.
  ///
  /// - Returns: how many messages were dropped for it.
  public mutating func append(topic: Span<UInt8>, payload: Span<UInt8>, qos: UInt8) -> Int {
    let byteCount = MessageQueue.headerBytes + topic.count + payload.count
    guard byteCount <= recordBytesMax, topic.count <= Int(UInt16.max) else {
      droppedCount += 1
      return 1
    }
    var dropped = 0
    while heldBytes + byteCount > byteCapacity {
      removeFront()
      dropped += 1
    }
    droppedCount += UInt64(dropped)
    write(topic: topic, payload: payload, qos: qos)
    tail += byteCount
    if tail >= byteCapacity { tail = 0 }
    heldBytes += byteCount
    count += 1
    nextToken += 1
    return dropped
  }

  private mutating func write(topic: Span<UInt8>, payload: Span<UInt8>, qos: UInt8) {
    let byteCount = UInt32(truncatingIfNeeded: MessageQueue.headerBytes + topic.count + payload.count)
    for index in 0..<4 {
      records[tail + index] = UInt8(truncatingIfNeeded: byteCount >> UInt32(truncatingIfNeeded: 24 - index * 8))
    }
    records[tail + 4] = UInt8(truncatingIfNeeded: topic.count >> 8)
    records[tail + 5] = UInt8(truncatingIfNeeded: topic.count)
    records[tail + 6] = qos
    let topicStart = tail + MessageQueue.headerBytes
    records.overwrite(at: topicStart, with: topic)
    records.overwrite(at: topicStart + topic.count, with: payload)
  }

  /// The oldest waiting message.
  public var front: QueuedMessage? {
    guard count > 0 else { return nil }
    let topicStart = head + MessageQueue.headerBytes
    let topicEnd = topicStart + (Int(records[head + 4]) << 8 | Int(records[head + 5]))
    return QueuedMessage(
      topic: topicStart..<topicEnd, payload: topicEnd..<(head + frontBytes), qos: records[head + 6],
      token: nextToken - UInt64(count))
  }

  /// Removes the oldest waiting message: the client has it now, and resends it by itself until it is acknowledged.
  @inline(never)  // small code: this is called from several places
  public mutating func removeFront() {
    guard count > 0 else { return }
    let byteCount = frontBytes
    heldBytes -= byteCount
    count -= 1
    head += byteCount
    if head >= byteCapacity { head = 0 }
    if count == 0 {
      head = 0
      tail = 0
    } else if head >= MessageQueue.idleBytesMax, head >= heldBytes, tail == head + heldBytes {
      moveToFront()
    }
  }

  /// Moves what is held to the front, never more bytes than were removed there: a large queue that is always in use and
  /// never full would otherwise touch all of its pages by and by.
  private mutating func moveToFront() {
    records.move(head..<tail, to: 0)
    head = 0
    tail = heldBytes
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
    Int(records[head]) << 24 | Int(records[head + 1]) << 16 | Int(records[head + 2]) << 8 | Int(records[head + 3])
  }
}
