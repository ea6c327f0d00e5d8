import Bytes
import TestSupport
import Testing

/// The text of a moment, by plain divisions and by counting the days of years and months.
private func plain(_ milliseconds: Int64) -> String {
  let clamped = min(max(milliseconds, -62_167_219_200_000), 253_402_300_799_999) + 62_167_219_200_000
  var days = Int(clamped / 86_400_000)
  let inDay = Int(clamped % 86_400_000)
  var year = days / 146_097 * 400
  days %= 146_097
  func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }
  while days >= (isLeap(year) ? 366 : 365) {
    days -= isLeap(year) ? 366 : 365
    year += 1
  }
  let lengths = [31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
  var month = 0
  while days >= lengths[month] {
    days -= lengths[month]
    month += 1
  }
  func digits(_ value: Int, _ count: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: count - text.count) + text
  }
  let date = "\(digits(year, 4))-\(digits(month + 1, 2))-\(digits(days + 1, 2))"
  let time = "\(digits(inDay / 3_600_000, 2)):\(digits(inDay / 60_000 % 60, 2)):\(digits(inDay / 1000 % 60, 2))"
  return "\(date)T\(time).\(digits(inDay % 1000, 3))Z"
}

@Suite struct TimeStampTests {
  private func written(_ milliseconds: Int64, by writer: inout TimeStampWriter) -> String {
    var buffer = makeBuffer(capacity: 32)
    writer.append(WallTime(milliseconds: milliseconds), to: &buffer)
    return buffer.text
  }

  /// The last millisecond before a boundary, the first and one behind it, by a writer that remembers the one before.
  private func check(_ boundary: Int64, by writer: inout TimeStampWriter) -> Bool {
    for milliseconds in [boundary - 1, boundary, boundary + 1] {
      let text = written(milliseconds, by: &writer)
      guard text == plain(milliseconds) else {
        Issue.record("\(milliseconds): \(text), not \(plain(milliseconds))")
        return false
      }
    }
    return true
  }

  @Test func everyDayOfTenThousandYearsBeginsRight() {
    var writer = TimeStampWriter()
    // All days of the years in which boards live, and every seventh of the others.
    for day in Int64(-719_529)...2_932_898 where day % 7 == 0 || (0..<30_000).contains(day) {
      guard check(day * 86_400_000, by: &writer) else { return }
    }
  }

  @Test func everyMinuteAndSecondOfADayBeginsRight() {
    var writer = TimeStampWriter()
    for day in [Int64(-1), 0, 19_844, 19_782] {
      for minute in 0...Int64(1440) {
        guard check(day * 86_400_000 + minute * 60_000, by: &writer) else { return }
      }
    }
    for millisecond in Int64(1_714_558_500_000)..<1_714_558_560_000 {
      guard written(millisecond, by: &writer) == plain(millisecond) else {
        Issue.record("\(millisecond)")
        return
      }
    }
  }

  @Test func remembersNothingWrongOverJumpsOfAnyLength() {
    var writer = TimeStampWriter()
    var random = RandomSource(seed: 21)
    var time: Int64 = 0
    for _ in 0..<40_000 {
      let jump = Int64(bitPattern: random.next()) >> Int64(random.next() % 64)
      time = random.next() % 50 == 0 ? jump : time &+ jump
      guard written(time, by: &writer) == plain(time) else {
        Issue.record("\(time): \(plain(time))")
        return
      }
    }
    for extreme in [Int64.min, .max, .min + 59_999, .max - 59_999, 253_402_300_800_000, -62_167_219_200_001, 0] {
      #expect(written(extreme, by: &writer) == plain(extreme))
      var fresh = TimeStampWriter()
      #expect(written(extreme, by: &fresh) == plain(extreme))
    }
  }

  @Test func writesAllOrNothing() {
    for capacity in 0...25 {
      var buffer = makeBuffer(capacity: capacity)
      var writer = TimeStampWriter()
      writer.append(WallTime(milliseconds: 1_714_558_530_250), to: &buffer)
      let hasOverflowed = buffer.hasOverflowed
      #expect(hasOverflowed == (capacity < 24))
      #expect(buffer.text == (capacity < 24 ? "" : "2024-05-01T10:15:30.250Z"))
    }
  }
}
