// When events are due. Due times are whole multiples of the interval on the boot-time clock, all of a device earlier by
// the same phase: they do not drift, and events with related intervals come due together, so that one wake-up and one
// write serve them all. Without a phase, devices that got their power together would publish together for ever.

import Bytes

/// The schedule of one event.
public struct Schedule: BitwiseCopyable, Sendable {
  /// The time from one event to the next, at least 1 ms.
  public private(set) var interval: TimeSpan
  /// The moment from which the next event is due.
  public private(set) var due: Instant
  /// How much before a multiple of the interval an event is due, in milliseconds.
  private let phase: UInt32
  /// Whether `due` is known to be where the phase puts it, and not negative.
  private var isAligned = false

  /// A schedule whose first event is due at once: whoever starts a board wants to see it. All others are due `phase`
  /// milliseconds before a multiple of the interval.
  public init(interval: TimeSpan, startingAt now: Instant, phase: UInt32 = 0) {
    self.interval = max(interval, .milliseconds(1))
    self.phase = phase
    due = now
  }

  /// The event was dealt with: the next is due before the next multiple of the interval. What was missed is left out.
  @inline(__always)
  public mutating func advance(past now: Instant) {
    let next = due.advanced(by: interval)
    // As a rule: without the division, for which a small processor has no instruction.
    if isAligned, now < next { due = next } else { align(past: now) }
  }

  @inline(never)
  private mutating func align(past now: Instant) {
    let shift = TimeSpan.milliseconds(Int64(phase))
    let passed = (max(now, due) + shift).milliseconds / interval.milliseconds
    due = Instant(milliseconds: passed * interval.milliseconds) + interval + .milliseconds(-shift.milliseconds)
    isAligned = due.milliseconds >= 0
  }

  /// Changes the interval; the next event is due before its next multiple.
  public mutating func setInterval(_ newInterval: TimeSpan, now: Instant) {
    interval = max(newInterval, .milliseconds(1))
    due = now
    isAligned = false
    advance(past: now)
  }

  /// Makes the event due now.
  public mutating func trigger(at now: Instant) {
    guard now < due else { return }
    due = now
    isAligned = false
  }
}
