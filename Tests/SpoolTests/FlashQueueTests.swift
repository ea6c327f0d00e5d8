import Bytes
import HostInterface
import Simulator
import Spool
import TestSupport
import Testing

@Suite struct FlashQueueTests {
  private func options(_ change: (inout FlashOptions) -> Void = { _ in }) -> FlashOptions {
    var options = FlashOptions()
    options.byteCountMax = 4096
    options.segmentBytes = 200
    options.stagedBytes = 512
    options.messageBytesMax = 80
    options.identity = 0x0102_0304_0506_0708
    change(&options)
    return options
  }

  /// A disk with `count` messages on it, as another queue has left them.
  private func filled(_ count: Int, _ options: FlashOptions) -> SimulatedDisk {
    let disk = SimulatedDisk()
    let rig = QueueRig(options, on: disk)
    for number in 0..<count {
      _ = rig.take(number, .normal)
      rig.turn(isOnline: false)
    }
    #expect(rig.durable.count == count)
    return disk
  }

  /// The example of FLASH.md.
  @Test func writesWhatIsDocumented() {
    let disk = SimulatedDisk()
    let rig = QueueRig(options(), on: disk)
    _ = rig.take(0, .normal, qos: 2, taken: 0x0000_019A_B1C2_D3E4)
    rig.turn(isOnline: false)
    rig.turn(isOnline: false)
    let header: [UInt8] = [
      0x4D, 0x6F, 0x51, 0x75, 0, 1, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0,
    ]
    let record: [UInt8] = [
      2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0x9A, 0xB1, 0xC2, 0xD3, 0xE4, 0x74, 0x31, 0x30, 0x30, 0x30, 0x30,
      0x30, 0x30,
    ]
    let file = disk["queue.0000000000000001"] ?? []
    #expect(Array(file.prefix(28)) == header)
    #expect(Array(file[28..<32]) == check([Array(header.prefix(24))]))
    #expect(Array(file[32..<40]) == [0x4D, 0x71, 0, 1, 0, 0, 0, 40])
    #expect(
      Array(file[40..<44])
        == check([[1, 2, 3, 4, 5, 6, 7, 8], [0, 0, 0, 0, 0, 0, 0, 1], Array(file[32..<40]), record]))
    #expect(Array(file[44...]) == record)
    #expect(disk.fileNames == ["queue.0000000000000001"])
  }

  private func check(_ pieces: [[UInt8]]) -> [UInt8] {
    var check = CRC32C()
    for piece in pieces { check.add(piece.span) }
    return (0..<4).map { UInt8(truncatingIfNeeded: check.value >> UInt32(24 - 8 * $0)) }
  }

  @Test func nothingIsWrittenThatIsConfirmedInTime() {
    let disk = SimulatedDisk()
    let rig = QueueRig(options { $0.flushTime = .seconds(60) }, on: disk)
    for number in 0..<100 {
      _ = rig.take(number, .normal)
      rig.turn(isOnline: true)
      rig.confirm()
      rig.now = rig.now + .seconds(1)
    }
    #expect(disk.bytesWritten == 0)
    #expect(rig.queue.deliveredFromMemory == 100)
  }

  @Test func whatWaitsForLongerIsWrittenAtOnce() {
    let disk = SimulatedDisk()
    let rig = QueueRig(options { $0.flushTime = .seconds(60) }, on: disk)
    for number in 0..<3 { _ = rig.take(number, .normal) }
    rig.turn(isOnline: false)
    #expect(rig.queue.deadline(rig.now) == rig.now + .seconds(60))
    rig.now = rig.now + .seconds(60)
    rig.turn(isOnline: false)
    #expect(rig.durable == [0, 1, 2] && rig.queue.storedCount == 3 && rig.queue.stagedCount == 0)
  }

  @Test func deliversAcrossARestartInOrderAndOnce() {
    let disk = filled(40, options())
    let rig = QueueRig(options(), on: disk)
    rig.drain()
    #expect(rig.confirmed == Array(0..<40))
    #expect(rig.queue.counts.delivered == 40 && rig.queue.counts.settled == 40)
    rig.now = rig.now + .seconds(60)
    for _ in 0..<40 { rig.turn(isOnline: true) }
    #expect(disk.usedBytes < 500, "what is delivered is deleted")
    let another = QueueRig(options(), on: disk)
    another.drain()
    #expect(another.sent.isEmpty)
  }

  @Test func higherPrioritiesGoFirst() {
    let disk = SimulatedDisk()
    let rig = QueueRig(options(), on: disk)
    for (number, priority) in [MessagePriority.low, .normal, .critical, .high, .critical].enumerated() {
      _ = rig.take(number, priority)
    }
    for _ in 0..<8 { rig.turn(isOnline: false) }
    rig.drain()
    #expect(rig.sent == [2, 4, 3, 1, 0])
  }

  /// Each bit of each file, where it is read in the middle and where it is the newest.
  @Test func aDamagedBitCostsOneMessageAtMost() {
    let options = options()
    for count in [3, 7] {
      let names = filled(count, options).fileNames.filter { $0.hasPrefix("queue.") }
      for name in names {
        let bitCount = (filled(count, options)[name]?.count ?? 0) * 8
        // Each bit would take long without optimisation: each in one of its bytes, and one in each other.
        for bit in stride(from: 0, to: bitCount, by: 5) {
          let disk = filled(count, options)
          disk.flipBit(bit, of: name)
          let rig = QueueRig(options, on: disk)
          rig.drain()
          let lost = Set(0..<count).subtracting(rig.confirmed)
          let counts = rig.queue.counts
          #expect(rig.queue.isDrained && lost.count <= 1, "\(name) bit \(bit): lost \(lost)")
          #expect(rig.confirmed == rig.confirmed.sorted())
          // The last record of the newest segment may be one that was being written.
          #expect(counts.damaged + counts.tornEnds == UInt64(lost.count), "\(name) bit \(bit): \(counts), \(lost)")
        }
      }
    }
  }

  @Test func aFileThatIsCutKeepsWhatIsInFront() {
    let options = options()
    let whole = filled(4, options)["queue.0000000000000001"] ?? []
    for count in whole.indices {
      let disk = SimulatedDisk()
      disk["queue.0000000000000001"] = Array(whole.prefix(count))
      let rig = QueueRig(options, on: disk)
      rig.drain()
      #expect(rig.confirmed == Array(0..<max(0, (count - 32) / 40)), "cut at \(count)")
      _ = rig.take(9, .normal)
      rig.turn(isOnline: false)
      rig.drain()
      #expect(rig.confirmed.last == 9)
    }
  }

  @Test func filesOfOthersAreSetAside() {
    let others = [
      options { $0.identity = 7 }, options(),
    ]
    for (index, other) in others.enumerated() {
      let disk = filled(9, other)
      let names = disk.fileNames.filter { $0.hasPrefix("queue.") }
      if index == 1 {
        for name in names { disk[name]?[5] = 2 }
        // What a later version has in it nobody knows.
        for name in names { disk[name]?.replaceSubrange(32..., with: [UInt8](repeating: 0xAA, count: 300)) }
      }
      let rig = QueueRig(options(), on: disk)
      rig.drain()
      #expect(rig.sent.isEmpty)
      #expect(rig.queue.counts.filesSetAside == UInt64(names.count))
      #expect(disk.fileNames.filter { $0.hasPrefix("queue~") }.count == names.count)
      _ = rig.take(5, .normal)
      rig.turn(isOnline: false)
      rig.drain()
      #expect(rig.confirmed == [5])
    }
  }

  @Test func messagesThatAreTooOldAreNotSent() {
    let options = options { $0.keep = .seconds(100) }
    let disk = SimulatedDisk()
    let rig = QueueRig(options, on: disk)
    for number in 0..<10 {
      _ = rig.take(number, .normal, taken: number == 3 ? 0 : UInt64(1_000_000 + number * 50_000))
      rig.turn(isOnline: false)
    }
    for _ in 0..<60 {
      rig.turn(isOnline: true, wall: 1_400_000)
      while !rig.inflight.isEmpty { rig.confirm() }
    }
    #expect(rig.confirmed == [3, 6, 7, 8, 9], "where the time is not known, age is not, either")
    #expect(rig.queue.counts.expired == 5 && rig.queue.counts.settled == 10)
  }

  /// What cannot be written waits in memory, and is written when that is possible again.
  @Test func aDyingDiskIsTriedAgain() {
    for fault in 0..<3 {
      let disk = SimulatedDisk()
      let rig = QueueRig(options(), on: disk)
      _ = rig.take(0, .normal)
      rig.turn(isOnline: false)
      switch fault {
      case 0: disk.faults.failingFrom = 0
      case 1: disk.faults.readOnlyFrom = 0
      default: disk.faults.capacity = disk.usedBytes
      }
      for number in 1...5 {
        _ = rig.take(number, .normal)
        rig.turn(isOnline: false)
      }
      #expect(rig.queue.failure != nil && rig.queue.failureCount == 1, "once, and not in each turn")
      #expect(rig.queue.stagedCount == 5)
      disk.faults = DiskFaults()
      rig.now = rig.now + .seconds(30)
      for _ in 0..<9 { rig.turn(isOnline: false) }
      #expect(rig.queue.failure == nil && rig.queue.stagedCount == 0)
      rig.drain()
      #expect(rig.confirmed == [0, 1, 2, 3, 4, 5], "fault \(fault)")
    }
  }

  /// A disk that is full for long, and fails once when it is read: what is there goes out all the same.
  @Test func whatCannotBeWrittenDoesNotKeepOthersFromBeingRead() {
    let disk = filled(9, options())
    let rig = QueueRig(options(), on: disk)
    rig.turn(isOnline: false)
    disk.faults.capacity = disk.usedBytes
    _ = rig.take(9, .normal)
    rig.turn(isOnline: false)
    #expect(rig.queue.failure == .noSpace)
    disk.faults.unreadable = true
    rig.turn(isOnline: true)
    disk.faults.unreadable = false
    #expect(rig.sent.isEmpty)
    for _ in 0..<8 {
      let deadline = rig.queue.deadline(rig.now)
      #expect(deadline > rig.now)
      rig.now = min(deadline, rig.now + .seconds(30))
      for _ in 0..<4 { rig.turn(isOnline: true) }
      while !rig.inflight.isEmpty { rig.confirm() }
    }
    #expect(rig.confirmed == Array(0..<10))
  }

  @Test func whatHasToGoIsWhatWasSaid() {
    func run(_ policy: FullPolicy) -> (confirmed: [Int], dropped: UInt64) {
      let disk = SimulatedDisk()
      let rig = QueueRig(
        options {
          $0.full = policy
          $0.byteCountMax = FlashLimits.bookkeepingBytes + 800
        }, on: disk)
      for number in 0..<60 {
        _ = rig.take(number, number % 3 == 0 ? .high : .normal)
        for _ in 0..<4 { rig.turn(isOnline: false) }
      }
      #expect(disk.peakBytes <= FlashLimits.bookkeepingBytes + 800)
      rig.drain()
      return (rig.confirmed, rig.queue.counts.dropped + rig.queue.droppedInMemory)
    }
    let oldest = run(.oldest)
    #expect(oldest.confirmed.count + Int(oldest.dropped) == 60)
    #expect(oldest.confirmed.contains(59) && !oldest.confirmed.contains(0))
    let newest = run(.newest)
    #expect(newest.confirmed.count + Int(newest.dropped) == 60)
    #expect(newest.confirmed.contains(0) && newest.confirmed.contains(1) && !newest.confirmed.contains(59))
    let lowest = run(.lowestPriority)
    #expect(lowest.confirmed.count + Int(lowest.dropped) == 60)
    #expect(lowest.confirmed.filter { $0 % 3 == 0 }.count > oldest.confirmed.filter { $0 % 3 == 0 }.count)
  }

  @Test func anAccountOfAnotherDeviceIsNotBelieved() {
    let disk = filled(9, options { $0.identity = 7 })
    let rig = QueueRig(options { $0.identity = 7 }, on: disk)
    rig.drain()
    rig.queue.prepareEnd()
    for _ in 0..<9 { rig.turn(isOnline: true) }
    #expect(disk["queue-account"] != nil)
    let own = QueueRig(options(), on: disk)
    own.turn(isOnline: false)
    #expect(own.queue.counts.delivered == 0)
  }

  /// A life with the power cut everywhere; `simulate queue` has a million of them.
  @Test func noPowerCutCostsWhatIsOnFlash() {
    var tally = QueueTally()
    for seed: UInt64 in [1, 5] { #expect(checkQueue(seed: seed, &tally) == nil) }
    #expect(tally.histories > 5000 && tally.points > 100)
  }
}
