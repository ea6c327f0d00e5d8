// Every spelling of every key: our own, and those of the platform's older libraries.

import Bytes

/// A spelling of a key, and the sections in which it is known.
struct Spelling: BitwiseCopyable, Sendable {
  let name: StaticString
  let key: Key
  /// A section that knows it: none for what only the environment can say.
  let section: SectionKind?
  /// Another one.
  let otherSection: SectionKind?

  fileprivate init(_ description: KeyDescription) {
    name = description.name
    key = description.key
    section = description.section
    otherSection = description.otherSection
  }

  @inline(__always)
  private init(_ name: StaticString, _ key: Key, _ section: SectionKind = .device, also other: SectionKind? = nil) {
    self.name = name
    self.key = key
    self.section = section
    otherSection = other
  }

  @inline(__always)
  private init(variable name: StaticString, _ key: Key) {
    self.name = name
    self.key = key
    section = nil
    otherSection = nil
  }

  /// Those of older files, where numbers without a unit are seconds. Data of the program, as `KeyTable` is.
  private static let legacy: InlineArray<_, Spelling> = [
    Spelling("Organization-ID", .organization),
    Spelling("Device-Type", .deviceType),
    Spelling("Device-ID", .deviceID),
    Spelling("Authentication-Method", .authMethod),
    Spelling("Authentication-Token", .token),
    Spelling("mqtt-server", .host, .device, also: .server),
    Spelling("keepAlive", .keepAlive, .device, also: .mqtt),
    Spelling("MaxInflightMessages", .inflightMax),
    Spelling("rootCACertPath", .rootCertificateFile),
    Spelling("CA-Certificate-Path", .rootCertificateFile),
    Spelling("clientTrustStorePath", .rootCertificateFile),
    Spelling("Server-Certificate", .serverCertificateFile),
    Spelling("serverCertPath", .serverCertificateFile),
    Spelling("useClientCertificates", .useClientCertificates),
    Spelling("Use-Secure-Certificate", .useClientCertificates),
    Spelling("clientCertPath", .clientCertificate),
    Spelling("Client-Certificate", .clientCertificate),
    Spelling("clientKeyPath", .clientKey),
    Spelling("Client-Key", .clientKey),
    Spelling("Certificate-Password", .certificatePassword),
    Spelling("auth-key", .apiKey),
    Spelling("API-Key", .apiKey),
    Spelling("WebSocket", .webSocket),
    Spelling("transport", .transport, .device, also: .mqtt),
    Spelling("Automatic-Reconnect", .automaticReconnect),
    Spelling("Disconnected-Buffer-Size", .disconnectedBufferSize),
    Spelling("MessagingQoS", .messagingQoS),
    Spelling("Gateway-Type", .gatewayType),
    Spelling("Gateway-ID", .gatewayID),
    Spelling(variable: "session-expiry", .sessionExpiry),
    Spelling(variable: "validate-server", .validateServer),
    Spelling(variable: "foreign", .foreign),
  ]

  /// How many there are.
  static var count: Int { KeyTable.keys.count + legacy.count }

  /// Ours come first, each at its key's own number.
  static func isLegacy(_ index: Int) -> Bool { index >= KeyTable.keys.count }

  @inline(never)
  static func at(_ index: Int) -> Spelling {
    isLegacy(index) ? legacy[index - KeyTable.keys.count] : Spelling(KeyTable.keys[index])
  }

  /// The first spelling of `key`, which is our own where there is one.
  static func canonicalIndex(of key: Key) -> Int {
    guard key.isForeign else { return Int(key.rawValue) }
    for index in legacy.indices where legacy[index].key == key { return KeyTable.keys.count + index }
    preconditionFailure("a key without a spelling")
  }

  /// Whether it is known in `kind`.
  @inline(__always)
  func isKnown(in kind: SectionKind) -> Bool {
    if let section, section == kind { return true }
    if let otherSection, otherSection == kind { return true }
    return false
  }

  /// The spelling `name` where `section` knows it.
  static func index(of name: Span<UInt8>, in section: SectionKind) -> Int? {
    let section = section.keySection
    // Lengths first, which rule out most, and sensors, of which there are most, from the end.
    let end = section == .sensor ? Int(Key.write.rawValue) : KeyTable.keys.count
    for index in (0..<end).reversed() where KeyTable.keys[index].name.utf8CodeUnitCount == name.count {
      let key = KeyTable.keys[index]
      if key.isKnown(in: section), key.name.bytes.equalsIgnoringCase(name) { return index }
    }
    for index in legacy.indices where legacy[index].name.utf8CodeUnitCount == name.count {
      let spelling = legacy[index]
      if spelling.isKnown(in: section), spelling.name.bytes.equalsIgnoringCase(name) {
        return KeyTable.keys.count + index
      }
    }
    return nil
  }

  /// A section that knows `name`.
  static func home(of name: Span<UInt8>) -> SectionKind? {
    for index in KeyTable.keys.indices where KeyTable.keys[index].name.bytes.equalsIgnoringCase(name) {
      return KeyTable.keys[index].section
    }
    for index in legacy.indices where legacy[index].name.bytes.equalsIgnoringCase(name) {
      // Keys of two sections are written in ours; older files have them all in [device].
      return legacy[index].otherSection ?? .device
    }
    return nil
  }

  /// The spelling that comes nearest to `name` in `section`.
  static func nearest(to name: Span<UInt8>, in section: SectionKind) -> StaticString? {
    let section = section.keySection
    var nearest = Nearest()
    var found: StaticString?
    for index in 0..<count {
      let spelling = at(index)
      guard spelling.isKnown(in: section) else { continue }
      if nearest.consider(spelling.name.bytes, for: name) { found = spelling.name }
    }
    return found
  }
}
