// System calls of the clock: wall time, and a small file that is replaced.

import Bytes
import CLinux

extension System {
  /// clock_gettime(2) of the wall clock, in milliseconds since 1970, rounded down. Cannot fail.
  static func wallMilliseconds() -> Int64 {
    var time = timespec()
    _ = clock_gettime(CLOCK_REALTIME, &time)
    return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
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
