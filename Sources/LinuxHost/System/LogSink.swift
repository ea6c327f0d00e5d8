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
  /// How large a file may become; 0 for no bound.
  private let fileBytesMax: Int
  private var isMidLine = false
  /// Lines that could not be written since the last one that could.
  public private(set) var lostCount = 0

  /// Writes to `descriptor`, normally 2, which stays open for the sink's whole life.
  ///
  /// - Parameter fileBytesMax: where it is a file, its older half is dropped whenever it has become larger than this
  ///   many bytes; never where this is 0.
  public init(descriptor: Int32 = 2, fileBytesMax: Int = 0) {
    self.fileBytesMax = fileBytesMax
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

  /// Writes one line. The journal gets its priority in front, as sd-daemon(3) defines it. Where lines are missing, how
  /// many is told together with the first that gets through: in one write, or a nearly full pipe would take only the
  /// shorter.
  public mutating func write(_ level: LogLevel, _ line: Span<UInt8>) {
    var start = PathText()
    if isMidLine { start.append("\n") }
    if lostCount > 0 {
      appendPriority(.warning, to: &start)
      start.append("warning log lines-lost count=")
      start.append(decimal: lostCount)
      start.append("\n")
    }
    appendPriority(level, to: &start)
    if start.withBytes({ write($0, line) }) { lostCount = 0 } else { lostCount += 1 }
  }

  private mutating func write(_ start: Span<UInt8>, _ line: Span<UInt8>) -> Bool {
    if way == .pollFirst, !isWritable { return false }
    let expected = start.count + line.count + 1
    let written = start.withUnsafeBufferPointer { start in
      line.withUnsafeBufferPointer {
        mote_write_line(
          descriptor, way == .socket ? 1 : 0, start.baseAddress, start.count, $0.baseAddress, $0.count)
      }
    }
    guard written > 0 else { return false }
    // Terminals and sockets may take a part. The rest is lost, and the next line must not continue this one.
    isMidLine = written < expected
    if way == .file, fileBytesMax > 0 { mote_bound_log(descriptor, fileBytesMax) }
    return !isMidLine
  }

  private var isWritable: Bool {
    var set = PollSet()
    guard let index = set.add(descriptor, events: Int16(POLLOUT)) else { return false }
    set.wait(milliseconds: 0)
    return set.readyEvents(index) & Int16(POLLOUT) != 0
  }

  private func appendPriority(_ level: LogLevel, to start: inout PathText) {
    if isJournal { start.append(LogSink.prefix(of: level)) }
  }

  private static func prefix(of level: LogLevel) -> StaticString {
    switch level {
    case .error: "<3>"
    case .warning: "<4>"
    case .info: "<6>"
    case .debug: "<7>"
    }
  }

  /// What belongs in front of a line on standard error: its priority where the journal listens, otherwise nothing.
  public static func priority(of level: LogLevel) -> StaticString { isJournal(2) ? prefix(of: level) : "" }

  /// Whether the journal listens: systemd.exec(5) gives device and inode of its stream, so that a redirection by a
  /// script in between is noticed.
  private static func isJournal(_ descriptor: Int32) -> Bool {
    guard let value = Environment.value("JOURNAL_STREAM") else { return false }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { return false }
    var expected = PathText()
    expected.append(decimal: Int(truncatingIfNeeded: status.st_dev))
    expected.appendByte(UInt8(ascii: ":"))
    expected.append(decimal: Int(truncatingIfNeeded: status.st_ino))
    return expected.withPointer { strcmp($0, value) == 0 }
  }
}
