// The log of the house: LEVEL COMPONENT EVENT key=value … on standard error.

import Foundation
import Logging

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
    // A disk that is full, or a reader that has gone, costs the line and nothing else.
    try? FileHandle.standardError.write(contentsOf: Data("\(name) \(event.message)\n".utf8))
  }
}

/// A logger of the house that writes from `level` on.
func makeLogger(_ level: String) -> Logger {
  let level = Logger.Level(rawValue: level) ?? .info
  LoggingSystem.bootstrap { _ in HouseLogHandler(logLevel: level) }
  return Logger(label: "motectl")
}
