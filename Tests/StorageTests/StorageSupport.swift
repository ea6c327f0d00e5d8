// Records and segments on a simulated disk, with arrays instead of buffers.

import Bytes
import HostInterface
import Simulator
import Storage
import TestSupport

/// A name as the storage module makes it.
func fileName(_ text: String) -> StorageName {
  let bytes = Array(text.utf8)
  guard let name = StorageName(checking: bytes.span) else { preconditionFailure("too long") }
  return name
}

/// Content of a record that tells its version.
func content(_ version: Int) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: version &* 37 &+ $0) } }

extension SimulatedDisk {
  func replace(_ content: [UInt8]) -> StorageAnswer {
    var disk = self
    return replaceRecord(.clock, content.span, on: &disk)
  }

  /// The content of the record where it is whole.
  func readRecord() -> (answer: StorageAnswer, content: [UInt8]) {
    var disk = self
    var buffer = makeBuffer(capacity: 256)
    buffer.append(UInt8(ascii: "x"))
    let answer = Storage.readRecord(.clock, into: &buffer, on: &disk)
    precondition(buffer[0] == UInt8(ascii: "x"))
    return (answer, Array(Array(buffer.span).dropFirst()))
  }

  func append(_ bytes: [UInt8], to number: UInt64 = 1, at offset: Int, isFlushed: Bool) -> StorageAnswer {
    var disk = self
    return appendToSegment(StorageSegment(.queue, number), at: offset, bytes.span, isFlushed: isFlushed, on: &disk)
  }

  func readSegment(_ number: UInt64 = 1, at offset: Int = 0, room: Int = 4096) -> (
    answer: StorageAnswer, bytes: [UInt8]
  ) {
    var disk = self
    var buffer = makeBuffer(capacity: room)
    let answer = Storage.readSegment(StorageSegment(.queue, number), at: offset, into: &buffer, on: &disk)
    return (answer, Array(buffer.span))
  }

  func find(from number: UInt64 = 0) -> (answer: StorageAnswer, range: StorageSegmentRange) {
    var disk = self
    var range = StorageSegmentRange()
    let answer = findSegments(of: .queue, from: number, &range, on: &disk)
    return (answer, range)
  }

  func delete(_ number: UInt64) -> StorageAnswer {
    var disk = self
    return deleteSegment(StorageSegment(.queue, number), on: &disk)
  }
}

/// Runs `scenario` on a disk of its own with a power cut at each of its calls, one after the other, until it no longer
/// comes to one, and for each with everything that the cut may leave.
///
/// - Returns: how many histories there were.
@discardableResult
func enumeratePowerCuts(
  before: (SimulatedDisk) -> Void = { _ in }, _ scenario: (SimulatedDisk) -> Void,
  check: (SimulatedDisk, Int) -> Bool
) -> Int {
  var historyCount = 0
  var call = 0
  while true {
    let fate = Fate()
    var isReached = false
    repeat {
      let disk = SimulatedDisk()
      before(disk)
      disk.restart(Fate(seed: 1))
      disk.faults.cutAt = call
      scenario(disk)
      isReached = disk.isOff
      disk.restart(fate)
      historyCount += 1
      if !check(disk, call) { return historyCount }
    } while fate.advance()
    if !isReached { return historyCount }
    call += 1
  }
}
