// Who a device is to the platform, and the MQTT client identifier made of it.

import Bytes

/// What the platform accepts as parts of an identity.
public enum IdentityRules {
  /// The longest type or device identifier, in bytes.
  public static var componentBytesMax: Int { 36 }
  /// The length of an organisation identifier issued by the platform.
  public static var organizationBytes: Int { 6 }
  /// The organisation that anyone may use without registration.
  public static var quickstartOrganization: StaticString { "quickstart" }
  /// The user name of every device that authenticates with a token. Users who had to type it got it wrong.
  public static var tokenUserName: StaticString { "use-token-auth" }
  /// The longest client identifier made of valid parts: `d:` and three components with two colons.
  public static var clientIdentifierBytesMax: Int { 2 + organizationBytesMax + 2 * (1 + componentBytesMax) }
  /// The longest organisation identifier, in bytes: `quickstart`.
  public static var organizationBytesMax: Int { 10 }

  /// Whether `text` may be a type or device identifier: 1 to 36 of `A-Z a-z 0-9 - _ .`.
  public static func isValidComponent(_ text: Span<UInt8>) -> Bool {
    guard text.count >= 1, text.count <= componentBytesMax else { return false }
    for index in text.indices where !isComponentByte(text[index]) { return false }
    return true
  }

  /// Whether `text` may be an organisation: six lower-case letters and digits, or `quickstart`.
  public static func isValidOrganization(_ text: Span<UInt8>) -> Bool {
    if isQuickstart(text) { return true }
    guard text.count == organizationBytes else { return false }
    for index in text.indices {
      let byte = text[index]
      guard byte.isDigit || (byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z")) else { return false }
    }
    return true
  }

  /// Whether `organization` is the one without registration.
  public static func isQuickstart(_ organization: Span<UInt8>) -> Bool {
    organization.equals(quickstartOrganization)
  }

  /// Whether `text` may be an event, command or format name in a topic: the same rule as for identifiers, which every
  /// part of the platform (rules, caches, HTTP) handles.
  public static func isValidTopicName(_ text: Span<UInt8>) -> Bool { isValidComponent(text) }

  /// The longest name of a bundle of custom actions, and of an action, in bytes.
  public static var actionNameBytesMax: Int { 255 }

  /// Whether `text` names a custom action: that of its bundle, a solidus, and its own. What the platform itself calls
  /// an action in the same place is no bundle.
  public static func isValidActionName(_ text: Span<UInt8>) -> Bool {
    guard let end = text.firstIndex(of: UInt8(ascii: "/"), from: 0) else { return false }
    let bundle = text.extracting(0..<end)
    return isActionName(bundle) && isActionName(text.extracting((end + 1)..<text.count))
      && !bundle.equals("deviceActions") && !bundle.equals("firmwareActions")
  }

  /// Whether `text` can be the name of a bundle, an action or a parameter of one.
  @inline(never)  // small code
  public static func isActionName(_ text: Span<UInt8>) -> Bool {
    for index in text.indices where !isComponentByte(text[index]) { return false }
    return !text.isEmpty && text.count <= actionNameBytesMax
  }

  /// Whether names of the platform may have this byte: `A-Z a-z 0-9 - _ .`.
  public static func isComponentByte(_ byte: UInt8) -> Bool {
    let lower = byte.lowercased
    return byte.isDigit || (lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z"))
      || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: ".")
  }
}

extension ByteBuffer {
  /// Appends `d:ORG:TYPE:ID`, the MQTT client identifier of a device.
  public mutating func appendClientIdentifier(organization: Span<UInt8>, type: Span<UInt8>, id: Span<UInt8>) {
    append("d:")
    append(organization)
    append(UInt8(ascii: ":"))
    append(type)
    append(UInt8(ascii: ":"))
    append(id)
  }
}
