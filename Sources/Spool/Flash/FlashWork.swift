// What is asked of the storage, one operation after the other, and what each answer means.

import Bytes
import HostInterface

/// The operation that is under way.
enum FlashWork: UInt8, BitwiseCopyable {
  case none
  // At a start.
  case readAccount, findSegments, scan, cutEnd, deleteLast, setLastAside
  // On the way to the server.
  case fill, findEnd, setAside
  // On the way to flash.
  case append, save, delete, findOldest
}

extension FlashQueue {
  /// How long progress is not stored that costs nothing but messages that are delivered twice after a power cut.
  static var saveInterval: TimeSpan { .seconds(60) }
  /// How soon what has failed is tried again.
  static var retryPause: TimeSpan { .seconds(30) }
  /// How often in a row a segment may not be readable before it is passed over.
  static var readRetriesMax: Int { 5 }
  /// Operations that are asked for in one turn: those that are answered at once.
  static var operationsPerTurnMax: Int { 8 }

  /// Whether what is on flash is not known yet.
  var isRecovering: Bool {
    work.rawValue >= FlashWork.readAccount.rawValue && work.rawValue <= FlashWork.setLastAside.rawValue
      && failure == nil
  }

  /// Goes on with what is under way, and begins what is due. To be called in each turn of the loop in which there is a
  /// queue, before messages are sent and behind that.
  public mutating func advance<H: HostStorage & ~Copyable>(_ now: Instant, _ host: inout H) {
    lastTurn = now
    for _ in 0..<FlashQueue.operationsPerTurnMax {
      if work == .none { choose() }
      guard work != .none, !isWaitingForRetry else { return }
      let answer = perform(&host)
      if answer == .pending { return }
      let done = work
      work = .none
      take(answer, of: done)
    }
  }

  private var isWaitingForRetry: Bool { !isRecovered && lastTurn < retryFrom }

  /// Whether it is known what is on flash.
  var isRecovered: Bool { recovery.isDone }

  /// When time alone moves it on; `never` while the storage, the server or a message does.
  public func deadline(_ now: Instant) -> Instant {
    if work != .none { return isWaitingForRetry ? retryFrom : .never }
    guard isRecovered else { return retryFrom }
    var deadline = Instant.never
    if let first = firstUnwritten { deadline = flushTime(of: first) }
    if let dirtySince { deadline = min(deadline, dirtySince + FlashQueue.saveInterval) }
    deadline = max(deadline, retryFrom)
    // Once it may be tried again, it waits for somebody who wants to read.
    return readRetryFrom > now ? min(deadline, readRetryFrom) : deadline
  }

  /// The agent is about to end: what is known is stored at once.
  public mutating func prepareEnd() { isEnding = true }

  /// Whether the end need not wait for the storage.
  public var isReadyToEnd: Bool { failure != nil || (work == .none && isRecovered && !isDirty && !hasUnwritten) }

  private var hasUnwritten: Bool { firstUnwritten != nil }

  /// The first staged message that is not being written and may wait.
  private var firstUnwritten: Int? {
    for index in 0..<entries.count where entries[index].sequence == 0 { return index }
    return nil
  }

  private func flushTime(of entry: Int) -> Instant {
    let isFull = entries.count >= options.flushCount || bytes.count > bytes.capacity / 2 || isEnding
    return isFull ? Instant(milliseconds: .min) : entries[entry].since + options.flushTime
  }

  // MARK: What is next

  private mutating func choose() {
    guard isRecovered else {
      work = .readAccount
      return
    }
    guard lastTurn >= retryFrom else { return }
    for index in 0..<MessagePriority.count where lanes[index].isPassed(lanes[index].savedBase) {
      return begin(.delete, index)
    }
    for index in 0..<MessagePriority.count where lanes[index].isPassed(lanes[index].base) { return beginSaving() }
    if let dirtySince, isEnding || lastTurn >= dirtySince + FlashQueue.saveInterval { return beginSaving() }
    if let first = firstUnwritten, lastTurn >= flushTime(of: first) { beginWriting(Int(entries[first].priority)) }
  }

  private mutating func begin(_ next: FlashWork, _ lane: Int) {
    work = next
    workLane = lane
  }

  private mutating func beginSaving() {
    FlashBookkeeping.write(lanes, counts, options.identity, into: &account)
    for index in lanes.indices { savingBases[index] = lanes[index].base }
    isDirty = false
    work = .save
  }

  /// Makes a batch of what is staged of `lane`, or room for it.
  private mutating func beginWriting(_ lane: Int) {
    if lanes[lane].writeOffset >= segmentBytes { endSegment(lane) }
    let isNew = lanes[lane].writeSegment == 0
    let number = isNew ? lanes[lane].next : lanes[lane].writeSegment
    batch.removeAll()
    if isNew { SegmentHeader.append(lane.priority, number, options.identity, to: &batch) }
    let left = lanes[lane].leftBytes
    let room = min(batch.capacity, options.byteCountMax - byteCount + left)
    var offset = 0
    var sequence = lanes[lane].next
    for index in 0..<entries.count {
      let count = Int(entries[index].byteCount)
      if Int(entries[index].priority) == lane, entries[index].sequence == 0 {
        if batch.count + count > room { break }
        let start = batch.count
        copy(offset..<(offset + count), of: bytes, to: &batch)
        batch.sealRecord(from: start, sequence, in: number, of: options.identity)
        entries[index].sequence = sequence
        sequence += 1
        if lanes[lane].writeOffset + batch.count >= segmentBytes { break }
      }
      offset += count
    }
    if sequence > lanes[lane].next { return begin(.append, lane) }
    makeRoom(for: lane)
  }

  /// The next record begins another segment.
  mutating func endSegment(_ lane: Int) {
    if lanes[lane].readSegment == lanes[lane].writeSegment { lanes[lane].readEnd = lanes[lane].next }
    lanes[lane].writeSegment = 0
    lanes[lane].writeOffset = 0
  }

  // MARK: Full

  private mutating func makeRoom(for lane: Int) {
    // First what nobody needs: a segment whose messages are all settled.
    for index in 0..<MessagePriority.count
    where lanes[index].oldest > 0 && lanes[index].base == lanes[index].next {
      endSegment(index)
      lanes[index].goTo(lanes[index].next)
      return beginSaving()
    }
    let victim = victim(for: lane)
    guard victim >= 0 else { return refuse(lane) }
    if lanes[victim].oldest == lanes[victim].readSegment {
      if lanes[victim].readSegment == lanes[victim].writeSegment {
        endSegment(victim)
      } else if lanes[victim].end == 0 {
        return begin(.findEnd, victim)
      }
      drop(victim, upTo: lanes[victim].end)
    } else {
      drop(victim, upTo: lanes[victim].readSegment)
    }
    beginSaving()
  }

  private func victim(for lane: Int) -> Int {
    if options.full == .newest { return -1 }
    if options.full == .oldest, lanes[lane].oldest > 0 { return lane }
    let highest = options.full == .oldest ? MessagePriority.count - 1 : lane
    for index in 0...highest where lanes[index].oldest > 0 { return index }
    return -1
  }

  /// What cannot be written stays in memory, until that is full; then it has to go like anything there.
  private mutating func refuse(_ lane: Int) { retryFrom = lastTurn + FlashQueue.retryPause }

  /// Drops everything below `end`, also what the client has: that may still arrive.
  private mutating func drop(_ lane: Int, upTo end: UInt64) {
    var dropped: UInt64 = 0
    var index = 0
    while index < inflight.count {
      if Int(inflight[index].priority) == lane, inflight[index].sequence < end {
        if inflight[index].token == 0 { counts.abandoned += 1 } else { counts.dropped += 1 }
        dropped += 1
        inflight.remove(at: index)
      } else {
        index += 1
      }
    }
    if end > lanes[lane].read {
      counts.dropped += end - lanes[lane].read
      dropped += end - lanes[lane].read
      lanes[lane].read = end
      lanes[lane].goTo(end)
      if windowLane == lane { windowLane = -1 }
    } else if lanes[lane].read == end {
      lanes[lane].goTo(end)
      if windowLane == lane { windowLane = -1 }
    }
    // What is settled and neither dropped nor given up has been delivered.
    counts.delivered += end - lanes[lane].base - dropped
    setBase(lane, end)
    settle(lane)
  }

  // MARK: Operations

  private mutating func perform<H: HostStorage & ~Copyable>(_ host: inout H) -> StorageAnswer {
    let lane = workLane
    let series = lane.priority.series
    switch work {
    case .none: return .done
    case .readAccount:
      account.removeAll()
      return host.readRecord(.queue, into: &account)
    case .findSegments: return host.findSegments(of: series, from: 0, &recovery.found)
    case .scan:
      windowBytes.removeAll()
      return host.readSegment(StorageSegment(series, recovery.number), at: recovery.offset, into: &windowBytes)
    case .cutEnd:
      batch.removeAll()
      return host.appendToSegment(
        StorageSegment(series, recovery.number), at: recovery.goodEnd, batch.span, isFlushed: true)
    case .deleteLast: return host.deleteSegment(StorageSegment(series, recovery.number))
    case .setLastAside: return host.setSegmentAside(StorageSegment(series, recovery.number))
    case .fill:
      windowBytes.removeAll()
      return host.readSegment(
        StorageSegment(series, lanes[lane].readSegment), at: lanes[lane].readOffset, into: &windowBytes)
    case .findEnd: return host.findSegments(of: series, from: lanes[lane].readSegment + 1, &recovery.found)
    case .setAside: return host.setSegmentAside(StorageSegment(series, lanes[lane].readSegment))
    case .append:
      let isNew = lanes[lane].writeSegment == 0
      return host.appendToSegment(
        StorageSegment(series, isNew ? lanes[lane].next : lanes[lane].writeSegment), at: lanes[lane].writeOffset,
        batch.span, isFlushed: true)
    case .save: return host.replaceRecord(.queue, account.span)
    case .delete: return host.deleteSegment(StorageSegment(series, lanes[lane].oldest))
    case .findOldest: return host.findSegments(of: series, from: lanes[lane].oldest, &recovery.found)
    }
  }

  private mutating func take(_ answer: StorageAnswer, of done: FlashWork) {
    let lane = workLane
    switch done {
    case .none: break
    case .readAccount, .findSegments, .scan, .cutEnd, .deleteLast, .setLastAside: recover(answer, of: done)
    case .fill: takeFilled(answer, lane)
    case .findEnd:
      guard answer == .done || answer == .notFound else { return noteReadFailure(answer) }
      lanes[lane].readEnd = answer == .done ? recovery.found.first : lanes[lane].next
    case .setAside:
      guard answer == .done else { return noteFailure(answer) }
      counts.filesSetAside += 1
      asideNumber = lanes[lane].readSegment
      // What was in it is lost as far as this queue is concerned.
      isDirty = true
      begin(.findOldest, lane)
    case .append: answer == .done ? takeWritten(lane) : takeUnwritten(answer, lane)
    case .save:
      guard answer == .done else {
        isDirty = true
        return noteFailure(answer)
      }
      for index in lanes.indices { lanes[index].savedBase = savingBases[index] }
    case .delete:
      guard answer == .done else { return noteFailure(answer) }
      begin(.findOldest, lane)
    case .findOldest:
      guard answer == .done || answer == .notFound else { return noteFailure(answer) }
      lanes[lane].oldest = answer == .done ? recovery.found.first : 0
      lanes[lane].byteCount = answer == .done ? Int(truncatingIfNeeded: recovery.found.byteCount) : 0
    }
  }

  /// Something could not be done: later again, and everything else that writes with it.
  mutating func noteFailure(_ answer: StorageAnswer) {
    failure = answer
    failureCount += 1
    retryFrom = lastTurn + FlashQueue.retryPause
  }

  private mutating func noteReadFailure(_ answer: StorageAnswer) {
    readRetries += 1
    failureCount += 1
    // By itself: what cannot be written must not keep what is there from being read.
    readRetryFrom = lastTurn + FlashQueue.retryPause
  }

  // MARK: Read

  private mutating func takeFilled(_ answer: StorageAnswer, _ lane: Int) {
    if answer != .done, answer != .notFound, readRetries < FlashQueue.readRetriesMax { return noteReadFailure(answer) }
    // A segment that is not there, or cannot be read for good, is like an empty one.
    if answer != .done { windowBytes.removeAll() }
    readRetries = 0
    isWindowLast = windowBytes.freeCount > 0
    windowLane = lane
    guard lanes[lane].readOffset == 0, answer == .done else { return }
    batch.removeAll()
    SegmentHeader.append(lane.priority, lanes[lane].readSegment, options.identity, to: &batch)
    let kind = SegmentHeader.kind(windowBytes.span, batch.span)
    skipBytes(lane, min(FlashLimits.segmentHeaderBytes, windowBytes.count))
    // A record of ours says more than a header that is damaged.
    if kind == .foreign, !startsWithRecord(lane) {
      windowBytes.removeAll()
      begin(.setAside, lane)
    }
  }

  private func startsWithRecord(_ lane: Int) -> Bool {
    if case .whole = windowBytes.record(
      at: 0, in: lanes[lane].readSegment, of: options.identity, byteCountMax: recordBytesMax)
    {
      return true
    }
    return false
  }

  // MARK: Written

  private mutating func takeWritten(_ lane: Int) {
    failure = nil
    let isNew = lanes[lane].writeSegment == 0
    let hadBacklog = lanes[lane].read < lanes[lane].next
    if isNew {
      lanes[lane].writeSegment = lanes[lane].next
      if lanes[lane].oldest == 0 { lanes[lane].oldest = lanes[lane].next }
    }
    if !hadBacklog {
      lanes[lane].readSegment = lanes[lane].writeSegment
      lanes[lane].readOffset = lanes[lane].writeOffset + (isNew ? FlashLimits.segmentHeaderBytes : 0)
      lanes[lane].readEnd = 0
      if windowLane == lane { windowLane = -1 }
    }
    if windowLane == lane { isWindowLast = false }
    lanes[lane].writeOffset += batch.count
    lanes[lane].byteCount += batch.count
    lanes[lane].leftBytes = 0
    var isLeading = !hadBacklog
    var index = 0
    while index < entries.count {
      let entry = entries[index]
      guard entry.sequence > 0 else {
        index += 1
        continue
      }
      if entry.state == .waiting { isLeading = false }
      if entry.state == .sent || entry.state == .abandoned {
        _ = inflight.append(
          InflightMessage(
            token: entry.state == .sent ? entry.token : 0, sequence: entry.sequence, priority: entry.priority))
      }
      if isLeading {
        lanes[lane].read += 1
        lanes[lane].readOffset += Int(entry.byteCount)
      }
      lanes[lane].next += 1
      removeStaged(index)
    }
    settle(lane)
  }

  private mutating func takeUnwritten(_ answer: StorageAnswer, _ lane: Int) {
    noteFailure(answer)
    lanes[lane].leftBytes = batch.count
    // Nothing that was behind its last flush can be relied on.
    let isDoubtful = answer == .failed || answer == .damaged || answer == .notFound
    if isDoubtful, lanes[lane].writeSegment > 0 {
      lanes[lane].byteCount += batch.count
      lanes[lane].leftBytes = 0
      endSegment(lane)
    }
    var index = 0
    while index < entries.count {
      entries[index].sequence = 0
      let isSettled = entries[index].state == .delivered || entries[index].state == .abandoned
      if isSettled { settleStaged(index) } else { index += 1 }
    }
  }
}

extension Int {
  var priority: MessagePriority { MessagePriority(rawValue: UInt8(truncatingIfNeeded: self)) ?? .normal }
}

// As members of one value they would overlap.
@inline(never)
private func copy(_ range: Range<Int>, of source: borrowing ByteBuffer, to target: inout ByteBuffer) {
  target.append(source.span.extracting(range))
}
