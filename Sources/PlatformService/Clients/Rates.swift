// How fast clients may publish: the platform's quotas.

import Bytes

/// A class of clients that has a quota of its own.
enum RatedClient {
  case quickstartDevice, device, gateway, application
}

/// How much may be published in a second; 0 for no limit.
struct PublishRate: Equatable {
  let messages: Double
  let bytes: Double

  static let unlimited = PublishRate(messages: 0, bytes: 0)

  init(messages: Double, bytes: Double) {
    self.messages = messages
    self.bytes = bytes
  }

  /// The rate that a plan gives a client.
  init(_ plan: ServiceConfiguration.RatePlan, _ client: RatedClient, overHTTP: Bool) {
    switch (client, plan) {
    // Quickstart's limit is the same in all plans, and counts no bytes.
    case (.quickstartDevice, _): self.init(messages: 1, bytes: Double(ServiceLimits.payloadBytesMax))
    case (_, .unlimited): self = .unlimited
    case (.device, _) where overHTTP: self.init(messages: 1, bytes: 4096)
    case (.gateway, _) where overHTTP: self.init(messages: 10, bytes: 40_960)
    case (.application, _) where overHTTP: self.init(messages: 2, bytes: 8192)
    case (.device, .standard): self.init(messages: 10, bytes: 40_960)
    case (.device, .lite): self.init(messages: 5, bytes: 20_480)
    case (.gateway, .standard): self.init(messages: 100, bytes: 409_600)
    case (.gateway, .lite): self.init(messages: 50, bytes: 204_800)
    case (.application, _): self.init(messages: 20, bytes: 81_920)
    }
  }
}

/// What a client has published, held against its rate. One second's worth may come at once.
struct RateBucket {
  /// The rate.
  let rate: PublishRate
  private var messages: Double
  private var bytes: Double
  private var updated: Instant?

  init(_ rate: PublishRate) {
    self.rate = rate
    messages = rate.messages
    bytes = rate.bytes
  }

  /// Counts a message; the pause after which the client is within its rate again, nil if it is.
  mutating func take(bytes count: Int, now: Instant) -> TimeSpan? {
    refill(now)
    messages -= 1
    bytes -= Double(count)
    return pause
  }

  /// Counts a message if it comes within the rate, or a little too early, as clocks and networks have it.
  mutating func admit(bytes count: Int, now: Instant) -> Bool {
    var next = self
    if let pause = next.take(bytes: count, now: now), pause > ServiceLimits.rateTolerance { return false }
    self = next
    return true
  }

  /// Counts a message of a client that waits for its answer, and gives how long that is to be: above its rate it is
  /// answered later, and refused where it would have to wait for too long already.
  ///
  /// - Throws: `unavailable`.
  mutating func hold(bytes count: Int, now: Instant) throws(ServiceError) -> TimeSpan? {
    refill(now)
    if let pause, pause > ServiceLimits.httpPauseMax {
      throw ServiceError(
        .unavailable, "At most \(Int(rate.messages)) messages and \(Int(rate.bytes)) bytes are taken in a second.")
    }
    return take(bytes: count, now: now).map { min($0, ServiceLimits.httpPauseMax) }
  }

  private var pause: TimeSpan? {
    guard rate != .unlimited else { return nil }
    let debt = max(-messages / rate.messages, -bytes / rate.bytes)
    return debt > 0 ? .milliseconds(Int64((debt * 1000).rounded(.up))) : nil
  }

  private mutating func refill(_ now: Instant) {
    let elapsed = updated.map { Double((now - $0).milliseconds) / 1000 } ?? 0
    updated = now
    messages = min(messages + elapsed * rate.messages, rate.messages)
    bytes = min(bytes + elapsed * rate.bytes, rate.bytes)
  }
}
