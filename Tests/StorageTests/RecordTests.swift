import Bytes
import HostInterface
import Simulator
import Storage
import TestSupport
import Testing

@Suite struct RecordFormatTests {
  /// Computed by another program.
  static let file: [UInt8] = [
    0x4D, 0x6F, 0x52, 0x65, 0x00, 0x01, 0x00, 0x01, 0x00, 0x00, 0x00, 0x08, 0x5A, 0x78, 0xF3, 0xB9,
    0x00, 0x00, 0x01, 0x8B, 0xCF, 0xE5, 0x68, 0x00,
  ]
  static let time: [UInt8] = Array(file[16...])

  @Test func isAsDrawn() {
    let disk = SimulatedDisk()
    #expect(disk.replace(Self.time) == .done)
    #expect(disk["clock-floor"] == Self.file)
    #expect(disk.fileNames == ["clock-floor"])
    #expect(disk.readRecord() == (.done, Self.time))
  }

  @Test func takesTheStepsThatAreWritten() {
    let disk = SimulatedDisk()
    _ = disk.replace(Self.time)
    #expect(
      disk.trace == [
        "remove clock-floor.again", "remove clock-floor.new", "create clock-floor.new", "write 16 at 0",
        "write 8 at 16", "flush", "close",
        "rename clock-floor.new clock-floor", "flush folder",
      ])
  }

  @Test func everyBitCounts() {
    for bit in 0..<(Self.file.count * 8) {
      let disk = SimulatedDisk()
      disk["clock-floor"] = Self.file
      disk.flipBit(bit, of: "clock-floor")
      #expect(disk.readRecord() == (.damaged, []), "bit \(bit)")
    }
  }

  @Test func everyLengthCounts() {
    let disk = SimulatedDisk()
    for count in 0..<Self.file.count {
      disk["clock-floor"] = Array(Self.file[..<count])
      #expect(disk.readRecord() == (.damaged, []), "cut to \(count)")
      disk["clock-floor"] = Self.file[..<count] + Array(repeating: 0, count: Self.file.count - count)
      // The last byte is a zero anyway.
      let isWhole = count == Self.file.count - 1
      #expect(disk.readRecord() == (isWhole ? .done : .damaged, isWhole ? Self.time : []), "zeros from \(count) on")
    }
    for extra in [1, 2, 8, 9, 500] {
      disk["clock-floor"] = Self.file + Array(repeating: 0, count: extra)
      #expect(disk.readRecord() == (.damaged, []), "\(extra) more")
    }
  }

  @Test func anyContentIsKept() {
    let disk = SimulatedDisk()
    #expect(disk.readRecord() == (.notFound, []))
    for count in 0...StorageRecord.clock.bytesMax {
      for byte: UInt8 in [0, 0xFF, 0x4D] {
        let content = Array(repeating: byte, count: count)
        #expect(disk.replace(content) == .done)
        #expect(disk.readRecord() == (.done, content))
      }
    }
  }

  @Test func shortReadsAndWritesAreGoneOnWith() {
    let disk = SimulatedDisk()
    disk.faults.writeBytesMax = 3
    #expect(disk.replace(Self.time) == .done)
    #expect(disk.readRecord() == (.done, Self.time))
  }

  @Test func damageIsMendedByTheNextReplacement() {
    let disk = SimulatedDisk()
    disk["clock-floor"] = Array(text: "1764288000\n")
    #expect(disk.readRecord() == (.damaged, []))
    #expect(disk.replace(content(1)) == .done)
    #expect(disk.readRecord() == (.done, content(1)))
  }
}

@Suite struct RecordTests {
  /// Whole means: the old one or the new one, and the new one if that was promised.
  @Test func noPowerCutLosesARecord() {
    for hasOld in [false, true] {
      var answer = StorageAnswer.failed
      var seen: Set<[UInt8]> = []
      let historyCount = enumeratePowerCuts(
        before: { if hasOld { #expect($0.replace(content(1)) == .done) } },
        { answer = $0.replace(content(2)) },
        check: { disk, call in
          let found = disk.readRecord()
          seen.insert(found.content)
          let isNew = found == (.done, content(2))
          let isOld = found == (hasOld ? (.done, content(1)) : (.notFound, []))
          #expect(answer == .done ? isNew : isNew || isOld, "cut at \(call): \(found), answered \(answer)")
          // And it goes on.
          #expect(disk.replace(content(3)) == .done)
          #expect(disk.readRecord() == (.done, content(3)))
          #expect(disk.fileNames == ["clock-floor"], "cut at \(call): litter")
          return isNew || isOld
        })
      #expect(seen.count == 2, "a cut can leave either")
      #expect(historyCount > 900)
    }
  }

  /// Each call in turn reports an error, alone or together with all that follow; then the power fails.
  @Test(arguments: [false, true]) func noErrorOfTheMediumLosesARecord(isLasting: Bool) {
    // A second attempt has as many calls again.
    for failing in 0..<(isLasting ? 9 : 17) {
      var answer = StorageAnswer.failed
      enumeratePowerCuts(
        before: { _ = $0.replace(content(1)) },
        { disk in
          if isLasting { disk.faults.failingFrom = failing } else { disk.faults.failing = [failing] }
          answer = disk.replace(content(2))
        },
        check: { disk, call in
          let found = disk.readRecord()
          if found == (.done, content(2)) || answer != .done && found == (.done, content(1)) { return true }
          Issue.record("call \(failing) failed, cut at \(call): \(found), answered \(answer)")
          return false
        })
    }
  }

  @Test func anErrorIsAnsweredByAnotherFileOnce() {
    let disk = SimulatedDisk()
    _ = disk.replace(content(1))
    // Two removals, creation, two writes, flush.
    disk.faults.failing = [disk.callCount + 5]
    #expect(disk.replace(content(2)) == .done)
    #expect(disk.trace.contains("rename clock-floor.again clock-floor"))
    #expect(disk.fileNames == ["clock-floor"])
    disk.restart(Fate(seed: 1))
    #expect(disk.readRecord() == (.done, content(2)))

    // And the same calls again.
    disk.faults.failing = [disk.callCount + 5, disk.callCount + 11]
    #expect(disk.replace(content(3)) == .failed)
    #expect(disk.trace.filter { $0 == "flush" }.count == 2)
    disk.restart(Fate(seed: 1))
    #expect(disk.readRecord() == (.done, content(2)))
    #expect(disk.replace(content(3)) == .done)
  }

  @Test func aFullDiskKeepsTheOldRecord() {
    for room in 0...24 {
      let disk = SimulatedDisk()
      #expect(disk.replace(content(1)) == .done)
      disk.faults.capacity = disk.usedBytes + room
      #expect(disk.replace(content(2)) == (room < 24 ? .noSpace : .done), "\(room) bytes free")
      #expect(disk.fileNames == ["clock-floor"], "what does not fit is removed")
      #expect(disk.readRecord() == (.done, content(room < 24 ? 1 : 2)))
    }
  }

  @Test func aReadOnlyDiskKeepsTheOldRecord() {
    for first in 0...9 {
      let disk = SimulatedDisk()
      #expect(disk.replace(content(1)) == .done)
      disk.restart(Fate(seed: 1))
      disk.faults.readOnlyFrom = first
      let answer = disk.replace(content(2))
      #expect(answer == (first < 9 ? .readOnly : .done), "from call \(first) on")
      // The folder is the last to be flushed.
      let isRenamed = first >= 8
      #expect(disk.readRecord() == (.done, content(isRenamed ? 2 : 1)))
    }
  }

  /// Many replacements with everything that can go wrong: what is found is the last that was promised, or one tried
  /// since.
  @Test func longHistories() {
    for seed in 0..<2000 as Range<UInt64> {
      let fate = Fate(seed: seed)
      let disk = SimulatedDisk()
      var possible: Set<[UInt8]> = [[]]
      for version in 0..<12 {
        if fate.choose(3) == 0 { disk.faults.cutAt = disk.callCount + fate.choose(12) }
        if fate.choose(3) == 0 { disk.faults.failing = [disk.callCount + fate.choose(9)] }
        if fate.choose(9) == 0 { disk.faults.readOnlyFrom = disk.callCount + fate.choose(9) }
        if fate.choose(9) == 0 { disk.faults.capacity = disk.usedBytes + fate.choose(30) }
        let answer = disk.replace(content(version))
        if answer == .done { possible = [] }
        possible.insert(content(version))
        if disk.isOff || fate.choose(4) == 0 {
          disk.restart(fate)
          let found = disk.readRecord()
          guard found.answer == (found.content.isEmpty ? .notFound : .done), possible.contains(found.content) else {
            Issue.record("seed \(seed), version \(version): \(found)")
            return
          }
          possible = [found.content]
        }
        disk.faults = DiskFaults()
      }
    }
  }
}
