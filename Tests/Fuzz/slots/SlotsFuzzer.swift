// Feeds the slot record, in its two copies, and behind them what program and supervisor do with it. Whatever the bytes:
// nothing traps, a record that is read is read again as it is written, one image at a time is tried, only one that was
// tried becomes good, and every trial comes to an end.

import Bytes
import Firmware
import HostInterface

private let copyBytes = FirmwareLimits.slotRecordBytes
private let checkOffset = copyBytes - 4

/// What libFuzzer calls with each pair of copies.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSlots(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeBufferPointer(start: start, count: count))
  guard count >= 2 * copyBytes else { return 0 }
  var copies = Array(input.prefix(2 * copyBytes))
  _ = SlotRecord.newest(of: copies.span)
  // Checksums are not guessed: what follows would never be reached.
  for copy in 0..<2 {
    var check = CRC32C()
    for offset in 0..<checkOffset { check.add([copies[copy * copyBytes + offset]].span) }
    for index in 0..<4 {
      copies[copy * copyBytes + checkOffset + index] = UInt8(truncatingIfNeeded: check.value >> UInt32(24 - 8 * index))
    }
  }
  guard let (record, next) = SlotRecord.newest(of: copies.span) else { return 0 }
  precondition(next == 0 || next == 1, "a third copy")
  var current = record
  check(current)
  for command in input.dropFirst(2 * copyBytes).prefix(64) { act(&current, command) }
  finish(current)
  return 0
}

/// What must hold of each record.
private func check(_ record: SlotRecord) {
  let bytes = record.bytes
  var copies: [UInt8] = []
  for index in bytes.indices { copies.append(bytes[index]) }
  // The other copy is torn.
  copies += [UInt8](repeating: 0xFF, count: copyBytes)
  guard let (again, next) = SlotRecord.newest(of: copies.span) else { fatalError("what was written is not read") }
  precondition(next == 1, "the only whole copy is written over")
  let others = again.bytes
  for index in bytes.indices { precondition(bytes[index] == others[index], "another record") }
  for place in [FirmwarePlace.slotA, .slotB] {
    precondition(record[place].version.count <= SlotLimits.versionBytesMax, "a version beyond its room")
    precondition(record.freeSlot(running: place) != place, "what runs is written over")
  }
  if case .good(let place) = record.settled {
    precondition(record[place].state == .good && record.active == place, "started without having proved itself")
  }
  if let trial = record.trial {
    precondition(record[trial].state == .trial && record[trial.other].state != .trial, "another one is tried")
  }
}

/// One thing that program or supervisor do, where they may.
private func act(_ record: inout SlotRecord, _ command: UInt8) {
  let place: FirmwarePlace = command & 0x80 == 0 ? .slotA : .slotB
  let before = record[place].state
  let digest = Digest([UInt8](repeating: command, count: Digest.byteCount).span)
  switch command & 7 {
  case 0: record.beginWriting(place)
  case 1: record.noteVerified(place, digest, version: [UInt8]("1.5.0".utf8).span, securityVersion: UInt32(command >> 3))
  case 2: if before == .verified, record.trial == nil { record.beginTrial(place) }
  case 3:
    let floor = record.floor
    record.commit(place)
    precondition(record.floor >= floor, "the floor has sunk")
    precondition(record[place].state != .good || before == .good || before == .trial, "good without a trial")
  case 4:
    if case .trial(let tried) = record.prepareStart().start {
      precondition(record.trial == tried, "what is not on trial is tried")
    }
  case 5: record.noteFailure(RevertReason(rawValue: max(command >> 4 & 7, 1)) ?? .wrong, detail: command)
  case 6: record.empty(place)
  default: record.advance()
  }
  check(record)
}

/// A program that never proves itself is given up after so many starts at most, and what was good before is started.
private func finish(_ record: SlotRecord) {
  var record = record
  let settled = record.settled
  guard let place = record.trial else { return }
  var starts = 0
  while case .trial = record.prepareStart().start {
    starts += 1
    // As many as there are, and an extra one.
    precondition(starts <= Int(UInt8.max) + 1, "a trial does not end")
    if starts.isMultiple(of: 2) { record.noteFailure(.exited, detail: 1) }
  }
  precondition(record.trial == nil && record[place].state == .bad, "it is still tried")
  precondition(record.settled == settled, "another program than before is started")
  precondition(record.revertedDigest.equals(record[place].digest), "another one was given up")
}
