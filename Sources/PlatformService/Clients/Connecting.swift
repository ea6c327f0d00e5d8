// From the first byte of a connection to its last: packets, CONNECT, takeover, keep alive, closing.

import Bytes
import IoTPlatform
import MQTT
import PlatformProtocol

extension PlatformService {
  /// How many connections there are.
  public var connectionCount: Int { connections.count }

  /// Takes a new connection; false where there is no room, and it is to be closed. A few more than there is room for
  /// are taken to be told so when their CONNECT comes.
  public func open(_ id: ConnectionID, peer: Peer, now: Moment) -> Bool {
    begin(now)
    guard connections.count < ServiceLimits.connectionsMax + ServiceLimits.connectionsToRefuseMax else {
      log(.warning, "connection", "refused", ["address": peer.address, "reason": "capacity"])
      return false
    }
    let connection = ClientConnection(id: id, peer: peer, now: now)
    connection.isSurplus = connections.count >= ServiceLimits.connectionsMax
    connections[id] = connection
    return true
  }

  /// Handles the whole packets at the front of `bytes`, and gives how many bytes they were. The rest is to be handed
  /// over again when more has come, or when reading goes on after a pause.
  ///
  /// Handles at most one packet for every two bytes.
  public func receive(_ id: ConnectionID, _ bytes: Span<UInt8>, now: Moment) -> Int {
    var consumed = 0
    begin(now)
    while let connection = connections[id], consumed < bytes.count {
      commit = 0
      if let until = connection.pausedUntil {
        guard now.instant >= until else {
          output.pauseReading(id, until: until)
          break
        }
        connection.pausedUntil = nil
      }
      if case .delayed(let until, _) = connection.state {
        // What comes behind a CONNECT that waits is not read: nobody vouches for this peer yet.
        output.pauseReading(id, until: max(until, now.instant + ServiceLimits.delayGranularity))
        break
      }
      let rest = bytes.extracting(consumed..<bytes.count)
      do throws(PeerFault) {
        guard let extent = try PacketExtent(rest) else { break }
        guard isAcceptable(extent, connection) else { break }
        guard extent.byteCount <= rest.count else { break }
        let packet = rest.extracting(0..<extent.byteCount)
        consumed += extent.byteCount
        connection.traffic.readBytes += extent.byteCount
        trafficBytes += Int64(extent.byteCount)
        connection.lastReceived = now.instant
        try handle(packet, connection)
      } catch {
        meet(error, rest, connection)
      }
    }
    return consumed
  }

  /// How many bytes of a packet the connection may still have to hand over at most; what is longer gets it closed.
  private func isAcceptable(_ extent: PacketExtent, _ connection: ClientConnection) -> Bool {
    if connection.session == nil {
      guard extent.byteCount > ServiceLimits.connectBytesMax else { return true }
      close(connection, .firstPacketTooLarge)
      return false
    }
    guard extent.byteCount > ServiceLimits.packetBytesMax + ServiceLimits.topicBytesMax else { return true }
    close(connection, .tooLarge)
    return false
  }

  private func handle(_ bytes: Span<UInt8>, _ connection: ClientConnection) throws(PeerFault) {
    let packet = try Packet.decode(bytes)
    guard let session = connection.session else {
      guard case .connect(let connect) = packet else { return close(connection, .firstPacketNotConnect) }
      return handleConnect(connect, bytes, connection, wasDelayed: false)
    }
    switch packet {
    case .publish(let publish): handlePublish(publish, bytes, connection, session)
    case .puback(let identifier): acknowledge(identifier, by: .puback, connection, session)
    case .pubrec(let identifier): acknowledge(identifier, by: .pubrec, connection, session)
    case .pubrel(let identifier): handleRelease(identifier, connection, session)
    case .pubcomp(let identifier): acknowledge(identifier, by: .pubcomp, connection, session)
    case .subscribe(let identifier, let filters): handleSubscribe(identifier, filters, bytes, connection, session)
    case .unsubscribe(let identifier, let filters):
      handleUnsubscribe(identifier, filters, bytes, connection, session)
    case .pingreq: send(connection) { $0.appendBare(.pingresp) }
    case .disconnect:
      // [MQTT-3.1.2-10]: the will is not published.
      connection.will = nil
      close(connection, .clean)
    case .connect, .connack, .suback, .unsuback, .pingresp: close(connection, .protocolError)
    }
  }

  /// Meets what is wrong with the packet at the front of `bytes`.
  private func meet(_ fault: PeerFault, _ bytes: Span<UInt8>, _ connection: ClientConnection) {
    log(
      .debug, "connection", "fault",
      [
        "client-id": connection.session?.clientID ?? "", "address": connection.peer.address,
        "clause": String(copying: fault.clause), "what": String(copying: fault.what),
      ])
    let isFirst = connection.session == nil
    if isFirst, bytes[0] >> 4 != PacketType.connect.rawValue { return close(connection, .firstPacketNotConnect) }
    switch fault {
    case .protocolLevelUnsupported where isFirst: refuse(connection, returnCode: 1, .version)
    // The client is to learn that another version than its own is wanted.
    case .protocolNameWrong where isFirst && isVersion31(bytes): refuse(connection, returnCode: 1, .version)
    case .textNotUTF8 where isFirst && !hasTextAsClientID(bytes):
      refuse(connection, returnCode: 2, .clientIdentifier)
    case .topicEmpty, .topicHasWildcard, .filterMultiLevelWildcard, .filterSingleLevelWildcard:
      close(connection, .topicInvalid)
    default: close(connection, .malformed)
    }
  }

  /// Whether a CONNECT is one of MQTT 3.1: its name and level are others.
  private func isVersion31(_ bytes: Span<UInt8>) -> Bool {
    guard let start = (try? PacketExtent(bytes))?.headerCount, bytes.count >= start + 9 else { return false }
    // Two bytes of length, the name, the level.
    return bytes[start] == 0 && bytes[start + 1] == 6 && bytes[start + 8] == 3
      && bytes.extracting((start + 2)..<(start + 8)).equals("MQIsdp")
  }

  /// Whether the client identifier of a whole CONNECT of MQTT 3.1.1 is UTF-8.
  private func hasTextAsClientID(_ bytes: Span<UInt8>) -> Bool {
    // Protocol name, level, flags and keep alive take ten bytes; then come two bytes of length.
    guard let header = (try? PacketExtent(bytes))?.headerCount, bytes.count >= header + 12 else { return true }
    let start = header + 12
    let end = start + Int(bytes[start - 2]) << 8 + Int(bytes[start - 1])
    guard end <= bytes.count else { return true }
    return (try? UTF8Span(validating: bytes.extracting(start..<end))) != nil
  }

  // MARK: - CONNECT

  /// Handles CONNECT, again after a delay.
  func handleConnect(_ connect: Connect, _ bytes: Span<UInt8>, _ connection: ClientConnection, wasDelayed: Bool) {
    let clientID = bytes.extracting(connect.clientID)
    guard !clientID.isEmpty, clientID.count <= ServiceLimits.clientIdentifierBytesMax else {
      return refuse(connection, returnCode: 2, .clientIdentifier)
    }
    let text = String(copying: clientID)
    guard let identity = ClientIdentity(clientID) else {
      log(.info, "client", "refused", ["client-id": text, "reason": "client-identifier"])
      return refuse(connection, returnCode: 5, .clientIdentifier)
    }
    connection.user = connect.userName.map { String(copying: bytes.extracting($0)) }
    if connection.isSurplus {
      guard connections.count <= ServiceLimits.connectionsMax else {
        // It says nothing about the client: no failure is counted.
        tellFailedConnect(identity, text, connection, .capacity)
        return refuse(connection, returnCode: 3, .capacity)
      }
      connection.isSurplus = false
    }
    if !wasDelayed, delay(identity, bytes, connection, text) { return }
    let password = connect.password.map { String(copying: bytes.extracting($0)) }
    let organization: Organization
    switch authenticate(identity, user: connection.user, password: password) {
    case .accepted(let found): organization = found
    case .refused(let returnCode, let code):
      return refuse(identity, text, connection, returnCode: returnCode, code)
    }
    if let code = sessionFault(identity, organization, isClean: connect.cleanSession) {
      return refuse(identity, text, connection, returnCode: code == .capacity ? 3 : 5, code)
    }
    let role = connection.user.flatMap { organization.keys[$0]?.role } ?? .administer
    if connect.will != nil, identity.applicationID != nil, role < .operate {
      tellFailedConnect(identity, text, connection, .notAuthorized)
      return close(connection, .notAuthorized)
    }
    if let will = connect.will {
      guard isWillAllowed(bytes.extracting(will.topic), identity), will.payload.count <= ServiceLimits.payloadBytesMax
      else {
        tellFailedConnect(identity, text, connection, .willNotAllowed)
        return close(connection, .willNotAllowed)
      }
      connection.will = ClientConnection.Will(
        topic: Array(copying: bytes.extracting(will.topic)), payload: Array(copying: bytes.extracting(will.payload)),
        qos: will.qos)
    }
    accept(connect, identity, text, organization, connection)
  }

  /// A session that the client asks for but cannot have.
  private func sessionFault(
    _ identity: ClientIdentity, _ organization: Organization, isClean: Bool
  ) -> ClosingCode? {
    if organization.isQuickstart, !isClean { return .durableNotAllowed }
    if case .sharedApplication(_, _, nil) = identity, !isClean { return .durableNotAllowed }
    if !isClean, organization.durableSessionCount >= ServiceLimits.durableSessionsMax { return .capacity }
    return nil
  }

  private func isWillAllowed(_ topic: Span<UInt8>, _ identity: ClientIdentity) -> Bool {
    guard topic.count <= ServiceLimits.topicBytesMax, let parsed = publishedTopic(topic, identity) else { return false }
    return parsed.kind != .management
  }

  private func accept(
    _ connect: Connect, _ identity: ClientIdentity, _ clientID: String, _ organization: Organization,
    _ connection: ClientConnection
  ) {
    // Connections of a shared application without instances are apart from each other.
    var sessionID = clientID
    if case .sharedApplication(_, _, nil) = identity { sessionID += "#\(connection.id)" }
    var isPresent = false
    if let old = organization.sessions[sessionID] {
      if let connection = old.connection {
        noteFailure(clientID)
        close(connection, .takenOver)
      }
      // [MQTT-3.1.2-6]: a clean session discards what was there; a clean one before has ended with its connection.
      if let kept = organization.sessions[sessionID], connect.cleanSession { end(kept) }
      isPresent = organization.sessions[sessionID] != nil
    }
    let session =
      organization.sessions[sessionID]
      ?? makeSession(sessionID, clientID, identity, organization, isDurable: !connect.cleanSession)
    attach(session, connection, connect)
    begin(session, connection, isPresent: isPresent)
  }

  private func makeSession(
    _ id: String, _ clientID: String, _ identity: ClientIdentity, _ organization: Organization, isDurable: Bool
  ) -> ClientSession {
    var number: Int64?
    if isDurable {
      number = nextSessionNumber
      nextSessionNumber += 1
      organization.durableSessionCount += 1
    }
    let session = ClientSession(
      id: id, clientID: clientID, identity: identity, organization: organization, number: number)
    if let key = identity.device { session.device = organization.devices[key] }
    organization.sessions[id] = session
    return session
  }

  private func attach(_ session: ClientSession, _ connection: ClientConnection, _ connect: Connect) {
    session.presence = .connected(connection)
    if let record = session.record { store(.putSession(record)) }
    connection.state = .established(session)
    connection.connectTime = now.wall
    connection.role = connection.user.flatMap { session.organization.keys[$0]?.role } ?? .administer
    connection.rate = RateBucket(PublishRate(configuration.rates, ratedClient(session), overHTTP: false))
    var seconds = connect.keepAliveSeconds
    if case .sharedApplication = session.identity, seconds == 0 || seconds > ServiceLimits.sharedKeepAliveSecondsMax {
      seconds = ServiceLimits.sharedKeepAliveSecondsMax
    }
    connection.silenceMax = seconds == 0 ? nil : .milliseconds(Int64(seconds) * 1500)
  }

  private func begin(_ session: ClientSession, _ connection: ClientConnection, isPresent: Bool) {
    send(connection) { $0.appendConnack(sessionPresent: isPresent, returnCode: 0) }
    log(
      .info, "client", "connected",
      [
        "client-id": session.clientID, "address": connection.peer.address,
        "session": isPresent ? "present" : "new", "durable": session.isDurable ? "yes" : "no",
        "protocol": connection.protocolName, "tls": connection.peer.isSecure ? "yes" : "no",
      ])
    noteStatus(session, connection, isConnected: true, code: nil)
    tellConnect(session, connection, isNewSession: !isPresent)
    // [MQTT-4.4.0-1]: what was in flight comes first.
    resend(session, connection)
  }

  private func ratedClient(_ session: ClientSession) -> RatedClient {
    switch session.identity {
    case .device: session.organization.isQuickstart ? .quickstartDevice : .device
    case .gateway: .gateway
    case .application, .sharedApplication: .application
    }
  }

  // MARK: - Closing

  /// The connection is gone: the peer closed it, or it broke.
  public func closed(_ id: ConnectionID, code: ClosingCode, now: Moment) {
    begin(now)
    guard let connection = connections[id] else { return }
    detach(connection, code)
  }

  /// Nothing is read from a connection until `moment`, as the disk cannot follow.
  public func pauseReading(_ id: ConnectionID, until moment: Instant, now: Moment) {
    begin(now)
    guard let connection = connections[id] else { return }
    connection.pausedUntil = max(moment, connection.pausedUntil ?? moment)
    output.pauseReading(id, until: moment)
  }

  /// Whether the peer takes bytes.
  public func setWritable(_ id: ConnectionID, _ isWritable: Bool, now: Moment) {
    begin(now)
    guard let connection = connections[id] else { return }
    if !isWritable {
      connection.blockedSince = connection.blockedSince ?? now.instant
      return
    }
    connection.blockedSince = nil
    if let session = connection.session { pump(session, connection) }
  }

  /// Closes a connection of ours and forgets it.
  func close(_ connection: ClientConnection, _ code: ClosingCode) {
    guard connections[connection.id] != nil else { return }
    detach(connection, code)
    output.close(connection.id, code: code, after: commit)
  }

  private func detach(_ connection: ClientConnection, _ code: ClosingCode) {
    connections[connection.id] = nil
    guard let session = connection.session else {
      log(
        .info, "connection", "closed",
        ["address": connection.peer.address, "code": "\(code.rawValue)", "reason": code.reason])
      return
    }
    connection.state = .closed
    session.presence = .gone
    log(
      .info, "client", "disconnected",
      [
        "client-id": session.clientID, "code": "\(code.rawValue)", "reason": code.reason,
        "dropped": "\(connection.droppedCount)",
      ])
    noteStatus(session, connection, isConnected: false, code: code)
    tellDisconnect(session, connection, code)
    if code != .clean, let will = connection.will { publishWill(will, session) }
    session.queue.rewind()
    session.received.forgetAnswers()
    guard session.isDurable else { return end(session) }
    session.presence = .away(since: now.wall, forgetAt: now.instant + ServiceLimits.sessionMemory)
    if let record = session.record { store(.putSession(record)) }
  }

  /// Ends a session: its subscriptions, messages and identifiers go.
  func end(_ session: ClientSession) {
    for subscription in session.subscriptions { session.organization.routes.remove(subscription.filter, session) }
    session.subscriptions.removeAll()
    session.organization.sessions[session.id] = nil
    queuedBytes -= session.queue.byteCount
    let messages = session.queue.drain()
    for message in messages { message.step?.isWaiting = false }
    if let number = session.number {
      session.organization.durableSessionCount -= 1
      store(.removeSession(number: number))
    }
    if session.sharedApplicationID != nil { handOver(messages, of: session) }
  }

  /// Ends durable sessions whose clients have been away for too long; looks at all of them, once a minute.
  func endForgottenSessions() {
    guard now.instant - sessionsSwept >= ServiceLimits.sessionSweepInterval else { return }
    sessionsSwept = now.instant
    for session in own.sessions.values {
      guard case .away(_, let time) = session.presence, now.instant >= time else { continue }
      log(.info, "client", "session-forgotten", ["client-id": session.clientID])
      end(session)
    }
  }

  /// Closes all connections: the platform stops.
  public func shutDown(now: Moment) {
    begin(now)
    for connection in connections.values { close(connection, .shutdown) }
    storeLastEvents(isEnd: true)
    noteUsage(isEnd: true)
  }

  /// Ends the connection of a client identifier, if there is one.
  func disconnect(_ organization: Organization, _ clientID: String, _ code: ClosingCode) {
    if let connection = organization.sessions[clientID]?.connection { close(connection, code) }
  }

  // MARK: - Time

  /// Handles what is due; to be called about once a second. Looks at each connection and each open request.
  public func tick(now: Moment) {
    begin(now)
    for connection in connections.values {
      commit = 0
      switch connection.state {
      case .awaitingConnect:
        if now.instant - connection.opened.instant >= ServiceLimits.connectTimeout { close(connection, .noConnect) }
      case .delayed(let until, let connect):
        if now.instant >= until { finishDelay(connection, connect) }
      case .established:
        if let since = connection.blockedSince {
          // Nothing is read from a peer that takes nothing.
          if now.instant - since >= ServiceLimits.slowConsumerTimeout { close(connection, .slowConsumer) }
        } else if let max = connection.silenceMax, now.instant - connection.listenedSince >= max {
          // [MQTT-3.1.2-24]
          close(connection, .keepAlive)
        }
      case .closed: break
      }
    }
    if !failures.isEmpty { failures = failures.filter { now.instant - $0.value.last < ServiceLimits.failureMemory } }
    commit = 0
    tickManagement()
    endExpiredKeys()
    noteUsage()
    endForgottenSessions()
    storeLastEvents()
  }
}
