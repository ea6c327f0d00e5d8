// From flash to the server: the next record, and what is passed over on the way to it.

import Bytes
import HostInterface

extension FlashQueue {
  /// The next record of a lane that has some. Nil while it is being looked for: something must be read first, or what
  /// is with the client be settled, because what is lost is counted behind it.
  mutating func readable(_ lane: Int, _ wall: UInt64) -> FlashRecord? {
    // Each turn passes over a byte of the window at least, or goes to a later segment.
    while lanes[lane].read < lanes[lane].next {
      let end = lanes[lane].end
      guard end > 0 else { return want(.findEnd, lane) }
      if lanes[lane].read >= end {
        enter(lane, end)
        continue
      }
      guard windowLane == lane else { return want(.fill, lane) }
      switch windowBytes.record(
        at: 0, in: lanes[lane].readSegment, of: options.identity, byteCountMax: recordBytesMax)
      {
      case .whole(let record):
        if record.sequence < lanes[lane].read {
          skipBytes(lane, record.byteCount)
          continue
        }
        // What a writing that failed has left: it was written again into the next segment.
        if record.sequence >= end {
          guard lose(lane, end) else { return nil }
          continue
        }
        guard lose(lane, record.sequence) else { return nil }
        guard isTooOld(record, wall) else { return record }
        guard lanes[lane].base == lanes[lane].read else { return nil }
        counts.expired += 1
        pass(lane, record.byteCount)
        setBase(lane, lanes[lane].read)
      case .short:
        guard isWindowLast else { return want(.fill, lane) }
        // The file has no more: what should be there is not.
        if windowBytes.count <= FlashLimits.recordHeaderBytes {
          guard lose(lane, end) else { return nil }
        } else {
          skipToMark(lane)
        }
      case .damaged: skipToMark(lane)
      }
    }
    return nil
  }

  private mutating func want(_ wanted: FlashWork, _ lane: Int) -> FlashRecord? {
    guard work == .none, readRetryFrom <= lastTurn else { return nil }
    work = wanted
    workLane = lane
    if wanted == .fill {
      windowLane = -1
      windowBytes.removeAll()
    }
    return nil
  }

  private func isTooOld(_ record: FlashRecord, _ wall: UInt64) -> Bool {
    options.keep > .zero && record.taken > 0 && wall > record.taken
      && wall - record.taken > UInt64(options.keep.milliseconds)
  }

  /// Everything up to `sequence` is lost, if it is not there; false where something before it is with the client.
  @inline(never)  // small code: this is called from several places
  private mutating func lose(_ lane: Int, _ sequence: UInt64) -> Bool {
    guard sequence > lanes[lane].read else { return true }
    guard lanes[lane].base == lanes[lane].read else { return false }
    counts.damaged += sequence - lanes[lane].read
    lanes[lane].read = sequence
    setBase(lane, sequence)
    return true
  }

  private mutating func enter(_ lane: Int, _ segment: UInt64) {
    lanes[lane].goTo(segment)
    if windowLane == lane { windowLane = -1 }
  }

  /// Goes to where another record may begin.
  @inline(never)  // small code: this is called from several places
  mutating func skipToMark(_ lane: Int) {
    let count = windowBytes.bytesToMark
    skipBytes(lane, count)
  }
}

extension ByteBuffer {
  /// How many bytes are in front of what may be the beginning of a record, the first one left aside.
  var bytesToMark: Int {
    let bytes = span
    var index = 1
    while index < bytes.count, bytes[index] != 0x4D || (index + 1 < bytes.count && bytes[index + 1] != 0x71) {
      index += 1
    }
    return min(index, bytes.count)
  }
}
