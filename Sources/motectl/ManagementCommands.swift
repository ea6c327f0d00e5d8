// `motectl reboot` and `motectl factory-reset`: device-management requests without parameters.

import ArgumentParser
import PlatformClient
import PlatformProtocol
import PlatformService

struct RebootCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reboot", abstract: "Restarts a managed device.",
    discussion: """
      Without --wait, the platform's request is printed and left to itself. With it, each change is printed until the \
      device is managed again.

      Examples:
        motectl reboot edge e7-0042 --wait
        motectl reboot edge e7-0042 --wait --timeout 5m --json

      \(OptionsTopic.pointer)
      """)

  @OptionGroup var device: DeviceArguments
  @OptionGroup var request: RequestOptions
  @OptionGroup var output: OutputOptions
  @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

  func run() async throws {
    try await request.carryOut(.reboot, device.key, connection, isJSON: output.json)
  }
}

struct FactoryResetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "factory-reset", abstract: "Makes a managed device forget its settings.",
    discussion: """
      Identity and credentials stay. Without --wait, the platform's request is printed and left to itself. With it, \
      each change is printed until the device is managed again.

      Example:
        motectl factory-reset edge e7-0042 --wait

      \(OptionsTopic.pointer)
      """)

  @OptionGroup var device: DeviceArguments
  @OptionGroup var request: RequestOptions
  @OptionGroup var confirmation: ConfirmationOptions
  @OptionGroup var output: OutputOptions
  @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

  func run() async throws {
    try confirmation.confirm("Reset \(device.type) \(device.id) to its factory settings?")
    try await request.carryOut(.factoryReset, device.key, connection, isJSON: output.json)
  }
}

struct RequestOptions: ParsableArguments {
  @Flag(help: "Wait until the device is done.") var wait = false
  @Option(help: ArgumentHelp("How long the platform lets the device take.", valueName: "time"))
  var timeout = TimeLimit(seconds: 600)

  /// Makes a request of one device, and waits for its end where that is wanted.
  func carryOut(
    _ action: ManagementAction, _ device: DeviceKey, _ connection: ConnectionOptions, isJSON: Bool
  ) async throws {
    try await operate {
      let client = try RESTClient(try connection.settings())
      let seconds = Int(timeout.seconds.rounded(.up))
      let id = try await client.makeRequest(action, [device], timeoutSeconds: seconds)
      guard wait else {
        // What cannot even begin has failed already.
        if let status = try? await client.requestStatus(id, device), status.isComplete, !status.isSuccess {
          try emit(isJSON ? safeJSON(status.json(id, device)) : status.line(device))
          throw ExitCode(CommandStatus.failed)
        }
        return try emit(isJSON ? safeJSON(.members(["requestId": .string(id)])) : "requested \(printable(id))")
      }
      let status = try await client.follow(id, device, seconds: timeout.seconds) { status in
        try emit(isJSON ? safeJSON(status.json(id, device)) : status.line(device))
      }
      if !status.isSuccess { throw ExitCode(CommandStatus.failed) }
    }
  }
}

extension RequestStatus {
  /// The status as a person reads it.
  var word: String { !isComplete ? "waiting" : isSuccess ? "done" : "failed" }

  func line(_ device: DeviceKey) -> String {
    "\(timestamp()) \(device.typeID) \(device.deviceID) \(word)" + (message.isEmpty ? "" : ": \(printable(message))")
  }

  func json(_ id: String, _ device: DeviceKey) -> JSONValue {
    .members([
      "time": .string(timestamp()), "requestId": .string(id), "typeId": .string(device.typeID),
      "deviceId": .string(device.deviceID), "status": .integer(status), "message": .string(message),
      "complete": .boolean(isComplete),
    ])
  }
}

extension RESTClient {
  /// The pause between two looks at a request.
  private var lookInterval: Duration { .milliseconds(500) }
  /// How much later than its own deadline a platform may end a request, in seconds.
  private var deadlineMargin: Double { 15 }
  /// Looks in a row that may fail: the request goes on while the platform is out of reach.
  private var failuresMax: Int { 60 }

  /// Looks at a device's part of a request until it is complete, and tells `change` about each new status.
  ///
  /// - Throws: `timeout` where the platform does not end the request in its time; `unreachable` where it is away for
  ///   long.
  func follow(
    _ id: String, _ device: DeviceKey, seconds: Double, change: (RequestStatus) async throws -> Void
  ) async throws -> RequestStatus {
    let clock = ContinuousClock()
    let deadline = clock.now + .seconds(seconds + deadlineMargin)
    var last: RequestStatus?
    var failures = 0
    while clock.now < deadline {
      do {
        let status = try await requestStatus(id, device)
        if status != last { try await change(status) }
        if status.isComplete { return status }
        last = status
        failures = 0
      } catch let error as ClientError where error.kind == .unreachable || error.kind == .timeout {
        failures += 1
        if failures > failuresMax { throw error }
      }
      try await Task.sleep(for: lookInterval)
    }
    throw ClientError(.timeout, "\(device.typeID) \(device.deviceID)", "request \(id) has not ended in time")
  }
}
