// Deadlines: pings, and the end of patience with the peer.

import Bytes

extension Client {
  /// When `tick` has something to do next; `never` without a connection, or with an idle one without keep alive.
  public func deadline() -> Instant {
    switch connection.phase {
    case .closed: .never
    case .ending: connection.outputSince + options.acknowledgementTimeout
    case .awaitingConnack: min(outputDeadline, connection.connack.deadline(after: options.connackTimeout))
    case .open, .onTrial: min(min(outputDeadline, pingDue), answerDeadline)
    }
  }

  /// Writes PINGREQ when its time has come, and says when the peer's time is up. To be called after having received and
  /// handled what is there: an answer may be waiting.
  ///
  /// - Throws: what the peer did not do in time.
  public mutating func tick(now: Instant) throws(PeerFault) {
    guard now >= deadline() else { return }
    if let fault = timeout(now: now) {
      connection.phase = .ending
      throw fault
    }
    guard now >= pingDue, output.appendBare(.pingreq) else { return }
    noteWritten(2, now: now)
    if !connection.ping.isActive { connection.ping.begin(behind: output.count, now: now) }
  }

  private func timeout(now: Instant) -> PeerFault? {
    switch connection.phase {
    case .closed: return nil
    case .ending: return .sendTimeout
    case .awaitingConnack:
      if now >= connection.connack.deadline(after: options.connackTimeout) { return .connackTimeout }
    case .open, .onTrial:
      if now >= connection.ping.deadline(after: pingTimeout) { return .pingTimeout }
      if now >= connection.publish.deadline(after: options.acknowledgementTimeout) { return .publishTimeout }
      if now >= connection.request.deadline(after: options.acknowledgementTimeout) { return .requestTimeout }
    }
    return now >= outputDeadline ? .sendTimeout : nil
  }

  /// When the peer must have answered what it owes an answer to, on an open connection.
  private var answerDeadline: Instant {
    @inline(__always) get {
      min(
        connection.ping.deadline(after: pingTimeout),
        min(
          connection.publish.deadline(after: options.acknowledgementTimeout),
          connection.request.deadline(after: options.acknowledgementTimeout)))
    }
  }

  /// When the peer must have taken a byte.
  private var outputDeadline: Instant {
    @inline(__always) get {
      output.isEmpty ? .never : connection.outputSince.advanced(by: options.acknowledgementTimeout)
    }
  }

  /// When the next PINGREQ is due: after a keep alive in which nothing was sent [MQTT-3.1.2-23], and also after one in
  /// which nothing was received, because steady publishing with QoS 0 would hide a dead link.
  private var pingDue: Instant {
    @inline(__always) get {
      // Without room in the output, it is the deadline for output that counts.
      guard connection.isAccepted, options.keepAlive > .zero, output.freeCount >= 2 else { return .never }
      // While one ping is unanswered, another is only owed to the rule about sending.
      let quietSince =
        connection.ping.isActive ? connection.lastWritten : min(connection.lastWritten, connection.lastReceived)
      return quietSince.advanced(by: pingPause)
    }
  }

  private var pingTimeout: TimeSpan {
    @inline(__always) get { options.pingTimeout ?? min(options.keepAlive, .seconds(20)) }
  }
}
