// `motectl command`: tells a device to do something.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformProtocol
import PlatformService

struct CommandCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "command", abstract: "Sends a command to a device.",
    usage: "motectl command TYPE ID NAME [PAYLOAD|-] [--format F] [--wait] [--timeout TIME] [--json]",
    discussion: """
      PAYLOAD is JSON unless --format says otherwise, '-' is standard input, and without one it is {"d":{}}. The \
      platform takes the command at once; a device that is away gets it later only if its session is durable.

      With --wait, the device's next event 'command' about this command is waited for, as Mote's agent publishes it, \
      and printed: the exit status is 0 for the outcome 'ok' and 1 for any other.

      The device is looked up over REST first; where REST is out of reach, the command is sent all the same.

      Examples:
        motectl command edge e7-0042 ping --wait
        motectl command edge e7-0042 interval '{"d":{"event":"status","interval":"5s"}}' --wait
        motectl command edge e7-0042 display - --format text < message.txt

      \(OptionsTopic.pointer)
      """)

  @OptionGroup var device: DeviceArguments
  @Argument(help: ArgumentHelp("The command.", valueName: "name")) var name: String
  @Argument(help: ArgumentHelp("The payload, or '-' for standard input.", valueName: "payload")) var payload: String?
  @Option(help: ArgumentHelp("The payload's format.", valueName: "format")) var format = "json"
  @Flag(help: "Wait for the outcome.") var wait = false
  @Option(help: ArgumentHelp("How long to wait for the outcome.", valueName: "time"))
  var timeout = TimeLimit(seconds: 60)
  @OptionGroup var output: OutputOptions
  @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

  func validate() throws {
    try checkName("NAME", name)
    try checkName("--format", format)
    if let payload, payload != "-" { try check(Array(payload.utf8)) }
  }

  /// Refuses what the platform or the device would throw away.
  private func check(_ payload: [UInt8]) throws {
    guard payload.count <= ApplicationLimits.payloadBytesMax else {
      throw ValidationError(
        "PAYLOAD has \(payload.count) bytes; at most \(ApplicationLimits.payloadBytesMax) are taken.")
    }
    if format == "json", (try? JSONValue(payload.span)) == nil {
      throw ValidationError("PAYLOAD is not JSON: mend it, or say --format.")
    }
  }

  func run() async throws {
    var bytes = Array((payload ?? (format == "json" ? #"{"d":{}}"# : "")).utf8)
    if payload == "-" {
      bytes = Array((try? FileHandle.standardInput.read(upToCount: ApplicationLimits.payloadBytesMax + 1)) ?? Data())
      try check(bytes)
    }
    let payload = bytes
    try await operate { if try await !send(payload) { throw ExitCode(CommandStatus.failed) } }
  }

  /// Sends the command; false where the device did not carry it out.
  private func send(_ payload: [UInt8]) async throws -> Bool {
    let settings = try connection.settings()
    if settings.isQuickstart { throw ClientError(.configuration, "quickstart", "has no commands") }
    try await lookUp(settings)
    let link = try await ApplicationConnection.open(settings)
    do {
      let report = try await exchange(payload, link)
      await link.close()
      try show(report)
      return report.map { $0["outcome"]?.string == "ok" } ?? true
    } catch {
      await link.close()
      throw error
    }
  }

  /// How long to look for the device, in seconds.
  private var lookUpSecondsMax: Double { 5 }

  /// Looks whether the device is there: over MQTT nobody says that it is not. Where REST cannot be asked, MQTT is
  /// trusted.
  private func lookUp(_ settings: ApplicationSettings) async throws {
    let client = try RESTClient(settings)
    let (key, seconds) = (device.key, lookUpSecondsMax)
    let (answers, continuation) = AsyncStream.makeStream(of: ClientError?.self)
    // Not children of ours: a call that hangs is not waited for.
    Task {
      do throws(ClientError) {
        _ = try await client.probe(key)
        continuation.yield(nil)
      } catch {
        continuation.yield(error)
      }
    }
    Task {
      try? await Task.sleep(for: .seconds(seconds))
      continuation.yield(nil)
    }
    for await error in answers {
      // The platform says what is missing; a 404 without a word is some other server's.
      if let error, error.kind == .notFound, error.message.contains(": ") { throw error }
      return
    }
  }

  /// Sends the command, and gives its outcome if that is wanted.
  private func exchange(_ payload: [UInt8], _ link: ApplicationConnection) async throws -> JSONValue? {
    if wait {
      try await link.subscribe(
        ApplicationFilter.events(type: device.type, device: device.id, event: outcomeEvent).text)
    }
    try await link.publish(commandTopic(device.key, name: name, format: format), payload)
    guard wait else { return nil }
    let late = ClientError(
      .timeout, "\(device.type) \(device.id)", "no event 'command' about '\(name)' within \(timeout.seconds) s")
    return try await withTimeout(seconds: timeout.seconds, late) { try await waitForOutcome(link) }
  }

  /// The event in which a device tells how a command ended.
  private var outcomeEvent: String { "command" }

  private func waitForOutcome(_ link: ApplicationConnection) async throws -> JSONValue {
    for await message in link.messages where !message.isRetained {
      guard let json = message.json else { continue }
      let report = json["d"] ?? json
      // An earlier command of this name came again; its outcome has been told, or will be.
      if report["command"]?.string == name, report["outcome"]?.string != "redelivered" { return report }
    }
    throw await link.failure ?? ClientError(.unreachable, "\(device.type) \(device.id)", "the connection was closed")
  }

  private func show(_ report: JSONValue?) throws {
    if output.json {
      let key: [JSONValue.Member] = [
        .init("typeId", .string(device.type)), .init("deviceId", .string(device.id)),
      ]
      let rest = report?.members ?? [.init("command", .string(name)), .init("sent", .boolean(true))]
      return try emit(.object(key + rest))
    }
    guard let report else { return }
    var line = printable(report["outcome"]?.string ?? "unknown")
    if let status = report["status"]?.integer { line += " status=\(status)" }
    try emit(line)
    // A program's output keeps its lines.
    guard let text = report["output"]?.string, !text.isEmpty else { return }
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast(text.hasSuffix("\n") ? 1 : 0) {
      try emit(printable(String(line)))
    }
  }
}
