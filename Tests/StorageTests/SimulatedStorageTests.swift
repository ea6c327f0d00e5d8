import Bytes
import HostInterface
import Storage
import TestSupport
import Testing

@testable import Simulator

/// Who is served when, as `HostStorage` promises it.
@Suite struct StorageDeskTests {
  private let clock = StorageOperation(.replaceRecord, .clock)
  private let queue = StorageOperation(.append, StorageSegment(.queue, 1), at: 3)

  @Test func tellsOperationsApart() {
    let segment = StorageSegment(.queue, 1)
    #expect(clock != StorageOperation(.readRecord, .clock))
    #expect(queue != StorageOperation(.append, segment, at: 4))
    #expect(queue != StorageOperation(.appendAndFlush, segment, at: 3))
    #expect(queue != StorageOperation(.append, StorageSegment(.queue, 2), at: 3))
    #expect(queue == StorageOperation(.append, segment, at: 3))
  }

  @Test func servesOneAfterTheOther() {
    var desk = StorageDesk()
    #expect(desk.ask(clock) == nil)
    #expect(desk.ask(clock) == .pending)
    #expect(desk.ask(queue) == .pending)
    #expect(desk.endTurn() == false, "the end of the operation will wake the loop")
    desk.end(.done)
    // The other one comes first, and in vain: it must get another turn.
    #expect(desk.ask(queue) == .pending)
    #expect(desk.ask(clock) == .done)
    #expect(desk.endTurn() == true)
    #expect(desk.ask(queue) == nil)
    #expect(desk.endTurn() == false)
  }

  @Test func forgetsWhatNobodyFetches() {
    var desk = StorageDesk()
    #expect(desk.ask(clock) == nil)
    desk.end(.noSpace)
    #expect(desk.ask(queue) == .pending)
    #expect(desk.endTurn() == true)
    #expect(desk.ask(queue) == nil)
    desk.end(.done)
    #expect(desk.endTurn() == false, "nobody waits")
    #expect(desk.ask(queue) == nil, "it begins anew")
  }

  @Test func failsWhileSomethingIsStuck() {
    var desk = StorageDesk()
    #expect(desk.ask(clock) == nil)
    desk.giveUp()
    #expect(desk.ask(clock) == .failed)
    #expect(desk.ask(queue) == .failed)
    #expect(desk.endTurn() == false)
    desk.end(.done)
    #expect(desk.ask(clock) == nil, "its late answer is nobody's")
  }
}

/// An owner of the clock record and one of a segment, where storage takes time, hangs and loses power.
@Suite struct SimulatedStorageTests {
  /// One turn of a loop after the other, until `end`.
  private func run(_ world: World, _ storage: () -> SimulatedStorage, for span: TimeSpan, _ turn: () -> Void) {
    let end = world.now + span
    world.hasNews = true
    while world.now < end {
      if world.hasNews {
        world.hasNews = false
        turn()
        if storage().endTurn() { world.hasNews = true }
      }
      if !world.hasNews { world.now = min(end, world.timeline.next ?? end) }
      while let action = world.timeline.take(upTo: world.now) { action() }
    }
  }

  @Test func answersComeByWakeUpsAlone() {
    for seed: UInt64 in 0..<50 {
      let world = World(seed: seed, start: Instant(milliseconds: 1000), isTracing: false)
      let storage = SimulatedStorage(world: world, disk: SimulatedDisk())
      var stored = 0
      var appended = 0
      run(world, { storage }, for: .minutes(60)) {
        let bytes = content(stored)
        if stored < 20, storage.replaceRecord(.clock, bytes.span) == .done { stored += 1 }
        let byte = [UInt8(appended)]
        let segment = StorageSegment(.queue, 1)
        if appended < 20, storage.appendToSegment(segment, at: appended, byte.span, isFlushed: true) == .done {
          appended += 1
        }
      }
      #expect(stored == 20 && appended == 20, "seed \(seed)")
      #expect(storage.disk.readRecord() == (.done, content(19)))
      #expect(storage.disk.readSegment() == (.done, Array(0..<20)))
    }
  }

  @Test func everyCallAnswersWhatTheDiskHas() {
    let world = World(seed: 4, start: Instant(milliseconds: 0), isTracing: false)
    let storage = SimulatedStorage(world: world, disk: SimulatedDisk())
    let segment = StorageSegment(.queue, 5)
    var buffer = makeBuffer(capacity: 256)
    var range = StorageSegmentRange()
    func finish(_ call: () -> StorageAnswer) -> StorageAnswer {
      var answer = StorageAnswer.pending
      run(world, { storage }, for: .minutes(1)) { if answer == .pending { answer = call() } }
      return answer
    }
    #expect(finish { storage.readRecord(.clock, into: &buffer) } == .notFound)
    let bytes = content(1)
    #expect(finish { storage.replaceRecord(.clock, bytes.span) } == .done)
    #expect(finish { storage.readRecord(.clock, into: &buffer) } == .done)
    #expect(Array(buffer.span) == content(1))
    #expect(finish { storage.appendToSegment(segment, at: 0, bytes.span, isFlushed: false) } == .done)
    #expect(finish { storage.readSegment(segment, at: 6, into: &buffer) } == .done)
    #expect(Array(buffer.span) == content(1) + content(1)[6...])
    #expect(finish { storage.findSegments(of: .queue, from: 5, &range) } == .done)
    #expect(range.count == 1 && range.first == 5 && range.last == 5 && range.byteCount == 8)
    #expect(finish { storage.deleteSegment(segment) } == .done)
    #expect(finish { storage.findSegments(of: .queue, from: 5, &range) } == .notFound)
  }

  @Test func whatHangsFailsInTimeAndComesBack() {
    let world = World(seed: 1, start: Instant(milliseconds: 0), isTracing: false)
    var delays = StorageDelays()
    delays.hangOdds = 2
    let storage = SimulatedStorage(world: world, disk: SimulatedDisk(), delays: delays)
    var asked: Instant?
    var counts: [StorageAnswer: Int] = [:]
    run(world, { storage }, for: .minutes(600)) {
      let bytes = content(1)
      asked = asked ?? world.now
      let answer = storage.replaceRecord(.clock, bytes.span)
      if answer == .pending { return }
      if let asked { #expect(world.now - asked <= StorageLimits.timeMax) }
      asked = nil
      counts[answer, default: 0] += 1
      world.after(.seconds(70)) { world.hasNews = true }
    }
    #expect(counts[.failed, default: 0] > 20 && counts[.done, default: 0] > 20)
  }

  @Test func aPowerCutInTheMiddleIsNotAnswered() {
    for seed: UInt64 in 0..<200 {
      let world = World(seed: seed, start: Instant(milliseconds: 0), isTracing: false)
      let disk = SimulatedDisk()
      let fate = Fate(seed: seed)
      var storage = SimulatedStorage(world: world, disk: disk)
      var version = 0
      var promised = -1
      disk.faults.cutAt = fate.choose(60)
      run(world, { storage }, for: .minutes(10)) {
        let bytes = content(version)
        if version < 30, storage.replaceRecord(.clock, bytes.span) == .done {
          promised = version
          version += 1
        }
      }
      #expect(disk.isOff == (world.marks["storage-power-cut"] == 1))
      disk.restart(fate)
      storage = SimulatedStorage(world: world, disk: disk)
      let found = disk.readRecord().content
      #expect(found == (promised < 0 ? [] : content(promised)) || found == content(promised + 1), "seed \(seed)")
    }
  }
}
