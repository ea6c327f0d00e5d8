// The log of the house: LEVEL COMPONENT EVENT key=value … on standard error.

import Dispatch
import Foundation
import Logging
import Synchronization

/// Writes messages, which are COMPONENT EVENT key=value … already, behind their level.
struct HouseLogHandler: LogHandler {
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let name =
      switch event.level {
      case .trace, .debug: "debug"
      case .info, .notice: "info"
      case .warning: "warning"
      case .error, .critical: "error"
      }
    LogLines.shared.append("\(name) \(event.message)\n")
  }
}

/// Lines on their way to standard error. A thread of its own writes them: who has something to log waits for nobody
/// who reads.
private final class LogLines: Sendable {
  static let shared = LogLines()
  /// Lines that wait for a reader; further ones are dropped, and counted.
  private static let linesMax = 4096
  /// The longest line, in bytes.
  private static let lineBytesMax = 4096
  /// How long the last lines may take when the program ends.
  private static let farewell = DispatchTimeInterval.milliseconds(500)

  private struct State {
    var waiting = 0
    var dropped = 0
  }

  private let state = Mutex(State())
  private let writer = DispatchQueue(label: "log")

  private init() { atexit { LogLines.shared.drain() } }

  func append(_ line: String) {
    let isTaken = state.withLock { state in
      guard state.waiting < Self.linesMax else {
        state.dropped += 1
        return false
      }
      state.waiting += 1
      return true
    }
    guard isTaken else { return }
    writer.async { [self] in
      write(line)
      let dropped = state.withLock { state in
        state.waiting -= 1
        guard state.waiting == 0 else { return 0 }
        defer { state.dropped = 0 }
        return state.dropped
      }
      if dropped > 0 { write("warning log lines-dropped count=\(dropped)\n") }
    }
  }

  private func write(_ line: String) {
    var bytes = Data(line.utf8)
    if bytes.count > Self.lineBytesMax { bytes = bytes.prefix(Self.lineBytesMax - 1) + Data("\n".utf8) }
    // A disk that is full, or a reader that has gone, costs the line and nothing else.
    try? FileHandle.standardError.write(contentsOf: bytes)
  }

  private func drain() {
    let last = DispatchWorkItem {}
    writer.async(execute: last)
    _ = last.wait(timeout: .now() + Self.farewell)
  }
}

/// A logger of the house that writes from `level` on.
func makeLogger(_ level: String) -> Logger {
  let level = Logger.Level(rawValue: level) ?? .info
  LoggingSystem.bootstrap { _ in HouseLogHandler(logLevel: level) }
  return Logger(label: "motectl")
}
