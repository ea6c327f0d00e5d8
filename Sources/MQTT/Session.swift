// What survives a connection: the client's half of the session state (section 3.1.2.4).

import Bytes

/// Unconfirmed messages of both directions, and the packet identifiers in use for them.
struct Session: ~Copyable {
  private let pinned = Pinned()
  /// Messages that we sent.
  var inflight: InflightStore
  /// QoS 2 messages that we received and that the server has not released yet.
  var received: IdentifierSet
  /// How many connections in a row ended without any answer before the oldest message in flight came on trial.
  var fruitlessConnections = 0
  /// How many speak against it since; below 0 where the network is known to be bad.
  var proofs = 0
  /// How often a bad network has made proofs void of late, and when it did so last.
  private var voidCount = 0
  private var lastVoid = Instant(milliseconds: 0)
  /// The largest PUBLISH that may go out.
  var publishBytesMax: Int
  /// Until when that is the server's limit, where it was learnt.
  var limitEnd = Instant.never
  /// The largest packet in flight that the server has confirmed.
  var confirmedBytesMax = 0
  /// The smallest packet that was given up although smaller ones were not.
  var abandonedBytesMin = Int.max
  /// Whether the server has shown that it knows no QoS 2.
  var lacksExactlyOnce = false
  private var lastIdentifier: UInt16

  init(
    messagesMax: Int, bytesMax: Int, publishBytesMax: Int, firstIdentifier: UInt16, in arena: inout Arena
  ) {
    inflight = InflightStore(messagesMax: messagesMax, bytesMax: bytesMax, in: &arena)
    received = IdentifierSet(in: &arena)
    self.publishBytesMax = publishBytesMax
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

  /// Begins to count proofs.
  mutating func beginTrial(at moment: Instant) {
    if moment >= lastVoid + .seconds(3600) { voidCount = 0 }
    proofs = -5 * voidCount
  }

  /// The network has ended a connection.
  mutating func voidProofs(at moment: Instant) {
    beginTrial(at: moment)
    if voidCount < 3 { voidCount += 1 }
    lastVoid = moment
    proofs = -5 * voidCount
  }

  /// That it was its size cannot be seen from one message that was given up: it may be its topic, or what it says. Two
  /// of them tell it, and so does one that is twice as large as all that got through.
  mutating func noteAbandoned(_ byteCount: Int, until end: Instant) {
    guard byteCount > confirmedBytesMax else { return }
    let isSecond = abandonedBytesMin < Int.max && abandonedBytesMin > confirmedBytesMax
    abandonedBytesMin = isSecond ? min(abandonedBytesMin, byteCount) : byteCount
    guard isSecond || (confirmedBytesMax > 0 && byteCount >= 2 * confirmedBytesMax) else { return }
    publishBytesMax = min(publishBytesMax, abandonedBytesMin - 1)
    limitEnd = end
  }

  /// The server may take more by now.
  mutating func forgetLimit(_ byteCount: Int) {
    publishBytesMax = byteCount
    limitEnd = .never
    abandonedBytesMin = .max
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
