// SUBSCRIBE and UNSUBSCRIBE.

import Bytes
import MQTT
import PlatformProtocol

extension PlatformService {
  /// Understands what a client subscribes to; nil for what it may not.
  func subscribedFilter(_ text: Span<UInt8>, _ identity: ClientIdentity) -> TopicFilter? {
    switch identity {
    case .device(_, let key): .ofDevice(text, key)
    case .gateway(_, let key): .ofGateway(text, key)
    case .application, .sharedApplication: .ofApplication(text)
    }
  }

  /// A filter that the client may subscribe to; nil for others.
  private func allowedFilter(_ text: Span<UInt8>, _ session: ClientSession) -> TopicFilter? {
    guard text.count <= ServiceLimits.topicBytesMax, let filter = subscribedFilter(text, session.identity) else {
      return nil
    }
    guard session.organization.isQuickstart else { return filter }
    // Anyone sees what they name, and nobody sees everything.
    return session.isApplication && filter.kind != .command && filter.isLiteral ? filter : nil
  }

  func handleSubscribe(
    _ identifier: UInt16, _ filters: Range<Int>, _ bytes: Span<UInt8>, _ connection: ClientConnection,
    _ session: ClientSession
  ) {
    var rest = filters
    var codes: [UInt8] = []
    var added: [TopicFilter] = []
    while let (range, qos) = Packet.nextSubscription(in: bytes, &rest) {
      let text = bytes.extracting(range)
      guard let filter = allowedFilter(text, session) else {
        guard refuseFilter("Subscribe", text, connection, session) else { return }
        codes.append(0x80)
        continue
      }
      if case .gateway = session.identity, let fault = reachFault(filter, session) {
        tellGateway(session, request: "Subscribe", topic: text, fault)
        codes.append(0x80)
        continue
      }
      guard subscribe(session, filter, text: Array(copying: text), qos: qos.rawValue) else {
        return close(connection, .subscriptions)
      }
      codes.append(qos.rawValue)
      added.append(filter)
    }
    if let record = session.record { store(.putSession(record)) }
    send(connection) { $0.appendSuback(packetIdentifier: identifier, returnCodes: codes.span) }
    for filter in added { sendRetained(filter, session, connection) }
    if added.contains(where: { $0.kind == .management }) { resumeRequests(session) }
  }

  /// Adds a subscription or changes its QoS; false where there are too many.
  func subscribe(_ session: ClientSession, _ filter: TopicFilter, text: [UInt8], qos: UInt8) -> Bool {
    if let index = session.subscriptions.firstIndex(where: { $0.text == text }) {
      session.subscriptions[index].qos = qos
    } else {
      guard session.subscriptions.count < session.subscriptionsMax else { return false }
      session.subscriptions.append(ClientSession.Subscription(filter: filter, text: text, qos: qos))
    }
    session.organization.routes.add(filter, session, qos: qos)
    return true
  }

  func handleUnsubscribe(
    _ identifier: UInt16, _ filters: Range<Int>, _ bytes: Span<UInt8>, _ connection: ClientConnection,
    _ session: ClientSession
  ) {
    var rest = filters
    while let range = Packet.nextFilter(in: bytes, &rest) {
      let text = bytes.extracting(range)
      guard allowedFilter(text, session) != nil else {
        guard refuseFilter("Unsubscribe", text, connection, session) else { return }
        continue
      }
      guard let index = session.subscriptions.firstIndex(where: { $0.text.span.equals(text) }) else { continue }
      session.organization.routes.remove(session.subscriptions[index].filter, session)
      session.subscriptions.remove(at: index)
    }
    if let record = session.record { store(.putSession(record)) }
    send(connection) { $0.appendAnswer(.unsuback, packetIdentifier: identifier) }
  }

  /// Meets a filter that the client may not have: a gateway is told and goes on (true), others lose the connection.
  private func refuseFilter(
    _ request: String, _ text: Span<UInt8>, _ connection: ClientConnection, _ session: ClientSession
  ) -> Bool {
    log(
      .info, "client", "illegal-topic",
      ["client-id": session.clientID, "request": request.lowercased(), "topic": String(copying: text)])
    guard case .gateway = session.identity else {
      close(connection, .topicInvalid)
      return false
    }
    tellGateway(session, request: request, topic: text, GatewayFault(276, "The topic is not valid."))
    return true
  }

  /// What is wrong with a gateway's subscription for one device: its first contact registers the device.
  private func reachFault(_ filter: TopicFilter, _ session: ClientSession) -> GatewayFault? {
    guard filter.kind == .command || filter.kind == .management, let type = filter.type, let id = filter.device,
      let gateway = session.identity.device
    else { return nil }
    let key = DeviceKey(typeID: type, deviceID: id)
    if case .failure(let fault) = device(key, forGateway: gateway, session.organization) { return fault }
    return nil
  }
}
