// One wrapper per system call. Each states what it does about interruption and short results; whatever is opened closes
// on exec.

import Bytes
import CLinux
import HostInterface

extension Errno {
  /// The same in words that a log can show about a sensor.
  var readFailure: ReadFailure {
    switch code {
    case ENOENT, ENOTDIR, ENODEV, ESTALE, EISDIR, ELOOP, ENAMETOOLONG: .notFound
    case EACCES, EPERM: .notPermitted
    case ETIMEDOUT: .timeout
    case EAGAIN, EBUSY: .notReady
    case ENODATA: .noData
    case EINVAL, EOPNOTSUPP: .notAvailable
    case ENXIO: .notConnected
    case ENETDOWN: .networkDown
    case ENOMEDIUM: .notMounted
    default: .inputOutput
    }
  }

  /// Whether a driver said this at once of its own device: the next reading may have a value, so nothing is left alone
  /// for it.
  var isDriversAnswer: Bool {
    switch readFailure {
    case .notFound, .notPermitted, .notMounted: false
    default: code != EPIPE
    }
  }

  /// Whether the system had no room, which may pass.
  var isShortage: Bool {
    switch code {
    case ENOMEM, EAGAIN, EMFILE, ENFILE, ENOSPC: true
    default: false
    }
  }
}

extension stat {
  /// What kind of file it is: S_IFREG and the like.
  var kind: Int32 { Int32(truncatingIfNeeded: st_mode) & S_IFMT }
}

/// Wrappers around the calls that several parts need.
enum System {
  /// How often an interrupted call is repeated: signals are rare, so only a defect comes this far.
  private static var interruptionsMax: Int { 8 }

  /// open(2) for reading. Never waits for a FIFO's writer, never takes a controlling terminal. Repeated when
  /// interrupted.
  static func openForReading(_ path: borrowing PathText) throws(Errno) -> Int32 {
    guard !path.isTooLong else { throw Errno(code: ENAMETOOLONG) }
    let flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC
    for _ in 0..<interruptionsMax {
      let descriptor = path.withPointer { mote_open($0, flags) }
      if descriptor >= 0 { return descriptor }
      if mote_errno() != EINTR { break }
    }
    throw .last
  }

  /// close(2). Not repeated: Linux releases the descriptor even when interrupted.
  static func close(_ descriptor: Int32) {
    _ = CLinux.close(descriptor)
  }

  /// pread(2) at the beginning of a file, appending at most `byteCountMax` bytes to `buffer`. One call, which for the
  /// kernel's attribute files gives all; repeated only when interrupted.
  static func readFromStart(
    _ descriptor: Int32, into buffer: inout ByteBuffer, byteCountMax: Int
  ) throws(Errno) {
    for _ in 0..<interruptionsMax {
      var free = buffer.freeSpan
      let count = free.withUnsafeMutableBufferPointer {
        pread(descriptor, $0.baseAddress, min($0.count, byteCountMax), 0)
      }
      if count >= 0 { return buffer.commit(count) }
      if mote_errno() != EINTR { break }
    }
    throw .last
  }

  /// The same with a single try; false when it fails, for whatever reason.
  @inline(__always)
  static func tryReadingFromStart(_ descriptor: Int32, into buffer: inout ByteBuffer, byteCountMax: Int) -> Bool {
    var free = buffer.freeSpan
    let count = free.withUnsafeMutableBufferPointer {
      pread(descriptor, $0.baseAddress, min($0.count, byteCountMax), 0)
    }
    guard count >= 0 else { return false }
    buffer.commit(count)
    return true
  }

  /// read(2), appending at most `byteCountMax` bytes to `buffer`; 0 at the end of the file. Short reads are the
  /// caller's affair. Repeated when interrupted.
  static func read(_ descriptor: Int32, into buffer: inout ByteBuffer, byteCountMax: Int) throws(Errno) -> Int {
    for _ in 0..<interruptionsMax {
      var free = buffer.freeSpan
      let count = free.withUnsafeMutableBufferPointer {
        CLinux.read(descriptor, $0.baseAddress, min($0.count, byteCountMax))
      }
      if count >= 0 {
        buffer.commit(count)
        return count
      }
      if mote_errno() != EINTR { break }
    }
    throw .last
  }

  /// read(2) of bytes that nobody wants; 0 at the end of the file. Repeated when interrupted.
  static func discard(_ descriptor: Int32) throws(Errno) -> Int {
    var chunk = InlineArray<4096, UInt8>(repeating: 0)
    for _ in 0..<interruptionsMax {
      var bytes = chunk.mutableSpan
      let count = bytes.withUnsafeMutableBufferPointer { CLinux.read(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 { return count }
      if mote_errno() != EINTR { break }
    }
    throw .last
  }

  /// open, one read, close of a small file of the kernel; nil when any fails. What does not fit is ignored.
  static func readSmallFile(_ path: borrowing PathText, into bytes: inout MutableSpan<UInt8>) -> Int? {
    let descriptor: Int32
    do throws(Errno) { descriptor = try openForReading(path) } catch { return nil }
    defer { close(descriptor) }
    let count = bytes.withUnsafeMutableBufferPointer { CLinux.read(descriptor, $0.baseAddress, $0.count) }
    return count >= 0 ? count : nil
  }

  /// The last component of what a link leads to, as readlink(2) tells it, or one further up; nil where there is no
  /// link, empty where it has no such component.
  static func nameOfLinkTarget(_ path: borrowing PathText, levelsUp: Int = 0) -> PathText? {
    var target = InlineArray<512, CChar>(repeating: 0)
    var bytes = target.mutableSpan
    let count = bytes.withUnsafeMutableBufferPointer { room in
      room.baseAddress.map { start in path.withPointer { readlink($0, start, room.count) } } ?? 0
    }
    guard count > 0, count < target.count else { return nil }
    var slashesLeft = -levelsUp
    for index in 0..<count where target[index] == CChar(UInt8(ascii: "/")) { slashesLeft += 1 }
    var name = PathText()
    for index in 0..<count {
      let byte = UInt8(bitPattern: target[index])
      if byte == UInt8(ascii: "/") { slashesLeft -= 1 } else if slashesLeft == 0 { name.appendByte(byte) }
    }
    return name
  }

  /// stat(2); nil when it fails.
  @inline(never)
  static func status(of path: borrowing PathText) -> stat? {
    var status = stat()
    guard !path.isTooLong, path.withPointer({ stat($0, &status) }) == 0 else { return nil }
    return status
  }

  /// fstat(2); nil when it fails.
  @inline(never)
  static func status(of descriptor: Int32) -> stat? {
    var status = stat()
    return fstat(descriptor, &status) == 0 ? status : nil
  }

  /// lseek(2) from the beginning of the file; false when it fails.
  static func seek(_ descriptor: Int32, to offset: Int) -> Bool {
    lseek(descriptor, off_t(offset), SEEK_SET) == off_t(offset)
  }

  /// write(2) of everything, waiting as long as it takes: only for programs that print and end, never for the agent.
  @inline(never)
  static func writeAll(_ descriptor: Int32, _ bytes: Span<UInt8>) throws(Errno) {
    var written = 0
    while written < bytes.count {
      let count = bytes.extracting(written..<bytes.count).withUnsafeBufferPointer {
        CLinux.write(descriptor, $0.baseAddress, $0.count)
      }
      if count < 0, mote_errno() == EINTR { continue }
      guard count > 0 else { throw .last }
      written += count
    }
  }

  /// clock_gettime(2) of the boot-time clock, in milliseconds, rounded down. Cannot fail: every Linux since 2.6.39 has
  /// it.
  @inline(never)  // small code: this is called from several places
  static func bootTime() -> Instant {
    var time = timespec()
    _ = clock_gettime(CLOCK_BOOTTIME, &time)
    return Instant(milliseconds: time.milliseconds)
  }
}
