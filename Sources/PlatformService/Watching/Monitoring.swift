// What applications are told about connections, and what is remembered about them.

import Bytes
import MQTT
import PlatformProtocol

extension PlatformService {
  /// Remembers a device's connection for the registry.
  func noteStatus(_ session: ClientSession, _ connection: ClientConnection, isConnected: Bool, code: ClosingCode?) {
    guard let device = session.device else { return }
    let status = ConnectionStatus(
      isConnected: isConnected, time: now.wall.milliseconds, address: connection.peer.address,
      port: connection.peer.port, isSecure: connection.peer.isSecure, protocolName: connection.protocolName,
      closeCode: code?.rawValue,
      connectTime: connection.connectTime.milliseconds)
    device.record.connection = status
    // The client's answer does not wait for this.
    if !session.organization.isQuickstart { _ = output.store(.putConnection(device.key, status)) }
  }

  /// Takes over what an earlier run knew about a device's connection. One that was there is not any more.
  func restoreStatus(_ device: Device) {
    guard var status = device.record.connection else { return }
    if status.isConnected {
      status.isConnected = false
      status.time = now.wall.milliseconds
      status.closeCode = ClosingCode.shutdown.rawValue
      device.record.connection = status
      _ = output.store(.putConnection(device.key, status))
    }
    device.status = MonitoringMessage(
      action: .disconnect, time: WallTime(milliseconds: status.time), clientID: clientID(device), device: device.key,
      clientAddress: status.address, port: status.port ?? 0, isSecure: status.isSecure,
      protocolName: status.protocolName, connectTime: WallTime(milliseconds: status.connectTime),
      closeCode: status.closeCode.map(ClosingCode.init))
  }

  private func message(
    _ action: MonitoringMessage.Action, _ identity: ClientIdentity, _ clientID: String, _ connection: ClientConnection
  ) -> MonitoringMessage {
    // Of a device with a token the user's name says nothing.
    let user = identity.applicationID == nil ? nil : connection.user
    return MonitoringMessage(
      action: action, time: now.wall, clientID: clientID, device: identity.device,
      applicationID: identity.applicationID, clientAddress: connection.peer.address, port: connection.peer.port,
      isSecure: connection.peer.isSecure, protocolName: connection.protocolName, user: user)
  }

  func tellConnect(_ session: ClientSession, _ connection: ClientConnection, isNewSession: Bool) {
    var message = message(.connect, session.identity, session.clientID, connection)
    message.connectTime = connection.connectTime
    message.isDurable = session.isDurable
    message.isNewSession = isNewSession
    tell(message, session.organization, isRetained: true)
  }

  func tellFailedConnect(
    _ identity: ClientIdentity, _ clientID: String, _ connection: ClientConnection, _ code: ClosingCode
  ) {
    guard let organization = organization(identity.organization) else { return }
    var message = message(.failedConnect, identity, clientID, connection)
    message.closeCode = code
    tell(message, organization, isRetained: false)
  }

  func tellDisconnect(_ session: ClientSession, _ connection: ClientConnection, _ code: ClosingCode) {
    var message = message(.disconnect, session.identity, session.clientID, connection)
    message.connectTime = connection.connectTime
    message.closeCode = code
    message.traffic = connection.traffic
    tell(message, session.organization, isRetained: !session.isApplication)
  }

  /// Sends a monitoring message to those who watch the client, and keeps it for later ones if it is retained.
  private func tell(_ message: MonitoringMessage, _ organization: Organization, isRetained: Bool) {
    tellObservers(
      organization, device: message.device, .changes, .monitoring(message))
    let routes: [Route]
    var device: Device?
    if let key = message.device {
      // Nobody speaks for a device that is not registered.
      device =
        organization.devices[key] ?? Device(DeviceRecord(typeID: key.typeID, deviceID: key.deviceID, registered: 0))
      if isRetained { organization.devices[key]?.status = message }
      routes = organization.routes.routes(.deviceMonitoring, type: key.typeID, device: key.deviceID)
    } else if let id = message.applicationID {
      keepStatus(message, organization)
      routes = applicationRoutes(id, organization)
    } else {
      return
    }
    guard !routes.isEmpty else { return }
    longTopic = monitoringTopic(message)
    let nothing: [UInt8] = []
    collect(routes, name: nothing.span, format: nothing.span, device: device)
    // Devices see `iot-2/mon`.
    let bytes = message.json.bytes
    deliver(bytes.span, .atMostOnce, shortTail: longTopic.count - 3)
  }

  /// Keeps what was told about an application's connection. The end of its last one clears what was kept.
  private func keepStatus(_ message: MonitoringMessage, _ organization: Organization) {
    let count = organization.applicationStatus[message.clientID]?.connectionCount ?? 0
    switch message.action {
    case .connect:
      organization.applicationStatus[message.clientID] = ApplicationStatus(
        message: message, connectionCount: count + 1)
    case .disconnect where count > 1: organization.applicationStatus[message.clientID]?.connectionCount = count - 1
    case .disconnect: organization.applicationStatus[message.clientID] = nil
    case .failedConnect: break
    }
  }

  private func applicationRoutes(_ id: String, _ organization: Organization) -> [Route] {
    organization.routes.routes(.applicationMonitoring, type: id, device: nil)
  }

  private func monitoringTopic(_ message: MonitoringMessage) -> [UInt8] {
    if let key = message.device { return Array("iot-2/type/\(key.typeID)/id/\(key.deviceID)/mon".utf8) }
    return Array("iot-2/app/\(message.applicationID ?? "")/mon".utf8)
  }

  /// Sends what was kept about the clients that a new subscription is about.
  func sendRetained(_ filter: TopicFilter, _ session: ClientSession, _ connection: ClientConnection) {
    let organization = session.organization
    var kept: [MonitoringMessage] = []
    switch filter.kind {
    case .deviceMonitoring:
      let meant: [Device]
      if let type = filter.type, let id = filter.device {
        meant = [organization.devices[DeviceKey(typeID: type, deviceID: id)]].compactMap { $0 }
      } else {
        meant = organization.devices.values.filter { device in
          (filter.type ?? device.key.typeID) == device.key.typeID
            && (filter.device ?? device.key.deviceID) == device.key.deviceID
        }
      }
      kept = meant.compactMap { mayHear(of: $0, session) ? $0.status : nil }
    case .applicationMonitoring:
      kept = organization.applicationStatus.values.map(\.message).filter {
        (filter.type ?? $0.applicationID) == $0.applicationID
      }
    case .event, .command, .gatewayNotification, .management: return
    }
    let oldest = now.wall.milliseconds - ServiceLimits.statusMemory.milliseconds
    for message in kept where message.time.milliseconds > oldest {
      let topic = session.usesLongForm ? monitoringTopic(message) : Array("iot-2/mon".utf8)
      let bytes = message.json.bytes
      sendMessage(connection, topic: topic.span, payload: bytes.span, isRetained: true)
    }
  }
}
