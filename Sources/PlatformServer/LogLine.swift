// Log lines in the style of the house: LEVEL COMPONENT EVENT key=value …

import Logging
import PlatformProtocol
import PlatformService

extension Logger {
  /// Writes an entry of the service as one line.
  public func log(_ entry: ServiceLogEntry) {
    let level: Logger.Level =
      switch entry.level {
      case .error: .error
      case .warning: .warning
      case .info: .info
      case .debug: .debug
      }
    log(level: level, "\(entry.component) \(entry.event)\(values(entry.values))")
  }

  private func values(_ values: [(String, String)]) -> String {
    values.reduce(into: "") { line, pair in line += " \(pair.0)=\(quoted(bounded(pair.1)))" }
  }

  /// The longest value of a line, in bytes: what clients sent may be as long as they like.
  private var valueBytesMax: Int { 300 }

  private func bounded(_ value: String) -> String {
    guard value.utf8.count > valueBytesMax else { return value }
    return String(decoding: value.utf8.prefix(valueBytesMax), as: UTF8.self) + "… (\(value.utf8.count) bytes)"
  }

  /// A value with blanks, quotes, `=` or control bytes is written as a JSON string.
  private func quoted(_ value: String) -> String {
    let isPlain = value.utf8.allSatisfy {
      $0 > 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: "\"")
    }
    return isPlain && !value.isEmpty ? value : JSONValue.string(value).text
  }
}
