// Moments as text, in the only form that the platform's whole tool chain reads alike: `2024-05-01T10:15:30.250Z`.

/// Writes moments, and remembers the text of the last minute: from one event to the next often only seconds change.
public struct TimeStampWriter: BitwiseCopyable, Sendable {
  /// Where the minute begins that the text is of, in milliseconds since 1970.
  private var minuteStart: Int64 = 0
  // `1970-01-` and `01T00:00`, from the lowest byte of a word on.
  private var month: UInt64 = 0x2D31_302D_3037_3931
  private var minute: UInt64 = 0x3030_3A30_3054_3130

  /// A writer without a memory.
  public init() {}

  /// Appends `time` to `buffer`. Years outside 0...9999 are clamped to that range.
  @inline(never)  // small code: this is called from several places
  public mutating func append(_ time: WallTime, to buffer: inout ByteBuffer) {
    var inMinute = UInt64(bitPattern: time.milliseconds &- minuteStart)
    if inMinute >= 60_000 { inMinute = beginMinute(of: time) }
    let milliseconds = UInt32(truncatingIfNeeded: inMinute)
    let seconds = milliseconds.times(.of1000)
    let rest = milliseconds &- seconds &* 1000
    let tenths = rest.times(.of100)
    // `:30.250Z`
    let colonAndPoint: UInt64 = 0x0000_0000_2E00_003A
    let tail = UInt64(twoDigits(rest &- tenths &* 100)) | UInt64(UInt8(ascii: "Z")) << 16
    let word = colonAndPoint | UInt64(twoDigits(seconds)) << 8 | UInt64(0x30 &+ tenths) << 32 | tail << 40
    buffer.append(words: month, minute, word)
  }

  /// Makes the text that of the minute of `time`; gives the milliseconds since its beginning.
  private mutating func beginMinute(of time: WallTime) -> UInt64 {
    let clamped = min(max(time.milliseconds, -62_167_219_200_000), 253_402_300_799_999)
    // Since year 0: below 2^49. A day has 84,375 × 2^10 milliseconds; the reciprocal is 2^64 / 84,375, rounded up.
    let sinceYear0 = UInt64(bitPattern: clamped &+ 62_167_219_200_000)
    let days = UInt32(truncatingIfNeeded: wideProduct(sinceYear0 &>> 10, 0xC6D7_50EB_FA68).high)
    let inDay = UInt32(truncatingIfNeeded: sinceYear0 &- UInt64(days) &* 86_400_000)
    // A minute has 1875 × 2^5.
    let minutes = (inDay &>> 5).times(.of1875)
    let hours = minutes.times(.of60)
    let inMinute = inDay &- minutes &* 60_000
    minuteStart = clamped &- Int64(inMinute)
    let date = CivilDate(daysSinceYear0: days)
    let century = date.year.times(.of100)
    let year = twoDigits(century) | twoDigits(date.year &- century &* 100) &<< 16
    let hyphens: UInt64 = 0x2D00_002D_0000_0000
    month = UInt64(year) | UInt64(twoDigits(date.month)) << 40 | hyphens
    let dayAndHour = UInt64(twoDigits(date.day)) | UInt64(twoDigits(hours)) << 24
    // `T` and a colon.
    minute = dayAndHour | UInt64(twoDigits(minutes &- hours &* 60)) << 48 | 0x0000_3A00_0054_0000
    return UInt64(inMinute)
  }
}

extension ByteBuffer {
  /// Appends `time` as a `TimeStampWriter` does.
  public mutating func append(_ time: WallTime) {
    var writer = TimeStampWriter()
    writer.append(time, to: &self)
  }
}

/// The two decimal digits of a value below 100, as the lowest bytes of a word.
private func twoDigits(_ value: UInt32) -> UInt32 {
  let tens = value.times(.of10)
  return 0x3030 &+ (tens | (value &- tens &* 10) &<< 8)
}

/// A date of the Gregorian calendar.
private struct CivilDate {
  var year: UInt32
  var month: UInt32
  var day: UInt32

  /// The date so many days after the first day of year 0. Counts years from March, so
  /// that a leap day is the last day of its year.
  init(daysSinceYear0 days: UInt32) {
    // Since the first of March 400 years (146,097 days) earlier, so that there is nothing below 0.
    let shifted = days &+ (146_097 - 60)
    let era = shifted.times(.of146097)
    let dayOfEra = shifted &- era &* 146_097
    let leapDays = dayOfEra.times(.of1460) &- dayOfEra.times(.of36524) &+ (dayOfEra == 146_096 ? 1 : 0)
    let yearOfEra = (dayOfEra &- leapDays).times(.of365)
    let dayOfYear = dayOfEra &- (365 &* yearOfEra &+ yearOfEra &>> 2 &- yearOfEra.times(.of100))
    let monthFromMarch = (5 &* dayOfYear &+ 2).times(.of153)
    day = dayOfYear &- (153 &* monthFromMarch &+ 2).times(.of5) &+ 1
    month = monthFromMarch < 10 ? monthFromMarch &+ 3 : monthFromMarch &- 9
    year = yearOfEra &+ era &* 400 &- (month <= 2 ? 399 : 400)
  }
}
