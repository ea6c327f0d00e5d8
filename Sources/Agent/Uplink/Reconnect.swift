// How long to wait before the next connection attempt. A fleet that lost its server comes back spread out, and a single
// device with a fault that does not mend itself stays polite.

import Bytes
import HostInterface
import IoTPlatform

/// The backoff between connection attempts: decorrelated jitter, with classes for what needs a person and for clocks.
public struct Reconnect: Sendable {
  /// The shortest and longest wait after an ordinary failure.
  public static var ordinary: ClosedRange<TimeSpan> { .seconds(1)...(.seconds(300)) }
  /// The same where a person has to mend something: the server counts failed authentications.
  public static var slow: ClosedRange<TimeSpan> { .seconds(60)...(.seconds(3600)) }
  /// A connection that lasted this long was good: the next failure starts from the shortest wait. Resetting at every
  /// connection would let a server that accepts and then closes be hammered.
  public static var stableAfter: TimeSpan { .minutes(5) }
  /// A certificate that is not valid yet usually means that our clock is still being set: tried again at this pace.
  public static var clockWait: TimeSpan { .seconds(15) }
  /// Connections that end within this time, so many in a row, mean that another client uses our identifier.
  public static var shortConnection: TimeSpan { .seconds(10) }
  /// How many of them.
  public static var shortConnectionsMax: Int { 3 }
  /// The shortest wait while another client fights for our identifier.
  public static var duplicateWait: TimeSpan { .seconds(20) }

  private var random: RandomSource
  private var lastDelay = TimeSpan.zero
  private var lastClass = ReconnectClass.ordinary
  private var shortConnections = 0
  /// Attempts since the last stable connection.
  public private(set) var attempts = 0

  /// Starts without a history.
  public init(random: RandomSource) { self.random = random }

  /// The wait before the very first attempt: a random part of `delayMax`, so that a site that gets its power back does
  /// not connect in one instant.
  public mutating func firstDelay(upTo delayMax: TimeSpan) -> TimeSpan {
    guard delayMax > .zero else { return .zero }
    return random.timeSpan(in: .zero...delayMax)
  }

  /// An attempt begins.
  public mutating func noteAttempt() { attempts += 1 }

  /// Whether the last connections all ended so soon that another client is likely to use the same identifier.
  public var suspectsDuplicate: Bool { shortConnections >= Reconnect.shortConnectionsMax }

  /// The wait after an attempt that led to no connection.
  public mutating func delay(after failureClass: ReconnectClass) -> TimeSpan {
    nextDelay(failureClass)
  }

  /// The wait after a failed link: like any other, but for a clock that is being set.
  public mutating func delay(after failure: LinkFailure) -> TimeSpan {
    if failure == .tlsNotYetValid { return Reconnect.clockWait }
    return nextDelay(.ordinary)
  }

  /// The wait after a connection that lasted `lifetime` from its CONNACK on.
  public mutating func delay(afterConnectionOf lifetime: TimeSpan) -> TimeSpan {
    if lifetime >= Reconnect.stableAfter {
      lastDelay = .zero
      attempts = 0
    }
    shortConnections = lifetime < Reconnect.shortConnection ? min(shortConnections + 1, 1000) : 0
    let delay = nextDelay(.ordinary)
    return suspectsDuplicate ? max(delay, Reconnect.duplicateWait) : delay
  }

  /// Decorrelated jitter: between the base and three times the last wait, never above the cap.
  private mutating func nextDelay(_ failureClass: ReconnectClass) -> TimeSpan {
    let range = failureClass == .slow ? Reconnect.slow : Reconnect.ordinary
    if failureClass != lastClass { lastDelay = .zero }
    lastClass = failureClass
    let base = range.lowerBound
    let upper = min(max(lastDelay.milliseconds * 3, base.milliseconds * 2), range.upperBound.milliseconds)
    lastDelay = random.timeSpan(in: base...(.milliseconds(upper)))
    return lastDelay
  }
}
