import Bytes
import Firmware
import HostInterface
import TestSupport
import Testing

private func digest(_ byte: UInt8) -> Digest { Digest(InlineArray<32, UInt8>(repeating: byte)) }

private func copy(_ record: SlotRecord) -> [UInt8] {
  let bytes = record.bytes
  return (0..<256).map { bytes[$0] }
}

private func newest(_ first: [UInt8], _ second: [UInt8]) -> (record: SlotRecord, nextCopy: Int)? {
  let both = first + second
  return SlotRecord.newest(of: both.span)
}

/// A record in which `a` is good and `b` is tried.
private func trial() -> SlotRecord {
  var record = SlotRecord()
  let version = Array("1.0".utf8)
  record.beginWriting(.slotA)
  record.noteVerified(.slotA, digest(1), version: version.span, securityVersion: 3)
  record.beginTrial(.slotA)
  record.commit(.slotA)
  record.beginWriting(.slotB)
  record.noteVerified(.slotB, digest(2), version: version.span, securityVersion: 4)
  record.beginTrial(.slotB)
  return record
}

@Suite struct SlotRecordTests {
  private let nothing = [UInt8](repeating: 0, count: 256)

  // MARK: Copies

  @Test func aCopyHasAllOfTheRecord() throws {
    var record = trial()
    record.noteFailure(.exited, detail: 7)
    record.advance()
    let read = try #require(newest(copy(record), nothing))
    #expect(copy(read.record) == copy(record))
    #expect(read.nextCopy == 1)
    #expect(read.record.trial == .slotB && read.record.active == .slotA && read.record.floor == 3)
    #expect(read.record[.slotA].state == .good && Array(read.record[.slotA].version) == Array("1.0".utf8))
    #expect(read.record[.slotB].digest.equals(digest(2)) && read.record[.slotB].securityVersion == 4)
    #expect(read.record.failures == 1 && read.record.revertReason == .exited && read.record.revertDetail == 7)
    // SLOTS.md.
    #expect(Array(copy(record)[0..<8]) == [0x4D, 0x6F, 0x53, 0x6C, 0, 1, 1, 0])
    #expect(copy(record)[16] == 1 && copy(record)[17] == 3 && Array(copy(record)[20..<22]) == [0x02, 0x58])
    #expect(copy(record)[144] == 3 && copy(record)[64] == 4)
  }

  @Test(
    arguments: [0, 1, 127, 128, 255, 256, 0x7FFF_FFFE, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF] as [UInt32])
  func theNumberWraps(_ number: UInt32) throws {
    var bytes = copy(trial())
    for index in 0..<4 { bytes[8 + index] = UInt8(truncatingIfNeeded: number >> UInt32(24 - 8 * index)) }
    var check = CRC32C()
    check.add(Array(bytes[..<252]).span)
    for index in 0..<4 { bytes[252 + index] = UInt8(truncatingIfNeeded: check.value >> UInt32(24 - 8 * index)) }
    var record = try #require(newest(bytes, nothing)).record
    #expect(record.sequence == number)
    record.advance()
    #expect(record.sequence == number &+ 1)
    #expect(try #require(newest(bytes, copy(record))).record.sequence == number &+ 1)
    #expect(try #require(newest(bytes, copy(record))).nextCopy == 0)
    #expect(try #require(newest(copy(record), bytes)).nextCopy == 1)
    #expect(try #require(newest(copy(record), bytes)).record.sequence == number &+ 1)
  }

  /// Each bit, and each length of a copy that was torn, over what was there before it.
  @Test func whateverIsLeftOfACopyTheOtherOneRules() throws {
    let old = trial()
    var new = old
    new.commit(.slotB)
    new.advance()
    new.advance()
    var points = 0
    for bit in 0..<(256 * 8) {
      var damaged = copy(new)
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      let read = try #require(newest(copy(old), damaged))
      #expect(copy(read.record) == copy(old) && read.nextCopy == 1)
      #expect(newest(nothing, damaged) == nil)
      points += 1
    }
    for before in [nothing, copy(old), [UInt8](repeating: 0xFF, count: 256)] {
      for count in 0..<256 {
        let torn = Array(copy(new)[..<count]) + before[count...]
        let isWhole = torn == copy(new)
        let read = try #require(newest(torn, copy(old)))
        #expect(copy(read.record) == (isWhole ? copy(new) : copy(old)))
        points += 1
      }
    }
    print("torn and damaged slot records: \(points)")
  }

  @Test func otherFormsAreNoRecords() {
    func changed(_ offset: Int, _ value: UInt8) -> [UInt8] {
      var bytes = copy(trial())
      bytes[offset] = value
      var check = CRC32C()
      check.add(Array(bytes[..<252]).span)
      for index in 0..<4 { bytes[252 + index] = UInt8(truncatingIfNeeded: check.value >> UInt32(24 - 8 * index)) }
      return bytes
    }
    for (offset, value) in [(5, 2), (16, 3), (22, 8), (64, 6), (64, 3), (65, 33), (145, 33)] as [(Int, UInt8)] {
      #expect(newest(changed(offset, value), nothing) == nil, "byte \(offset)")
    }
    #expect(newest(nothing, nothing) == nil)
    #expect(newest([UInt8](repeating: 0xFF, count: 256), nothing) == nil)
  }

  // MARK: Starts

  /// All that may happen to a trial: its start fails, for good or not, the power fails in it, or it proves itself.
  private enum Event: CaseIterable {
    case cut, failure, finalFailure, commit
  }

  @Test func eachTrialComesToAnEnd() {
    var paths = 0
    func goOn(_ record: SlotRecord, _ starts: Int, _ failures: Int, _ path: [Event]) {
      var record = record
      let (start, hasChanged) = record.prepareStart()
      #expect(hasChanged == true || record.trial == nil)
      guard case .trial(let place) = start else {
        paths += 1
        #expect(start == .good(record[.slotB].state == .good ? .slotB : .slotA))
        #expect(record.trial == nil)
        let isCommitted = path.last == .commit
        #expect(record[.slotB].state == (isCommitted ? .good : .bad))
        #expect(record.floor == (isCommitted ? 4 : 3))
        #expect(record.isReverted(digest(2)) != isCommitted)
        // Nothing is counted any more.
        #expect(record.prepareStart().hasChanged == false)
        return
      }
      #expect(place == .slotB && starts < 4, "\(path)")
      // A failure of its own is not forgiven by a start more.
      #expect(failures < 2 && (starts < 3 || path.last == .cut), "\(path)")
      for event in Event.allCases {
        var next = record
        switch event {
        case .cut: break
        case .failure: next.noteFailure(.exited, detail: 1)
        case .finalFailure: next.noteFailure(.damaged, isFinal: true)
        case .commit: next.commit(.slotB)
        }
        let isFailure = event == .failure || event == .finalFailure
        goOn(next, starts + 1, failures + (isFailure ? 1 : 0), path + [event])
      }
    }
    goOn(trial(), 0, 0, [])
    #expect(paths == 28)
  }

  @Test func aCutAtTheCommitIsNoLoss() throws {
    // The last try has none left; the commit reaches one copy only, and that one is torn.
    var record = trial()
    for _ in 0..<3 { #expect(record.prepareStart().start == .trial(.slotB)) }
    #expect(record.tries == 0)
    #expect(record.prepareStart().start == .trial(.slotB))
    record.commit(.slotB)
    #expect(record.prepareStart().start == .good(.slotB))
  }

  @Test func whatIsWrittenToIsNotStarted() {
    var record = trial()
    record.commit(.slotB)
    #expect(record.freeSlot(running: .slotB) == .slotA)
    record.beginWriting(.slotA)
    #expect(record.prepareStart().start == .good(.slotB))
    record.empty(.slotB)
    #expect(record.prepareStart().start == .packaged)
    #expect(SlotRecord().settled == .packaged)
    #expect(SlotRecord().freeSlot(running: nil) == .slotA)
  }

  @Test func aCommitIsForTheTrialOnly() {
    var record = trial()
    record.commit(.slotA)
    #expect(record.trial == .slotB)
    record.noteFailure(.exited, detail: 1)
    record.commit(.slotB)
    record.commit(.slotB)
    #expect(record.active == .slotB && record.floor == 4 && !record.isReverted(digest(2)))
    record.noteFailure(.exited)
    #expect(record[.slotB].state == .good)
  }
}
