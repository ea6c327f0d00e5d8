import Bytes
import HostInterface
import Simulator
import Storage
import TestSupport
import Testing

@Suite struct SegmentTests {
  @Test func growsAndIsRead() {
    let disk = SimulatedDisk()
    #expect(disk.readSegment().answer == .notFound)
    #expect(disk.append([1, 2, 3], at: 0, isFlushed: false) == .done)
    #expect(disk.append([4, 5], at: 3, isFlushed: true) == .done)
    #expect(disk.append([], at: 5, isFlushed: true) == .done)
    #expect(disk.readSegment() == (.done, [1, 2, 3, 4, 5]))
    #expect(disk.readSegment(at: 3) == (.done, [4, 5]))
    #expect(disk.readSegment(at: 1, room: 2) == (.done, [2, 3]))
    #expect(disk.readSegment(at: 5) == (.done, []))
    #expect(disk.readSegment(at: 500) == (.done, []))
    #expect(disk.fileNames == ["queue.0000000000000001"])
  }

  @Test func appendingAgainIsHarmless() {
    let disk = SimulatedDisk()
    for _ in 0..<2 { #expect(disk.append([1, 2, 3], at: 0, isFlushed: true) == .done) }
    for _ in 0..<2 { #expect(disk.append([4], at: 3, isFlushed: true) == .done) }
    #expect(disk.readSegment() == (.done, [1, 2, 3, 4]))
  }

  @Test func aTornTailIsCutOff() {
    let disk = SimulatedDisk()
    disk["queue.0000000000000001"] = [1, 2, 3, 0, 0, 0, 7]
    #expect(disk.append([4], at: 3, isFlushed: true) == .done)
    disk.restart(Fate(seed: 1))
    #expect(disk.readSegment() == (.done, [1, 2, 3, 4]))
  }

  @Test func aGapIsRefused() {
    let disk = SimulatedDisk()
    #expect(disk.append([1], at: 1, isFlushed: true) == .notFound)
    #expect(disk.append([1], at: 0, isFlushed: true) == .done)
    #expect(disk.append([1], at: 2, isFlushed: true) == .damaged)
    #expect(disk.readSegment() == (.done, [1]))
  }

  @Test func areFoundByNumber() {
    let disk = SimulatedDisk()
    disk["clock-floor"] = [0]
    for name in [
      "queue", "queue.", "queue.1", "queue.000000000000000A", "queue.00000000000000001", "aqueue.0000000000000001",
      "queue.000000000000000g", "other.0000000000000001", "queue.0000000000000001.new", "0000000000000001",
    ] { disk[name] = [9, 9] }
    #expect(disk.find().answer == .notFound)
    for number: UInt64 in [0, 7, 8, 0x1234_5678_9ABC_DEF0, .max] {
      #expect(disk.append([1, 2, 3], to: number, at: 0, isFlushed: true) == .done)
    }
    let all = disk.find()
    #expect(all.answer == .done)
    #expect(all.range.count == 5 && all.range.byteCount == 15)
    #expect(all.range.first == 0 && all.range.last == .max)
    let later = disk.find(from: 9).range
    #expect(later.count == 2 && later.first == 0x1234_5678_9ABC_DEF0)
    #expect(disk["queue.123456789abcdef0"] == [1, 2, 3])
    #expect(disk.delete(.max) == .done)
    #expect(disk.delete(.max) == .done, "deleted already")
    #expect(disk.find(from: 9).range.last == 0x1234_5678_9ABC_DEF0)
    #expect(disk.find(from: .max).answer == .notFound)
  }

  /// What was flushed is there, whatever else is.
  @Test func noPowerCutLosesFlushedBytes() {
    var flushed: [UInt8] = []
    var isDeleted = false
    let historyCount = enumeratePowerCuts(
      { disk in
        (flushed, isDeleted) = ([], false)
        if disk.append([1, 2, 3], at: 0, isFlushed: true) == .done { flushed = [1, 2, 3] }
        _ = disk.append([4, 5], at: 3, isFlushed: false)
        if disk.append([6], at: 5, isFlushed: true) == .done { flushed = [1, 2, 3, 4, 5, 6] }
        _ = disk.append([7, 8], at: 6, isFlushed: false)
        // An owner that takes back what it had not flushed.
        if disk.append([9], at: 6, isFlushed: true) == .done { flushed = [1, 2, 3, 4, 5, 6, 9] }
        isDeleted = disk.isOff || disk.delete(1) == .done
        isDeleted = isDeleted && !disk.isOff
      },
      check: { disk, call in
        let found = disk.readSegment()
        if isDeleted {
          #expect(found.answer == .notFound, "cut at \(call)")
          return found.answer == .notFound
        }
        let isKept = Array(found.bytes.prefix(flushed.count)) == flushed
        // The deletion was under way.
        let isGone = found.answer == .notFound && (flushed.isEmpty || flushed.count == 7)
        if isKept || isGone { return true }
        Issue.record("cut at \(call): \(found), flushed \(flushed)")
        return false
      })
    #expect(historyCount > 100)
  }

  /// After an error the segment is left alone, as the contract says, and what was flushed before is still there.
  @Test func noErrorOfTheMediumLosesFlushedBytes() {
    for failing in 0..<14 {
      var flushed: [UInt8] = []
      enumeratePowerCuts(
        { disk in
          flushed = []
          disk.faults.failing = [failing]
          guard disk.append([1, 2, 3], at: 0, isFlushed: true) == .done else { return }
          flushed = [1, 2, 3]
          guard disk.append([4, 5], at: 3, isFlushed: true) == .done else { return }
          flushed = [1, 2, 3, 4, 5]
        },
        check: { disk, call in
          let found = disk.readSegment()
          if Array(found.bytes.prefix(flushed.count)) == flushed { return true }
          Issue.record("call \(failing) failed, cut at \(call): \(found), flushed \(flushed)")
          return false
        })
    }
  }

  @Test func aFullOrReadOnlyDiskIsNamed() {
    let disk = SimulatedDisk()
    #expect(disk.append([1, 2, 3], at: 0, isFlushed: true) == .done)
    disk.faults.capacity = 5
    #expect(disk.append([4, 5, 6], at: 3, isFlushed: true) == .noSpace)
    #expect(disk.append([4, 5], at: 3, isFlushed: true) == .done, "the part that fitted is cut off")
    #expect(disk.append([1], to: 2, at: 0, isFlushed: true) == .noSpace)
    disk.faults.readOnlyFrom = 0
    #expect(disk.append([6], at: 5, isFlushed: true) == .readOnly)
    #expect(disk.delete(1) == .readOnly)
    #expect(disk.readSegment() == (.done, [1, 2, 3, 4, 5]))
  }
}
