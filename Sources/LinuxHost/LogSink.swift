// Log lines on standard error, without ever waiting for whoever reads them.

import Bytes
import CLinux
import HostInterface

/// Writes lines to one file descriptor. A reader that does not read costs lines, which are counted, and never time.
public struct LogSink: ~Copyable {
  /// How a line can be written without waiting.
  private enum Way { case socket, file, nonBlocking, pollFirst }

  private let descriptor: Int32
  private let way: Way
  private let isJournal: Bool
  private var isMidLine = false
  /// Lines that could not be written since the last one that could.
  public private(set) var lostCount = 0

  /// Writes to `descriptor`, normally 2, which stays open for the sink's whole life.
  public init(descriptor: Int32 = 2) {
    isJournal = LogSink.isJournal(descriptor)
    var status = stat()
    let kind = fstat(descriptor, &status) == 0 ? status.kind : S_IFREG
    if kind == S_IFSOCK {
      self.descriptor = descriptor
      way = .socket
    } else if kind == S_IFREG {
      self.descriptor = descriptor
      way = .file
    } else {
      // A pipe or a terminal is shared with others, whom O_NONBLOCK would surprise: a second way in has its own flags.
      let own = mote_reopen_for_log(descriptor)
      self.descriptor = own >= 0 ? own : descriptor
      way = own >= 0 ? .nonBlocking : .pollFirst
    }
  }

  /// Writes one line. The journal gets its priority in front, as sd-daemon(3) defines it.
  public mutating func write(_ level: LogLevel, _ line: Span<UInt8>) {
    reportLost()
    guard lostCount == 0 else {
      lostCount += 1
      return
    }
    if !writeLine(level, line) { lostCount += 1 }
  }

  /// Tells how many lines are missing, before the first line that gets through.
  private mutating func reportLost() {
    guard lostCount > 0 else { return }
    // "warning log lines-lost count=" and 19 digits.
    var text = PathText()
    text.append("warning log lines-lost count=")
    text.append(decimal: lostCount)
    let isWritten = text.withPointer { start in
      start.withMemoryRebound(to: UInt8.self, capacity: text.count) { bytes in
        writeLine(.warning, Span(_unsafeStart: bytes, count: text.count))
      }
    }
    if isWritten { lostCount = 0 }
  }

  private mutating func writeLine(_ level: LogLevel, _ line: Span<UInt8>) -> Bool {
    if way == .pollFirst, !isWritable { return false }
    let prefix = prefix(of: level)
    let expected = prefix.utf8CodeUnitCount + line.count + 1
    let written = line.withUnsafeBufferPointer {
      mote_write_line(
        descriptor, way == .socket ? 1 : 0, prefix.utf8Start, prefix.utf8CodeUnitCount, $0.baseAddress, $0.count)
    }
    guard written > 0 else { return false }
    // Terminals may take a part. The rest is lost, and the next line must not continue this one.
    isMidLine = written < expected
    return !isMidLine
  }

  private var isWritable: Bool {
    var set = PollSet()
    guard let index = set.add(descriptor, events: Int16(POLLOUT)) else { return false }
    set.wait(milliseconds: 0)
    return set.readyEvents(index) & Int16(POLLOUT) != 0
  }

  private func prefix(of level: LogLevel) -> StaticString {
    guard isJournal else { return isMidLine ? "\n" : "" }
    switch level {
    case .error: return isMidLine ? "\n<3>" : "<3>"
    case .warning: return isMidLine ? "\n<4>" : "<4>"
    case .info: return isMidLine ? "\n<6>" : "<6>"
    case .debug: return isMidLine ? "\n<7>" : "<7>"
    }
  }

  /// Whether the journal listens: systemd.exec(5) gives device and inode of its stream, so that a redirection by a
  /// script in between is noticed.
  private static func isJournal(_ descriptor: Int32) -> Bool {
    guard let value = getenv("JOURNAL_STREAM") else { return false }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return false }
    var expected = PathText()
    expected.append(decimal: Int(truncatingIfNeeded: status.st_dev))
    expected.appendByte(UInt8(ascii: ":"))
    expected.append(decimal: Int(truncatingIfNeeded: status.st_ino))
    return expected.withPointer { strcmp($0, value) == 0 }
  }
}
