// How devices are named, and what a name is.

import Bytes
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

/// The user's name of all devices that have a token.
public var tokenUserName: String { "\(IdentityRules.tokenUserName)" }

/// Whether `text` may name a type, device, application, event, command or format.
public func isValidName(_ text: String) -> Bool { isValidName(text.utf8Span.span) }

/// The same of bytes.
public func isValidName(_ text: Span<UInt8>) -> Bool { IdentityRules.isValidComponent(text) && !isDots(text) }

/// Whether `text` is `.` or `..`: whoever tidies a path takes that for the folder itself, or the one above it, which is
/// the device's type (RFC 3986, section 5.2.4).
package func isDots(_ text: Span<UInt8>) -> Bool { text.equals(".") || text.equals("..") }
