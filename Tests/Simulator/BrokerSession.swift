// What the broker keeps about its client from one connection to the next.

import Bytes

/// The kinds of acknowledgements that a client sends for messages to it.
enum ClientAcknowledgement {
  case puback, pubrec, pubcomp
}

/// A session, clean or durable.
final class BrokerSession {
  /// A message from the client whose exchange is not complete.
  private struct Incoming {
    var message: PublishPacket
    /// The connection on which it came last.
    var connection: Int
    /// QoS 2: whether PUBREL has come, and so only PUBCOMP is missing.
    var isReleased = false
  }

  /// A message to the client whose exchange is not complete.
  private struct Outgoing {
    var message: PublishPacket
    var isReceived = false
    var isSent = false
  }

  let isDurable: Bool
  let epoch: Int
  private(set) var subscriptions: [Subscription] = []
  private var incoming: [UInt16: Incoming] = [:]
  private var releasedOnce: Set<UInt16> = []
  private var outgoing: [Outgoing] = []
  private var queue: [PublishPacket] = []
  private var nextIdentifier: UInt16 = 1

  init(isDurable: Bool, epoch: Int) {
    self.isDurable = isDurable
    self.epoch = epoch
  }

  /// Messages that the client has not acknowledged.
  var pending: [PublishPacket] { outgoing.map(\.message) + queue }

  /// How many messages from the client wait for our acknowledgement.
  var incomingCount: Int { incoming.count }

  // MARK: From the client

  func receive(_ sent: PublishPacket, _ connection: BrokerConnection, _ broker: Broker) {
    var packet = sent
    if packet.qos == 2, !broker.expectations.knowsQoS2 {
      broker.world.mark("qos-2-unknown")
      packet.qos = 1
    }
    if packet.isRetained { broker.world.violate("retain set on an event") }
    if packet.payload.count > 131_072 { broker.world.violate("payload of more than 128 KiB") }
    guard packet.qos > 0 else {
      broker.observer?.brokerAccepted(packet, epoch: epoch, at: broker.world.now)
      return
    }
    if packet.isDuplicate { broker.world.mark("publish-with-dup") }
    if packet.isDuplicate && !connection.isSessionPresent {
      broker.world.violate("3.3.1-1: DUP on the first delivery in a session")
    }
    let known = incoming[packet.identifier]
    if let known { checkResend(packet, known, connection, broker) }
    if known?.isReleased == true { return }
    incoming[packet.identifier] = Incoming(message: packet, connection: connection.link.number)
    if incoming.count == broker.expectations.inflightMax { broker.world.mark("window-full") }
    if incoming.count > broker.expectations.inflightMax {
      broker.world.violate("\(incoming.count) unacknowledged messages, allowed \(broker.expectations.inflightMax)")
    }
    if packet.qos == 1 {
      broker.observer?.brokerAccepted(packet, epoch: epoch, at: broker.world.now)
      if broker.sendUnlessLost(ServerPacket.puback(packet.identifier), connection) {
        incoming[packet.identifier] = nil
      }
    } else {
      // Clause 4.3.3, method A: delivered onward with the first copy, remembered until PUBREL.
      if known == nil { broker.observer?.brokerAccepted(packet, epoch: epoch, at: broker.world.now) }
      broker.sendUnlessLost(ServerPacket.pubrec(packet.identifier), connection)
    }
  }

  private func checkResend(
    _ packet: PublishPacket, _ known: Incoming, _ connection: BrokerConnection, _ broker: Broker
  ) {
    if known.isReleased {
      broker.world.violate("4.3.3: PUBLISH \(packet.identifier) after its PUBREL")
    } else if known.connection == connection.link.number {
      broker.world.violate("4.4.0-1: \(packet.identifier) sent again on the same connection")
    } else if !packet.isDuplicate {
      broker.world.violate("3.3.1-1: \(packet.identifier) sent again without DUP")
    } else if packet.payload != known.message.payload || packet.topic != known.message.topic
      || packet.qos != known.message.qos
    {
      broker.world.violate("4.3.2: \(packet.identifier) sent again with other content")
    }
  }

  func release(_ identifier: UInt16, _ connection: BrokerConnection, _ broker: Broker) {
    if var known = incoming[identifier] {
      if known.message.qos != 2 { broker.world.violate("PUBREL \(identifier) for a QoS 1 message") }
      if known.isReleased { broker.world.mark("pubrel-again") }
      known.isReleased = true
      incoming[identifier] = known
      releasedOnce.insert(identifier)
    } else if releasedOnce.contains(identifier) {
      broker.world.mark("pubrel-again")
    } else {
      broker.world.violate("PUBREL \(identifier) without a PUBLISH")
    }
    if broker.sendUnlessLost(ServerPacket.pubcomp(identifier), connection) { incoming[identifier] = nil }
  }

  func subscribe(_ more: [Subscription]) {
    for subscription in more {
      subscriptions.removeAll { $0.filter == subscription.filter }
      subscriptions.append(subscription)
    }
  }

  func unsubscribe(_ filters: [[UInt8]]) {
    subscriptions.removeAll { filters.contains($0.filter) }
  }

  /// The quality of service that the client asked for where `topic` matches; nil without a subscription.
  func grantedQoS(for topic: [UInt8]) -> UInt8? {
    subscriptions.filter { matches(topic: topic, filter: $0.filter) }.map(\.qos).max()
  }

  // MARK: To the client

  func enqueue(_ message: PublishPacket, _ broker: Broker) {
    queue.append(message)
    guard queue.count > Broker.queueMax else { return }
    broker.world.mark("broker-queue-overflow")
    broker.observer?.brokerLost(queue.removeFirst().payload)
  }

  /// [MQTT-4.4.0-1]: at a reconnect what is unacknowledged is sent again with its identifier.
  func resume(_ connection: BrokerConnection, _ broker: Broker) {
    if broker.expectations.identifiers == .renumbering { renumber(broker) }
    for index in outgoing.indices { sendOutgoing(index, connection, broker) }
    sendPending(connection, broker)
  }

  func sendPending(_ connection: BrokerConnection, _ broker: Broker) {
    while let first = queue.first {
      guard first.qos > 0 else {
        queue.removeFirst()
        broker.send(ServerPacket.publish(first), connection)
        continue
      }
      guard outgoing.count < broker.expectations.outboundWindow else { return }
      queue.removeFirst()
      var message = first
      message.identifier = freeIdentifier(broker)
      outgoing.append(Outgoing(message: message))
      sendOutgoing(outgoing.count - 1, connection, broker)
    }
  }

  private func renumber(_ broker: Broker) {
    nextIdentifier = 1
    // A PUBREL can only mean what the client knows.
    guard !outgoing.contains(where: { $0.message.qos == 2 }) else { return }
    for index in outgoing.indices {
      if outgoing[index].message.identifier != nextIdentifier { broker.world.mark("delivery-renumbered") }
      outgoing[index].message.identifier = nextIdentifier
      advanceIdentifier()
    }
  }

  private func freeIdentifier(_ broker: Broker) -> UInt16 {
    if broker.expectations.identifiers == .lowest { nextIdentifier = 1 }
    while outgoing.contains(where: { $0.message.identifier == nextIdentifier }) { advanceIdentifier() }
    defer { advanceIdentifier() }
    return nextIdentifier
  }

  private func advanceIdentifier() {
    nextIdentifier = nextIdentifier == .max ? 1 : nextIdentifier + 1
  }

  private func sendOutgoing(_ index: Int, _ connection: BrokerConnection, _ broker: Broker) {
    var packet = outgoing[index].message
    if outgoing[index].isReceived {
      connection.expectedPubcomps.append(packet.identifier)
      return broker.send(ServerPacket.pubrel(packet.identifier), connection)
    }
    packet.isDuplicate = outgoing[index].isSent
    outgoing[index].isSent = true
    if packet.isDuplicate { broker.world.mark("delivery-with-dup") }
    transmit(packet, connection, broker)
    if broker.dice.once(in: broker.network.weather.duplicateDelivery) {
      // Old brokers send again on a live connection when they get impatient.
      broker.world.mark("delivery-twice")
      packet.isDuplicate = true
      transmit(packet, connection, broker)
    }
  }

  private func transmit(_ packet: PublishPacket, _ connection: BrokerConnection, _ broker: Broker) {
    if packet.qos == 1 {
      connection.expectedPubacks.append(packet.identifier)
    } else {
      connection.expectedPubrecs.append(packet.identifier)
    }
    broker.send(ServerPacket.publish(packet), connection)
  }

  func acknowledge(
    _ identifier: UInt16, _ kind: ClientAcknowledgement, _ connection: BrokerConnection, _ broker: Broker
  ) {
    // Unknown identifiers belong to second copies; the order was checked already.
    guard let index = outgoing.firstIndex(where: { $0.message.identifier == identifier }) else {
      if kind == .pubrec { sendPubrel(identifier, connection, broker) }
      return
    }
    switch kind {
    case .puback where outgoing[index].message.qos == 1, .pubcomp where outgoing[index].isReceived:
      broker.observer?.brokerDelivered(outgoing[index].message.payload)
      outgoing.remove(at: index)
      sendPending(connection, broker)
    case .pubrec where outgoing[index].message.qos == 2:
      outgoing[index].isReceived = true
      sendPubrel(identifier, connection, broker)
    case .puback, .pubrec, .pubcomp:
      broker.world.violate("\(kind) \(identifier) does not fit its message")
    }
  }

  private func sendPubrel(_ identifier: UInt16, _ connection: BrokerConnection, _ broker: Broker) {
    connection.expectedPubcomps.append(identifier)
    broker.send(ServerPacket.pubrel(identifier), connection)
  }
}
