import Bytes
import HostInterface
import Testing

@testable import Agent

@Suite struct ClockFloorTests {
  /// What is stored: sources are 1, a certificate, and 2, the synchronised system; earlier versions named none.
  private func content(_ seconds: Int64, source: UInt8? = nil) -> [UInt8] {
    (0..<8).map { UInt8(truncatingIfNeeded: UInt64(bitPattern: seconds) >> UInt64(56 - 8 * $0)) }
      + (source.map { [$0] } ?? [])
  }

  private static let year: Int64 = 365 * 86_400

  private var built: Int64 { Rig.buildTime.milliseconds / 1000 }

  /// A rig whose clock has read `stored`.
  ///
  /// - Parameter wallSeconds: where the system's clock stands, counted from the build.
  private func makeRig(stored: [UInt8]? = nil, wallSeconds: Int64? = nil) throws -> Rig {
    let rig = try Rig()
    if let wallSeconds { rig.host.wall = WallTime(milliseconds: (built + wallSeconds) * 1000) }
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
      content(built + 1, source: 3), content(built + 1, source: 9), content(built + 1, source: 1) + [0],
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
    prove(rig)
    rig.advanceClock()
    #expect(rig.host.stored == [content(1_800_000_000, source: 2)])
  }

  @Test func storesOnceAnHourAndAtTheEnd() throws {
    let rig = try makeRig()
    prove(rig)
    rig.advanceClock()
    // It costs no wake-up of its own.
    #expect(rig.clockDeadline == nil)
    pass(.minutes(59), rig)
    rig.advanceClock()
    #expect(rig.host.stored.count == 1)
    pass(.minutes(1), rig)
    rig.advanceClock()
    #expect(rig.host.stored.last == content(1_800_003_600, source: 2))
    pass(.minutes(1), rig)
    rig.clock.prepareEnd(rig.host.time)
    rig.advanceClock()
    #expect(rig.host.stored.last == content(1_800_003_660, source: 2))
    #expect(rig.isClockReadyToEnd)
  }

  @Test func isNeverStoredAheadOfTheSystem() throws {
    let rig = try makeRig()
    prove(rig)
    rig.clock.prepareEnd(rig.host.time)
    // The boot-time clock says that two days have passed, the wall clock does not: it was set back, rightly or not.
    rig.host.time = rig.host.time + .minutes(2880)
    rig.advanceClock()
    #expect(rig.host.stored == [content(1_800_000_000, source: 2)])
  }

  @Test func asksAgainWithTheSameBytesUntilItIsStored() throws {
    let rig = try makeRig()
    rig.host.storeAnswers = [.pending, .pending, .done]
    prove(rig)
    rig.advanceClock()
    #expect(!rig.isClockReadyToEnd)
    #expect(rig.clockDeadline == nil)
    pass(.seconds(2), rig)
    rig.advanceClock()
    rig.advanceClock()
    #expect(rig.host.stored == [content(1_800_000_000, source: 2)])
    #expect(rig.isClockReadyToEnd)
  }

  @Test func logsALastingFaultOnce() throws {
    let rig = try makeRig()
    rig.host.storeAnswers = [.noSpace, .failed, .done, .readOnly, .noSpace]
    prove(rig)
    for _ in 0..<5 {
      rig.advanceClock()
      pass(.minutes(60), rig)
    }
    #expect(
      rig.host.lines == ["warning clock not-stored reason=no-space", "warning clock not-stored reason=no-space"])
  }

  // MARK: What is evidence

  @Test func withoutSynchronisationOnlyTheCertificatesOwnDateIsStored() throws {
    let rig = try makeRig()
    rig.host.wall = WallTime(milliseconds: (built + 10 * Self.year) * 1000)
    prove(rig, synchronised: false, certificateStart: built + 7)
    rig.advanceClock()
    #expect(rig.host.stored == [content(built + 7, source: 1)], "and not what the clock says")
    // A certificate from before the build proves nothing new.
    let old = try makeRig()
    prove(old, synchronised: false, certificateStart: built - 7)
    old.advanceClock()
    #expect(old.host.stored.isEmpty)
  }

  /// The whole story: a clock that is years ahead, a server with a long certificate, then the right time.
  @Test func aWrongClockLeavesNothingBehind() throws {
    let wrong = try makeRig()
    wrong.host.wall = WallTime(milliseconds: (built + 10 * Self.year) * 1000)
    prove(wrong, synchronised: false, certificateStart: built + 7)
    wrong.clock.prepareEnd(wrong.host.time)
    wrong.advanceClock()
    let right = try makeRig(stored: wrong.host.stored.last)
    right.host.wall = WallTime(milliseconds: (built + 100) * 1000)
    #expect(right.wallTime == right.host.wall)
    #expect(right.certificateTime == right.host.wall)
  }

  @Test(arguments: [nil, 1, 2] as [UInt8?]) func aSynchronisedSystemTakesBackWhatWasStored(source: UInt8?) throws {
    let rig = try makeRig(stored: content(built + 9 * Self.year, source: source), wallSeconds: 100)
    let lines = rig.host.lines.count
    #expect(rig.wallTime == nil)
    rig.host.isSynchronised = true
    pass(ClockFloor.lookInterval, rig)
    rig.advanceClock()
    #expect(rig.wallTime == rig.host.wall)
    #expect(rig.certificateTime == rig.host.wall)
    // At once, and without any server: plain MQTT has no certificate.
    #expect(rig.host.stored == [content(built + 110, source: 2)])
    #expect(rig.host.lines.count == lines + 1)
    #expect(rig.host.lines.last?.hasPrefix("warning clock stored-time-given-up stored=2032-11-") == true)
    #expect(rig.host.lines.last?.hasSuffix(" time=2023-11-14T22:15:10.000Z proven-by=synchronised") == true)
  }

  @Test func aSynchronisedSystemBeforeTheBuildIsNotBelieved() throws {
    let rig = try makeRig(stored: content(built + 5), wallSeconds: -1)
    rig.host.isSynchronised = true
    pass(ClockFloor.lookInterval, rig)
    rig.host.wall = WallTime(milliseconds: Rig.buildTime.milliseconds - 1)
    rig.advanceClock()
    #expect(rig.wallTime == nil)
    #expect(rig.certificateTime == WallTime(milliseconds: (built + 5) * 1000))
  }

  @Test func aCertificateThatOnlyTheStoredTimeSaysHasExpiredTakesItBack() throws {
    let stored = built + 9 * Self.year
    let rig = try makeRig(stored: content(stored), wallSeconds: 100)
    #expect(rig.certificateTime == WallTime(milliseconds: stored * 1000))
    rig.clock.noteFailure(.connectTimeout)
    #expect(rig.certificateTime == WallTime(milliseconds: stored * 1000))
    rig.clock.noteFailure(.tlsExpired)
    #expect(rig.certificateTime == rig.host.wall)
    #expect(rig.wallTime == nil, "not before it is proven")
    prove(rig, synchronised: false, certificateStart: built - 5)
    #expect(rig.wallTime == rig.host.wall)
    #expect(rig.host.lines.last?.hasSuffix(" proven-by=certificate") == true)
    rig.advanceClock()
    // It must not come back with the next start.
    #expect(rig.host.stored == [content(built, source: 1)])
    let next = try makeRig(stored: rig.host.stored.last, wallSeconds: 200)
    #expect(next.wallTime == next.host.wall)
  }

  @Test func aCertificateThatIsNotValidYetConfirmsTheStoredTime() throws {
    let stored = WallTime(milliseconds: (built + 9 * Self.year) * 1000)
    let rig = try makeRig(stored: content(built + 9 * Self.year), wallSeconds: 100)
    rig.clock.noteFailure(.tlsExpired)
    #expect(rig.certificateTime == rig.host.wall)
    rig.clock.noteFailure(.tlsNotYetValid)
    #expect(rig.certificateTime == stored)
    prove(rig, synchronised: false, certificateStart: built + 8 * Self.year)
    #expect(rig.wallTime == nil)
    #expect(rig.certificateTime == stored)
  }

  /// A board without a battery: the certificate has expired by what is known, and 1970 is no answer to that.
  @Test func aClockFromBeforeTheBuildDoubtsNothing() throws {
    let rig = try makeRig(stored: content(built + 5))
    rig.host.wall = WallTime(milliseconds: 5000)
    rig.clock.noteFailure(.tlsExpired)
    #expect(rig.certificateTime == WallTime(milliseconds: (built + 5) * 1000))
    prove(rig, synchronised: false, certificateStart: built - 5)
    rig.host.wall = WallTime(milliseconds: (built + 4) * 1000)
    #expect(rig.wallTime == nil)
  }

  @Test func saysOnceThatTheClockIsNotBelieved() throws {
    let rig = try makeRig(stored: content(built + 3600, source: 2), wallSeconds: 0)
    for _ in 0..<5 {
      pass(.minutes(1), rig)
      rig.advanceClock()
    }
    let hint = "set the clock, or remove /var/lib/mote/clock-floor if it is right"
    #expect(
      rig.host.lines == [
        "warning clock disbelieved time=2023-11-14T22:13:20.000Z earlier-than=2023-11-14T23:13:20.000Z"
          + " known-by=synchronised hint=\"\(hint)\""
      ])
    pass(.minutes(55), rig)
    rig.advanceClock()
    #expect(rig.host.lines.last == "info clock believed time=2023-11-14T23:13:20.000Z")
    let unset = try Rig()
    unset.host.wall = WallTime(milliseconds: 0)
    unset.advanceClock()
    #expect(
      unset.host.lines == [
        "warning clock disbelieved time=1970-01-01T00:00:00.000Z earlier-than=2023-11-14T22:13:20.000Z"
          + " known-by=build hint=\"set the clock\""
      ])
  }

  /// A certificate was checked, at the system's time where nothing else is said.
  private func prove(_ rig: Rig, synchronised: Bool = true, certificateStart: Int64 = 0) {
    rig.host.isSynchronised = synchronised
    _ = rig.certificateTime
    let start = WallTime(milliseconds: certificateStart * 1000)
    rig.clock.noteProven(by: start, at: rig.host.time, &rig.log, &rig.host)
  }

  /// Lets time pass on both clocks.
  private func pass(_ span: TimeSpan, _ rig: Rig) {
    rig.host.time = rig.host.time + span
    rig.host.wall = WallTime(milliseconds: rig.host.wall.milliseconds + span.milliseconds)
  }
}
