// What programs on this machine, the page for one, can watch without being MQTT clients.

import Bytes
import PlatformProtocol

/// One stream of observations.
public typealias ObserverID = Int

/// What a stream is about; empty parts mean all.
public struct ObservationFilter: Equatable, Sendable {
  /// The organisation.
  public var organization: String
  /// Only devices of this type.
  public var typeID: String?
  /// Only this device.
  public var deviceID: String?
  /// Whether events are wanted.
  public var includesEvents: Bool
  /// Whether commands are wanted.
  public var includesCommands: Bool
  /// Whether connections that come and go, and changes of registrations and requests are wanted.
  public var includesChanges: Bool
  /// Who watches, an address or an API key for example: each may have so many streams; nil for the platform itself.
  public var client: String?
  /// Whether events and commands are wanted with their payloads.
  public var includesPayloads = true

  /// A filter.
  public init(
    organization: String, typeID: String? = nil, deviceID: String? = nil, includesEvents: Bool = true,
    includesCommands: Bool = false, includesChanges: Bool = true
  ) {
    self.organization = organization
    self.typeID = typeID
    self.deviceID = deviceID
    self.includesEvents = includesEvents
    self.includesCommands = includesCommands
    self.includesChanges = includesChanges
  }
}

/// Something that happened.
public enum Observation: Sendable {
  /// A device published an event.
  case event(ObservedMessage)
  /// A command went to a device.
  case command(ObservedMessage)
  /// A monitoring message: a client came or went.
  case monitoring(MonitoringMessage)
  /// A device was registered, or what is known about it changed; with its registration.
  case deviceChanged(DeviceKey)
  /// A device was removed.
  case deviceRemoved(DeviceKey)
  /// A request was made, moved on or went.
  case requestChanged(id: String)

  /// The same without a payload of more than `max` bytes.
  func leavingOutPayload(longerThan max: Int) -> Observation {
    switch self {
    case .event(let message): .event(message.leavingOutPayload(longerThan: max))
    case .command(let message): .command(message.leavingOutPayload(longerThan: max))
    case .monitoring, .deviceChanged, .deviceRemoved, .requestChanged: self
    }
  }
}

/// An event or command.
public struct ObservedMessage: Sendable {
  /// The device.
  public let device: DeviceKey
  /// The event's or command's name.
  public let name: String
  /// The payload's format.
  public let format: String
  /// The payload; empty where it was left out.
  public private(set) var payload: [UInt8]
  /// How long the payload is, in bytes, be it here or left out.
  public let payloadSize: Int
  /// When it came.
  public let time: WallTime

  /// Whether there is a payload that is not here.
  public var isPayloadLeftOut: Bool { payload.count < payloadSize }

  init(device: DeviceKey, name: String, format: String, payload: [UInt8], time: WallTime) {
    self.device = device
    self.name = name
    self.format = format
    self.payload = payload
    payloadSize = payload.count
    self.time = time
  }

  func leavingOutPayload(longerThan max: Int) -> ObservedMessage {
    guard payload.count > max else { return self }
    var message = self
    message.payload = []
    return message
  }
}

/// What the platform tells about a client's connection. The names on the wire begin with capital letters.
public struct MonitoringMessage: Sendable, Equatable {
  /// What happened.
  public enum Action: String, Sendable {
    /// A client is connected.
    case connect = "Connect"
    /// A client was refused.
    case failedConnect = "FailedConnect"
    /// A client's connection ended.
    case disconnect = "Disconnect"
  }

  /// What happened.
  public var action: Action
  /// When.
  public var time: WallTime
  /// The client.
  public var clientID: String
  /// The device, if it is one.
  public var device: DeviceKey?
  /// The application, if it is one.
  public var applicationID: String?
  /// The client's address.
  public var clientAddress: String
  /// The port of ours.
  public var port: Int
  /// Whether TLS protects the connection.
  public var isSecure: Bool
  /// `mqtt4` or `mqtt4-ws`.
  public var protocolName: String
  /// The user's name; left out for devices with tokens.
  public var user: String?
  /// When the connection began.
  public var connectTime: WallTime?
  /// Why it ended; nil on a connect.
  public var closeCode: ClosingCode?
  /// What was read and written; on a disconnect.
  public var traffic: Traffic?
  /// Whether the session is durable; on a connect.
  public var isDurable: Bool?
  /// Whether the session is new; on a connect.
  public var isNewSession: Bool?

  /// Counters of a connection.
  public struct Traffic: Sendable, Equatable {
    /// Bytes from the client.
    public var readBytes = 0
    /// Messages from the client.
    public var readMessages = 0
    /// Bytes to the client.
    public var writtenBytes = 0
    /// Messages to the client.
    public var writtenMessages = 0
  }

  /// The message as JSON.
  public var json: JSONValue {
    let failure = closeCode.flatMap { $0 == .clean ? nil : $0 }
    return .members([
      "Action": .string(action.rawValue), "Time": .string(time.text), "ClientAddr": .string(clientAddress),
      "ClientID": .string(clientID), "Port": .integer(port), "Secure": .boolean(isSecure),
      "Protocol": .string(protocolName), "User": user.map(JSONValue.string),
      "ConnectTime": connectTime.map { .string($0.text) },
      "CloseCode": failure.map { .integer($0.rawValue) }, "Reason": failure.map { .string($0.reason) },
      "ReadBytes": traffic.map { .integer($0.readBytes) }, "ReadMsg": traffic.map { .integer($0.readMessages) },
      "WriteBytes": traffic.map { .integer($0.writtenBytes) },
      "WriteMsg": traffic.map { .integer($0.writtenMessages) }, "Durable": isDurable.map(JSONValue.boolean),
      "NewSession": isNewSession.map(JSONValue.boolean),
    ])
  }
}
