// The system's clocks, as the service wants them.

import Bytes
import Glibc
import PlatformService

extension Moment {
  /// This moment.
  public static var now: Moment {
    Moment(
      instant: Instant(milliseconds: milliseconds(of: CLOCK_BOOTTIME)),
      wall: WallTime(milliseconds: milliseconds(of: CLOCK_REALTIME)))
  }

  private static func milliseconds(of clock: clockid_t) -> Int64 {
    var time = timespec()
    clock_gettime(clock, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
  }
}
