// What can happen to a link, in words that a log can show to a person.

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
