// The platform reads faster publishers more slowly, and Quickstart throws away what exceeds its rate. So the agent
// keeps to the rate by itself.

import Bytes

/// A limit of so many messages a second, with bursts of as many (the generic cell rate algorithm of ITU-T I.371).
public struct RateLimit: BitwiseCopyable, Sendable {
  private var spacing: TimeSpan
  private var tolerance: TimeSpan
  private var theoretical = Instant(milliseconds: .min / 2)

  /// Allows `messagesPerSecond`, 0 for no limit; a rate of one a second allows no bursts at all.
  public init(messagesPerSecond: Int) {
    let spacing = messagesPerSecond > 0 ? max(1000 / Int64(messagesPerSecond), 1) : 0
    self.spacing = .milliseconds(spacing)
    tolerance = .milliseconds(spacing * Int64(max(messagesPerSecond - 1, 0)))
  }

  /// Allows `messagesPerSecond` from now on; what was sent before counts.
  public mutating func change(messagesPerSecond: Int) {
    let before = theoretical
    self = RateLimit(messagesPerSecond: messagesPerSecond)
    theoretical = before
  }

  /// The earliest moment at which a message may be sent.
  public var allowedFrom: Instant { theoretical + .milliseconds(-tolerance.milliseconds) }

  /// Whether a message may be sent now.
  @inline(never)  // small code: this is called from several places
  public func allows(at now: Instant) -> Bool { spacing == .zero || now >= allowedFrom }

  /// A message was sent.
  public mutating func spend(at now: Instant) {
    theoretical = max(theoretical, now) + spacing
  }
}
