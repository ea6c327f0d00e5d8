// What ends with a connection.

import Bytes
import MQTT

/// One network connection.
final class ClientConnection {
  let id: ConnectionID
  let peer: Peer
  let opened: Moment
  var state = State.awaitingConnect
  /// Whether there was no room for it: it is only told so, unless there is room when its CONNECT comes.
  var isSurplus = false
  /// The last moment at which a packet came.
  var lastReceived: Instant
  /// One and a half times the keep alive [MQTT-3.1.2-24]; nil for none.
  var silenceMax: TimeSpan?
  var connectTime: WallTime
  var traffic = MonitoringMessage.Traffic()
  var user: String?
  var will: Will?
  /// What the API key may do that an application has shown.
  var role = KeyRole.administer
  /// What it has published; above its rate the platform reads more slowly, and nothing is lost.
  var rate = RateBucket(.unlimited)
  /// Nothing more is, or was, read before this moment.
  var pausedUntil: Instant?
  /// Since when the peer takes no bytes.
  var blockedSince: Instant?
  /// What the input being handled has sent, in QoS 0 messages.
  private var burst = (input: UInt64(0), byteCount: 0)
  /// Messages of QoS 0 that were dropped because the peer takes no bytes.
  var droppedCount = 0
  /// Messages of this connection that an illegal topic or a limit made us ignore.
  var ignoredCount = 0

  enum State {
    case awaitingConnect
    /// CONNECT waits until it is handled.
    case delayed(until: Instant, connect: [UInt8])
    case established(ClientSession)
    /// The service has forgotten it.
    case closed
  }

  struct Will {
    let topic: [UInt8]
    let payload: [UInt8]
    let qos: QoS
  }

  init(id: ConnectionID, peer: Peer, now: Moment) {
    self.id = id
    self.peer = peer
    opened = now
    lastReceived = now.instant
    connectTime = now.wall
  }

  /// The session of an established connection.
  var session: ClientSession? {
    if case .established(let session) = state { session } else { nil }
  }

  /// Since when the peer could have been heard and was not.
  var listenedSince: Instant { max(lastReceived, pausedUntil ?? lastReceived) }

  /// Counts a QoS 0 message to the client; false where it takes no bytes, or gets too many at once.
  func takesMessage(bytes count: Int, input: UInt64) -> Bool {
    if burst.input != input { burst = (input, 0) }
    guard blockedSince == nil, burst.byteCount + count <= ServiceLimits.burstBytesMax else { return false }
    burst.byteCount += count
    return true
  }

  var protocolName: String { peer.isWebSocket ? "mqtt4-ws" : "mqtt4" }
}
