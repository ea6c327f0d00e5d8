// What a caller of the service did wrong, or what it cannot have now.

/// A refused call, in terms that HTTP understands.
public struct ServiceError: Error, Equatable, Sendable {
  /// What sort of refusal this is.
  public enum Kind: Int, Sendable {
    /// The request is not what it should be.
    case invalid = 400
    /// The credentials are wrong or missing.
    case unauthorized = 401
    /// The caller may not do that.
    case forbidden = 403
    /// What the request names does not exist.
    case notFound = 404
    /// It exists already, or something else is going on with it.
    case conflict = 409
    /// The payload is larger than the limit.
    case tooLarge = 413
    /// The content type is none that the platform knows.
    case unsupportedMediaType = 415
    /// A defect of ours.
    case `internal` = 500
    /// No room, or the store does not take anything now.
    case unavailable = 503
  }

  /// What sort of refusal this is; the raw value is HTTP's status code.
  public let kind: Kind
  /// What was expected, for people.
  public let message: String

  /// A refusal.
  public init(_ kind: Kind, _ message: String) {
    self.kind = kind
    self.message = message
  }
}
