// Quickstart is for anyone: no registration, no credentials, and little that a device may do.

import Bytes

/// The limits of the organisation `quickstart`.
public enum QuickstartRules {
  /// At most one message in this time; more may be dropped.
  public static var messageIntervalMin: TimeSpan { .seconds(1) }
  /// The port without TLS, which Quickstart uses.
  public static var port: UInt16 { 1883 }
}
