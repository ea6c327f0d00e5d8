// `motectl devices`: all devices in one table.

import ArgumentParser
import PlatformClient
import PlatformProtocol
import PlatformService

struct DevicesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices", abstract: "Lists the registered devices.",
    discussion: """
      Examples:
        motectl devices
        motectl devices --type edge --json | jq -r .deviceId

      \(OptionsTopic.pointer)
      """)

  @Option(help: "Only devices of this type.") var type: String?
  @OptionGroup var output: OutputOptions
  @OptionGroup(visibility: ConnectionOptions.visibility) var connection: ConnectionOptions

  func validate() throws {
    if let type { try checkName("--type", type) }
  }

  func run() async throws {
    try await operate {
      let client = try RESTClient(try connection.settings())
      let devices = try await client.devices(type: type)
      if output.json {
        for device in devices { try emit(device) }
        return
      }
      var states = devices.compactMap(ConnectionState.init(of:))
      // A platform may keep them to itself.
      if states.isEmpty, !devices.isEmpty {
        states = (try? await client.connectionStates().compactMap { ConnectionState($0) }) ?? []
      }
      var known: [DeviceKey: ConnectionState] = [:]
      for state in states { known[state.device] = state }
      let lines = deviceLines(devices, known, width: isTerminal() ? terminalSize().width : nil)
      for line in lines { try emit(line) }
    }
  }
}

/// What a platform tells about a device's connection: in the description of the device, or in a list of its own.
/// Platforms differ in the names.
struct ConnectionState: Equatable {
  let device: DeviceKey
  let isConnected: Bool
  let time: String

  /// Reads an entry of the list of connections; nil where it is of no device.
  init?(_ json: JSONValue) {
    func text(_ names: String...) -> String? { names.lazy.compactMap { json[$0]?.string }.first }
    let client = text("clientId", "id") ?? ""
    if let type = text("typeId", "deviceType"), let id = text("deviceId") {
      device = DeviceKey(typeID: type, deviceID: id)
    } else if let key = ClientIdentity(client.utf8Span.span)?.device {
      device = key
    } else {
      return nil
    }
    guard let state = text("connectionStatus", "connectionState", "state") else { return nil }
    isConnected = state.lowercased() == "connected"
    time = text(isConnected ? "connectedDateTime" : "disconnectedDateTime", "lastActivityDateTime", "time") ?? "-"
  }

  /// Reads the description of a device; nil where that says nothing about its connection.
  init?(of description: JSONValue) {
    guard let type = description["typeId"]?.string, let id = description["deviceId"]?.string,
      let isConnected = description["connection"]?["connected"]?.boolean
    else { return nil }
    device = DeviceKey(typeID: type, deviceID: id)
    self.isConnected = isConnected
    time = description["connection"]?["time"]?.string ?? "-"
  }
}

/// The table of devices.
func deviceLines(_ devices: [JSONValue], _ states: [DeviceKey: ConnectionState], width: Int?) -> [String] {
  let rows = devices.map { device in
    let type = device["typeId"]?.string ?? ""
    let id = device["deviceId"]?.string ?? ""
    let state = states[DeviceKey(typeID: type, deviceID: id)]
    return [
      type, id, device["classId"]?.string ?? "", state.map { $0.isConnected ? "connected" : "away" } ?? "-",
      state?.time ?? "-", device["deviceInfo"]?["fwVersion"]?.string ?? "-",
      device["deviceInfo"]?["descriptiveLocation"]?.string ?? "",
    ].map(printable)
  }
  return table(
    [
      TableColumn("TYPE"), TableColumn("ID"), TableColumn("CLASS", rank: 4), TableColumn("STATE"),
      TableColumn("SINCE", rank: 1, widthMin: 10), TableColumn("FIRMWARE", rank: 2), TableColumn("PLACE", rank: 3),
    ], rows, width: width)
}
