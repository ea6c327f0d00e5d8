// The connection to the server: opening it, losing it, what is subscribed to, and what is logged about all that.
//
// The uplink drives the client's connection; what the client publishes is the outbox's.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT

/// Where the connection to the server stands; each state has its deadline.
private enum UplinkPhase {
  /// No link; the next attempt begins at this moment.
  case waiting(until: Instant)
  /// The host is opening a link; given up at this moment.
  case opening(deadline: Instant)
  /// CONNECT is sent; the client watches the deadline of its answer.
  case handshaking
  /// CONNACK came at this moment.
  case online(since: Instant)
  /// All is over.
  case ended
}

/// What receiving came to.
enum Received {
  /// There is nothing more now.
  case nothing
  /// Something was handled that concerns nobody else; there may be more.
  case handled
  /// The server has accepted the connection.
  case connected(sessionPresent: Bool)
  /// A message has come.
  case message(IncomingMessage)
  /// The server has the message that was published with this token.
  case acknowledged(token: UInt64)
  /// The connection is over; whether the peer may have ended it.
  case lost(byPeer: Bool)
}

/// What sending came to.
enum Flushed {
  /// Nothing was sent.
  case nothing
  /// Something was sent.
  case sent
  /// The connection is over; whether the peer may have ended it.
  case lost(byPeer: Bool)
}

/// The connection to the server.
struct Uplink: ~Copyable {
  private let pinned = Pinned()
  private var phase: UplinkPhase
  private var reconnect: Reconnect
  /// What is subscribed to.
  private(set) var subscriptions = Subscriptions()
  /// Connections that the server accepted.
  private(set) var connectionCount: UInt64 = 0
  /// The MQTT client identifier, put together for each CONNECT.
  private var clientIdentifier: ByteBuffer
  /// The deadline of the last turn: before it an online link without input has nothing to do.
  private var wake: Instant
  /// Since when it is connected, or is not.
  private(set) var changedAt: Instant
  /// The word for why the last connection or attempt ended, where no fault of the peer was it.
  private var endName: StaticString = "" {
    didSet { lastFault = nil }
  }
  private var lastFault: PeerFault?
  /// Whether input may be left that nobody has looked at: a packet limit or want of room ended the last receiving.
  private var hasUnreadInput = false

  /// The first connection is attempted after a random part of `connectDelayMax`.
  init(random: RandomSource, connectDelayMax: TimeSpan, now: Instant, in arena: inout Arena) {
    clientIdentifier = ByteBuffer(
      capacity: IdentityRules.clientIdentifierBytesMax, for: "scratch", in: &arena)
    reconnect = Reconnect(random: random)
    wake = now + reconnect.firstDelay(upTo: connectDelayMax)
    changedAt = now
    phase = .waiting(until: wake)
  }

  /// Whether a clean end is complete; the host's link is closed then.
  var isEnded: Bool {
    if case .ended = phase { return true }
    return false
  }

  /// Whether the server has accepted the present connection.
  var isOnline: Bool {
    if case .online = phase { return true }
    return false
  }

  /// Why the last connection or attempt ended; empty where none has.
  var lastEnd: Span<UInt8> {
    @_lifetime(immortal)
    get {
      if let lastFault { return lastFault.what }
      return endName.bytes
    }
  }

  /// The word for where the connection stands.
  var stateName: StaticString {
    switch phase {
    case .waiting: held == nil ? "waiting" : "held-back"
    case .opening: "connecting"
    case .handshaking: "logging-in"
    case .online: "connected"
    case .ended: "ended"
    }
  }

  /// Attempts since the last connection.
  var attempts: Int { reconnect.attempts }

  /// Has the messages of `filter` sent to us, on this connection and all later ones.
  mutating func subscribe(to filter: StaticString, qos: QoS) { subscriptions.want(filter, qos: qos) }

  /// Whether this turn has nothing for the uplink: nothing has come, and no deadline has.
  @inline(__always)
  func isQuiet<H: HostLinks & ~Copyable>(_ now: Instant, _ host: borrowing H) -> Bool {
    guard now < wake else { return false }
    switch phase {
    case .waiting: return true
    case .online: return !hasUnreadInput && subscriptions.wantedCount == 0 && !host.mayReceive(on: .message)
    case .opening, .handshaking, .ended: return false
    }
  }

  // MARK: Holding back

  /// When the next attempt was to be made, while none may be.
  private var held: Instant?

  /// Makes no attempt until `release`. Only while there is no connection.
  mutating func holdBack() {
    guard case .waiting(let until) = phase, held == nil else { return }
    held = until
    phase = .waiting(until: .never)
  }

  /// Ends the connection, orderly where there is one, and makes no attempt until `release`.
  mutating func hold<H: HostLinks & HostLog & ~Copyable>(
    _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch phase {
    case .ended: return
    case .waiting: break
    case .opening, .handshaking, .online:
      if isOnline {
        client.disconnect(now: now)
        _ = flush(&client, now, &log, &host)
      }
      if case .waiting = phase { break }
      log.begin(.info, "link held-back")
      log.end(to: &host)
      closeAndWait(reconnect.delay(after: ReconnectClass.ordinary), &client, now, &host)
    }
    holdBack()
  }

  /// Attempts may be made again.
  mutating func release() {
    guard let until = held else { return }
    held = nil
    if case .waiting = phase { phase = .waiting(until: until) }
  }

  /// When there is something to do next; to be asked at the end of each turn.
  @inline(__always)
  mutating func deadline(_ client: borrowing Client, _ now: Instant) -> Instant {
    wake = now + AgentLimits.idleMax
    switch phase {
    case .waiting(let until): wake = min(wake, until)
    case .opening(let until): wake = min(wake, until)
    case .handshaking, .online: wake = min(wake, client.deadline())
    case .ended: break
    }
    return wake
  }

  /// Whether something could not be done for want of room in the output.
  @inline(__always)
  func lacksRoom(_ client: borrowing Client) -> Bool {
    isOnline && (client.lacksRoomForAnswers || subscriptions.wantedCount > 0)
  }

  // MARK: Opening

  /// Says how long the first connection is waited for, and why: it would look like a hang.
  func logFirstWait<H: HostClock & HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    // What holds it back now will have passed by then.
    guard case .waiting(let next) = phase, case let until = held ?? next, case let now = host.now(), until > now
    else { return }
    log.begin(.info, "link waiting")
    log.add("reason", "connect-delay-max")
    log.add("connect-in", until - now)
    log.end(to: &host)
  }

  /// Moves the connection one state forward where it can. `isEnding`: no new attempt begins.
  mutating func advance<H: HostClock & HostLinks & HostLog & ~Copyable>(
    isEnding: Bool, _ settings: borrowing Settings, _ clock: inout ClockFloor, _ client: inout Client, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    switch phase {
    case .waiting(let until):
      guard !isEnding else {
        // Nothing is waited for any more, nor is the loop turned for it.
        phase = .waiting(until: .never)
        return
      }
      guard now >= until else { return }
      let deadline = now + AgentLimits.linkOpenTimeout
      reconnect.noteAttempt()
      log.begin(.info, "link connecting")
      log.add("attempt", reconnect.attempts)
      log.end(to: &host)
      openLink(settings, certificateTime: clock.beginCheck(&host), deadline: deadline, &host)
      phase = .opening(deadline: deadline)
      pollOpening(deadline: deadline, settings, &clock, &client, now, &log, &host)
    case .opening(let deadline):
      pollOpening(deadline: deadline, settings, &clock, &client, now, &log, &host)
    case .handshaking, .online, .ended:
      return
    }
  }

  @inline(never)  // beside the turns of a connection that stands
  private func openLink<H: HostLinks & ~Copyable>(
    _ settings: borrowing Settings, certificateTime: WallTime, deadline: Instant, _ host: inout H
  ) {
    let endpoint = LinkEndpoint(
      host: settings.bytes(settings.server.host), port: settings.server.port, security: settings.server.security,
      serverName: settings.bytes(settings.server.serverName),
      trustedCertificates: settings.bytes(settings.server.caFile))
    host.openLink(.message, to: endpoint, certificateTime: certificateTime, deadline: deadline)
  }

  @inline(never)  // as above
  private mutating func pollOpening<H: HostClock & HostLinks & HostLog & ~Copyable>(
    deadline: Instant, _ settings: borrowing Settings, _ clock: inout ClockFloor, _ client: inout Client,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch host.pollLink(.message) {
    case .opening:
      if now >= deadline { failOpening(.connectTimeout, &client, now, &log, &host) }
    case .open:
      if let start = host.checkedCertificateStart(.message) { clock.noteProven(by: start, at: now, &log, &host) }
      sendConnect(settings, &client, now)
    case .failed(let failure):
      clock.noteFailure(failure)
      failOpening(failure, &client, now, &log, &host)
    case .closed:
      failOpening(.connectionLost, &client, now, &log, &host)
    }
  }

  @inline(never)  // small code: this is called from several places
  private mutating func failOpening<H: HostLinks & HostLog & ~Copyable>(
    _ failure: LinkFailure, _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let delay = reconnect.delay(after: failure)
    endName = failure.name
    log.begin(.warning, "link failed")
    log.add("reason", failure.name)
    log.addLink(.message, from: &host)
    log.add("retry-in", delay)
    log.end(to: &host)
    closeAndWait(delay, &client, now, &host)
  }

  /// Writes CONNECT with the identity and the token of `settings`.
  private mutating func sendConnect(_ settings: borrowing Settings, _ client: inout Client, _ now: Instant) {
    clientIdentifier.removeAll()
    clientIdentifier.appendClientIdentifier(of: settings)
    do throws(OpenRefusal) {
      if settings.hasToken {
        let fields = ConnectFields(
          clientID: clientIdentifier.span, userName: IdentityRules.tokenUserName.bytes,
          password: settings.bytes(settings.token))
        try client.open(fields, now: now)
      } else {
        try client.open(ConnectFields(clientID: clientIdentifier.span), now: now)
      }
    } catch {
      // The configuration's limits keep identity and token far below the smallest packet size.
      preconditionFailure("CONNECT cannot be refused by our own client")
    }
    phase = .handshaking
    hasUnreadInput = false
  }

  // MARK: Receiving and sending

  /// Receives, or handles at most one packet of what has come.
  mutating func receive<H: HostLinks & HostLog & ~Copyable>(
    _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Received {
    switch phase {
    case .handshaking, .online: break
    case .waiting, .opening, .ended: return .nothing
    }
    if !client.input.isEmpty, let received = takeEvent(&client, now, &log, &host) { return received }
    guard client.input.freeCount > 0 else { return endReceiving(hasUnreadInput: true) }
    switch host.receive(on: .message, into: &client.input) {
    case .moved: return takeEvent(&client, now, &log, &host) ?? .handled
    case .wouldBlock: return endReceiving(hasUnreadInput: client.lacksRoomForAnswers)
    case .ended(let failure): return .lost(byPeer: lose(for: failure, &client, now, &log, &host))
    }
  }

  /// Has the client handle what has come; nil when it has nothing to tell.
  private mutating func takeEvent<H: HostLinks & HostLog & ~Copyable>(
    _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Received? {
    let event: ClientEvent?
    do throws(PeerFault) {
      event = try client.nextEvent(now: now)
    } catch {
      drop(for: error, &client, now, &log, &host)
      return .lost(byPeer: false)
    }
    guard let event else { return nil }
    return handle(event, &client, now, &log, &host)
  }

  /// The caller stops receiving although there may be more.
  mutating func interruptReceiving() { hasUnreadInput = true }

  private mutating func endReceiving(hasUnreadInput isLeft: Bool) -> Received {
    hasUnreadInput = isLeft
    return .nothing
  }

  private mutating func handle<H: HostLinks & HostLog & ~Copyable>(
    _ event: ClientEvent, _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Received {
    switch event {
    case .message(let message): return .message(message)
    case .acknowledged(let token): return .acknowledged(token: token)
    case .unsubscribed, .pingResponse: return .handled
    case .connected(let sessionPresent):
      becomeOnline(sessionPresent: sessionPresent, now, &log, &host)
      return .connected(sessionPresent: sessionPresent)
    case .refused(let returnCode):
      refuse(ConnectRefusal(returnCode: returnCode), &client, now, &log, &host)
      return .lost(byPeer: false)
    case .subscribed(let packetIdentifier, let returnCode):
      noteSubscribed(packetIdentifier, returnCode, &log, &host)
      return .handled
    case .qosLowered:
      log.write(.warning, "mqtt qos-lowered", "to", "1", to: &host)
      return .handled
    }
  }

  @inline(never)  // beside the turns of events
  private mutating func noteSubscribed<H: HostLog & ~Copyable>(
    _ packetIdentifier: UInt16, _ returnCode: UInt8, _ log: inout LogWriter, _ host: inout H
  ) {
    let refused = subscriptions.note(packetIdentifier: packetIdentifier, returnCode: returnCode)
    if let refused { log.write(.warning, "mqtt subscription-refused", "filter", refused, to: &host) }
  }

  @inline(never)  // beside the turns of events
  private mutating func becomeOnline<H: HostLinks & HostLog & ~Copyable>(
    sessionPresent: Bool, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    phase = .online(since: now)
    changedAt = now
    connectionCount += 1
    log.begin(.info, "mqtt connected")
    log.add("session", sessionPresent ? "present" : "new")
    log.addLink(.message, from: &host)
    log.end(to: &host)
    subscriptions.beginConnection()
  }

  /// Pings, and gives up a server that owes an answer. After receiving: while the machine slept, or we were busy, the
  /// answer may have come in time. Then asks for what is to be subscribed to.
  ///
  /// - Returns: whether the connection goes on.
  @inline(__always)
  mutating func watch<H: HostLinks & HostLog & ~Copyable>(
    _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    // What has come in since has put no deadline before that of the last turn, or the next turn sees to it.
    if now < wake, subscriptions.wantedCount == 0 { return true }
    return watchDeadlines(&client, now, &log, &host)
  }

  @inline(never)  // beside the turns in which nothing of it is due
  private mutating func watchDeadlines<H: HostLinks & HostLog & ~Copyable>(
    _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    switch phase {
    case .waiting, .opening, .ended: return true
    case .handshaking, .online: break
    }
    do throws(PeerFault) {
      try client.tick(now: now)
    } catch {
      drop(for: error, &client, now, &log, &host)
      return false
    }
    if subscriptions.wantedCount > 0, isOnline { subscriptions.ask(&client, now: now) }
    return true
  }

  /// Sends what the client has written, as far as the link takes it: one system call for all of it as a rule.
  mutating func flush<H: HostLinks & HostLog & ~Copyable>(
    _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Flushed {
    var result = Flushed.nothing
    while !client.output.isEmpty {
      switch phase {
      case .handshaking, .online: break
      case .waiting, .opening, .ended: return result
      }
      switch host.send(client.output.span, on: .message) {
      case .moved(let byteCount):
        client.removeSent(byteCount, now: now)
        result = .sent
      case .wouldBlock: return result
      case .ended(let failure): return .lost(byPeer: lose(for: failure, &client, now, &log, &host))
      }
    }
    return result
  }

  // MARK: Losing

  @inline(never)  // beside the turns of events
  private mutating func refuse<H: HostLinks & HostLog & ~Copyable>(
    _ refusal: ConnectRefusal, _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let delay = reconnect.delay(after: refusal.reconnectClass)
    endName = refusal.name
    log.begin(.error, "mqtt refused")
    log.add("code", Int(refusal.returnCode))
    log.add("reason", refusal.name)
    log.add("retry-in", delay)
    log.end(to: &host)
    closeAndWait(delay, &client, now, &host)
  }

  /// The peer broke a rule or did not answer in time.
  @inline(never)  // beside the turns of events
  private mutating func drop<H: HostLinks & HostLog & ~Copyable>(
    for fault: PeerFault, _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let delay = delayAfterLoss(now, &log, &host)
    lastFault = fault
    log.begin(fault.kind == .timeout ? .warning : .error, "mqtt fault")
    log.add("clause", text: fault.clause)
    log.add("what", text: fault.what)
    log.add("retry-in", delay)
    log.end(to: &host)
    closeAndWait(delay, &client, now, &host)
  }

  /// The link ended by itself.
  ///
  /// - Returns: whether the peer may have ended it.
  @inline(never)  // beside the turns of events
  private mutating func lose<H: HostLinks & HostLog & ~Copyable>(
    for failure: LinkFailure, _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    let delay = delayAfterLoss(now, &log, &host)
    endName = failure.name
    log.begin(.warning, "mqtt disconnected")
    log.add("reason", failure.name)
    log.addLink(.message, from: &host)
    log.add("retry-in", delay)
    log.end(to: &host)
    // Orderly or not: servers reset a connection behind which they leave bytes unread.
    let byPeer = failure == .closedByPeer || failure == .connectionLost
    closeAndWait(delay, byPeer: byPeer, &client, now, &host)
    return byPeer
  }

  private mutating func delayAfterLoss<H: HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> TimeSpan {
    guard case .online(let since) = phase else { return reconnect.delay(after: ReconnectClass.ordinary) }
    let delay = reconnect.delay(afterConnectionOf: now - since)
    if reconnect.suspectsDuplicate {
      log.begin(.warning, "agent duplicate-identity")
      log.add("hint", text: StaticString("another client seems to use this client identifier").bytes)
      log.end(to: &host)
    }
    return delay
  }

  @inline(never)  // small code: called from every way in which a connection ends
  private mutating func closeAndWait<H: HostLinks & ~Copyable>(
    _ delay: TimeSpan, byPeer: Bool = false, _ client: inout Client, _ now: Instant, _ host: inout H
  ) {
    host.closeLink(.message)
    client.linkClosed(byPeerAt: byPeer ? now : nil)
    if isOnline { changedAt = now }
    phase = .waiting(until: now + delay)
  }

  /// Ends the connection for good, orderly where there is one.
  mutating func end<H: HostLinks & HostLog & ~Copyable>(
    _ client: inout Client, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    precondition(!isEnded)
    if isOnline {
      client.disconnect(now: now)
      _ = flush(&client, now, &log, &host)
    }
    host.closeLink(.message)
    client.linkClosed()
    phase = .ended
  }
}

extension ByteBuffer {
  /// Appends the MQTT client identifier of the device that `settings` name.
  mutating func appendClientIdentifier(of settings: borrowing Settings) {
    appendClientIdentifier(
      organization: settings.bytes(settings.identity.organization), type: settings.bytes(settings.identity.type),
      id: settings.bytes(settings.identity.id))
  }
}
