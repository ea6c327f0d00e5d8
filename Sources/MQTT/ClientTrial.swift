// A message that the server cannot take ends every connection that it is sent on, and would keep all others from being
// delivered for ever. A bad network ends connections as well; so the message is tried before it is given up.
//
// Behind two connections that ended without any answer the oldest message is on trial: no other goes out, the server
// has to answer a ping first, and only a close by the peer right behind the message speaks against it. Whatever else
// ends an accepted connection speaks against the network: all proofs are void, and for an hour more are asked for.

import Bytes

/// A message that was given up.
public struct AbandonedMessage: Equatable, Sendable {
  /// Its publisher's name for it.
  public let token: UInt64
  /// Bytes of its PUBLISH packet.
  public let byteCount: Int
}

extension Client {
  /// Connections that end without any answer before the oldest message is on trial.
  private var fruitlessMax: Int { 2 }

  /// For how long a limit that was learnt is kept to: the server may have been mended.
  private var limitSpan: TimeSpan { .seconds(86_400) }

  /// How many connections in a row speak against the oldest message in flight: two that ended without any answer, and
  /// then those that the peer closed right behind it, less what a bad network takes off. Where this number grows, the
  /// message is to blame.
  public var oldestInflightAttempts: Int { session.fruitlessConnections + session.proofs }

  /// Draws the conclusions from the end of a connection.
  mutating func judge(byPeerAt moment: Instant?) {
    if connection.hasAnswered {
      session.fruitlessConnections = 0
      session.beginTrial(at: connection.lastReceived)
    } else if session.fruitlessConnections < fruitlessMax {
      if connection.resendIndex > 0 { session.fruitlessConnections += 1 }
    } else if let moment, connection.hasConvicted(at: moment) {
      session.proofs += 1
    } else if connection.isAccepted || connection.phase == .awaitingConnack || connection.resendIndex > 0 {
      session.voidProofs(at: connection.lastReceived)
    }
  }

  /// The server has accepted the connection: begins the session, or a trial with a ping.
  mutating func beginSession(now: Instant) {
    connection.phase = .open
    guard session.fruitlessConnections >= fruitlessMax, session.inflight.count > 0, output.appendBare(.pingreq) else {
      return resend(now: now)
    }
    connection.phase = .onTrial
    noteWritten(2, now: now)
    connection.ping.begin(behind: output.count, now: now)
  }

  /// The server has answered a ping: it is the turn of a message on trial.
  mutating func notePingResponse(now: Instant) {
    connection.ping.end()
    guard connection.phase == .onTrial else { return }
    connection.isTrialReady = true
    resend(now: now)
  }

  /// A message in flight was answered: the one on trial is harmless, and all others go out.
  mutating func endTrial(now: Instant) {
    guard connection.phase == .onTrial else { return }
    connection.phase = .open
    resend(now: now)
  }

  /// Forgets the oldest message in flight, between two connections; nobody will say whether it arrived. Where its size
  /// seems to be what the server does not take, larger ones are not sent any more for a day.
  ///
  /// Not with QoS 2 in a session that lasts: the server may be in the middle of the exchange, and would take the next
  /// message with the same packet identifier for a repetition of this one.
  ///
  /// - Returns: nil when there is none, or a connection is open.
  public mutating func abandonOldestInflight(now: Instant) -> AbandonedMessage? {
    guard let message = abandon(at: 0) else { return nil }
    session.fruitlessConnections = 0
    session.proofs = 0
    session.noteAbandoned(message.byteCount, until: now + limitSpan)
    return message
  }

  /// Forgets a message in flight that is larger than what may be sent by now, between two connections.
  ///
  /// - Returns: nil when there is none.
  public mutating func abandonTooLarge() -> AbandonedMessage? {
    for index in 0..<session.inflight.count where session.inflight[index].byteCount > session.publishBytesMax {
      if let message = abandon(at: index) { return message }
    }
    return nil
  }

  private mutating func abandon(at index: Int) -> AbandonedMessage? {
    guard connection.phase == .closed, index < session.inflight.count,
      options.cleanSession || session.inflight[index].state == .awaitingPuback
    else { return nil }
    let message = session.inflight[index]
    session.inflight.remove(at: index)
    return AbandonedMessage(token: message.token, byteCount: message.byteCount)
  }
}
