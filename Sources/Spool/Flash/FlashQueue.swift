// Messages that wait for the network on flash. No I/O of its own: `advance` asks a `HostStorage`, which answers later.
//
// What is taken is staged in memory first. From there it goes to the server when nothing of its priority waits on
// flash, and to flash when it has been staged as long as `flush` allows, whatever comes first: while the server
// confirms in time nothing is written. Each writing is a batch of one priority with a flush, so that what is on flash
// is durable, and what is not is in memory still: nothing depends on a medium that failed in between.
//
// Memory is bounded by the options, whatever is on flash. What a power cut can cost is what is staged.

import Bytes
import HostInterface

/// Who has to go where there is no room.
public enum FullPolicy: UInt8, Sendable, BitwiseCopyable {
  /// The oldest messages of the same priority, or of the lowest where it has none.
  case oldest
  /// The one that comes.
  case newest
  /// The oldest of the lowest priority that is not above it, or else the one that comes.
  case lowestPriority
}

/// What a queue is to be like.
public struct FlashOptions: Sendable, BitwiseCopyable {
  /// What all of it may have on flash, in bytes.
  public var byteCountMax = 0
  /// How large a segment becomes, in bytes; 0 for a share of `byteCountMax`.
  public var segmentBytes = 0
  /// Memory for what is staged, in bytes.
  public var stagedBytes = 0
  /// The largest topic and payload together, in bytes.
  public var messageBytesMax = 0
  /// How long a message may be staged; zero for no longer than it takes to write it.
  public var flushTime = TimeSpan.zero
  /// How many messages may be staged.
  public var flushCount = Int.max
  /// Who has to go.
  public var full = FullPolicy.oldest
  /// How old messages are still sent; zero for any age.
  public var keep = TimeSpan.zero
  /// How many messages may be with the server at once.
  public var inflightMax = 1
  /// Whose messages they are: a number that no other device has.
  public var identity: UInt64 = 0

  /// A queue without room.
  public init() {}
}

/// A message that can be sent now.
public struct FlashMessage: Sendable, BitwiseCopyable {
  /// Its place in `staged`, or in `window` where it is on flash.
  public let topic: Range32
  /// The same.
  public let payload: Range32
  /// 1 or 2.
  public let qos: UInt8
  /// Names it in `acknowledge`.
  public let token: UInt64
  /// Whether it waits on flash: what is late must not delay what is not.
  public let isLate: Bool
  let priority: UInt8
  let entry: Int32
}

/// A range of plain numbers.
public struct Range32: Sendable, BitwiseCopyable {
  let start: Int32
  let end: Int32

  init(_ range: Range<Int>) {
    start = Int32(truncatingIfNeeded: range.lowerBound)
    end = Int32(truncatingIfNeeded: range.upperBound)
  }

  /// The same as a range of Swift's.
  public var range: Range<Int> { Int(start)..<Int(end) }
}

/// A message in memory that is on its way to the server, to flash, or both.
struct StagedMessage: BitwiseCopyable {
  enum State: UInt8 { case waiting, sent, delivered, abandoned }

  let token: UInt64
  let since: Instant
  /// Its place on flash while it is being written; 0 before.
  var sequence: UInt64 = 0
  let byteCount: Int32
  let priority: UInt8
  var state = State.waiting
}

/// A message on flash that the client has.
struct InflightMessage: BitwiseCopyable {
  /// 0 once it is given up.
  var token: UInt64
  let sequence: UInt64
  let priority: UInt8
}

/// What is known of one priority on flash. Sequences count from 1; a segment's number is its first record's.
struct FlashLane: BitwiseCopyable {
  /// The first one that is not settled, now and as it is stored.
  var base: UInt64 = 1
  var savedBase: UInt64 = 1
  /// The first one that was not handed to the client.
  var read: UInt64 = 1
  /// The one that is written next.
  var next: UInt64 = 1
  /// The segment that is there longest; 0 for none.
  var oldest: UInt64 = 0
  /// The segment that grows, and its length; 0 where the next record begins another.
  var writeSegment: UInt64 = 0
  var writeOffset = 0
  /// Where `read` is looked for: the segment, the place in it, and the sequence at which it ends, 0 while that is not
  /// known.
  var readSegment: UInt64 = 1
  var readOffset = 0
  var readEnd: UInt64 = 0
  /// What its files have, in bytes; and what a writing that failed may have left behind.
  var byteCount = 0
  var leftBytes = 0

  /// Where the records of the segment end that is being read; 0 while that is not known.
  var end: UInt64 { readSegment == writeSegment || readSegment >= next ? next : readEnd }
  /// Whether all that is before the segment that is being read can be deleted once the base is stored.
  func isPassed(_ base: UInt64) -> Bool { oldest > 0 && oldest < readSegment && base >= readSegment }

  mutating func goTo(_ segment: UInt64) {
    readSegment = segment
    readOffset = 0
    readEnd = 0
  }
}

/// The queue.
public struct FlashQueue: ~Copyable {
  private let pinned = Pinned()
  /// What it is like.
  public let options: FlashOptions
  let segmentBytes: Int
  let recordBytesMax: Int
  var lanes = FlashLanes(repeating: FlashLane())
  var bytes: ByteBuffer
  var entries: FixedArray<StagedMessage>
  var inflight: FixedArray<InflightMessage>
  /// What is read, and from which lane it is; -1 where it is nobody's.
  var windowBytes: ByteBuffer
  var windowLane = -1
  /// Whether there is nothing in the file behind the window.
  var isWindowLast = false
  /// What is being written.
  var batch: ByteBuffer
  var account: ByteBuffer
  var work = FlashWork.none
  var workLane = 0
  var recovery = FlashRecovery()
  var savingBases = InlineArray<4, UInt64>(repeating: 0)
  var dirtySince: Instant?
  var retryFrom = Instant(milliseconds: .min)
  var readRetryFrom = Instant(milliseconds: .min)
  var readRetries = 0
  var isEnding = false
  private var nextTicket: UInt64 = 1
  /// What became of what was on flash.
  public internal(set) var counts = FlashCounts()
  /// Messages that had to go, or were not taken, while they were in memory only.
  public internal(set) var droppedInMemory: UInt64 = 0
  /// Messages that the server has confirmed before they were written.
  public internal(set) var deliveredFromMemory: UInt64 = 0
  /// Messages that were given up before they were written.
  public internal(set) var abandonedInMemory: UInt64 = 0
  /// Messages that were taken.
  public private(set) var takenCount: UInt64 = 0
  /// Why nothing can be written at present; nil where that is not known or not so.
  public internal(set) var failure: StorageAnswer?
  /// How often something could not be written or read.
  public internal(set) var failureCount: UInt64 = 0
  /// The segment that was set aside last; 0 for none.
  public internal(set) var asideNumber: UInt64 = 0

  /// The bit by which tokens of this queue are known.
  public static var tokenBit: UInt64 { 1 << 62 }

  /// Claims memory as `options` says; none without `byteCountMax`. See `Arena.check`.
  public init(_ options: FlashOptions, in arena: inout Arena) {
    self.options = options
    let isActive = options.byteCountMax > 0
    recordBytesMax = options.messageBytesMax + FlashLimits.recordHeaderBytes
    let batchBytes = recordBytesMax + FlashLimits.segmentHeaderBytes
    let share = options.byteCountMax / FlashLimits.segmentsMin
    let segmentBytes = min(max(share, FlashLimits.segmentBytesMin), FlashLimits.segmentBytesMax)
    self.segmentBytes = max(options.segmentBytes > 0 ? options.segmentBytes : segmentBytes, batchBytes)
    bytes = ByteBuffer(capacity: isActive ? options.stagedBytes : 0, for: "flash queue", in: &arena)
    windowBytes = ByteBuffer(capacity: isActive ? batchBytes : 0, for: "flash queue", in: &arena)
    batch = ByteBuffer(capacity: isActive ? batchBytes : 0, for: "flash queue", in: &arena)
    account = ByteBuffer(capacity: isActive ? StorageRecord.queue.roomNeeded : 0, for: "flash queue", in: &arena)
    entries = FixedArray(capacity: isActive ? options.stagedBytes / 64 : 0, for: "flash queue", in: &arena)
    inflight = FixedArray(capacity: isActive ? FlashQueue.inflightMax : 0, for: "flash queue", in: &arena)
    work = isActive ? .readAccount : .none
  }

  /// How many messages the client may have at once; it has a bound of its own, which is lower.
  static var inflightMax: Int { 128 }

  /// Whether there is a queue.
  @inline(__always)
  public var isActive: Bool { options.byteCountMax > 0 }

  // MARK: What is there

  /// Messages on flash that were not handed to the client.
  public var storedCount: UInt64 {
    var count: UInt64 = 0
    for index in lanes.indices { count += lanes[index].next - lanes[index].read }
    return count
  }

  /// Messages that were ever written to flash.
  public var writtenCount: UInt64 {
    var count: UInt64 = 0
    for index in lanes.indices { count += lanes[index].next - 1 }
    return count
  }

  /// Whether all messages on flash are settled.
  public var isSettled: Bool {
    for index in lanes.indices where lanes[index].base != lanes[index].next { return false }
    return true
  }

  /// Messages that were not handed to the client.
  public var waitingCount: Int {
    var count = Int(truncatingIfNeeded: storedCount)
    for index in 0..<entries.count where entries[index].state == .waiting { count += 1 }
    return count
  }

  /// Messages that will not come, for whatever reason.
  public var lostCount: UInt64 { counts.settled - counts.delivered + droppedInMemory + abandonedInMemory }

  /// Whether it is known what is on flash, and how many were lost before.
  public var isKnown: Bool { recovery.isDone }

  /// Messages in memory only.
  public var stagedCount: Int { entries.count }

  /// What there is on flash, in bytes: everything, but what the file system itself needs.
  public var byteCount: Int {
    var count = FlashLimits.bookkeepingBytes
    for index in lanes.indices { count += lanes[index].byteCount + lanes[index].leftBytes }
    return count
  }

  /// Whether nothing waits, and nothing is with the client.
  public var isDrained: Bool { entries.count == 0 && inflight.count == 0 && storedCount == 0 }

  /// The memory that messages refer to which are not late.
  public var staged: Span<UInt8> {
    @_lifetime(borrow self)
    get { bytes.span }
  }

  /// The memory that late messages refer to.
  public var window: Span<UInt8> {
    @_lifetime(borrow self)
    get { windowBytes.span }
  }

  /// The topic of a message.
  @_lifetime(borrow self)
  @inline(never)  // small code
  public func topic(of message: FlashMessage) -> Span<UInt8> {
    if message.isLate { return windowBytes.span.extracting(message.topic.range) }
    return bytes.span.extracting(message.topic.range)
  }

  /// The payload of a message.
  @_lifetime(borrow self)
  @inline(never)  // small code
  public func payload(of message: FlashMessage) -> Span<UInt8> {
    if message.isLate { return windowBytes.span.extracting(message.payload.range) }
    return bytes.span.extracting(message.payload.range)
  }

  // MARK: Taking

  /// Takes a message, and drops others where it must.
  ///
  /// - Parameter taken: the time of day in milliseconds since 1970; 0 where nobody knows it.
  /// - Returns: how many messages were dropped for it, itself included.
  public mutating func append(
    topic: Span<UInt8>, payload: Span<UInt8>, qos: UInt8, _ priority: MessagePriority, taken: UInt64, _ now: Instant
  ) -> Int {
    let byteCount = FlashLimits.recordHeaderBytes + topic.count + payload.count
    takenCount += 1
    var dropped = 0
    while bytes.freeCount < byteCount || entries.count == entries.capacity || byteCount > recordBytesMax {
      guard byteCount <= recordBytesMax, dropStaged(for: priority) else {
        droppedInMemory += 1
        return dropped + 1
      }
      dropped += 1
    }
    bytes.appendRecord(topic: topic, payload: payload, qos: qos, taken: taken)
    _ = entries.append(
      StagedMessage(
        token: FlashQueue.tokenBit | nextTicket, since: now, byteCount: Int32(byteCount), priority: priority.rawValue))
    nextTicket += 1
    return dropped
  }

  /// Drops one staged message for one of `priority`; false where that has to go itself.
  private mutating func dropStaged(for priority: MessagePriority) -> Bool {
    if options.full == .newest { return false }
    var victim = -1
    for index in 0..<entries.count where entries[index].state == .waiting && entries[index].sequence == 0 {
      if options.full == .oldest {
        victim = index
        break
      }
      guard entries[index].priority <= priority.rawValue else { continue }
      if victim < 0 || entries[index].priority < entries[victim].priority { victim = index }
    }
    guard victim >= 0 else { return false }
    removeStaged(victim)
    droppedInMemory += 1
    return true
  }

  /// Where the record of a staged message begins.
  func offset(of entry: Int) -> Int {
    var offset = 0
    for index in 0..<entry { offset += Int(entries[index].byteCount) }
    return offset
  }

  @inline(never)  // small code: this is called from several places
  mutating func removeStaged(_ entry: Int) {
    let start = offset(of: entry)
    bytes.remove(start..<(start + Int(entries[entry].byteCount)))
    entries.remove(at: entry)
  }

  // MARK: Sending

  /// The next message to send: of the highest priority that has one, in its order. Nil where there is none, or where it
  /// is being read; `advance` goes on with that.
  ///
  /// - Parameters:
  ///   - allowsLate: whether it may be one that waits on flash.
  ///   - wall: the time of day in milliseconds since 1970; 0 where nobody knows it.
  public mutating func next(allowsLate: Bool, wall: UInt64) -> FlashMessage? {
    guard !isRecovering, inflight.count < FlashQueue.inflightMax - 28 else { return nil }
    var index = MessagePriority.count - 1
    while index >= 0 {
      defer { index -= 1 }
      if lanes[index].read < lanes[index].next {
        guard allowsLate, isRecovered else { continue }
        if let record = readable(index, wall) {
          return FlashMessage(
            topic: Range32(record.topic), payload: Range32(record.payload), qos: record.qos,
            token: FlashQueue.tokenBit | nextTicket, isLate: true, priority: UInt8(index), entry: -1)
        }
        // What is skipped may have been all of it.
        if lanes[index].read < lanes[index].next { continue }
      }
      if let message = waiting(UInt8(index)) { return message }
    }
    return nil
  }

  private func waiting(_ priority: UInt8) -> FlashMessage? {
    var offset = 0
    for index in 0..<entries.count {
      let entry = entries[index]
      if entry.state == .waiting, entry.priority == priority {
        let start = offset + FlashLimits.recordHeaderBytes
        let topicCount = Int(bytes.bigEndian(at: offset) >> 32 & 0xFFFF)
        return FlashMessage(
          topic: Range32(start..<(start + topicCount)),
          payload: Range32((start + topicCount)..<(offset + Int(entry.byteCount))), qos: bytes[offset + 12],
          token: entry.token, isLate: false, priority: priority, entry: Int32(index))
      }
      offset += Int(entry.byteCount)
    }
    return nil
  }

  /// The client has `message`, the one that `next` gave last, and keeps it until the server has confirmed it.
  public mutating func noteSent(_ message: FlashMessage) {
    guard message.isLate else {
      entries[Int(message.entry)].state = .sent
      return
    }
    let lane = Int(message.priority)
    _ = inflight.append(
      InflightMessage(token: message.token, sequence: lanes[lane].read, priority: message.priority))
    nextTicket += 1
    pass(lane, message.payload.range.upperBound)
  }

  /// The message that `next` gave last can never be sent.
  public mutating func noteUnsendable(_ message: FlashMessage) {
    noteSent(message)
    abandon(message.token)
  }

  /// Goes behind the record at the beginning of the window.
  mutating func pass(_ lane: Int, _ byteCount: Int) {
    lanes[lane].read += 1
    skipBytes(lane, byteCount)
  }

  @inline(never)  // small code: this is called from several places
  mutating func skipBytes(_ lane: Int, _ byteCount: Int) {
    lanes[lane].readOffset += byteCount
    windowBytes.removeFirst(byteCount)
  }

  // MARK: Settling

  /// The server has the message.
  public mutating func acknowledge(_ token: UInt64, _ now: Instant) { settle(token, isDelivered: true, now) }

  /// The message was given up; nobody knows whether the server has it.
  public mutating func abandon(_ token: UInt64) { settle(token, isDelivered: false, nil) }

  private mutating func settle(_ token: UInt64, isDelivered: Bool, _ now: Instant?) {
    for index in 0..<inflight.count where inflight[index].token == token {
      let lane = Int(inflight[index].priority)
      if isDelivered { inflight.remove(at: index) } else { inflight[index].token = 0 }
      settle(lane)
      return
    }
    for index in 0..<entries.count where entries[index].token == token {
      entries[index].state = isDelivered ? .delivered : .abandoned
      // What is being written is settled when that is known.
      if entries[index].sequence == 0 { settleStaged(index) }
      return
    }
  }

  /// Removes a staged message that is settled, and counts it.
  mutating func settleStaged(_ entry: Int) {
    if entries[entry].state == .delivered { deliveredFromMemory += 1 } else { abandonedInMemory += 1 }
    removeStaged(entry)
  }

  /// Finds out how far a lane is settled, and counts what has become so.
  mutating func settle(_ lane: Int) {
    // Each turn removes a message that was given up.
    while true {
      var lowest = -1
      for index in 0..<inflight.count where Int(inflight[index].priority) == lane {
        if lowest < 0 || inflight[index].sequence < inflight[lowest].sequence { lowest = index }
      }
      let base = lowest < 0 ? lanes[lane].read : inflight[lowest].sequence
      if base > lanes[lane].base {
        counts.delivered += base - lanes[lane].base
        setBase(lane, base)
      }
      guard lowest >= 0, inflight[lowest].token == 0 else { return }
      counts.abandoned += 1
      setBase(lane, base + 1)
      inflight.remove(at: lowest)
    }
  }

  @inline(never)  // small code: this is called from several places
  mutating func setBase(_ lane: Int, _ base: UInt64) {
    lanes[lane].base = base
    isDirty = true
  }

  var isDirty: Bool {
    get { dirtySince != nil }
    set { dirtySince = newValue ? dirtySince ?? lastTurn : nil }
  }

  /// The moment of the last `advance`.
  var lastTurn = Instant(milliseconds: 0)
}
