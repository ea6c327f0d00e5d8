// Messages to clients: who gets one, what waits, what is in flight, and what is sent again.

import Bytes
import MQTT
import PlatformProtocol

/// A session that gets the message being delivered.
struct DeliveryTarget {
  let session: ClientSession
  var qos: UInt8
}

extension PlatformService {
  /// Notes who gets a message by these routes. A session with several matching subscriptions gets it once, with the
  /// highest QoS of them; of a shared application one member gets it.
  ///
  /// - Parameter device: the device that a command is for, or whose connection is told about: a gateway gets it only
  ///   if it speaks for that device.
  func collect(_ routes: [Route], name: Span<UInt8>, format: Span<UInt8>, device: Device?) {
    targets.removeAll(keepingCapacity: true)
    deliveryCount += 1
    for route in routes where route.filter.matches(name: name, format: format) {
      if route.sharedBy != nil {
        if let member = route.nextMember() { addTarget(member, device) }
      } else {
        for member in route.members { addTarget(member, device) }
      }
    }
  }

  private func addTarget(_ member: Route.Member, _ device: Device?) {
    let session = member.session
    if let device, !mayHear(of: device, session) { return }
    if session.deliveryNumber == deliveryCount {
      targets[session.deliveryIndex].qos = max(targets[session.deliveryIndex].qos, member.qos)
      return
    }
    session.deliveryNumber = deliveryCount
    session.deliveryIndex = targets.count
    targets.append(DeliveryTarget(session: session, qos: member.qos))
  }

  /// Whether a client may get what is meant for or told about a device: a gateway only if it speaks for that device.
  func mayHear(of device: Device, _ session: ClientSession) -> Bool {
    guard case .gateway(_, let key) = session.identity else { return true }
    return device.isReached(by: key, session.device?.record.resourceGroup)
  }

  /// Sends a message whose long topic is `longTopic` to all targets.
  ///
  /// - Parameter shortTail: where in the long topic the part begins that devices see behind `iot-2/`; 0 if no device
  ///   is among them.
  func deliver(_ payload: Span<UInt8>, _ qos: QoS, shortTail: Int) {
    // The packet of QoS 0 is the same for all who see the long topic, and so is the copy of the payload that is kept.
    var isEncoded = false
    var kept: [UInt8]?
    for target in targets {
      let session = target.session
      guard let granted = QoS(rawValue: min(qos.rawValue, target.qos)) else { continue }
      let shortTopic = session.usesLongForm ? nil : Array("iot-2/".utf8) + longTopic[shortTail...]
      guard granted == .atMostOnce else {
        let copy = kept ?? Array(copying: payload)
        kept = copy
        enqueue(session, topic: shortTopic ?? longTopic, payload: copy, granted)
        isEncoded = false
        continue
      }
      guard let connection = session.connection else { continue }
      if let shortTopic {
        sendMessage(connection, topic: shortTopic.span, payload: payload)
        isEncoded = false
      } else if isEncoded {
        sendEncoded(connection)
      } else {
        isEncoded = sendMessage(connection, topic: longTopic.span, payload: payload)
      }
    }
  }

  /// Sends a message of QoS 0 to one client, or drops it where the peer takes no bytes.
  @discardableResult
  func sendMessage(
    _ connection: ClientConnection, topic: Span<UInt8>, payload: Span<UInt8>, isRetained: Bool = false
  ) -> Bool {
    packets.buffer.removeAll()
    guard
      packets.buffer.appendPublish(
        topic: topic, payload: payload, qos: .atMostOnce, isRetained: isRetained, isDuplicate: false,
        packetIdentifier: 0)
    else { return false }
    sendEncoded(connection)
    return true
  }

  private func sendEncoded(_ connection: ClientConnection) {
    guard connection.takesMessage(bytes: packets.buffer.count, input: inputNumber) else {
      connection.droppedCount += 1
      counters.droppedForBlocked += 1
      return
    }
    connection.traffic.writtenMessages += 1
    counters.delivered += 1
    connection.traffic.writtenBytes += packets.buffer.count
    trafficBytes += Int64(packets.buffer.count)
    packets.send(to: connection.id, after: 0, by: output)
  }

  /// Sends what `write` encodes, after what was stored for the input being handled.
  func send(_ connection: ClientConnection, _ write: (inout ByteBuffer) -> Bool) {
    packets.buffer.removeAll()
    guard write(&packets.buffer) else { return }
    connection.traffic.writtenBytes += packets.buffer.count
    trafficBytes += Int64(packets.buffer.count)
    packets.send(to: connection.id, after: commit, by: output)
  }

  // MARK: - QoS 1 and 2

  /// Gives a session a message of QoS 1 or 2: in flight if there is room, waiting otherwise.
  func enqueue(_ session: ClientSession, topic: [UInt8], payload: [UInt8], _ qos: QoS, step: StepDelivery? = nil) {
    guard session.connection != nil || session.isDurable else { return }
    let bytes = topic.count + payload.count
    // The oldest make room for the newest.
    while session.queue.count >= ServiceLimits.queuedMessagesMax
      || session.queue.byteCount + bytes > ServiceLimits.queuedBytesMax, dropOldest(session)
    {}
    guard session.queue.count < ServiceLimits.queuedMessagesMax,
      queuedBytes + bytes <= ServiceLimits.queuedBytesTotalMax
    else {
      counters.droppedFromQueues += 1
      return
    }
    let message = session.queue.append(topic: topic, payload: payload, qos: qos, step: step)
    step?.isWaiting = true
    queuedBytes += message.byteCount
    if let number = session.number {
      store(
        .putMessage(
          MessageRecord(
            session: number, sequence: message.sequence, topic: topic, payload: payload, qos: qos.rawValue,
            isReleased: false)))
    }
    if let connection = session.connection { pump(session, connection) }
  }

  private func dropOldest(_ session: ClientSession) -> Bool {
    guard let dropped = session.queue.removeOldestWaiting() else { return false }
    counters.droppedFromQueues += 1
    forget(dropped, session)
    return true
  }

  private func forget(_ message: OutgoingMessage, _ session: ClientSession) {
    message.step?.isWaiting = false
    queuedBytes -= message.byteCount
    if let number = session.number { store(.removeMessage(session: number, sequence: message.sequence)) }
  }

  /// Puts waiting messages in flight while there is room.
  func pump(_ session: ClientSession, _ connection: ClientConnection) {
    while connection.blockedSince == nil, session.queue.hasRoomInFlight, let message = session.queue.startNext() {
      transmit(message, connection, isDuplicate: false)
    }
  }

  /// After a reconnect: what was in flight is sent again, with the same identifiers [MQTT-4.4.0-1], then the rest.
  func resend(_ session: ClientSession, _ connection: ClientConnection) {
    while session.queue.hasRoomInFlight, let message = session.queue.startNext() {
      if message.isReleased {
        send(connection) { $0.appendAnswer(.pubrel, packetIdentifier: message.packetIdentifier) }
      } else {
        transmit(message, connection, isDuplicate: message.wasSent)
      }
    }
  }

  private func transmit(_ message: OutgoingMessage, _ connection: ClientConnection, isDuplicate: Bool) {
    connection.traffic.writtenMessages += 1
    counters.delivered += 1
    message.step?.connection = connection.id
    packets.buffer.removeAll()
    guard
      packets.buffer.appendPublish(
        topic: message.topic.span, payload: message.payload.span, qos: message.qos, isRetained: false,
        isDuplicate: isDuplicate, packetIdentifier: message.packetIdentifier)
    else { return }
    connection.traffic.writtenBytes += packets.buffer.count
    trafficBytes += Int64(packets.buffer.count)
    // With QoS 2 the client may take the identifier for one that it knows: it must mean the same message after a crash.
    packets.send(to: connection.id, after: message.qos == .exactlyOnce ? commit : 0, by: output)
  }

  /// Handles an acknowledgement. One that does not belong to its message ends the connection [MQTT-4.8.0-1]; one of a
  /// message that is not known is late.
  func acknowledge(
    _ identifier: UInt16, by type: PacketType, _ connection: ClientConnection, _ session: ClientSession
  ) {
    guard let message = session.queue.inFlight(packetIdentifier: identifier) else {
      // Also here the client waits for an answer.
      if type == .pubrec { send(connection) { $0.appendAnswer(.pubrel, packetIdentifier: identifier) } }
      return
    }
    switch (type, message.qos, message.isReleased) {
    case (.puback, .atLeastOnce, _), (.pubcomp, .exactlyOnce, true):
      session.queue.remove(packetIdentifier: identifier)
      forget(message, session)
      pump(session, connection)
    case (.pubrec, .exactlyOnce, _): release(identifier, connection, session)
    // [MQTT-4.3.2-2], [MQTT-4.3.3-1]
    default: close(connection, .protocolError)
    }
  }

  /// PUBREC: the client has the message and will know its identifier until PUBREL. That this was said must be known
  /// after a crash as well: the client may have forgotten the identifier by then.
  private func release(_ identifier: UInt16, _ connection: ClientConnection, _ session: ClientSession) {
    if let message = session.queue.release(packetIdentifier: identifier), let number = session.number {
      store(.releaseMessage(session: number, sequence: message.sequence))
    }
    send(connection) { $0.appendAnswer(.pubrel, packetIdentifier: identifier) }
  }

  /// Gives the messages of a shared application's connection that is gone to its other connections.
  func handOver(_ messages: [OutgoingMessage], of session: ClientSession) {
    for message in messages where !message.isReleased {
      for other in session.organization.sessions.values where other.connection != nil {
        guard other.sharedApplicationID == session.sharedApplicationID,
          other.subscriptions.contains(where: { topicFilter($0.text.span, matches: message.topic.span) })
        else { continue }
        enqueue(other, topic: message.topic, payload: message.payload, message.qos)
        break
      }
    }
  }
}
