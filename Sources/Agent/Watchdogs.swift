// What watches the agent is told that its loop turns, by the loop itself and by nothing else.

import AgentConfiguration
import Bytes
import HostInterface

/// Signs of life, and when the next one is due.
///
/// A sign is given at the beginning of a turn: the turn before has come to its end, and so has its wait.
struct Watchdogs: BitwiseCopyable {
  /// When `advance` has something to do.
  private(set) var deadline: Instant
  /// What the service manager knows.
  private(set) var isToldOnline = false

  init(now: Instant) { deadline = now }

  /// Gives signs of life.
  @inline(never)  // beside the turns in which none is due
  mutating func advance<H: HostWatchdogs & ~Copyable>(_ now: Instant, _ host: inout H) {
    deadline = .never
    let patience = host.managerPatience()
    guard patience > .zero else { return }
    host.tellManager(.alive)
    deadline = now + max(.milliseconds(patience.milliseconds >> 1), AgentLimits.signIntervalMin)
  }

  /// Tells whether there is a connection, which is not what was told last.
  @inline(never)  // beside the turns of events
  mutating func tell<H: HostWatchdogs & ~Copyable>(isOnline: Bool, _ host: inout H) {
    isToldOnline = isOnline
    host.tellManager(isOnline ? .online : .offline)
  }
}
