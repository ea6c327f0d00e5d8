// The connection to the server: opening it, losing it, and what is logged about it.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT
import Spool

extension Agent {
  /// Moves the connection one state forward where it can.
  mutating func advanceLink<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    switch phase {
    case .waiting(let until):
      guard now >= until, stopDeadline == nil else { return }
      let deadline = now + AgentLimits.linkOpenTimeout
      reconnect.noteAttempt()
      log.begin(.info, "link", "connecting")
      log.add("attempt", reconnect.attempts)
      log.end(to: &host)
      host.openLink(deadline: deadline)
      phase = .opening(deadline: deadline)
      pollOpening(deadline: deadline, now, &host)
    case .opening(let deadline):
      pollOpening(deadline: deadline, now, &host)
    case .handshaking, .online, .ended:
      return
    }
  }

  /// Pings, and gives up a server that owes an answer. After receiving: while the machine slept, or we were busy, the
  /// answer may have come in time.
  mutating func watchConnection<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    switch phase {
    case .handshaking, .online:
      do throws(PeerFault) { try client.tick(now: now) } catch { drop(for: error, now, &host) }
    case .waiting, .opening, .ended: return
    }
  }

  private mutating func pollOpening<H: Host & ~Copyable>(deadline: Instant, _ now: Instant, _ host: inout H) {
    switch host.pollLink() {
    case .opening:
      if now >= deadline { failOpening(.connectTimeout, now, &host) }
    case .open:
      sendConnect(now, &host)
    case .failed(let failure):
      failOpening(failure, now, &host)
    case .closed:
      failOpening(.connectionLost, now, &host)
    }
  }

  private mutating func failOpening<H: Host & ~Copyable>(_ failure: LinkFailure, _ now: Instant, _ host: inout H) {
    let delay = reconnect.delay(after: failure)
    log.begin(.warning, "link", "failed")
    log.add("reason", failure.name)
    log.addLink(from: &host)
    log.add("retry-in", delay)
    log.end(to: &host)
    closeAndWait(delay, now, &host)
  }

  private mutating func sendConnect<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) {
    do throws(OpenRefusal) {
      try openSession(of: &client, settings: plan.settings, clientID: &scratch, now: now)
      phase = .handshaking
    } catch {
      // The configuration's limits keep identity and token far below the smallest packet size.
      preconditionFailure("CONNECT cannot be refused by our own client")
    }
  }

  /// Receives and handles what has come; true when there may be more.
  mutating func receive<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    for _ in 0..<AgentLimits.packetsPerStepMax {
      switch phase {
      case .handshaking, .online: break
      case .waiting, .opening, .ended: return false
      }
      let event: ClientEvent?
      do throws(PeerFault) {
        event = try client.nextEvent(now: now)
      } catch {
        drop(for: error, now, &host)
        return false
      }
      if let event {
        handle(event, now, &host)
        continue
      }
      guard client.input.freeCount > 0 else { return false }
      let received = host.receive(into: &client.input)
      switch received {
      case .moved: continue
      case .wouldBlock: return false
      case .ended(let failure):
        lose(for: failure, now, &host)
        return false
      }
    }
    return true
  }

  private mutating func handle<H: Host & ~Copyable>(_ event: ClientEvent, _ now: Instant, _ host: inout H) {
    switch event {
    case .connected(let sessionPresent): becomeOnline(sessionPresent: sessionPresent, now, &host)
    case .refused(let returnCode): refuse(ConnectRefusal(returnCode: returnCode), now, &host)
    case .message(let message): handleMessage(message, now, &host)
    case .acknowledged(let token): queue.acknowledge(token)
    case .subscribed(_, let returnCode):
      guard returnCode >= 0x80 else { return }
      log.begin(.warning, "mqtt", "subscription-refused")
      log.add("filter", Topics.commandFilter)
      log.end(to: &host)
    case .unsubscribed, .pingResponse: return
    }
  }

  private mutating func becomeOnline<H: Host & ~Copyable>(
    sessionPresent: Bool, _ now: Instant, _ host: inout H
  ) {
    phase = .online(since: now)
    counters.connections += 1
    log.begin(.info, "mqtt", "connected")
    log.add("session", sessionPresent ? "present" : "new")
    log.addLink(from: &host)
    log.end(to: &host)
    if !sessionPresent { recentCommands.removeAll() }
    // The subscription is asked for at every connection, as servers lose sessions that they claim to have.
    wantsSubscription = plan.settings.acceptsCommands
  }

  /// Subscribes as soon as there is room: what is sent again after a reconnect may fill the output for a while.
  mutating func subscribeIfWanted(_ now: Instant) {
    guard wantsSubscription, isOnline else { return }
    let identifier = client.subscribe(filter: Topics.commandFilter.bytes, qos: .atLeastOnce, now: now)
    wantsSubscription = identifier == nil
  }

  private mutating func refuse<H: Host & ~Copyable>(_ refusal: ConnectRefusal, _ now: Instant, _ host: inout H) {
    let delay = reconnect.delay(after: refusal.reconnectClass)
    log.begin(.error, "mqtt", "refused")
    log.add("code", Int(refusal.returnCode))
    log.add("reason", refusal.name)
    log.add("retry-in", delay)
    log.end(to: &host)
    closeAndWait(delay, now, &host)
  }

  /// The peer broke a rule or did not answer in time.
  private mutating func drop<H: Host & ~Copyable>(for fault: PeerFault, _ now: Instant, _ host: inout H) {
    let delay = delayAfterLoss(now, &host)
    log.begin(fault.kind == .timeout ? .warning : .error, "mqtt", "fault")
    log.add("clause", fault.clause)
    log.add("what", text: fault.what.bytes)
    log.add("retry-in", delay)
    log.end(to: &host)
    closeAndWait(delay, now, &host)
  }

  /// The link ended by itself.
  mutating func lose<H: Host & ~Copyable>(for failure: LinkFailure, _ now: Instant, _ host: inout H) {
    let delay = delayAfterLoss(now, &host)
    log.begin(.warning, "mqtt", "disconnected")
    log.add("reason", failure.name)
    log.add("retry-in", delay)
    log.end(to: &host)
    closeAndWait(delay, now, &host)
    if failure == .closedByPeer { abandonPoison(&host) }
  }

  /// Gives up a message that the server answers by closing the connection, again and again: it would keep all others
  /// from being delivered for ever.
  private mutating func abandonPoison<H: Host & ~Copyable>(_ host: inout H) {
    let attempts = client.oldestInflightAttempts
    guard attempts >= AgentLimits.messageAttemptsMax, let token = client.abandonOldestInflight() else { return }
    queue.abandon(token)
    log.begin(.error, "event", "abandoned")
    log.add("attempts", attempts)
    log.end(to: &host)
  }

  private mutating func delayAfterLoss<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) -> TimeSpan {
    guard case .online(let since) = phase else { return reconnect.delay(after: ReconnectClass.ordinary) }
    let delay = reconnect.delay(afterConnectionOf: now - since)
    if reconnect.suspectsDuplicate {
      log.begin(.warning, "agent", "duplicate-identity")
      log.add("hint", text: StaticString("another client seems to use this client identifier").bytes)
      log.end(to: &host)
    }
    return delay
  }

  private mutating func closeAndWait<H: Host & ~Copyable>(_ delay: TimeSpan, _ now: Instant, _ host: inout H) {
    host.closeLink()
    client.linkClosed()
    phase = .waiting(until: now + delay)
  }

  /// Sends what the client has written, as far as the link takes it: one system call for all of it as a rule.
  ///
  /// - Returns: whether anything was sent.
  @discardableResult
  mutating func flush<H: Host & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    var hasSent = false
    while !client.output.isEmpty {
      switch phase {
      case .handshaking, .online: break
      case .waiting, .opening, .ended: return hasSent
      }
      let sent = host.send(client.output.span)
      switch sent {
      case .moved(let byteCount):
        client.removeSent(byteCount, now: now)
        hasSent = true
      case .wouldBlock: return hasSent
      case .ended(let failure): lose(for: failure, now, &host)
      }
    }
    return hasSent
  }
}

/// Writes CONNECT with the identity and the token of `settings`; `clientID` is where the identifier is put together.
private func openSession(
  of client: inout Client, settings: borrowing Settings, clientID: inout ByteBuffer, now: Instant
) throws(OpenRefusal) {
  writeClientIdentifier(of: settings, into: &clientID)
  guard settings.hasToken else { return try client.open(ConnectFields(clientID: clientID.span), now: now) }
  let fields = ConnectFields(
    clientID: clientID.span, userName: IdentityRules.tokenUserName.bytes, password: settings.bytes(settings.token))
  try client.open(fields, now: now)
}
