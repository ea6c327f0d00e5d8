// What a CONNACK return code means on this platform, and how soon trying again makes sense.

/// How a failure to connect is to be met.
public enum ReconnectClass: Equatable, Sendable {
  /// Jittered backoff from a second on.
  case ordinary
  /// Something that a person must mend (credentials, identity): a minute at the least, and an error in the log. The
  /// server counts failed authentications and answers later each time, so hammering makes it worse.
  case slow
}

/// A refused connection, by return code (MQTT 3.1.1, table 3.1).
public struct ConnectRefusal: Equatable, Sendable {
  /// The code in the CONNACK, 1...255.
  public let returnCode: UInt8

  /// Wraps a return code other than 0.
  public init(returnCode: UInt8) { self.returnCode = returnCode }

  /// The word for a log line.
  public var name: StaticString {
    switch returnCode {
    case 1: "protocol-level"
    case 2: "client-identifier"
    case 3: "server-unavailable"
    case 4: "bad-credentials"
    case 5: "not-authorized"
    default: "unknown-code"
    }
  }

  /// How soon to try again: only an unavailable server is likely to mend itself.
  public var reconnectClass: ReconnectClass { returnCode == 3 ? .ordinary : .slow }
}
