// System calls of the clock: wall time, and a small file that is replaced.

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

  /// open(2), write(2) and close(2): makes or empties the file, readable by all, and writes `bytes` at once. A short
  /// write is a failure, for these bytes fit wherever there is any room. Not repeated when interrupted: regular files
  /// are not.
  static func writeFile(_ path: borrowing PathText, _ bytes: Span<UInt8>) throws(Errno) {
    guard !path.isTooLong else { throw Errno(code: ENAMETOOLONG) }
    let descriptor = path.withPointer { mote_create($0) }
    guard descriptor >= 0 else { throw .last }
    let count = bytes.withUnsafeBufferPointer { write(descriptor, $0.baseAddress, $0.count) }
    let failure = count < 0 ? Errno.last : Errno(code: ENOSPC)
    close(descriptor)
    guard count == bytes.count else { throw failure }
  }

  /// rename(2): puts a file in another's place in one step.
  static func rename(_ path: borrowing PathText, to newPath: borrowing PathText) throws(Errno) {
    let result = path.withPointer { old in newPath.withPointer { CLinux.rename(old, $0) } }
    guard result == 0 else { throw .last }
  }
}
