// The two clocks of the system, and the lower bound that a board without a battery needs.

import Bytes
import CLinux

/// The system's clocks, and the clock floor: the latest time that has certainly passed.
public struct Clock: ~Copyable {
  /// Starts with the build time as the floor. `path` names the file where the last known time is kept; empty means none.
  public init(path: Span<UInt8>, from arena: inout Arena) throws(ArenaExhausted) {
  }

  /// The boot-time clock: counts suspend, never jumps.
  public func now() -> Instant { Instant(milliseconds: 0) }

  /// UTC; nil while the system's clock is earlier than the floor.
  public func wallTime() -> WallTime? { nil }

  /// The time to check certificates against: the system's, or the floor where that is later.
  public func certificateTime() -> WallTime { WallTime(milliseconds: 0) }

  /// Takes the present time as proven: a certificate checked against it was valid.
  public mutating func noteProven(now: Instant) {
  }

  /// Writes the last known time to its file, at most once an hour, or at once at the orderly end. Blocks for the time of
  /// one small write.
  public mutating func store(now: Instant, isEnding: Bool) {
  }
}
