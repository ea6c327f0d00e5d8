// Messages from clients: rate, size, topic, then to whom they go, then the acknowledgement.

import Bytes
import MQTT
import PlatformProtocol

extension PlatformService {
  /// Takes a client's topic apart; nil for one that it may not publish to.
  func publishedTopic(_ topic: Span<UInt8>, _ identity: ClientIdentity) -> PublishedTopic? {
    switch identity {
    case .device: .ofDevice(topic)
    case .gateway: .ofGateway(topic)
    case .application, .sharedApplication: .ofApplication(topic)
    }
  }

  func handlePublish(_ publish: Publish, _ bytes: Span<UInt8>, _ connection: ClientConnection, _ session: ClientSession)
  {
    counters.received += 1
    connection.traffic.readMessages += 1
    let topic = bytes.extracting(publish.topic)
    // [the platform's rule for 3.1.1]: a topic beyond 200 bytes counts as payload.
    let size = publish.payload.count + max(0, topic.count - ServiceLimits.topicBytesFree)
    guard size <= ServiceLimits.payloadBytesMax, topic.count <= ServiceLimits.topicBytesMax else {
      return close(connection, .tooLarge)
    }
    if session.organization.isQuickstart {
      guard connection.rate.admit(bytes: size, now: now.instant) else {
        counters.droppedByRate += 1
        connection.ignoredCount += 1
        return acknowledge(publish, connection)
      }
    } else if let pause = connection.rate.take(bytes: size, now: now.instant) {
      connection.pausedUntil = now.instant + pause
      output.pauseReading(connection.id, until: now.instant + pause)
    }
    if publish.qos == .exactlyOnce {
      // [MQTT-4.3.3-2]: one that was taken already is only acknowledged again.
      guard !session.received.contains(publish.packetIdentifier) else {
        return answerReceived(publish.packetIdentifier, connection, session)
      }
    }
    guard let parsed = publishedTopic(topic, session.identity), isAllowedInQuickstart(parsed, topic, session) else {
      return meetIllegalTopic(publish, topic, connection, session)
    }
    guard !session.isApplication || connection.role >= .operate else { return close(connection, .notAuthorized) }
    take(parsed, topic, bytes.extracting(publish.payload), publish.qos, session)
    guard connections[connection.id] != nil else { return }
    if publish.qos == .exactlyOnce {
      session.received.insert(publish.packetIdentifier)
      if let number = session.number { store(.putIdentifier(session: number, publish.packetIdentifier)) }
      answerReceived(publish.packetIdentifier, connection, session)
    } else {
      acknowledge(publish, connection)
    }
  }

  private func isAllowedInQuickstart(_ parsed: PublishedTopic, _ topic: Span<UInt8>, _ session: ClientSession) -> Bool {
    guard session.organization.isQuickstart else { return true }
    return parsed.kind == .event && topic.extracting(parsed.format).equals("json")
  }

  /// Acknowledges a message, when what was stored for it is on the disk.
  private func acknowledge(_ publish: Publish, _ connection: ClientConnection) {
    switch publish.qos {
    case .atMostOnce: return
    case .atLeastOnce:
      send(connection) { $0.appendAnswer(.puback, packetIdentifier: publish.packetIdentifier) }
    case .exactlyOnce:
      send(connection) { $0.appendAnswer(.pubrec, packetIdentifier: publish.packetIdentifier) }
    }
  }

  /// Answers a QoS 2 message that was taken, as soon as few enough others are between their PUBREC and PUBREL.
  private func answerReceived(_ identifier: UInt16, _ connection: ClientConnection, _ session: ClientSession) {
    guard session.received.answer(identifier, after: commit) else { return }
    send(connection) { $0.appendAnswer(.pubrec, packetIdentifier: identifier) }
  }

  /// A device or application loses its connection; a gateway is told and goes on.
  private func meetIllegalTopic(
    _ publish: Publish, _ topic: Span<UInt8>, _ connection: ClientConnection, _ session: ClientSession
  ) {
    log(
      .info, "client", "illegal-topic",
      ["client-id": session.clientID, "request": "publish", "topic": String(copying: topic)])
    guard case .gateway = session.identity else { return close(connection, .topicInvalid) }
    tellGateway(session, request: "Publish", topic: topic, GatewayFault(276, "The topic is not valid."))
    acknowledge(publish, connection)
  }

  /// Sends a message to those who want it.
  private func take(
    _ parsed: PublishedTopic, _ topic: Span<UInt8>, _ payload: Span<UInt8>, _ qos: QoS, _ session: ClientSession
  ) {
    let organization = session.organization
    guard let key = parsed.device else {
      // A device speaks for itself.
      guard let device = session.device else { return }
      if parsed.kind == .management {
        return handleManagement(topic.extracting(parsed.tail), payload, device, session)
      }
      return takeEvent(parsed, topic, payload, qos, device, organization)
    }
    let name = DeviceKey(
      typeID: String(copying: topic.extracting(key.type)), deviceID: String(copying: topic.extracting(key.id)))
    if session.isApplication {
      guard let device = organization.devices[name] else { return }
      if parsed.kind == .event { return takeEvent(parsed, topic, payload, qos, device, organization) }
      return takeCommand(parsed, topic, payload, qos, device, organization)
    }
    guard let gateway = session.identity.device else { return }
    switch device(name, forGateway: gateway, organization) {
    case .success(let device):
      if parsed.kind == .management {
        return handleManagement(topic.extracting(parsed.tail), payload, device, session)
      }
      takeEvent(parsed, topic, payload, qos, device, organization)
    case .failure(let fault): tellGateway(session, request: "Publish", topic: topic, fault)
    }
  }

  /// Sends a device's event to the applications that want it, and keeps it as the last one.
  func takeEvent(
    _ parsed: PublishedTopic, _ topic: Span<UInt8>, _ payload: Span<UInt8>, _ qos: QoS, _ device: Device,
    _ organization: Organization
  ) {
    let name = topic.extracting(parsed.name)
    let format = topic.extracting(parsed.format)
    if device.eventRoutesGeneration != organization.routes.eventGeneration {
      device.eventRoutes = organization.routes.routes(.event, type: device.key.typeID, device: device.key.deviceID)
      device.eventRoutesGeneration = organization.routes.eventGeneration
    }
    keepLastEvent(name, format, payload, device, organization)
    tellObservers(
      organization, device: device.key, .events,
      .event(
        observed(name, format, payload, device)))
    guard !device.eventRoutes.isEmpty else { return }
    setLongTopic(device, topic.extracting(parsed.tail))
    collect(device.eventRoutes, name: name, format: format, device: nil)
    deliver(payload, qos, shortTail: 0)
  }

  /// Sends a command to its device, to the gateways that speak for it, and to applications that watch commands.
  func takeCommand(
    _ parsed: PublishedTopic, _ topic: Span<UInt8>, _ payload: Span<UInt8>, _ qos: QoS, _ device: Device,
    _ organization: Organization
  ) {
    let name = topic.extracting(parsed.name)
    let format = topic.extracting(parsed.format)
    keepForHTTP(device, observed(name, format, payload, device))
    tellObservers(
      organization, device: device.key, .commands,
      .command(
        observed(name, format, payload, device)))
    setLongTopic(device, topic.extracting(parsed.tail))
    collect(
      organization.routes.routes(.command, type: device.key.typeID, device: device.key.deviceID), name: name,
      format: format, device: device)
    deliver(payload, qos, shortTail: device.topicPrefix.count)
  }

  private func observed(
    _ name: Span<UInt8>, _ format: Span<UInt8>, _ payload: Span<UInt8>, _ device: Device
  ) -> ObservedMessage {
    ObservedMessage(
      device: device.key, name: String(copying: name), format: String(copying: format),
      payload: Array(copying: payload), time: now.wall)
  }

  /// `iot-2/type/T/id/D/evt/E/fmt/F`, in memory that is used again.
  private func setLongTopic(_ device: Device, _ tail: Span<UInt8>) {
    longTopic.removeAll(keepingCapacity: true)
    longTopic.append(contentsOf: device.topicPrefix)
    tail.withUnsafeBufferPointer { longTopic.append(contentsOf: $0) }
  }

  private func keepLastEvent(
    _ name: Span<UInt8>, _ format: Span<UInt8>, _ payload: Span<UInt8>, _ device: Device, _ organization: Organization
  ) {
    device.lastEventTime = now.wall.milliseconds
    guard payload.count <= ServiceLimits.lastEventBytesMax else {
      return forgetLastEvent(name, device, organization)
    }
    if !device.hasUnstoredEvents, !organization.isQuickstart {
      device.hasUnstoredEvents = true
      unstoredEvents.append(device)
    }
    if let index = device.lastEvents.firstIndex(where: { $0.eventID.utf8Span.span.equals(name) }) {
      device.lastEvents[index].set(payload, now.wall)
      if !device.lastEvents[index].format.utf8Span.span.equals(format) {
        device.lastEvents[index].format = String(copying: format)
      }
      return
    }
    if device.lastEvents.count >= ServiceLimits.lastEventsMax {
      // The event that has been silent for the longest time makes room.
      if let oldest = device.lastEvents.indices.min(by: { device.lastEvents[$0].time < device.lastEvents[$1].time }) {
        device.lastEvents.remove(at: oldest)
      }
    }
    device.lastEvents.append(
      LastEvent(
        eventID: String(copying: name), format: String(copying: format), payload: Array(copying: payload),
        time: now.wall.milliseconds))
  }

  /// Forgets the last message of an event that has a newer one, too large to be kept.
  private func forgetLastEvent(_ name: Span<UInt8>, _ device: Device, _ organization: Organization) {
    guard let index = device.lastEvents.firstIndex(where: { $0.eventID.utf8Span.span.equals(name) }) else { return }
    let event = device.lastEvents.remove(at: index)
    // The client's answer does not wait for this.
    if !organization.isQuickstart { _ = output.store(.removeLastEvent(device.key, eventID: event.eventID)) }
  }

  /// Keeps the last events that came since this was last done. They come far too often for keeping each at once.
  func storeLastEvents(isEnd: Bool = false) {
    guard isEnd || now.instant - lastEventsStored >= ServiceLimits.lastEventsStoreInterval else { return }
    lastEventsStored = now.instant
    for device in unstoredEvents {
      device.hasUnstoredEvents = false
      for event in device.lastEvents where event.time >= device.eventsStored {
        store(.putLastEvent(device.key, event))
      }
      device.eventsStored = now.wall.milliseconds
    }
    unstoredEvents.removeAll(keepingCapacity: true)
  }

  /// Publishes the will of a client whose connection ended without DISCONNECT [MQTT-3.1.2-8].
  func publishWill(_ will: ClientConnection.Will, _ session: ClientSession) {
    let topic = will.topic.span
    guard let parsed = publishedTopic(topic, session.identity), isAllowedInQuickstart(parsed, topic, session) else {
      return
    }
    take(parsed, topic, will.payload.span, will.qos, session)
  }

  /// PUBREL: the client will not send the message again, so its identifier is free [MQTT-4.3.3-2].
  func handleRelease(_ identifier: UInt16, _ connection: ClientConnection, _ session: ClientSession) {
    if session.received.release(identifier), let number = session.number {
      store(.removeIdentifier(session: number, identifier))
    }
    send(connection) { $0.appendAnswer(.pubcomp, packetIdentifier: identifier) }
    while let next = session.received.nextAnswer() {
      commit = max(commit, next.commit)
      send(connection) { $0.appendAnswer(.pubrec, packetIdentifier: next.identifier) }
    }
  }
}

extension LastEvent {
  /// Replaces the payload, in the memory of the one before.
  mutating func set(_ bytes: Span<UInt8>, _ wall: WallTime) {
    payload.removeAll(keepingCapacity: true)
    bytes.withUnsafeBufferPointer { payload.append(contentsOf: $0) }
    time = wall.milliseconds
  }
}
