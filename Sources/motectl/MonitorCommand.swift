// `motectl monitor`: who connects and disconnects.

import ArgumentParser
import PlatformClient
import PlatformService

struct MonitorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "monitor", abstract: "Shows who connects and disconnects.",
    discussion: """
      One line for each change, and at first one for each client that the platform remembers. Runs until Ctrl-C.

      Examples:
        motectl monitor
        motectl monitor --type edge --id e7-0042 --json

      \(OptionsTopic.pointer)
      """)

  @Option(help: "Only devices of this type.") var type: String?
  @Option(help: "Only this device.") var id: String?
  @OptionGroup var output: OutputOptions
  @Option(name: .customLong("for"), help: ArgumentHelp("End after this time.", valueName: "time"))
  var duration: TimeLimit?
  @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

  func validate() throws {
    for (name, text) in [("--type", type), ("--id", id)] {
      if let text { try checkName(name, text) }
    }
  }

  func run() async throws {
    try await operate(isEndless: true) {
      let settings = try connection.settings()
      if settings.isQuickstart, type == nil || id == nil {
        throw ClientError(
          .configuration, "quickstart", "shows one device at a time; expected --type and --id as well")
      }
      var filters: [ApplicationFilter] = [.devices(type: type, device: id)]
      if type == nil, id == nil { filters.append(.applications(id: nil)) }
      let wanted = filters
      try await limited(duration) {
        try await watch(wanted, settings) { try handle($0) }
      }
    }
  }

  private func handle(_ event: WatchEvent) throws {
    switch event {
    case .connected: break
    case .lost(let error, let seconds): complain("\(error); trying again in \(Int(seconds.rounded(.up))) s")
    case .missed(let count): complain("\(count) messages were lost: the reader is too slow")
    case .message(let message):
      if output.json {
        try emit(
          .object([
            .init("topic", .string(message.topic)), .init("retained", .boolean(message.isRetained)),
            payloadMember(message.payload),
          ]))
      } else {
        try emit(monitoringLine(message))
      }
    }
  }
}

/// A monitoring message as a line: when, what, who, and what there is to say about it.
func monitoringLine(_ message: ApplicationMessage) -> String {
  guard let json = message.json, let action = json["Action"]?.string else {
    return "\(timestamp()) unknown \(printable(message.topic)) \(payloadText(message.payload))"
  }
  let client = json["ClientID"]?.string ?? message.topic
  var line = "\(printable(json["Time"]?.string ?? timestamp())) \(printable(action.lowercased())) \(printable(client))"
  let details = [
    ("address", "ClientAddr"), ("port", "Port"), ("protocol", "Protocol"), ("secure", "Secure"), ("user", "User"),
    ("code", "CloseCode"), ("reason", "Reason"),
  ]
  for (key, name) in details {
    guard let value = json[name] else { continue }
    line += " \(key)=\(value.string.map(word) ?? safeJSON(value))"
  }
  return line + (message.isRetained ? " (remembered)" : "")
}
