// Quickstart is for anyone: no registration, no credentials, and little that a device may do.

/// The limits of the organisation `quickstart`.
public enum QuickstartRules {
  /// Messages in a second; more may be dropped.
  public static var messagesPerSecondMax: Int { 1 }
  /// The port without TLS, which Quickstart uses.
  public static var port: UInt16 { 1883 }
}
