// Telling the server what has become of the firmware, where it wants to know.
//
// Only the newest is told, behind the manage request, and again until the server has it. A server that knows of no
// observation is not told any more.

import Bytes

/// What is to be told, and how far that has come.
struct FirmwareNotice {
  private enum State {
    /// The server knows what there is to know.
    case none
    /// It is told from this moment on.
    case due(from: Instant)
    /// It was told, and has to answer until then.
    case asked(until: Instant)
  }

  private var state = State.none
  private var attempts = 0
  private(set) var identifier: UInt64 = 0

  /// Whether nothing is to be told.
  var isSettled: Bool {
    if case .none = state { return true }
    return false
  }

  /// When time alone moves it on.
  func deadline(_ now: Instant) -> Instant {
    switch state {
    case .none: .never
    case .due(let from): from > now ? from : .never
    case .asked(let until): until
    }
  }

  /// There is something new.
  mutating func begin(_ now: Instant) {
    state = .due(from: now)
    attempts = 0
  }

  /// There is nobody to be told.
  mutating func end() { state = .none }

  /// Whether `identifier`, as it stands in an answer, is the one of the notice that waits for it.
  func waits(for identifier: Span<UInt8>) -> Bool {
    guard case .asked = state else { return false }
    return identifier.isRequestIdentifier(self.identifier)
  }

  /// Whether the server is to be told now.
  mutating func isDue(_ now: Instant) -> Bool {
    if case .asked(let until) = state, now >= until { retry(now) }
    if case .due(let from) = state { return now >= from }
    return false
  }

  /// The server is told with this identifier.
  mutating func noteSent(_ identifier: UInt64, _ now: Instant) {
    self.identifier = identifier
    state = .asked(until: now + AgentLimits.manageTimeout)
  }

  /// The server could not take it, or has not answered.
  mutating func retry(isConflict: Bool = false, _ now: Instant) {
    // Somebody else was changing the same.
    if isConflict { return state = .due(from: now + .milliseconds(1000 + Int64(identifier % 9000))) }
    attempts += 1
    // Behind the third one, not before there is a new connection.
    guard attempts <= 3 else { return state = .none }
    let seconds: Int64 = attempts == 1 ? 5 : attempts == 2 ? 30 : 120
    state = .due(from: now + .seconds(seconds))
  }
}
