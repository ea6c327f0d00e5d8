import Agent
import Bytes
import HostInterface
import IoTPlatform
import TestSupport
import Testing

@Suite struct ReconnectTests {
  @Test func pausesGrowWithinTheirBounds() {
    for seed in UInt64(0)..<200 {
      var reconnect = Reconnect(random: RandomSource(seed: seed))
      var last = TimeSpan.zero
      for _ in 0..<50 {
        let pause = reconnect.delay(after: ReconnectClass.ordinary)
        #expect(pause >= .seconds(1) && pause <= .seconds(300))
        #expect(pause.milliseconds <= max(2000, 3 * last.milliseconds))
        last = pause
      }
    }
  }

  @Test func pausesOfManyDevicesSpreadOut() {
    // A thousand devices that lost their server in the same second must not come back in the same one.
    var perSecond: [Int64: Int] = [:]
    for seed in UInt64(0)..<1000 {
      var reconnect = Reconnect(random: RandomSource(seed: seed))
      var time = TimeSpan.zero
      for _ in 0..<6 {
        time = .milliseconds(time.milliseconds + reconnect.delay(after: ReconnectClass.ordinary).milliseconds)
      }
      perSecond[time.milliseconds / 1000, default: 0] += 1
    }
    #expect(perSecond.values.max() ?? 0 < 60)
  }

  @Test func badCredentialsAreTriedSlowly() {
    var reconnect = Reconnect(random: RandomSource(seed: 1))
    for _ in 0..<50 {
      let pause = reconnect.delay(after: ReconnectClass.slow)
      #expect(pause >= .seconds(60) && pause <= .seconds(3600))
    }
    // Whoever mends them does not wait an hour for the next ordinary failure.
    #expect(reconnect.delay(after: ReconnectClass.ordinary) <= .seconds(2))
  }

  @Test func aClockBeingSetIsWaitedForAtItsOwnPace() {
    var reconnect = Reconnect(random: RandomSource(seed: 1))
    for _ in 0..<10 { #expect(reconnect.delay(after: LinkFailure.tlsNotYetValid) == .seconds(15)) }
    #expect(reconnect.delay(after: LinkFailure.connectionRefused) <= .seconds(2))
  }

  @Test func onlyAStableConnectionStartsAfresh() {
    for seed in UInt64(0)..<100 {
      var reconnect = Reconnect(random: RandomSource(seed: seed))
      for _ in 0..<20 {
        reconnect.noteAttempt()
        _ = reconnect.delay(after: ReconnectClass.ordinary)
      }
      _ = reconnect.delay(afterConnectionOf: .milliseconds(299_999))
      #expect(reconnect.attempts == 20)
      let pause = reconnect.delay(afterConnectionOf: .seconds(300))
      #expect(pause <= .seconds(2))
      #expect(reconnect.attempts == 0)
    }
    // Without a reset the pauses stay long on average.
    var reconnect = Reconnect(random: RandomSource(seed: 7))
    for _ in 0..<20 { _ = reconnect.delay(after: ReconnectClass.ordinary) }
    var sum: Int64 = 0
    for _ in 0..<100 { sum += reconnect.delay(afterConnectionOf: .seconds(30)).milliseconds }
    #expect(sum / 100 > 30_000)
  }

  @Test func shortConnectionsInARowSuggestARival() {
    var reconnect = Reconnect(random: RandomSource(seed: 3))
    _ = reconnect.delay(afterConnectionOf: .seconds(9))
    _ = reconnect.delay(afterConnectionOf: .seconds(9))
    #expect(!reconnect.suspectsDuplicate)
    #expect(reconnect.delay(afterConnectionOf: .seconds(9)) >= .seconds(20))
    #expect(reconnect.suspectsDuplicate)
    _ = reconnect.delay(afterConnectionOf: .seconds(10))
    #expect(!reconnect.suspectsDuplicate)
  }

  @Test func theFirstAttemptIsDelayedAtRandom() {
    var delays: Set<Int64> = []
    for seed in UInt64(0)..<100 {
      var reconnect = Reconnect(random: RandomSource(seed: seed))
      let delay = reconnect.firstDelay(upTo: .seconds(10))
      #expect(delay >= .zero && delay <= .seconds(10))
      delays.insert(delay.milliseconds)
    }
    #expect(delays.count > 90)
    var reconnect = Reconnect(random: RandomSource(seed: 0))
    #expect(reconnect.firstDelay(upTo: .zero) == .zero)
  }
}
