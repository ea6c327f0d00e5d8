// What the client's owner asks for: publish, subscribe, unsubscribe, disconnect; and the resending that follows from
// it.

import Bytes

/// Why a message was not taken.
public enum PublishRefusal: UInt8, Error, Equatable, Sendable, BitwiseCopyable {
  /// The server has not accepted a connection.
  case notConnected
  /// The topic is no topic name (section 4.7).
  case topicInvalid
  /// The packet is larger than `Client.packetBytesMax`, or than what the server takes on this connection.
  case tooLarge
  /// QoS 1 and 2: as many messages or bytes are unconfirmed as may be, or earlier ones are still to be sent again.
  case windowFull
  /// The output has no room now.
  case outputFull
}

extension Client {
  /// Whether a message whose topic and payload have `byteCount` bytes together can be sent: the packet size and what is
  /// known of the server's own limit allow it.
  @inline(__always)
  public func fits(byteCount: Int, qos: QoS) -> Bool {
    PublishSize(topicCount: 0, payloadCount: byteCount, qos: qos).byteCount <= session.publishBytesMax
  }

  /// The same for this connection, on which the server may take less.
  public func fitsNow(byteCount: Int, qos: QoS) -> Bool {
    PublishSize(topicCount: 0, payloadCount: byteCount, qos: qos).byteCount <= publishBytesMax
  }

  /// Keeps to what the server takes on this connection: no PUBLISH of more than `byteCount` bytes is written any more.
  public mutating func limitPackets(to byteCount: Int) { connection.packetBytesMax = byteCount }

  /// Writes a message. With QoS 1 and 2 it is kept until the server has confirmed it, over reconnects, and then told as
  /// `acknowledged(token)`.
  ///
  /// - Throws: why it was not taken; nothing has changed then.
  public mutating func publish(
    topic: Span<UInt8>, payload: Span<UInt8>, qos: QoS, isRetained: Bool = false, token: UInt64 = 0, now: Instant
  ) throws(PublishRefusal) {
    guard isConnected else { throw .notConnected }
    guard let name = TopicName(topic) else { throw .topicInvalid }
    try publish(topic: name, payload: payload, qos: qos, isRetained: isRetained, token: token, now: now)
  }

  /// Does the same without checking the topic again.
  public mutating func publish(
    topic name: TopicName, payload: Span<UInt8>, qos: QoS, isRetained: Bool = false, token: UInt64 = 0, now: Instant
  ) throws(PublishRefusal) {
    guard isConnected else { throw .notConnected }
    let qos = qos == .exactlyOnce && session.lacksExactlyOnce ? .atLeastOnce : qos
    let topic = name.bytes
    let size = PublishSize(topicCount: topic.count, payloadCount: payload.count, qos: qos)
    let byteCount = size.byteCount
    if let refusal = refusal(of: byteCount, qos: qos) { throw refusal }
    // [MQTT-4.3.1-1], [MQTT-4.3.2-1], [MQTT-4.3.3-1]: DUP is 0.
    let flags = PublishFlags.of(qos, isRetained: isRetained, isDuplicate: false)
    if qos == .atMostOnce {
      output.appendPublish(flags: flags, size: size, topic: topic, packetIdentifier: 0, payload: payload)
    } else {
      session.inflight.append(
        flags: flags, size: size, topic: topic,
        packetIdentifier: session.nextIdentifier(avoiding: connection.requests), payload: payload, token: token,
        copyTo: &output)
      noteInflightWritten(now: now)
    }
    noteWritten(byteCount, now: now)
  }

  /// Asks for messages whose topics match `filter`; the answer comes as `subscribed` with the packet identifier that is
  /// returned.
  ///
  /// - Returns: nil without a connection, with an invalid filter, and while output or the table of requests is full.
  public mutating func subscribe(filter: Span<UInt8>, qos: QoS, now: Instant) -> UInt16? {
    guard let packetIdentifier = beginRequest(filter: filter) else { return nil }
    let countBefore = output.count
    guard output.appendSubscribe(packetIdentifier: packetIdentifier, filter: filter, qos: qos) else { return nil }
    finishRequest(packetIdentifier, isSubscribe: true, byteCount: output.count - countBefore, now: now)
    return packetIdentifier
  }

  /// Gives up the subscription to `filter`; the answer comes as `unsubscribed` with the packet identifier that is
  /// returned.
  ///
  /// - Returns: nil as for `subscribe`.
  public mutating func unsubscribe(filter: Span<UInt8>, now: Instant) -> UInt16? {
    guard let packetIdentifier = beginRequest(filter: filter) else { return nil }
    let countBefore = output.count
    guard output.appendUnsubscribe(packetIdentifier: packetIdentifier, filter: filter) else { return nil }
    finishRequest(packetIdentifier, isSubscribe: false, byteCount: output.count - countBefore, now: now)
    return packetIdentifier
  }

  /// Writes DISCONNECT where a connection was accepted. From now on nothing is read or written [MQTT-3.14.4-2]; the
  /// link is to be closed as soon as `output` is empty.
  public mutating func disconnect(now: Instant) {
    guard connection.phase != .closed else { return }
    if connection.isAccepted, output.appendBare(.disconnect) { noteWritten(2, now: now) }
    connection.phase = .ending
    connection.outputSince = now
  }

  /// Why a packet of this size cannot be written now.
  @inline(__always)
  private func refusal(of byteCount: Int, qos: QoS) -> PublishRefusal? {
    guard byteCount <= publishBytesMax else { return .tooLarge }
    if qos != .atMostOnce {
      // [MQTT-4.6.0-1]: what is sent again goes first.
      guard connection.resendIndex == session.inflight.count, session.inflight.hasRoom(byteCount: byteCount) else {
        return .windowFull
      }
    }
    return byteCount <= output.freeCount - ClientLimits.controlBytes ? nil : .outputFull
  }

  private mutating func beginRequest(filter: Span<UInt8>) -> UInt16? {
    guard connection.isAccepted, !connection.requests.isFull, filter.count <= PacketLimits.fieldBytesMax,
      topicFilterFault(filter) == nil,
      // Packet identifier, length and QoS, and the fixed header.
      filter.count + 5 + 5 <= output.freeCount - ClientLimits.controlBytes
    else { return nil }
    return session.nextIdentifier(avoiding: connection.requests)
  }

  private mutating func finishRequest(_ packetIdentifier: UInt16, isSubscribe: Bool, byteCount: Int, now: Instant) {
    noteWritten(byteCount, now: now)
    connection.requests.append(packetIdentifier: packetIdentifier, isSubscribe: isSubscribe)
    if !connection.request.isActive { connection.request.begin(behind: output.count, now: now) }
  }

  /// `byteCount` bytes were appended to the output.
  @inline(__always)
  mutating func noteWritten(_ byteCount: Int, now: Instant) {
    connection.lastWritten = now
    if output.count == byteCount { connection.outputSince = now }
  }

  /// Whether messages in flight are still to be written on this connection.
  var isResending: Bool {
    @inline(__always) get {
      guard connection.resendIndex < session.inflight.count else { return false }
      return isConnected || (connection.phase == .onTrial && connection.isTrialReady && connection.resendIndex == 0)
    }
  }

  /// Writes messages in flight that this connection has not seen, as far as there is room, in the order in which they
  /// were first sent [MQTT-4.6.0-1]; at most the whole window. This happens after a reconnect and at no other time.
  mutating func resend(now: Instant) {
    while isResending {
      let countBefore = output.count
      guard sendNextInflight(now: now) else { return }
      noteWritten(output.count - countBefore, now: now)
    }
  }

  /// Writes the next message in flight that this connection has not seen: PUBLISH, or PUBREL for one that the server
  /// has received [MQTT-4.4.0-1].
  private mutating func sendNextInflight(now: Instant) -> Bool {
    let index = connection.resendIndex
    let message = session.inflight[index]
    if message.state == .awaitingPubcomp {
      guard output.appendAnswer(.pubrel, packetIdentifier: message.packetIdentifier) else { return false }
    } else {
      guard session.inflight.copyPacket(at: index, to: &output) else { return false }
    }
    noteInflightWritten(now: now)
    return true
  }

  /// One more message in flight has been written on this connection.
  @inline(__always)
  private mutating func noteInflightWritten(now: Instant) {
    if connection.resendIndex == 0 { connection.publish.begin(behind: output.count, now: now) }
    connection.resendIndex += 1
  }
}
