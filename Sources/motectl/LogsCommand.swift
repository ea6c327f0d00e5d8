// `motectl logs`: a device's diagnostic log and error codes.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService

struct LogsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logs", abstract: "Shows a device's diagnostic log.",
    discussion: """
      Examples:
        motectl logs edge e7-0042
        motectl logs edge e7-0042 --follow
        motectl logs edge e7-0042 --error-codes --json
        motectl logs edge e7-0042 --clear

      \(OptionsTopic.pointer)
      """)

  @OptionGroup var device: DeviceArguments
  @Flag(help: "Error codes instead of the log.") var errorCodes = false
  @Flag(name: .shortAndLong, help: "Go on until Ctrl-C.") var follow = false
  @Flag(help: "Empty the log instead of showing it.") var clear = false
  @OptionGroup var output: OutputOptions
  @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

  func validate() throws {
    if follow, clear { throw ValidationError("--follow and --clear do not go together.") }
  }

  func run() async throws {
    try await operate(isEndless: follow) {
      let client = try RESTClient(try connection.settings())
      let part = errorCodes ? "diag/errorCodes" : "diag/logs"
      if clear {
        try await client.clear(device.key, part)
        return try emit(output.json ? safeJSON(.members(["cleared": .boolean(true)])) : "cleared")
      }
      // So that a device that is not there is told from one without a log.
      _ = try await client.device(device.key)
      var shown: [JSONValue] = []
      repeat {
        let answer = try await client.detail(device.key, part)
        let entries = answer?.array ?? answer?["results"]?.array ?? []
        for entry in newEntries(entries, after: shown) { try emit(output.json ? safeJSON(entry) : logLine(entry)) }
        shown = entries
        if follow { try await Task.sleep(for: lookInterval) }
      } while follow
    }
  }

  /// The pause between two looks at a log.
  private var lookInterval: Duration { .seconds(2) }
}

/// Entries of `log` that were not in `old`, in their order. Platforms list the newest first or last.
func newEntries(_ log: [JSONValue], after old: [JSONValue]) -> [JSONValue] {
  var counts: [String: Int] = [:]
  for entry in old { counts[entry.text, default: 0] += 1 }
  return log.filter { entry in
    guard let count = counts[entry.text], count > 0 else { return true }
    counts[entry.text] = count - 1
    return false
  }
}

/// An entry of a log, or an error code, as a line.
func logLine(_ entry: JSONValue) -> String {
  let time = printable(entry["timestamp"]?.string ?? "-")
  if let code = entry["errorCode"] { return "\(time) error-code \(safeJSON(code))" }
  let severities = ["info", "warning", "error"]
  let severity = entry["severity"]?.integer.flatMap { Int(exactly: $0) }
  var line = time + " " + (severity.flatMap { severities.indices.contains($0) ? severities[$0] : nil } ?? "unknown")
  line += " " + printable(entry["message"]?.string ?? "")
  guard let data = entry["logData"]?.string ?? entry["data"]?.string, !data.isEmpty else { return line }
  guard let bytes = Data(base64Encoded: data) else { return line + " data=" + word(data) }
  return line + " data=" + word(payloadText(Array(bytes)))
}
