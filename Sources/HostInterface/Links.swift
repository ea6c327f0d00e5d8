// Links to other machines, and what can happen to them, in words that a log can show to a person.

import Bytes

/// Links by slot: at most one at a time in each.
public protocol HostLinks: ~Copyable {
  /// Begins look-up, connection and TLS handshake towards `endpoint`, of which the host keeps its own copy. Any earlier
  /// link of the slot must have been closed. Every address is tried; `deadline` ends the whole attempt. Certificates
  /// are checked against `certificateTime`.
  mutating func openLink(
    _ slot: LinkSlot, to endpoint: borrowing LinkEndpoint, certificateTime: WallTime, deadline: Instant)

  /// Moves a link that is being opened forward and says where it stands.
  ///
  /// `.opening`: the host wakes the loop when asking again makes sense.
  mutating func pollLink(_ slot: LinkSlot) -> LinkState

  /// Where the last `pollLink` opened the link with a certificate that was checked in full against the time given to
  /// `openLink`: from when on it is valid, and those above it (RFC 5280, section 4.1.2.5). Nobody certifies ahead of
  /// time, so that moment has come. Nil for a resumed session.
  func checkedCertificateStart(_ slot: LinkSlot) -> WallTime?

  /// Sends the beginning of `bytes`, which must not be empty, as far as the system takes it.
  ///
  /// `.moved` is at least 1. `.wouldBlock`: the host wakes the loop when there is room; the same bytes must be offered
  /// again, more behind them being welcome. After `.ended` the link is dead; the caller closes it.
  mutating func send(_ bytes: Span<UInt8>, on slot: LinkSlot) -> LinkTransfer

  /// Receives what is there into the free room of `buffer`, which must not be full. Same results as `send`; the peer's
  /// orderly end is `.ended(.closedByPeer)`.
  ///
  /// Until it answers `.wouldBlock` the host does not wake the loop for input.
  mutating func receive(on slot: LinkSlot, into buffer: inout ByteBuffer) -> LinkTransfer

  /// Whether `receive` may have something: false only if it would answer `.wouldBlock`.
  func mayReceive(on slot: LinkSlot) -> Bool

  /// Ends the link, orderly where that needs no waiting. Harmless without a link.
  mutating func closeLink(_ slot: LinkSlot)

  /// Appends what is known about the open link or the last failure as ` key=value` pairs for a log line (address, TLS
  /// version, whether the session was resumed, certificate's issuer…); each begins with a space.
  mutating func describeLink(_ slot: LinkSlot, into line: inout ByteBuffer)
}

/// What a link is for.
public enum LinkSlot: UInt8, Sendable, BitwiseCopyable {
  /// MQTT.
  case message
  /// A transfer beside it: a firmware image, for instance.
  case transfer
}

/// One of something for each slot: the one place where their number stands.
public typealias PerLink<Element: ~Copyable> = InlineArray<2, Element>

/// How a link is protected.
public enum LinkSecurity: UInt8, Sendable, BitwiseCopyable {
  /// Plain TCP.
  case plain
  /// TLS with a checked certificate.
  case verified
  /// TLS with any certificate: whoever is in between can read and change everything.
  case unverified
}

/// Where a link leads, and what makes the other side trusted.
public struct LinkEndpoint: ~Escapable {
  /// A name or a numeric address, at most `nameBytesMax` bytes of it.
  public let host: Span<UInt8>
  /// The TCP port.
  public let port: UInt16
  /// How it is protected.
  public let security: LinkSecurity
  /// The name that the certificate must have, sent as SNI; empty means `host`.
  public let serverName: Span<UInt8>
  /// The path of a PEM file or of a folder of such; empty means the system's store.
  public let trustedCertificates: Span<UInt8>

  /// The longest name of a host, in bytes (RFC 1035, section 2.3.4: 255 on the wire, 253 as text).
  public static var nameBytesMax: Int { 253 }

  /// An endpoint of these parts, as long as they last.
  @_lifetime(copy host, copy serverName, copy trustedCertificates)
  public init(
    host: Span<UInt8>, port: UInt16, security: LinkSecurity, serverName: Span<UInt8>,
    trustedCertificates: Span<UInt8>
  ) {
    self.host = host
    self.port = port
    self.security = security
    self.serverName = serverName
    self.trustedCertificates = trustedCertificates
  }
}

/// Where a link stands.
public enum LinkState: Equatable, Sendable {
  /// There is none.
  case closed
  /// Name look-up, connection or TLS handshake is going on.
  case opening
  /// Bytes can be sent and received.
  case open
  /// It could not be opened.
  case failed(LinkFailure)
}

/// What a transfer achieved.
public enum LinkTransfer: Equatable, Sendable {
  /// So many bytes, at least 1.
  case moved(Int)
  /// Nothing now; the host wakes the loop when trying again makes sense.
  case wouldBlock
  /// The link is dead.
  case ended(LinkFailure)
}

/// Why a link could not be opened or did not last.
public enum LinkFailure: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// No address belongs to the server's name.
  case nameNotFound
  /// The look-up did not end in time, or no name server answered.
  case nameTimeout
  /// Nobody listens there.
  case connectionRefused
  /// No route, network down, no permission.
  case unreachable
  /// No answer to the connection attempt in time.
  case connectTimeout
  /// The peer ended the connection in an orderly way.
  case closedByPeer
  /// The peer ended the connection before it sent anything: often it waits for another protocol there.
  case unanswered
  /// The connection broke.
  case connectionLost
  /// No certificate authority that we trust issued the server's certificate.
  case tlsUnknownIssuer
  /// The server's certificate is for another name.
  case tlsWrongName
  /// The server's certificate has expired.
  case tlsExpired
  /// The server's certificate is not valid yet: often our own clock is behind (protocol 8.3).
  case tlsNotYetValid
  /// The server ended the handshake with an alert.
  case tlsRefusedByPeer
  /// The handshake did not end in time.
  case tlsTimeout
  /// The file of trusted certificates cannot be read or holds none.
  case tlsTrustUnreadable
  /// Any other failure of TLS; the description has its code.
  case tlsFailed

  /// The word for a log line.
  public var name: StaticString {
    switch self {
    case .nameNotFound: "name-not-found"
    case .nameTimeout: "name-timeout"
    case .connectionRefused: "connection-refused"
    case .unreachable: "unreachable"
    case .connectTimeout: "connect-timeout"
    case .closedByPeer: "closed-by-peer"
    case .unanswered: "closed-unanswered"
    case .connectionLost: "connection-lost"
    case .tlsUnknownIssuer: "tls-unknown-issuer"
    case .tlsWrongName: "tls-wrong-name"
    case .tlsExpired: "tls-expired"
    case .tlsNotYetValid: "tls-not-yet-valid"
    case .tlsRefusedByPeer: "tls-refused-by-peer"
    case .tlsTimeout: "tls-timeout"
    case .tlsTrustUnreadable: "tls-trust-unreadable"
    case .tlsFailed: "tls-failed"
    }
  }
}
