// What survives a connection: the client's half of the session state (section 3.1.2.4).

import Bytes

/// Unconfirmed messages of both directions, and the packet identifiers in use for them.
struct Session: ~Copyable {
  private let pinned = Pinned()
  /// Messages that we sent.
  var inflight: InflightStore
  /// QoS 2 messages that we received and that the server has not released yet.
  var received: IdentifierSet
  /// On how many connections in a row the oldest message in flight was written and none was answered.
  var fruitlessConnections = 0
  private var lastIdentifier: UInt16

  init(
    messagesMax: Int, bytesMax: Int, firstIdentifier: UInt16, from arena: inout Arena
  ) throws(ArenaExhausted) {
    let inflight = try InflightStore(messagesMax: messagesMax, bytesMax: bytesMax, from: &arena)
    let received = try IdentifierSet(from: &arena)
    self.inflight = inflight
    self.received = received
    lastIdentifier = firstIdentifier &- 1
  }

  /// The next packet identifier that neither a message nor one of `requests` has [MQTT-2.3.1-2].
  ///
  /// Ends, because together they have fewer than 65,535.
  @inline(__always)
  mutating func nextIdentifier(avoiding requests: PendingRequests) -> UInt16 {
    repeat {
      lastIdentifier &+= 1
      // [MQTT-2.3.1-1]: not 0.
      if lastIdentifier == 0 { lastIdentifier = 1 }
    } while inflight.index(of: lastIdentifier) != nil || requests.contains(lastIdentifier)
    return lastIdentifier
  }

  /// The server has no session, so what is unconfirmed goes out again as new publishes, in the old order.
  ///
  /// They may keep their packet identifiers: in a new session all are unused. Identifiers of received messages mean
  /// nothing any more.
  mutating func startAnew() {
    received.removeAll()
    for index in 0..<inflight.count {
      inflight[index].mayHaveBeenSent = false
      if inflight[index].state == .awaitingPubcomp { inflight[index].state = .awaitingPubrec }
    }
  }
}
