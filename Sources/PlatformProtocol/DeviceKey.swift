// How devices are named, and what a name is.

import IoTPlatform

/// The two halves of a device's name; unique in an organisation.
public struct DeviceKey: Hashable, Sendable, Codable {
  /// The device type.
  public let typeID: String
  /// The device.
  public let deviceID: String

  /// A device's name.
  public init(typeID: String, deviceID: String) {
    self.typeID = typeID
    self.deviceID = deviceID
  }
}

/// Whether `text` may name a type, device, application, event, command or format.
public func isValidName(_ text: String) -> Bool { IdentityRules.isValidComponent(text.utf8Span.span) }
