// Why a connection ended. The number appears in monitoring messages and in the log; MQTT 3.1.1 has no way to tell it to
// the client.

/// A connection's closing code.
public struct ClosingCode: RawRepresentable, Equatable, Hashable, Sendable {
  /// The number.
  public let rawValue: Int

  /// A code with this number.
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// DISCONNECT came first.
  public static let clean = ClosingCode(rawValue: 0)
  /// The client closed, or the link broke.
  public static let byClient = ClosingCode(rawValue: 91)
  /// An error of ours.
  public static let byServer = ClosingCode(rawValue: 92)
  /// We are shutting down.
  public static let shutdown = ClosingCode(rawValue: 93)
  /// An operator closed it: the registration is gone, for example.
  public static let byAdministrator = ClosingCode(rawValue: 94)
  /// No more connections fit.
  public static let capacity = ClosingCode(rawValue: 104)
  /// What came is not MQTT.
  public static let malformed = ClosingCode(rawValue: 105)
  /// Too many subscriptions.
  public static let subscriptions = ClosingCode(rawValue: 154)
  /// Nothing came for one and a half times the keep alive.
  public static let keepAlive = ClosingCode(rawValue: 160)
  /// The TLS handshake failed.
  public static let handshake = ClosingCode(rawValue: 163)
  /// No CONNECT came.
  public static let noConnect = ClosingCode(rawValue: 164)
  /// The first packet is too large.
  public static let firstPacketTooLarge = ClosingCode(rawValue: 165)
  /// The client identifier breaks the rules.
  public static let clientIdentifier = ClosingCode(rawValue: 166)
  /// A CONNECT came while an earlier one of the same client identifier is being delayed.
  public static let delayed = ClosingCode(rawValue: 176)
  /// The device could not be registered.
  public static let registrationFailed = ClosingCode(rawValue: 177)
  /// The client takes no bytes.
  public static let slowConsumer = ClosingCode(rawValue: 178)
  /// Not authorised.
  public static let notAuthorized = ClosingCode(rawValue: 180)
  /// Wrong credentials.
  public static let authenticationFailed = ClosingCode(rawValue: 181)
  /// The will is not allowed.
  public static let willNotAllowed = ClosingCode(rawValue: 270)
  /// The topic breaks the rules.
  public static let topicInvalid = ClosingCode(rawValue: 276)
  /// The first packet is not CONNECT.
  public static let firstPacketNotConnect = ClosingCode(rawValue: 282)
  /// The message is too large.
  public static let tooLarge = ClosingCode(rawValue: 287)
  /// Another connection took over the client identifier.
  public static let takenOver = ClosingCode(rawValue: 288)
  /// Durable sessions are not for this client.
  public static let durableNotAllowed = ClosingCode(rawValue: 292)
  /// Another version of MQTT.
  public static let version = ClosingCode(rawValue: 293)
  /// A packet that has no place here.
  public static let protocolError = ClosingCode(rawValue: 297)
  /// More unacknowledged messages than allowed.
  public static let receiveMaximum = ClosingCode(rawValue: 299)

  /// What the code says, for people.
  public var reason: String {
    switch rawValue {
    case 0: "The connection has completed normally."
    case 91: "The connection was closed by the client."
    case 92: "The connection was closed by the server."
    case 93: "The connection was closed because the server was shut down."
    case 94: "The connection was closed by an administrator."
    case 104: "Server capacity is reached."
    case 105: "The message data is not valid."
    case 154: "The client has too many subscriptions."
    case 160: "The client did not respond within the keep alive time."
    case 163: "The TLS handshake failed."
    case 164: "No data was received on a connection."
    case 165: "The initial packet is too large."
    case 166: "The client identifier is not valid."
    case 176: "The authentication of this client is delayed; it has to wait for the answer."
    case 177: "The device could not be registered."
    case 178: "The client does not take its messages."
    case 180: "The operation is not authorized."
    case 181: "The authentication failed."
    case 270: "The will message is not allowed."
    case 276: "The topic is not valid."
    case 282: "The first packet is not CONNECT."
    case 287: "The message is too large."
    case 288: "The client identifier was used by another connection."
    case 292: "A durable session is not allowed for this client."
    case 293: "The protocol version is not supported."
    case 297: "The message breaks the protocol."
    case 299: "The client has too many unacknowledged messages."
    default: "Closing code \(rawValue)."
    }
  }
}
