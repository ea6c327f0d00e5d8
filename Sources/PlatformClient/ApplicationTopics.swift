// The topics that applications subscribe and publish to.

import PlatformProtocol

/// What an application subscribes to; nil stands for any.
public enum ApplicationFilter: Equatable, Sendable {
  /// Events of devices.
  case events(type: String?, device: String?, event: String?)
  /// Connections of devices.
  case devices(type: String?, device: String?)
  /// Connections of applications.
  case applications(id: String?)

  /// The topic filter.
  public var text: String {
    switch self {
    case .events(let type, let device, let event):
      "iot-2/type/\(type ?? "+")/id/\(device ?? "+")/evt/\(event ?? "+")/fmt/+"
    case .devices(let type, let device): "iot-2/type/\(type ?? "+")/id/\(device ?? "+")/mon"
    case .applications(let id): "iot-2/app/\(id ?? "+")/mon"
    }
  }
}

/// The topic of a command to a device.
public func commandTopic(_ device: DeviceKey, name: String, format: String) -> String {
  "iot-2/type/\(device.typeID)/id/\(device.deviceID)/cmd/\(name)/fmt/\(format)"
}

/// A message that an application received, by what its topic says.
public struct ApplicationMessage: Equatable, Sendable {
  /// What it is about.
  public enum Subject: Equatable, Sendable {
    /// A device's event.
    case event(DeviceKey, name: String, format: String)
    /// A device's connection.
    case device(DeviceKey)
    /// An application's connection.
    case application(String)
    /// Something else.
    case other
  }

  /// What it is about.
  public let subject: Subject
  /// The topic.
  public let topic: String
  /// What it says.
  public let payload: [UInt8]
  /// Whether the platform had kept it from before.
  public let isRetained: Bool
  /// Whether it was too large, and its payload is lost.
  public let isTruncated: Bool

  /// A message on `topic`.
  public init(topic: String, payload: [UInt8], isRetained: Bool = false, isTruncated: Bool = false) {
    self.topic = topic
    self.payload = payload
    self.isRetained = isRetained
    self.isTruncated = isTruncated
    let levels = topic.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    subject =
      switch levels.count {
      case 9 where levels[0] == "iot-2" && levels[1] == "type" && levels[3] == "id" && levels[5] == "evt":
        .event(DeviceKey(typeID: levels[2], deviceID: levels[4]), name: levels[6], format: levels[8])
      case 6 where levels[0] == "iot-2" && levels[1] == "type" && levels[3] == "id" && levels[5] == "mon":
        .device(DeviceKey(typeID: levels[2], deviceID: levels[4]))
      case 4 where levels[0] == "iot-2" && levels[1] == "app" && levels[3] == "mon": .application(levels[2])
      default: .other
      }
  }

  /// The payload as JSON; nil where it is none.
  public var json: JSONValue? { try? JSONValue(payload.span) }
}
