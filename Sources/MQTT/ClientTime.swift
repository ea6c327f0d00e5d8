// Deadlines: pings, and the end of patience with the peer.

import Bytes

extension Client {
  /// When `tick` has something to do next; nil without a connection, or with an idle one without keep alive.
  @inline(__always)  // Otherwise a caller that may change the client lends a copy of it: 600 bytes for each wake-up.
  public func deadline() -> Instant? {
    switch connection.phase {
    case .closed:
      return nil
    case .ending:
      return connection.outputSince + options.acknowledgementTimeout
    case .awaitingConnack:
      return earlier(outputDeadline, connection.connack.deadline(after: options.connackTimeout))
    case .open:
      var deadline = earlier(outputDeadline, pingDue)
      deadline = earlier(deadline, connection.ping.deadline(after: pingTimeout))
      deadline = earlier(deadline, connection.publish.deadline(after: options.acknowledgementTimeout))
      return earlier(deadline, connection.request.deadline(after: options.acknowledgementTimeout))
    }
  }

  /// Writes PINGREQ when its time has come, and says when the peer's time is up. To be called after having received and
  /// handled what is there: an answer may be waiting.
  ///
  /// - Throws: what the peer did not do in time.
  public mutating func tick(now: Instant) throws(PeerFault) {
    if let fault = timeout(now: now) {
      connection.phase = .ending
      throw fault
    }
    guard let pingDue, now >= pingDue, output.appendBare(.pingreq) else { return }
    noteWritten(2, now: now)
    if !connection.ping.isActive { connection.ping.begin(behind: output.count, now: now) }
  }

  @inline(__always)
  private func timeout(now: Instant) -> PeerFault? {
    func isOver(_ deadline: Instant?) -> Bool {
      guard let deadline else { return false }
      return now >= deadline
    }
    switch connection.phase {
    case .closed: return nil
    case .ending: return isOver(deadline()) ? .sendTimeout : nil
    case .awaitingConnack:
      if isOver(connection.connack.deadline(after: options.connackTimeout)) { return .connackTimeout }
    case .open:
      if isOver(connection.ping.deadline(after: pingTimeout)) { return .pingTimeout }
      if isOver(connection.publish.deadline(after: options.acknowledgementTimeout)) { return .publishTimeout }
      if isOver(connection.request.deadline(after: options.acknowledgementTimeout)) { return .requestTimeout }
    }
    return isOver(outputDeadline) ? .sendTimeout : nil
  }

  /// When the peer must have taken a byte.
  private var outputDeadline: Instant? {
    @inline(__always) get { output.isEmpty ? nil : connection.outputSince + options.acknowledgementTimeout }
  }

  /// When the next PINGREQ is due: after a keep alive in which nothing was sent [MQTT-3.1.2-23], and also after one in
  /// which nothing was received, because steady publishing with QoS 0 would hide a dead link.
  private var pingDue: Instant? {
    @inline(__always) get {
      // Without room in the output, it is the deadline for output that counts.
      guard isConnected, options.keepAlive > .zero, output.freeCount >= 2 else { return nil }
      // While one ping is unanswered, another is only owed to the rule about sending.
      let quietSince =
        connection.ping.isActive ? connection.lastWritten : min(connection.lastWritten, connection.lastReceived)
      return quietSince + pingPause
    }
  }

  private var pingTimeout: TimeSpan {
    @inline(__always) get { options.pingTimeout ?? min(options.keepAlive, .seconds(20)) }
  }
}
