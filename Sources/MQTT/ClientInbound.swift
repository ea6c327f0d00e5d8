// What comes in: packets become events, and are answered.

import Bytes

extension Client {
  /// What handling some input led to.
  private enum Progress {
    case event(ClientEvent)
    /// A packet was handled that has nothing to tell.
    case silent
    /// More bytes are needed.
    case incomplete
  }

  /// Handles what is in `input` until there is something to tell: at most as many packets as are in it. Nil when more
  /// bytes are needed, or when `output` has no room for an answer.
  ///
  /// - Throws: what the peer did wrong. Nothing more is read from this connection then.
  public mutating func nextEvent(now: Instant) throws(PeerFault) -> ClientEvent? {
    let hasNewBytes = input.count > connection.seenCount
    if hasNewBytes { connection.lastReceived = now }
    removeHandled()
    connection.seenCount = 0
    if input.isEmpty { return nil }
    if let token = takeOrderlyPuback(now: now) {
      connection.seenCount = input.count
      return .acknowledged(token: token)
    }
    defer { connection.seenCount = input.count }
    return try handleInput(hasNewBytes: hasNewBytes, now: now)
  }

  /// Removes what the last event referred to.
  @inline(__always)
  private mutating func removeHandled() {
    // The owner may have emptied the input in between; that must not be a trap.
    input.removeFirst(min(connection.handledCount, input.count))
    connection.handledCount = 0
  }

  /// Takes a PUBACK for the oldest message off the front of the input. This is only a short cut through what follows:
  /// while we publish with QoS 1, hardly anything else comes in.
  @inline(__always)
  private mutating func takeOrderlyPuback(now: Instant) -> UInt64? {
    guard input.count >= 4, input[0] == PacketType.puback.firstByte, input[1] == 2,
      connection.phase == .open, connection.oversize == nil, connection.resendIndex > 0
    else { return nil }
    let oldest = session.inflight[0]
    guard oldest.packetIdentifier == UInt16(input[2]) << 8 | UInt16(input[3]),
      oldest.state.step(on: .puback) == .finish
    else { return nil }
    input.removeFirst(4)
    finish(at: 0, now: now)
    return oldest.token
  }

  /// Handles packets until there is something to tell.
  private mutating func handleInput(hasNewBytes: Bool, now: Instant) throws(PeerFault) -> ClientEvent? {
    // Each turn takes at least two bytes off the input, or ends.
    while connection.isAccepted || connection.phase == .awaitingConnack {
      if lacksRoomForAnswers { return nil }
      do {
        switch try handleNext(now: now) {
        case .event(let event):
          return event
        case .silent:
          removeHandled()
        case .incomplete:
          let isInsidePacket = !input.isEmpty || connection.oversize != nil
          if hasNewBytes && isInsidePacket { connection.notePartialPacket(now: now) }
          return nil
        }
      } catch {
        connection.phase = .ending
        throw error
      }
    }
    return nil
  }

  /// Handles at most one packet.
  private mutating func handleNext(now: Instant) throws(PeerFault) -> Progress {
    if connection.oversize != nil { return try continueOversize(now: now) }
    if connection.phase == .awaitingConnack, !input.isEmpty, let stranger = PeerFault.stranger(ofFirstByte: input[0]) {
      throw stranger
    }
    guard let extent = try PacketExtent(input.span) else { return .incomplete }
    if extent.byteCount > input.capacity { return try beginOversize(extent, now: now) }
    guard input.count >= extent.byteCount else { return .incomplete }
    let packet = try Packet.decodeFromServer(
      input.span.extracting(0..<extent.byteCount), headerCount: extent.headerCount)
    connection.handledCount = extent.byteCount
    if connection.phase == .awaitingConnack { return .event(try handleFirst(packet, now: now)) }
    return try handle(packet, now: now)
  }

  /// [MQTT-3.2.0-1]: the first packet is CONNACK.
  private mutating func handleFirst(_ packet: Packet, now: Instant) throws(PeerFault) -> ClientEvent {
    guard case .connack(let sessionPresent, let returnCode) = packet else { throw .packetBeforeConnack }
    connection.connack.end()
    guard returnCode == 0 else {
      connection.phase = .ending
      connection.outputSince = now
      return .refused(returnCode: returnCode)
    }
    if sessionPresent && options.cleanSession { throw .sessionPresentAfterClean }
    connection.isSessionPresent = sessionPresent
    if !sessionPresent { session.startAnew() }
    beginSession(now: now)
    return .connected(sessionPresent: sessionPresent)
  }

  private mutating func handle(_ packet: Packet, now: Instant) throws(PeerFault) -> Progress {
    switch packet {
    case .publish(let publish):
      return deliver(publish, isTruncated: false, now: now)
    case .puback(let packetIdentifier):
      return try handleAnswer(.puback, packetIdentifier, now: now)
    case .pubrec(let packetIdentifier):
      return try handleAnswer(.pubrec, packetIdentifier, now: now)
    case .pubcomp(let packetIdentifier):
      return try handleAnswer(.pubcomp, packetIdentifier, now: now)
    case .pubrel(let packetIdentifier):
      // Answered even when the message is unknown: the server has not seen our first PUBCOMP (figure 4.3).
      session.received.remove(packetIdentifier)
      answer(.pubcomp, packetIdentifier, now: now)
      return .silent
    case .suback(let packetIdentifier, let returnCodes):
      guard returnCodes.count == 1 else { throw .subackCodeCount }
      try finishRequest(packetIdentifier, isSubscribe: true, now: now)
      return .event(.subscribed(packetIdentifier: packetIdentifier, returnCode: input[returnCodes.lowerBound]))
    case .unsuback(let packetIdentifier):
      try finishRequest(packetIdentifier, isSubscribe: false, now: now)
      return .event(.unsubscribed(packetIdentifier: packetIdentifier))
    case .pingresp:
      notePingResponse(now: now)
      return .event(.pingResponse)
    case .connack:
      throw .connackTwice
    case .connect, .subscribe, .unsubscribe, .pingreq, .disconnect:
      throw .packetNotForClient
    }
  }

  /// Moves a message in flight on.
  private mutating func handleAnswer(
    _ answer: PublishAnswer, _ packetIdentifier: UInt16, now: Instant
  ) throws(PeerFault) -> Progress {
    let index = indexOfAnswerable(packetIdentifier)
    let state = index.map { session.inflight[$0].state } ?? .none
    switch state.step(on: answer) {
    case .finishAtLeastOnce where !session.lacksExactlyOnce:
      session.lacksExactlyOnce = true
      // The answer stays, and is handled with the next call.
      connection.handledCount = 0
      return .event(.qosLowered)
    case .finish, .finishAtLeastOnce:
      guard let index else { return .silent }
      let token = session.inflight[index].token
      finish(at: index, now: now)
      endTrial(now: now)
      return .event(.acknowledged(token: token))
    case .release:
      guard let index else { return .silent }
      connection.hasAnswered = true
      session.inflight[index].state = .awaitingPubcomp
      self.answer(.pubrel, packetIdentifier, now: now)
      if index == 0 { noteOldestMoved(now: now) }
      endTrial(now: now)
      return .silent
    case .repeatRelease:
      self.answer(.pubrel, packetIdentifier, now: now)
      return .silent
    case .ignore:
      return .silent
    case .fault(let fault):
      throw fault
    }
  }

  /// Which message the server can mean: one that was written on this connection, or in a session that it still has.
  private func indexOfAnswerable(_ packetIdentifier: UInt16) -> Int? {
    guard let index = session.inflight.index(of: packetIdentifier),
      index < connection.resendIndex || connection.isSessionPresent
    else { return nil }
    return index
  }

  /// The server has the message at `index`.
  @inline(__always)
  private mutating func finish(at index: Int, now: Instant) {
    connection.hasAnswered = true
    session.confirmedBytesMax = max(session.confirmedBytesMax, session.inflight[index].byteCount)
    session.inflight.remove(at: index)
    if index < connection.resendIndex { connection.resendIndex -= 1 }
    if index == 0 { noteOldestMoved(now: now) }
  }

  /// The oldest message in flight was answered: its time starts anew, or that of the one behind it.
  private mutating func noteOldestMoved(now: Instant) {
    if connection.resendIndex > 0 {
      connection.publish.begin(behind: output.count, now: now)
    } else {
      connection.publish.end()
    }
  }

  private mutating func finishRequest(
    _ packetIdentifier: UInt16, isSubscribe: Bool, now: Instant
  ) throws(PeerFault) {
    guard let place = connection.requests.remove(packetIdentifier: packetIdentifier, isSubscribe: isSubscribe) else {
      throw .subackUnknown
    }
    guard place == 0 else { return }
    if connection.requests.count > 0 {
      connection.request.begin(behind: output.count, now: now)
    } else {
      connection.request.end()
    }
  }

  /// Acknowledges a message of QoS 1 that was told on this connection, behind those that were told before it
  /// [MQTT-4.6.0-2]: its PUBACK waits for theirs. Does nothing where no such message is unacknowledged.
  public mutating func acknowledge(_ packetIdentifier: UInt16, now: Instant) {
    for index in 0..<unacknowledged.count where unacknowledged[index].packetIdentifier == packetIdentifier {
      unacknowledged[index].isReady = true
    }
    answerInOrder(now: now)
  }

  /// Whether PUBACKs are owed that are not in `output`.
  public var hasUnacknowledged: Bool { unacknowledged.count > 0 }

  /// Writes the PUBACKs that nothing holds back, as far as there is room.
  mutating func answerInOrder(now: Instant) {
    while unacknowledged.count > 0, unacknowledged[0].isReady, isConnected, !lacksRoomForAnswers {
      answer(.puback, unacknowledged[0].packetIdentifier, now: now)
      unacknowledged.remove(at: 0)
    }
  }

  /// Tells a message and acknowledges it, unless that is the owner's to say. Answers go out in the order of the packets
  /// they answer, because each is written before the next packet is looked at [MQTT-4.6.0-2], [MQTT-4.6.0-3],
  /// [MQTT-4.6.0-4].
  private mutating func deliver(_ publish: Publish, isTruncated: Bool, now: Instant) -> Progress {
    let message = ClientEvent.message(
      IncomingMessage(
        topic: publish.topic, payload: publish.payload, qos: publish.qos, isDuplicate: publish.isDuplicate,
        isRetained: publish.isRetained, packetIdentifier: publish.packetIdentifier, isTruncated: isTruncated))
    switch publish.qos {
    case .atMostOnce:
      return .event(message)
    case .atLeastOnce:
      let isKept = unacknowledged.append(Unacknowledged(packetIdentifier: publish.packetIdentifier))
      if !isKept { answer(.puback, publish.packetIdentifier, now: now) }
      return .event(message)
    case .exactlyOnce:
      // [MQTT-4.3.3-2]: told once; the identifier is kept until PUBREL, whatever DUP says.
      let isKnown = session.received.contains(publish.packetIdentifier)
      session.received.insert(publish.packetIdentifier)
      answer(.pubrec, publish.packetIdentifier, now: now)
      return isKnown ? .silent : .event(message)
    }
  }

  /// Writes an acknowledgement; `nextEvent` has made sure of the room.
  private mutating func answer(_ type: PacketType, _ packetIdentifier: UInt16, now: Instant) {
    let isWritten = output.appendAnswer(type, packetIdentifier: packetIdentifier)
    precondition(isWritten)
    noteWritten(ClientLimits.answerBytes, now: now)
  }
}

// MARK: - Packets that do not fit

extension Client {
  /// A packet larger than the input has begun.
  private mutating func beginOversize(_ extent: PacketExtent, now: Instant) throws(PeerFault) -> Progress {
    guard connection.isAccepted else { throw .packetBeforeConnack }
    guard input[0] >> 4 == PacketType.publish.rawValue else { throw .packetTooLarge }
    let headerCount = extent.headerCount
    guard input.count >= headerCount + 2 else { return .incomplete }
    let topicCount = Int(input[headerCount]) << 8 | Int(input[headerCount + 1])
    let hasIdentifier = input[0] & 0b0110 != 0
    let fieldsEnd = headerCount + 2 + topicCount + (hasIdentifier ? 2 : 0)
    guard fieldsEnd <= extent.byteCount else { throw .lengthMismatch }
    let payloadCount = extent.byteCount - fieldsEnd
    // At least one byte must stay free for the payload to pass through.
    if fieldsEnd < input.capacity {
      guard input.count >= fieldsEnd else { return .incomplete }
      var reader = FieldReader(index: headerCount, end: fieldsEnd)
      connection.oversize = OversizePublish(
        header: try PublishHeader(input.span, &reader), keptCount: fieldsEnd, topicLeft: 0,
        payloadLeft: payloadCount, wantsIdentifier: false)
    } else {
      let header = PublishHeader(firstByte: input[0], topic: 0..<0, packetIdentifier: 0)
      input.removeFirst(headerCount + 2)
      connection.oversize = OversizePublish(
        header: header, keptCount: 0, topicLeft: topicCount, payloadLeft: payloadCount,
        wantsIdentifier: hasIdentifier)
    }
    return try continueOversize(now: now)
  }

  /// Throws away what has come of an oversize packet; tells it when all of it has.
  private mutating func continueOversize(now: Instant) throws(PeerFault) -> Progress {
    guard var oversize = connection.oversize else { return .incomplete }
    defer { if connection.oversize != nil { connection.oversize = oversize } }
    if oversize.topicLeft > 0 {
      let passing = min(oversize.topicLeft, input.count)
      input.removeFirst(passing)
      oversize.topicLeft -= passing
      guard oversize.topicLeft == 0 else { return .incomplete }
    }
    if oversize.wantsIdentifier {
      guard input.count >= 2 else { return .incomplete }
      var reader = FieldReader(index: 0, end: 2)
      oversize.header = PublishHeader(
        firstByte: oversize.header.firstByte, topic: 0..<0,
        packetIdentifier: try reader.packetIdentifier(input.span))
      input.removeFirst(2)
      oversize.wantsIdentifier = false
    }
    let passing = min(oversize.payloadLeft, input.count - oversize.keptCount)
    oversize.payloadLeft -= passing
    guard oversize.payloadLeft == 0 else {
      input.truncate(to: oversize.keptCount)
      return .incomplete
    }
    connection.oversize = nil
    connection.handledCount = oversize.keptCount + passing
    return deliver(oversize.header.publish(payload: 0..<0), isTruncated: true, now: now)
  }
}
