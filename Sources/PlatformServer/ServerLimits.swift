// Bounds of the network layer.

import Bytes
import NIOCore

/// Bounds of the network layer.
public enum ServerLimits {
  /// Observations that wait for a reader; the oldest goes first.
  public static let observationsMax = 256
  /// The same where they have no payloads: a list of devices misses none of a fleet that comes at once.
  public static let bareObservationsMax = 1000
  /// Changes that wait for the disk, before nothing more is read from anyone.
  public static let operationsMax = 50_000
  /// Bytes of messages among them.
  public static let operationBytesMax = 64 << 20
  /// How long a caller waits for the disk.
  public static let storeTimeout = TimeAmount.seconds(15)
  /// How long to wait before a commit that failed is tried again.
  public static let storeRetryDelay = TimeAmount.milliseconds(500)
  /// Bytes for one peer that wait for the disk, before its connection is closed.
  public static let heldBytesMax = 4 << 20
  /// Bytes that wait for a peer's window, before it counts as blocked, and below which it no longer does.
  public static let writeBufferMarks = (low: 32 << 10, high: 256 << 10)
  /// How often the service looks at what is due.
  public static let tickInterval = TimeAmount.milliseconds(500)
  /// How long a TLS handshake, or the HTTP request of a WebSocket, may take.
  public static let handshakeTimeout = TimeAmount.seconds(10)
  /// How long a connection that was closed may take for its last bytes.
  public static let lingerTimeout = TimeAmount.seconds(2)
  /// The largest WebSocket frame: that of the largest packet.
  public static let frameBytesMax = 1 << 18
  /// How long a connection waits that the disk cannot follow.
  static let behindPause = TimeSpan.milliseconds(50)
  /// Connections to an HTTP port at a time, WebSockets included; more wait.
  static let httpConnectionsMax = 10_000
  /// Those among them of whom nobody knows who they are; the oldest goes for the newest.
  static let httpStrangersMax = 8000
  /// The same of one address.
  static let httpConnectionsOfAddressMax = 1000
  /// How long an HTTP connection may be idle, or take for the head of a further request.
  static let httpIdleTimeout = TimeAmount.seconds(60)
  /// How long a body may take in any case, and how many bytes a second it must have on the whole beyond that.
  static let bodyGrace = TimeAmount.seconds(20)
  /// See `bodyGrace`.
  static let bodyBytesPerSecondMin = 1024
  /// How often a body is looked at.
  static let bodyCheckInterval = TimeAmount.seconds(5)
  /// Bytes around those of a body, chunk sizes for example: so many in any case, and so many times the body.
  static let bodyOverheadMax = 65_536
  /// See `bodyOverheadMax`.
  static let bodyOverheadFactor = 16
  /// Connections that must have gone before their memory is given back.
  static let connectionsGoneMin = 200
  /// How much later that happens, in ticks.
  static let trimDelayTicks = 6
  /// The largest headers of an HTTP request, in bytes.
  public static let headerBytesMax = 16_384
  /// Connections that wait to be accepted.
  static let backlog: Int32 = 1024
  /// How long the last bytes of all connections may take when the platform stops.
  static let farewell = Duration.milliseconds(100)
  /// The largest body of an HTTP request.
  public static let bodyBytesMax = 1 << 20
}
