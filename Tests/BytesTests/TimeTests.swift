import Bytes
import Foundation
import TestSupport
import Testing

@Suite struct TimeTests {
  private func printed(_ milliseconds: Int64) -> String {
    var buffer = makeBuffer(capacity: 32)
    buffer.append(WallTime(milliseconds: milliseconds))
    return buffer.text
  }

  @Test func formatsAsRFC3339() {
    #expect(printed(0) == "1970-01-01T00:00:00.000Z")
    #expect(printed(1_714_558_530_250) == "2024-05-01T10:15:30.250Z")
    #expect(printed(951_782_400_000) == "2000-02-29T00:00:00.000Z")
    #expect(printed(4_107_542_399_999) == "2100-02-28T23:59:59.999Z", "2100 is no leap year")
    #expect(printed(4_107_542_400_000) == "2100-03-01T00:00:00.000Z")
    #expect(printed(2_147_483_648_000) == "2038-01-19T03:14:08.000Z", "more than 32 bits of seconds")
    #expect(printed(-1) == "1969-12-31T23:59:59.999Z")
  }

  @Test func clampsToYearsOfFourDigits() {
    #expect(printed(.max) == "9999-12-31T23:59:59.999Z")
    #expect(printed(253_402_300_800_000) == "9999-12-31T23:59:59.999Z")
    #expect(printed(.min) == "0000-01-01T00:00:00.000Z")
  }

  @Test func everyDayFrom1900To2200IsWhatFoundationSays() throws {
    let formatter = ISO8601DateFormatter()
    formatter.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    var random = RandomSource(seed: 3)
    for day in Int64(-25_567)...84_006 {
      // Whole seconds: the reference's own fraction is a binary one.
      let seconds = day * 86_400 + Int64(random.next() % 86_400)
      let expected = formatter.string(from: Date(timeIntervalSince1970: Double(seconds)))
      guard printed(seconds * 1000) == expected else {
        Issue.record("\(printed(seconds * 1000)) should be \(expected)")
        return
      }
    }
  }

  @Test func firstAndLastMillisecondOfEachDayBelongToIt() {
    for day in stride(from: Int64(-719_528), through: 2_932_896, by: 997) {
      let first = printed(day * 86_400_000)
      let last = printed(day * 86_400_000 + 86_399_999)
      #expect(first.hasSuffix("T00:00:00.000Z"))
      #expect(last.hasSuffix("T23:59:59.999Z"))
      #expect(first.prefix(10) == last.prefix(10))
      #expect(first > printed(day * 86_400_000 - 1) || day == -719_528)
    }
  }

  @Test func arithmeticSaturates() {
    #expect(TimeSpan.seconds(.max).milliseconds == .max)
    #expect(TimeSpan.seconds(.min).milliseconds == .min)
    #expect(TimeSpan.minutes(.max / 1000).milliseconds == .max)
    #expect(TimeSpan.seconds(-3).milliseconds == -3000)
    #expect(TimeSpan.minutes(2).milliseconds == 120_000)
    let late = Instant(milliseconds: .max - 5)
    #expect((late + .seconds(1)).milliseconds == .max)
    #expect((Instant(milliseconds: .min + 5) + .seconds(-1)).milliseconds == .min)
    #expect((late - Instant(milliseconds: -100)).milliseconds == .max)
    #expect((Instant(milliseconds: -100) - Instant(milliseconds: .max)).milliseconds == .min)
    #expect((Instant(milliseconds: 7) - Instant(milliseconds: 9)).milliseconds == -2)
  }
}

@Suite struct RandomSourceTests {
  // The reference values of SplitMix64 for the seed 1234567, as its author's C code gives them.
  @Test func isSplitMix64() {
    var random = RandomSource(seed: 1_234_567)
    #expect(
      (0..<5).map { _ in random.next() } == [
        6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423, 4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
      ])
  }

  @Test func timesStayInTheirRangeAndReachBothEnds() {
    var random = RandomSource(seed: 5)
    var seen: Set<Int64> = []
    for _ in 0..<1000 { seen.insert(random.timeSpan(in: .milliseconds(-2)...(.milliseconds(3))).milliseconds) }
    #expect(seen == [-2, -1, 0, 1, 2, 3])
    #expect(random.timeSpan(in: .seconds(4)...(.seconds(4))) == .seconds(4))
    // The widest ranges must not trap.
    _ = random.timeSpan(in: .milliseconds(.min)...(.milliseconds(.max)))
    #expect(random.timeSpan(in: .milliseconds(.min)...(.milliseconds(-1))) < .zero)
  }
}
