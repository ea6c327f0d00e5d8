// When events are due. Due times are whole multiples of the interval on the boot-time clock: they do not drift, and
// events with related intervals come due together, so that one wake-up and one write serve them all.

import Bytes

/// The schedule of one event.
public struct Schedule: BitwiseCopyable, Sendable {
  /// The time from one event to the next, at least 1 ms.
  public private(set) var interval: TimeSpan
  /// The moment from which the next event is due.
  public private(set) var due: Instant

  /// A schedule whose first event is due at once: whoever starts a board wants to see it.
  public init(interval: TimeSpan, startingAt now: Instant) {
    self.interval = max(interval, .milliseconds(1))
    due = now
  }

  /// The event was dealt with: the next is due at the next multiple of the interval. What was missed is not made up.
  public mutating func advance(past now: Instant) {
    let passed = max(now, due).milliseconds / interval.milliseconds
    due = Instant(milliseconds: passed * interval.milliseconds) + interval
  }

  /// Changes the interval; the next event is due at its next multiple.
  public mutating func setInterval(_ newInterval: TimeSpan, now: Instant) {
    interval = max(newInterval, .milliseconds(1))
    due = now
    advance(past: now)
  }

  /// Makes the event due now.
  public mutating func trigger(at now: Instant) { due = min(due, now) }
}
