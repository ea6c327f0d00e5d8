// A model of an MQTT 3.1.1 broker that watches its one client closely: whatever the standard forbids a client is a
// broken promise of the agent.

import Bytes

/// What the broker must be told, and what a client must present.
struct BrokerExpectations {
  var clientID: [UInt8]
  var userName: [UInt8]?
  var password: [UInt8]?
  var cleanSession: Bool
  var keepAliveSeconds: Int
  /// Unacknowledged QoS 1 and 2 messages at the same time.
  var inflightMax: Int
  /// Messages to the client that may be unacknowledged at the same time.
  var outboundWindow = 10
  /// Whether the broker knows QoS 2; otherwise it answers with PUBACK, as RabbitMQ does.
  var knowsQoS2 = true
  /// How the broker chooses packet identifiers.
  var identifiers = IdentifierChoice.counting
}

/// How a broker chooses the packet identifiers of what it sends.
public enum IdentifierChoice: CaseIterable, Sendable {
  /// The next one, for as long as the session lasts.
  case counting
  /// The lowest that is free: the same ones again and again.
  case lowest
  /// From 1 on each connection, for what is sent again as well, as RabbitMQ does against [MQTT-4.4.0-1].
  case renumbering
}

/// Learns what passes through the broker.
protocol BrokerObserver: AnyObject {
  /// A message was accepted; for QoS 2 exactly once per packet identifier. `epoch` counts sessions.
  func brokerAccepted(_ message: PublishPacket, epoch: Int, at time: Instant)
  /// The client has acknowledged a message to it: its acknowledgement is on record.
  func brokerDelivered(_ payload: [UInt8])
  /// A message to the client is gone without having been acknowledged.
  func brokerLost(_ payload: [UInt8])
}

/// One connection as the broker sees it.
final class BrokerConnection {
  let link: SimulatedLink
  var cutter = PacketCutter()
  /// Nil until CONNECT was accepted.
  var session: BrokerSession?
  var hasConnect = false
  var isOpen = true
  var lastReceived: Instant
  var isSessionPresent = false
  /// Identifiers that the client must acknowledge, in the order of the packets that ask for it ([MQTT-4.6.0-2] and on).
  var expectedPubacks: [UInt16] = []
  var expectedPubrecs: [UInt16] = []
  var expectedPubcomps: [UInt16] = []
  /// Whether the client's next acknowledgements may be missing because the connection is being misused.
  var isSpoilt = false

  init(link: SimulatedLink, now: Instant) {
    self.link = link
    lastReceived = now
  }
}

/// The broker.
final class Broker: NetworkUser {
  let world: World
  let network: Network
  let expectations: BrokerExpectations
  weak var observer: BrokerObserver?
  var dice: Dice
  /// The agent's session, if there is one. Other clients' sessions do not matter here.
  private(set) var session: BrokerSession?
  private(set) var connection: BrokerConnection?
  private(set) var epoch = 0
  private(set) var connectionCount = 0
  private var connections: [BrokerConnection] = []

  /// How many of the next messages are such that the broker closes the connection whenever it gets one of them.
  var poisonWanted = 0
  /// Whether it resets the connection then, as a server does that leaves bytes unread.
  var poisonResets = false
  private var poison: Set<[UInt8]> = []

  /// How many messages wait for a client at most.
  static let queueMax = 50

  init(world: World, network: Network, expectations: BrokerExpectations) {
    self.world = world
    self.network = network
    self.expectations = expectations
    dice = Dice(seed: world.seed, colour: 2)
    network.user = self
  }

  // MARK: Connections

  func accept(_ link: SimulatedLink) {
    connections.append(BrokerConnection(link: link, now: world.now))
  }

  func receive(_ bytes: ArraySlice<UInt8>, from link: SimulatedLink) {
    guard let connection = connections.first(where: { $0.link === link }), connection.isOpen else { return }
    connection.cutter.append(bytes)
    connection.lastReceived = world.now
    do throws(ClientFault) {
      while connection.isOpen, let packet = try connection.cutter.next() { handle(packet, connection) }
    } catch {
      world.violate("the client broke MQTT-\(error.what)")
    }
  }

  func end(of link: SimulatedLink) {
    guard let connection = connections.first(where: { $0.link === link }) else { return }
    if connection.isOpen, connection.cutter.isInPacket { world.mark("cut-inside-a-packet") }
    forget(connection)
  }

  private func forget(_ connection: BrokerConnection) {
    connection.isOpen = false
    connections.removeAll { $0 === connection }
    guard self.connection === connection else { return }
    self.connection = nil
    if let session, !session.isDurable { endSession() }
  }

  /// Ends the connection from the broker's side.
  func close(_ connection: BrokerConnection) {
    guard connection.isOpen else { return }
    network.closeFromPeer(connection.link)
    forget(connection)
  }

  private func endSession() {
    guard let session else { return }
    for message in session.pending { observer?.brokerLost(message.payload) }
    self.session = nil
  }

  func send(_ bytes: [UInt8], _ connection: BrokerConnection, after delay: TimeSpan = .zero) {
    guard connection.isOpen else { return }
    network.transmitDown(bytes, to: connection.link, after: delay)
    guard dice.once(in: network.weather.malformed), connection.session != nil else { return }
    let rubbish = dice.pick(Rubbish.all)
    world.mark("malformed-\(rubbish.name)")
    world.note("broker sends malformed: \(rubbish.name)")
    network.transmitDown(rubbish.bytes, to: connection.link)
    network.expectClose(of: connection.link, why: rubbish.name)
    connection.isSpoilt = true
  }

  // MARK: Packets

  private func handle(_ packet: ClientPacket, _ connection: BrokerConnection) {
    world.note("broker receives \(brief(packet))")
    if case .connect(let connect) = packet { return handleConnect(connect, connection) }
    guard connection.hasConnect else { return world.violate("3.1.0-1: the first packet is not CONNECT") }
    guard let session = connection.session else {
      return world.violate("a packet before CONNACK: \(packet)")
    }
    guard self.connection === connection else { return }
    switch packet {
    case .connect: break
    case .publish(let publish):
      if isPoison(publish) {
        if poisonResets { network.cut(connection.link, .reset) }
        return close(connection)
      }
      session.receive(publish, connection, self)
    case .puback(let identifier):
      expect(identifier, &connection.expectedPubacks, "4.6.0-2", connection)
      session.acknowledge(identifier, .puback, connection, self)
    case .pubrec(let identifier):
      expect(identifier, &connection.expectedPubrecs, "4.6.0-3", connection)
      session.acknowledge(identifier, .pubrec, connection, self)
    case .pubcomp(let identifier):
      expect(identifier, &connection.expectedPubcomps, "4.6.0-4", connection)
      session.acknowledge(identifier, .pubcomp, connection, self)
    case .pubrel(let identifier): session.release(identifier, connection, self)
    case .subscribe(let identifier, let subscriptions):
      world.mark("subscribe")
      session.subscribe(subscriptions)
      sendUnlessLost(ServerPacket.suback(identifier, subscriptions.map(\.qos)), connection)
      session.sendPending(connection, self)
    case .unsubscribe(let identifier, let filters):
      session.unsubscribe(filters)
      sendUnlessLost(ServerPacket.unsuback(identifier), connection)
    case .pingreq:
      world.mark("ping")
      observePing?()
      if dice.once(in: network.weather.lostPingResponse) {
        world.mark("ping-unanswered")
      } else {
        send(ServerPacket.pingresp, connection)
      }
    case .disconnect:
      world.mark("disconnect")
      if connection.cutter.isInPacket { world.violate("3.14.4-2: bytes after DISCONNECT") }
      forget(connection)
    }
  }

  private func isPoison(_ message: PublishPacket) -> Bool {
    if poisonWanted > 0, message.qos > 0 {
      poisonWanted -= 1
      poison.insert(message.payload)
    }
    guard poison.contains(message.payload) else { return false }
    world.mark("poison")
    return true
  }

  private func expect(
    _ identifier: UInt16, _ expected: inout [UInt16], _ clause: String, _ connection: BrokerConnection
  ) {
    if expected.first == identifier {
      expected.removeFirst()
    } else {
      world.violate("\(clause): acknowledged \(identifier), expected \(expected)")
    }
  }

  /// Sends an acknowledgement, or forgets to.
  ///
  /// - Returns: whether it was sent.
  @discardableResult
  func sendUnlessLost(_ bytes: [UInt8], _ connection: BrokerConnection) -> Bool {
    if dice.once(in: network.weather.lostAcknowledgement) {
      world.mark("acknowledgement-lost")
      return false
    }
    send(bytes, connection, after: dice.once(in: network.weather.lateAcknowledgement) ? dice.span(0...5000) : .zero)
    return true
  }

  // MARK: CONNECT

  private func handleConnect(_ connect: ConnectPacket, _ connection: BrokerConnection) {
    if connection.hasConnect { return world.violate("3.1.0-2: a second CONNECT") }
    connection.hasConnect = true
    check(connect)
    switch dice.pick(network.weather.connackPlans) {
    case .accept: admit(connect, connection)
    case .late(let delay):
      world.mark("connack-late")
      world.after(delay) { [self] in
        // A client that gave up has closed; an answer would not reach it.
        guard connection.isOpen else { return }
        admit(connect, connection)
      }
    case .never: world.mark("connack-never")
    case .close:
      world.mark("closed-instead-of-connack")
      close(connection)
    case .refuse(let code):
      world.mark("refused-\(code)")
      network.transmitDown(ServerPacket.connack(sessionPresent: false, code: code), to: connection.link)
      close(connection)
    }
  }

  /// Called when a PINGREQ arrives.
  var observePing: (() -> Void)?

  private func check(_ connect: ConnectPacket) {
    if connect.clientID != expectations.clientID { world.violate("wrong client identifier") }
    if connect.userName != expectations.userName { world.violate("wrong user name") }
    if connect.password != expectations.password { world.violate("wrong password") }
    if connect.cleanSession != expectations.cleanSession { world.violate("wrong clean session flag") }
    if connect.keepAliveSeconds != expectations.keepAliveSeconds { world.violate("wrong keep alive") }
    if connect.will != nil { world.violate("a will that was not asked for") }
  }

  private func admit(_ connect: ConnectPacket, _ connection: BrokerConnection) {
    if let old = self.connection {
      world.mark("takeover")
      close(old)
    }
    if connect.cleanSession { endSession() }
    connection.isSessionPresent = session != nil
    if session == nil {
      epoch += 1
      if epoch > 1, !connect.cleanSession { world.mark("session-lost") }
      session = BrokerSession(isDurable: !connect.cleanSession, epoch: epoch)
    } else {
      world.mark("session-present")
    }
    self.connection = connection
    connection.session = session
    connectionCount += 1
    network.transmitDown(
      ServerPacket.connack(sessionPresent: connection.isSessionPresent, code: 0), to: connection.link)
    watchKeepAlive(connection)
    planMischief(connection)
    session?.resume(connection, self)
  }

  /// [MQTT-3.1.2-24]: after 1.5 times the keep alive without a packet the connection ends.
  private func watchKeepAlive(_ connection: BrokerConnection) {
    guard expectations.keepAliveSeconds > 0 else { return }
    let limit = TimeSpan.milliseconds(Int64(expectations.keepAliveSeconds) * 1500)
    world.at(connection.lastReceived + limit) { [self] in
      guard connection.isOpen else { return }
      guard world.now >= connection.lastReceived + limit else { return watchKeepAlive(connection) }
      world.mark("keep-alive-expired")
      let isHealthy = connection.link.carriesUp && connection.link.carriesDown && connection.link.death == nil
      if isHealthy, network.weather.delay.upperBound < 1000 {
        if case .open = connection.link.state {
          world.violate("3.1.2-23: nothing was sent for 1.5 times the keep alive")
        }
      }
      close(connection)
    }
  }

  private func planMischief(_ connection: BrokerConnection) {
    if dice.once(in: network.weather.restart) {
      world.after(dice.spanOfAnyMagnitude(10...1_200_000)) { [self] in
        guard connection.isOpen else { return }
        restart()
      }
    }
    if dice.once(in: network.weather.rival) {
      world.after(dice.span(200...8000)) { [self] in
        guard connection.isOpen else { return }
        world.mark("rival")
        close(connection)
      }
    }
  }

  /// The broker ends and begins anew, with or without what it knew.
  func restart() {
    world.mark("broker-restart")
    for connection in connections {
      if dice.once(in: 2) { close(connection) } else { network.cut(connection.link, .reset) }
      forget(connection)
    }
    if dice.once(in: network.weather.lostSession) { endSession() }
  }

  // MARK: Messages to the client

  /// Another client publishes to our client.
  func publish(topic: [UInt8], payload: [UInt8], qos: UInt8) {
    guard let session, let granted = session.grantedQoS(for: topic) else {
      observer?.brokerLost(payload)
      return
    }
    let message = PublishPacket(topic: topic, payload: payload, qos: min(qos, granted))
    guard let connection, connection.isOpen else {
      // [MQTT-3.1.2-5] asks for QoS 1 and 2 to be kept; QoS 0 need not be.
      guard message.qos > 0 else {
        observer?.brokerLost(payload)
        return
      }
      session.enqueue(message, self)
      return
    }
    session.enqueue(message, self)
    session.sendPending(connection, self)
  }

  /// Whether the agent's connection is one over which everything arrives.
  var isConnectionHealthy: Bool {
    guard let connection, connection.isOpen, case .open = connection.link.state else { return false }
    return connection.link.carriesUp && connection.link.carriesDown && connection.link.death == nil
  }

  private func brief(_ packet: ClientPacket) -> String {
    guard case .publish(let publish) = packet else { return String("\(packet)".prefix(120)) }
    let payload = String(decoding: publish.payload.prefix(80), as: UTF8.self)
    return "publish \(publish.identifier) qos \(publish.qos) dup \(publish.isDuplicate) \(payload)"
  }
}
