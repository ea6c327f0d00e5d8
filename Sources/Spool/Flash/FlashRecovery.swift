// What is on flash at a start: names of files, and of each priority the newest segment, whose end may be torn. Older
// ones are looked at when their turn comes.

import Bytes
import HostInterface

/// Where a recovery is.
struct FlashRecovery: BitwiseCopyable {
  /// What was found last; also of later searches.
  var found = StorageSegmentRange()
  /// The newest segment of the lane, how far it was looked at, where its last record ends, and the sequence behind it.
  var number: UInt64 = 0
  var offset = 0
  var goodEnd = 0
  var next: UInt64 = 0
  var kind = SegmentHeader.Kind.unknown
  /// Whether there was an account of ours.
  var hasAccount = false
  /// Whether it is over.
  var isDone = false
}

extension FlashQueue {
  /// What comes behind an operation of the recovery.
  mutating func recover(_ answer: StorageAnswer, of done: FlashWork) {
    let lane = workLane
    switch done {
    case .readAccount:
      guard answer == .done || answer == .notFound || answer == .damaged else { return noteFailure(answer) }
      windowLane = -1
      recovery.hasAccount =
        answer == .done && FlashBookkeeping.read(account, options.identity, &lanes, &counts)
      beginFinding(0)
    case .findSegments:
      guard answer != .notFound else { return takeLane(lane, StorageSegmentRange()) }
      guard answer == .done else { return noteFailure(answer) }
      recovery.number = recovery.found.last
      recovery.next = recovery.number
      recovery.offset = 0
      recovery.goodEnd = 0
      work = .scan
    case .scan:
      guard answer == .done else { return noteFailure(answer) }
      scan(lane)
    case .cutEnd:
      // Where it cannot be cut, another segment is begun.
      let isCut = answer == .done
      if isCut { recovery.found.byteCount -= UInt64(recovery.offset - recovery.goodEnd) }
      takeLane(lane, recovery.found, canGrow: isCut)
    case .deleteLast, .setLastAside:
      guard answer == .done else { return noteFailure(answer) }
      if done == .setLastAside {
        counts.filesSetAside += 1
        asideNumber = recovery.number
        isDirty = true
      }
      beginFinding(lane)
    default: break
    }
  }

  private mutating func beginFinding(_ lane: Int) {
    workLane = lane
    recovery.found = StorageSegmentRange()
    work = .findSegments
  }

  /// Looks for the last record, as far as the window goes.
  private mutating func scan(_ lane: Int) {
    let isLast = windowBytes.freeCount > 0
    if recovery.offset == 0 { scanHeader(lane) }
    // Each turn passes over a byte at least.
    while true {
      switch windowBytes.record(
        at: 0, in: recovery.number, of: options.identity, byteCountMax: recordBytesMax)
      {
      case .whole(let record) where record.sequence >= recovery.next && record.sequence < .max:
        windowBytes.removeFirst(record.byteCount)
        recovery.offset += record.byteCount
        recovery.goodEnd = recovery.offset
        recovery.next = record.sequence + 1
      case .short where !isLast:
        work = .scan
        return
      case .short where windowBytes.count < FlashLimits.recordHeaderBytes:
        recovery.offset += windowBytes.count
        return finishScan(lane)
      default:
        let count = windowBytes.bytesToMark
        windowBytes.removeFirst(count)
        recovery.offset += count
      }
    }
  }

  private mutating func scanHeader(_ lane: Int) {
    batch.removeAll()
    SegmentHeader.append(lane.priority, recovery.number, options.identity, to: &batch)
    recovery.kind = SegmentHeader.kind(windowBytes.span, batch.span)
    let count = min(FlashLimits.segmentHeaderBytes, windowBytes.count)
    windowBytes.removeFirst(count)
    recovery.offset = count
  }

  private mutating func finishScan(_ lane: Int) {
    if recovery.next == recovery.number {
      // Nothing of ours is in it. What is certainly no one else's either is what a power cut left of its beginning.
      work = recovery.kind == .own ? .deleteLast : .setLastAside
      if recovery.kind == .own, recovery.offset > 0 { noteTorn() }
      return
    }
    guard recovery.offset > recovery.goodEnd else { return takeLane(lane, recovery.found, canGrow: true) }
    noteTorn()
    work = .cutEnd
  }

  private mutating func noteTorn() {
    counts.tornEnds += 1
    isDirty = true
  }

  /// What is known of a lane now.
  private mutating func takeLane(_ lane: Int, _ found: StorageSegmentRange, canGrow: Bool = false) {
    if found.count > 0 {
      if !recovery.hasAccount {
        lanes[lane].base = found.first
      } else if found.first > lanes[lane].base {
        // Segments that are gone.
        counts.damaged += found.first - lanes[lane].base
        isDirty = true
        lanes[lane].base = found.first
      }
    }
    let base = lanes[lane].base
    lanes[lane].next = found.count > 0 ? max(recovery.next, base) : base
    lanes[lane].read = base
    lanes[lane].oldest = found.first
    lanes[lane].byteCount = Int(truncatingIfNeeded: found.byteCount)
    let grows = canGrow && recovery.next == lanes[lane].next
    lanes[lane].writeSegment = grows ? recovery.number : 0
    lanes[lane].writeOffset = grows ? recovery.goodEnd : 0
    lanes[lane].goTo(found.count > 0 ? found.first : base)
    if base == lanes[lane].next, grows {
      lanes[lane].goTo(recovery.number)
      lanes[lane].readOffset = recovery.goodEnd
    }
    if lane + 1 < MessagePriority.count { return beginFinding(lane + 1) }
    recovery.isDone = true
    work = .none
  }
}
