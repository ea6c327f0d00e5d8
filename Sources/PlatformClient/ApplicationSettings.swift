// Where a platform is, and who we are to it.

/// One end of a connection.
public struct Endpoint: Equatable, Sendable, CustomStringConvertible {
  /// `mqtt`, `mqtts`, `http` or `https`.
  public var scheme: String
  /// A name or an address.
  public var host: String
  /// 1...65535.
  public var port: Int

  /// An end of a connection.
  public init(_ scheme: String, _ host: String, _ port: Int) {
    self.scheme = scheme
    self.host = host
    self.port = port
  }

  /// Whether TLS protects the connection.
  public var isSecure: Bool { scheme.hasSuffix("s") }

  /// Whether this is on the same machine.
  public var isLoopback: Bool { PlatformClient.isLoopback(host: host) }

  /// The host as a URL has it.
  public var urlHost: String { host.contains(":") ? "[\(host)]" : host }

  /// The URL.
  public var description: String { "\(scheme)://\(urlHost):\(port)" }
}

/// Whether a host is this machine: `localhost`, `::1`, or an address of 127.0.0.0/8 (RFC 6890), not a name that looks
/// like one.
public func isLoopback(host: String) -> Bool {
  let parts = host.split(separator: ".", omittingEmptySubsequences: false)
  let isIPv4 = parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
  return isIPv4 || host == "localhost" || host == "::1"
}

/// An API key and its token. The token is never printed.
public struct Credentials: Equatable, Sendable {
  /// The key, `a-ORG-RANDOM`; the user's name over MQTT and HTTP.
  public var key: String
  /// The password.
  public var token: String

  /// A key and its token.
  public init(key: String, token: String) {
    self.key = key
    self.token = token
  }
}

/// All that is needed to connect.
public struct ApplicationSettings: Equatable, Sendable {
  /// Six characters given by the platform, or `quickstart`.
  public var organization: String
  /// The application's name; one connection at a time has it.
  public var applicationID: String
  /// Nil for Quickstart, which takes none.
  public var credentials: Credentials?
  /// Where MQTT is.
  public var broker: Endpoint
  /// Where the REST interface is.
  public var api: Endpoint
  /// The certificates to trust, a PEM file; nil for the system's.
  public var caFile: String?
  /// Whether certificates are checked.
  public var verifiesServer = true
  /// Whether that of the REST interface is, besides.
  public var verifiesAPI = true
  /// The longest pause between two packets, in seconds.
  public var keepAliveSeconds = 60

  /// Settings with defaults for all but who and where.
  public init(
    organization: String, applicationID: String, credentials: Credentials?, broker: Endpoint, api: Endpoint
  ) {
    self.organization = organization
    self.applicationID = applicationID
    self.credentials = credentials
    self.broker = broker
    self.api = api
  }

  /// Whether this is the organisation without registration.
  public var isQuickstart: Bool { organization == "quickstart" }

  /// The MQTT client identifier.
  public var clientID: String { "a:\(organization):\(applicationID)" }
}
