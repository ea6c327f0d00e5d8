// Who a client says it is: the first letter of its identifier is its class.

import Bytes
import IoTPlatform
import PlatformProtocol

/// A client identifier taken apart.
public enum ClientIdentity: Equatable, Sendable {
  /// `d:ORG:TYPE:ID`
  case device(organization: String, DeviceKey)
  /// `g:ORG:TYPE:ID`
  case gateway(organization: String, DeviceKey)
  /// `a:ORG:APP`
  case application(organization: String, id: String)
  /// `A:ORG:APP` or `A:ORG:APP:INSTANCE`: several connections share the work of one application.
  case sharedApplication(organization: String, id: String, instance: String?)

  /// Takes `text` apart; nil where it breaks the rules: class, number of parts, characters and lengths.
  public init?(_ text: Span<UInt8>) {
    guard text.count >= 2, text.count <= ServiceLimits.clientIdentifierBytesMax, text[1] == UInt8(ascii: ":") else {
      return nil
    }
    let parts = String(copying: text).split(separator: ":", omittingEmptySubsequences: false).dropFirst().map(
      String.init)
    guard let organization = parts.first, IdentityRules.isValidOrganization(organization.utf8Span.span),
      parts.dropFirst().allSatisfy(isValidName)
    else { return nil }
    switch (text[0], parts.count) {
    case (UInt8(ascii: "d"), 3):
      self = .device(organization: organization, DeviceKey(typeID: parts[1], deviceID: parts[2]))
    case (UInt8(ascii: "g"), 3):
      self = .gateway(organization: organization, DeviceKey(typeID: parts[1], deviceID: parts[2]))
    case (UInt8(ascii: "a"), 2): self = .application(organization: organization, id: parts[1])
    case (UInt8(ascii: "A"), 2):
      self = .sharedApplication(organization: organization, id: parts[1], instance: nil)
    case (UInt8(ascii: "A"), 3):
      self = .sharedApplication(organization: organization, id: parts[1], instance: parts[2])
    default: return nil
    }
  }

  /// The organisation.
  public var organization: String {
    switch self {
    case .device(let organization, _), .gateway(let organization, _), .application(let organization, _),
      .sharedApplication(let organization, _, _):
      organization
    }
  }

  /// The device that this client is; nil for applications.
  public var device: DeviceKey? {
    switch self {
    case .device(_, let key), .gateway(_, let key): key
    case .application, .sharedApplication: nil
    }
  }

  /// The application that this client belongs to; nil for devices.
  public var applicationID: String? {
    switch self {
    case .device, .gateway: nil
    case .application(_, let id), .sharedApplication(_, let id, _): id
    }
  }
}
