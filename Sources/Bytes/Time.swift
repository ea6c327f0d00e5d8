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

  /// Later than any other moment: the deadline of what has none.
  public static var never: Instant { Instant(milliseconds: .max) }

  /// The earlier of two comes first.
  public static func < (left: Instant, right: Instant) -> Bool { left.milliseconds < right.milliseconds }
  /// The moment `span` later.
  #if !_pointerBitWidth(_64)
    @inline(never)  // small code: this is called from everywhere
  #endif
  public static func + (left: Instant, span: TimeSpan) -> Instant { left.advanced(by: span) }
  /// The same, as code of the caller: for the few places where a call would count.
  @inline(__always)
  public func advanced(by span: TimeSpan) -> Instant {
    let (sum, overflow) = milliseconds.addingReportingOverflow(span.milliseconds)
    return Instant(milliseconds: overflow ? (span.milliseconds < 0 ? .min : .max) : sum)
  }
  /// How much later `left` is than `right`.
  @inline(never)  // small code: this is called from several places
  public static func - (left: Instant, right: Instant) -> TimeSpan {
    let (difference, overflow) = left.milliseconds.subtractingReportingOverflow(right.milliseconds)
    return .milliseconds(overflow ? (left < right ? .min : .max) : difference)
  }
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
