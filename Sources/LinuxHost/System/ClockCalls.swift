// System calls of the clocks.

import Bytes
import CLinux

extension timespec {
  /// In milliseconds, rounded down; the nanoseconds are below a second.
  var milliseconds: Int64 {
    @inline(__always) get {
      wide(tv_sec) * 1000 + Int64(UInt32(truncatingIfNeeded: tv_nsec).times(.ofMillion))
    }
  }
}

// The seconds have 64 bits, under different names. Not by a conversion: on 32-bit machines one of 64 bits is a loop.
@inline(__always)
private func wide(_ seconds: Int64) -> Int64 { seconds }
@inline(__always)
private func wide(_ seconds: Int) -> Int64 { Int64(seconds) }

extension System {
  /// clock_gettime(2) of the wall clock, in milliseconds since 1970, rounded down. Cannot fail.
  @inline(never)  // small code, and the clock is not copied for its caller
  static func wallMilliseconds() -> Int64 {
    var time = timespec()
    _ = clock_gettime(CLOCK_REALTIME, &time)
    return time.milliseconds
  }
}
