import Bytes
import Telemetry
import Testing

private func at(_ milliseconds: Int64) -> Instant { Instant(milliseconds: milliseconds) }

@Suite struct ScheduleTests {
  @Test func startsAtOnceAndThenKeepsToMultiplesOfTheInterval() {
    var schedule = Schedule(interval: .seconds(10), startingAt: at(123_456))
    #expect(schedule.due == at(123_456))
    schedule.advance(past: at(123_460))
    #expect(schedule.due == at(130_000))
    schedule.advance(past: at(130_007))
    #expect(schedule.due == at(140_000))
  }

  @Test func aPhaseShiftsAllButTheFirst() {
    for phase in [0, 1, 4_999, 5_000, 123_456_789, 604_799_999] as [UInt32] {
      var fast = Schedule(interval: .seconds(5), startingAt: at(1_234), phase: phase)
      var slow = Schedule(interval: .seconds(15), startingAt: at(1_234), phase: phase)
      #expect(fast.due == at(1_234))
      fast.advance(past: at(1_234))
      slow.advance(past: at(1_234))
      for _ in 0..<100 {
        while fast.due < slow.due { fast.advance(past: fast.due + .milliseconds(3)) }
        #expect(fast.due == slow.due && (fast.due.milliseconds + Int64(phase)) % 15_000 == 0)
        slow.advance(past: slow.due)
      }
      slow.setInterval(.seconds(7), now: slow.due)
      #expect((slow.due.milliseconds + Int64(phase)) % 7000 == 0)
    }
  }

  @Test func doesNotDriftOverADayOfLateWakeUps() {
    var random = RandomSource(seed: 1)
    var schedule = Schedule(interval: .seconds(7), startingAt: at(3))
    schedule.advance(past: at(3))
    var count = 0
    while schedule.due < at(86_400_000) {
      #expect(schedule.due.milliseconds % 7000 == 0)
      let late = Int64(random.next() % 6000)
      schedule.advance(past: schedule.due + .milliseconds(late))
      count += 1
    }
    #expect(count == 86_400_000 / 7000)
  }

  @Test func skipsWhatWasMissedInsteadOfMakingUpForIt() {
    var schedule = Schedule(interval: .seconds(10), startingAt: at(0))
    schedule.advance(past: at(0))
    schedule.advance(past: at(3_600_005))
    #expect(schedule.due == at(3_610_000))
  }

  @Test func relatedIntervalsComeDueTogether() {
    var fast = Schedule(interval: .seconds(5), startingAt: at(1_234))
    var slow = Schedule(interval: .seconds(15), startingAt: at(4_321))
    fast.advance(past: at(1_234))
    slow.advance(past: at(4_321))
    for _ in 0..<100 {
      while fast.due < slow.due { fast.advance(past: fast.due) }
      #expect(fast.due == slow.due)
      slow.advance(past: slow.due)
    }
  }

  @Test func aWakeUpBeforeTheDueTimeStillMovesForward() {
    var schedule = Schedule(interval: .seconds(10), startingAt: at(0))
    schedule.advance(past: at(0))
    schedule.advance(past: at(9_999))
    #expect(schedule.due == at(20_000), "what is dealt with early is not due a second time")
  }

  @Test func aTriggerIsDueNowAndDoesNotShiftTheGrid() {
    var schedule = Schedule(interval: .seconds(60), startingAt: at(0))
    schedule.advance(past: at(0))
    schedule.trigger(at: at(1_500))
    #expect(schedule.due == at(1_500))
    schedule.advance(past: at(1_500))
    #expect(schedule.due == at(60_000))
    schedule.trigger(at: at(70_000))
    #expect(schedule.due == at(60_000), "an event that is due already does not become due later")
  }

  @Test func aNewIntervalCountsFromItsNextMultiple() {
    var schedule = Schedule(interval: .seconds(60), startingAt: at(0))
    schedule.setInterval(.seconds(7), now: at(100_000))
    #expect(schedule.interval == .seconds(7))
    #expect(schedule.due == at(105_000))
  }

  @Test(arguments: [0, -1, -86_400_000, Int64.min]) func anIntervalIsAtLeastAMillisecond(milliseconds: Int64) {
    var schedule = Schedule(interval: .milliseconds(milliseconds), startingAt: at(5))
    #expect(schedule.interval == .milliseconds(1))
    schedule.advance(past: at(5))
    #expect(schedule.due == at(6))
    schedule.setInterval(.milliseconds(milliseconds), now: at(9))
    #expect(schedule.due == at(10))
  }

  @Test func theLongestIntervalDoesNotOverflow() {
    var schedule = Schedule(interval: .milliseconds(.max), startingAt: at(1_000))
    schedule.advance(past: at(1_000))
    #expect(schedule.due == at(.max))
    schedule.advance(past: at(.max))
    #expect(schedule.due == at(.max))
  }

  /// Whatever happens to a schedule, it is due when a division says so.
  @Test func isDueWhenADivisionSaysSo() {
    var random = RandomSource(seed: 31)
    for _ in 0..<300 {
      var interval = Int64(random.next() % 5000) + 1
      var now = Int64(random.next() % 1_000_000) - 1000
      var due = now
      var schedule = Schedule(interval: .milliseconds(interval), startingAt: at(now))
      for _ in 0..<60 {
        now += random.next() % 8 == 0 ? Int64(random.next() % 40_000) : Int64(random.next() % UInt64(interval))
        switch random.next() % 12 {
        case 0:
          schedule.trigger(at: at(now))
          due = min(due, now)
        case 1:
          interval = Int64(random.next() % 5000) + 1
          schedule.setInterval(.milliseconds(interval), now: at(now))
          due = now / interval * interval + interval
        default:
          schedule.advance(past: at(now))
          due = max(now, due) / interval * interval + interval
        }
        #expect(schedule.due == at(due))
      }
    }
    var last = Schedule(interval: .seconds(1), startingAt: at(.max - 500))
    for _ in 0..<3 { last.advance(past: at(0)) }
    #expect(last.due == at(.max))
  }
}

@Suite struct RateLimitTests {
  @Test func oneASecondMeansASecondBetweenAnyTwo() {
    var limit = RateLimit(messagesPerSecond: 1)
    #expect(limit.allows(at: at(0)))
    limit.spend(at: at(0))
    #expect(!limit.allows(at: at(999)))
    #expect(limit.allowedFrom == at(1000))
    #expect(limit.allows(at: at(1000)))
    limit.spend(at: at(5500))
    #expect(!limit.allows(at: at(6499)))
    #expect(limit.allows(at: at(6500)))
  }

  @Test(arguments: [2, 3, 10, 100, 1000]) func burstsAreAsLargeAsASecondsWorth(rate: Int) {
    var limit = RateLimit(messagesPerSecond: rate)
    var sent = 0
    while limit.allows(at: at(10_000)), sent <= 2 * rate {
      limit.spend(at: at(10_000))
      sent += 1
    }
    #expect(sent == rate)
    #expect(limit.allowedFrom > at(10_000))
  }

  @Test(arguments: [1, 2, 7, 10, 50]) func theRateHoldsOverAMinute(rate: Int) {
    var limit = RateLimit(messagesPerSecond: rate)
    var sent = 0
    for millisecond in 0..<60_000 where limit.allows(at: at(Int64(millisecond))) {
      limit.spend(at: at(Int64(millisecond)))
      sent += 1
    }
    // A burst at the beginning; the spacing is in whole milliseconds, which 7 does not divide.
    #expect(sent <= 60_000 / (1000 / rate) + rate)
    #expect(sent >= 60 * rate)
  }

  @Test(arguments: [0, -5]) func zeroMeansNoLimit(rate: Int) {
    var limit = RateLimit(messagesPerSecond: rate)
    for _ in 0..<1000 {
      #expect(limit.allows(at: at(1)))
      limit.spend(at: at(1))
    }
  }

  @Test func ratesAboveOneAMillisecondAreHeldToOne() {
    var limit = RateLimit(messagesPerSecond: 5000)
    limit.spend(at: at(0))
    #expect(limit.allows(at: at(0)))
  }
}
