import Bytes
import HostInterface
import Testing

@testable import Agent

@Suite struct ClockFloorTests {
  private func content(_ seconds: Int64) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: UInt64(bitPattern: seconds) >> UInt64(56 - 8 * $0)) }
  }

  private var built: Int64 { Rig.buildTime.milliseconds / 1000 }

  /// A rig whose clock has read `stored`.
  private func makeRig(stored: [UInt8]? = nil) throws -> Rig {
    let rig = try Rig()
    rig.host.storedClock = stored
    rig.advanceClock()
    #expect(rig.isClockSettled)
    return rig
  }

  @Test func doesNotBelieveATimeBeforeTheBuild() throws {
    let rig = try makeRig()
    rig.host.wall = WallTime(milliseconds: Rig.buildTime.milliseconds - 1)
    #expect(rig.wallTime == nil)
    #expect(rig.certificateTime == Rig.buildTime)
    rig.host.wall = Rig.buildTime
    #expect(rig.wallTime == Rig.buildTime)
  }

  @Test func doesNotBelieveATimeBeforeTheLastOneKnown() throws {
    let rig = try makeRig(stored: content(built + 86_400))
    let stored = WallTime(milliseconds: (built + 86_400) * 1000)
    rig.host.wall = WallTime(milliseconds: stored.milliseconds - 1)
    #expect(rig.wallTime == nil)
    #expect(rig.certificateTime == stored)
    rig.host.wall = stored
    #expect(rig.wallTime == stored)
  }

  @Test func doesNotBelieveARecordThatCannotBeRight() throws {
    let wrong: [[UInt8]] = [
      [], [1], content(0), content(-1), content(.min), content(built), content(built + 31 * 365 * 86_400),
      content(built + 1) + [0],
    ]
    for content in wrong {
      let rig = try makeRig(stored: content)
      rig.host.wall = Rig.buildTime
      #expect(rig.wallTime == Rig.buildTime, "\(content)")
    }
  }

  @Test func waitsForTheStorageAndNotForEver() throws {
    let rig = try Rig()
    rig.host.readAnswer = .pending
    rig.advanceClock()
    #expect(!rig.isClockSettled)
    #expect(rig.clockDeadline == rig.host.time + ClockFloor.readPatience)
    rig.host.time = rig.host.time + ClockFloor.readPatience
    rig.advanceClock()
    // From now on it is for the host to wake the loop.
    #expect(rig.isClockSettled)
    #expect(rig.clockDeadline == nil)
    // What comes late still counts.
    rig.host.readAnswer = nil
    rig.host.storedClock = content(built + 5)
    rig.advanceClock()
    rig.host.wall = WallTime(milliseconds: (built + 4) * 1000)
    #expect(rig.wallTime == nil)
  }

  @Test(arguments: [StorageAnswer.damaged, .failed]) func saysThatTheRecordIsLost(answer: StorageAnswer) throws {
    let rig = try Rig()
    rig.host.readAnswer = answer
    rig.advanceClock()
    #expect(rig.host.lines == ["warning clock not-read reason=\(answer.name)"])
  }

  @Test func storesOnlyATimeThatWasProven() throws {
    let rig = try makeRig()
    rig.advanceClock()
    rig.clock.prepareEnd(rig.host.time)
    rig.advanceClock()
    #expect(rig.host.stored.isEmpty)
    rig.clock.noteProven(at: rig.host.time, &rig.host)
    rig.advanceClock()
    #expect(rig.host.stored == [content(1_800_000_000)])
  }

  @Test func storesOnceAnHourAndAtTheEnd() throws {
    let rig = try makeRig()
    rig.clock.noteProven(at: rig.host.time, &rig.host)
    rig.advanceClock()
    // It costs no wake-up of its own.
    #expect(rig.clockDeadline == nil)
    pass(.minutes(59), rig)
    rig.advanceClock()
    #expect(rig.host.stored.count == 1)
    pass(.minutes(1), rig)
    rig.advanceClock()
    #expect(rig.host.stored.last == content(1_800_003_600))
    pass(.minutes(1), rig)
    rig.clock.prepareEnd(rig.host.time)
    rig.advanceClock()
    #expect(rig.host.stored.last == content(1_800_003_660))
    #expect(rig.isClockReadyToEnd)
  }

  @Test func isNeverStoredAheadOfTheSystem() throws {
    let rig = try makeRig()
    rig.clock.noteProven(at: rig.host.time, &rig.host)
    rig.clock.prepareEnd(rig.host.time)
    // The boot-time clock says that two days have passed, the wall clock does not: it was set back, rightly or not.
    rig.host.time = rig.host.time + .minutes(2880)
    rig.advanceClock()
    #expect(rig.host.stored == [content(1_800_000_000)])
  }

  @Test func asksAgainWithTheSameBytesUntilItIsStored() throws {
    let rig = try makeRig()
    rig.host.storeAnswers = [.pending, .pending, .done]
    rig.clock.noteProven(at: rig.host.time, &rig.host)
    rig.advanceClock()
    #expect(!rig.isClockReadyToEnd)
    #expect(rig.clockDeadline == nil)
    pass(.seconds(2), rig)
    rig.advanceClock()
    rig.advanceClock()
    #expect(rig.host.stored == [content(1_800_000_000)])
    #expect(rig.isClockReadyToEnd)
  }

  @Test func logsALastingFaultOnce() throws {
    let rig = try makeRig()
    rig.host.storeAnswers = [.noSpace, .failed, .done, .readOnly, .noSpace]
    rig.clock.noteProven(at: rig.host.time, &rig.host)
    for _ in 0..<5 {
      rig.advanceClock()
      pass(.minutes(60), rig)
    }
    #expect(
      rig.host.lines == ["warning clock not-stored reason=no-space", "warning clock not-stored reason=no-space"])
  }

  /// Lets time pass on both clocks.
  private func pass(_ span: TimeSpan, _ rig: Rig) {
    rig.host.time = rig.host.time + span
    rig.host.wall = WallTime(milliseconds: rig.host.wall.milliseconds + span.milliseconds)
  }
}
