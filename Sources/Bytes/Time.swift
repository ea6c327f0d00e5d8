// Two kinds of time that never mix: intervals are measured on a clock that only moves forward, and wall time is a
// value that a board without a battery may not know.

/// A length of time in milliseconds; negative values are allowed as differences.
///
/// Arithmetic on times saturates: numbers from a configuration or a command cannot trap it.
public struct TimeSpan: Comparable, Sendable, BitwiseCopyable {
  /// The length in milliseconds.
  public var milliseconds: Int64

  /// A length of so many milliseconds.
  public static func milliseconds(_ value: Int64) -> TimeSpan { TimeSpan(milliseconds: value) }
  /// A length of so many seconds.
  public static func seconds(_ value: Int64) -> TimeSpan { TimeSpan(saturating: value, 1000) }
  /// A length of so many minutes.
  public static func minutes(_ value: Int64) -> TimeSpan { TimeSpan(saturating: value, 60_000) }
  /// No time at all.
  public static var zero: TimeSpan { TimeSpan(milliseconds: 0) }

  private init(milliseconds: Int64) { self.milliseconds = milliseconds }

  private init(saturating value: Int64, _ factor: Int64) {
    let (product, overflow) = value.multipliedReportingOverflow(by: factor)
    milliseconds = overflow ? (value < 0 ? .min : .max) : product
  }

  /// The shorter of two comes first.
  public static func < (left: TimeSpan, right: TimeSpan) -> Bool { left.milliseconds < right.milliseconds }
}

/// A moment on the host's boot-time clock, which counts suspend and never jumps, in milliseconds.
public struct Instant: Comparable, Sendable, BitwiseCopyable {
  /// Milliseconds since an arbitrary start.
  public var milliseconds: Int64

  /// The moment `milliseconds` after the clock's start.
  public init(milliseconds: Int64) { self.milliseconds = milliseconds }

  /// The earlier of two comes first.
  public static func < (left: Instant, right: Instant) -> Bool { left.milliseconds < right.milliseconds }
  /// The moment `span` later.
  public static func + (left: Instant, span: TimeSpan) -> Instant {
    let (sum, overflow) = left.milliseconds.addingReportingOverflow(span.milliseconds)
    return Instant(milliseconds: overflow ? (span.milliseconds < 0 ? .min : .max) : sum)
  }
  /// How much later `left` is than `right`.
  public static func - (left: Instant, right: Instant) -> TimeSpan {
    let (difference, overflow) = left.milliseconds.subtractingReportingOverflow(right.milliseconds)
    return .milliseconds(overflow ? (left < right ? .min : .max) : difference)
  }
}

/// The earlier of two moments of which either may be missing.
public func earlier(_ left: Instant?, _ right: Instant?) -> Instant? {
  guard let left else { return right }
  guard let right else { return left }
  return min(left, right)
}

/// A moment in UTC, in milliseconds since 1970 without leap seconds.
public struct WallTime: Comparable, Sendable, BitwiseCopyable {
  /// Milliseconds since 1970-01-01T00:00:00Z.
  public var milliseconds: Int64

  /// The moment so many milliseconds after 1970-01-01T00:00:00Z.
  public init(milliseconds: Int64) { self.milliseconds = milliseconds }

  /// The earlier of two comes first.
  public static func < (left: WallTime, right: WallTime) -> Bool { left.milliseconds < right.milliseconds }
}

extension ByteBuffer {
  /// Appends `time` as `2024-05-01T10:15:30.250Z`, the only form that the platform's whole tool chain reads alike.
  ///
  /// Years outside 0...9999 are clamped to that range.
  public mutating func append(_ time: WallTime) {
    let clamped = min(max(time.milliseconds, -62_167_219_200_000), 253_402_300_799_999)
    let days = clamped >= 0 ? clamped / 86_400_000 : (clamped - 86_399_999) / 86_400_000
    let date = civilDate(daysSince1970: days)
    let inDay = clamped - days * 86_400_000
    let hyphen = UInt64(UInt8(ascii: "-"))
    let colon = UInt64(UInt8(ascii: ":"))
    // `2024-05-`, `01T10:15` and `:30.250Z`, each eight bytes from the lowest of a word on.
    var word = twoDigits(date.year / 100) | twoDigits(date.year % 100) << 16
    append(word: word | hyphen << 32 | twoDigits(date.month) << 40 | hyphen << 56, byteCount: 8)
    word = twoDigits(date.day) | UInt64(UInt8(ascii: "T")) << 16 | twoDigits(inDay / 3_600_000) << 24
    append(word: word | colon << 40 | twoDigits(inDay / 60_000 % 60) << 48, byteCount: 8)
    word = colon | twoDigits(inDay / 1000 % 60) << 8 | UInt64(UInt8(ascii: ".")) << 24
    // The tenths of a second, and hundredths and thousandths together.
    word |= (twoDigits(inDay / 100 % 10) >> 8) << 32 | twoDigits(inDay % 100) << 40
    append(word: word | UInt64(UInt8(ascii: "Z")) << 56, byteCount: 8)
  }
}

/// The two decimal digits of a value below 100, as the lowest bytes of a word.
private func twoDigits(_ value: Int64) -> UInt64 {
  let value = UInt64(truncatingIfNeeded: value)
  return 0x3030 + (value / 10 | (value % 10) << 8)
}

/// The Gregorian date of a day number. Counts years from March, so that a leap day is the last day of its year.
private func civilDate(daysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
  let shifted = days + 719_468  // days since 0000-03-01
  let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
  let dayOfEra = shifted - era * 146_097
  let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
  let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
  let monthFromMarch = (5 * dayOfYear + 2) / 153
  let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
  let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
  return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
}
