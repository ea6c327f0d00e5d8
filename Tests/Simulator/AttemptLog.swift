// When connections were attempted, and whether that was not too soon: the promises about backoff.

import Bytes
import HostInterface

/// Watches the pauses between connection attempts.
final class AttemptLog {
  /// How an attempt or connection ended, as far as it matters to the next pause.
  private enum Ending {
    case ordinary, slow, clock
  }

  private let world: World
  /// How late the loop may wake.
  private let lateness: TimeSpan
  private let firstDelayMax: TimeSpan
  private let started: Instant
  private(set) var count = 0
  private var isOpen = false
  private var closed: Instant?
  private var online: Instant?
  private var ending = Ending.ordinary
  private var shortConnections = 0
  private var wasStable = false
  private var lastPause: TimeSpan?
  private var lastEnding = Ending.ordinary
  private var hasSlept = false

  init(world: World, lateness: TimeSpan = .zero, firstDelayMax: TimeSpan = .minutes(60)) {
    self.world = world
    self.lateness = lateness
    self.firstDelayMax = firstDelayMax
    started = world.now
  }

  /// The agent's log says how it understood what happened; the pause must fit that.
  func noteLog(_ component: Substring, _ event: Substring, _ rest: Substring) {
    switch (component, event) {
    case ("mqtt", "connected"): online = world.now
    case ("mqtt", "refused"): ending = rest.contains("code=3 ") ? .ordinary : .slow
    case ("link", "failed"): ending = rest.contains("reason=tls-not-yet-valid") ? .clock : .ordinary
    default: break
    }
  }

  /// The machine sleeps: the next pause may be longer than any other.
  func noteSuspend() { hasSlept = true }

  func noteOpen(at time: Instant) {
    count += 1
    if let closed {
      checkPause(time - closed)
    } else if time > started + firstDelayMax + lateness {
      world.violate("the first attempt comes too late")
    }
    isOpen = true
    online = nil
    lastEnding = ending
    ending = .ordinary
  }

  func noteClose(at time: Instant) {
    guard isOpen else { return }
    isOpen = false
    closed = time
    wasStable = false
    if let online {
      let lifetime = time - online
      wasStable = lifetime >= .minutes(5)
      shortConnections = lifetime < .seconds(10) ? shortConnections + 1 : 0
      if shortConnections == 3 { world.mark("duplicate-identity") }
    }
  }

  private func checkPause(_ pause: TimeSpan) {
    let seconds = Double(pause.milliseconds) / 1000
    var allowed: ClosedRange<TimeSpan>
    switch ending {
    case .clock: allowed = .seconds(15)...(.seconds(15))
    case .slow:
      allowed = .seconds(60)...(.seconds(3600))
      world.mark("pause-slow")
    case .ordinary: allowed = .seconds(1)...(.seconds(300))
    }
    if ending == .ordinary, shortConnections >= 3, online != nil {
      allowed = .seconds(20)...(allowed.upperBound)
    }
    if wasStable {
      world.mark("pause-after-stable")
      allowed = allowed.lowerBound...(max(allowed.lowerBound, .seconds(2)))
    } else if let lastPause, ending == lastEnding, ending != .clock {
      // Decorrelated jitter: never more than three times the pause before.
      let upper = max(3 * lastPause.milliseconds, 2 * allowed.lowerBound.milliseconds)
      allowed = allowed.lowerBound...(max(allowed.lowerBound, min(allowed.upperBound, .milliseconds(upper))))
    }
    let isTooLong = pause > allowed.upperBound + lateness && !hasSlept
    if pause < allowed.lowerBound || isTooLong {
      world.violate(
        "a pause of \(seconds) s before attempt \(count), allowed \(allowed.lowerBound.milliseconds)…"
          + "\(allowed.upperBound.milliseconds) ms (\(ending))")
    }
    if pause > .seconds(150) { world.mark("pause-long") }
    lastPause = ending == .clock || hasSlept ? nil : pause
    hasSlept = false
  }
}
