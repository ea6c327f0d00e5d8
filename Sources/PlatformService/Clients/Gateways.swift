// Gateways speak for other devices: which ones they may, how those are registered at first contact, and how a gateway
// is told what it did wrong.

import Bytes
import MQTT
import PlatformProtocol

/// What a gateway did wrong: the number and text of its notification.
struct GatewayFault: Error {
  let code: Int
  let message: String

  init(_ code: Int, _ message: String) {
    self.code = code
    self.message = message
  }
}

extension PlatformService {
  /// The device that a gateway speaks for, registered now if it is not known yet.
  func device(
    _ key: DeviceKey, forGateway gateway: DeviceKey, _ organization: Organization
  ) -> Result<Device, GatewayFault> {
    if let fault = roleFault(key, gateway, organization) { return .failure(fault) }
    if let device = organization.devices[key] {
      if device.record.classID == .gateway, key != gateway {
        return .failure(GatewayFault(180, "A gateway does not speak for another gateway."))
      }
      if key != gateway, device.record.gateways?.contains(gateway) != true {
        device.record.gateways = (device.record.gateways ?? []).union([gateway])
        store(.putDevice(device.record))
      }
      return .success(device)
    }
    return register(key, by: gateway, organization)
  }

  /// What is wrong with a gateway of the Standard role that speaks for a device: it may for those of its group only.
  func roleFault(_ key: DeviceKey, _ gateway: DeviceKey, _ organization: Organization) -> GatewayFault? {
    guard key != gateway, let group = organization.devices[gateway]?.record.resourceGroup, !group.contains(key) else {
      return nil
    }
    return GatewayFault(180, "The device is not in the gateway's resource group.")
  }

  private func register(
    _ key: DeviceKey, by gateway: DeviceKey, _ organization: Organization
  ) -> Result<Device, GatewayFault> {
    if let until = organization.failedRegistrations[key] {
      if now.instant < until {
        return .failure(GatewayFault(177, "The device could not be registered; that is not tried again yet."))
      }
      organization.failedRegistrations[key] = nil
    }
    var fault: GatewayFault?
    if organization.types[key.typeID] == nil {
      fault = GatewayFault(177, "The device type is not registered.")
    } else if organization.types[key.typeID]?.classID == .gateway {
      fault = GatewayFault(180, "Devices of a gateway type are not registered by gateways.")
    } else if organization.devices.count >= ServiceLimits.devicesMax {
      fault = GatewayFault(173, "No more devices fit.")
    } else if organization.devices.values.count(where: { $0.record.registeredBy == gateway })
      >= ServiceLimits.gatewayDevicesMax
    {
      fault = GatewayFault(173, "The gateway has too many devices.")
    }
    if let fault {
      noteFailedRegistration(key, organization)
      return .failure(fault)
    }
    var record = DeviceRecord(typeID: key.typeID, deviceID: key.deviceID, registered: now.wall.milliseconds)
    record.registeredBy = gateway
    record.gateways = [gateway]
    record.deviceInfo = organization.types[key.typeID]?.deviceInfo ?? DeviceInfo()
    let device = Device(record)
    organization.devices[key] = device
    store(.putDevice(record))
    log(
      .info, "registry", "device-added",
      ["type": key.typeID, "id": key.deviceID, "by": "g:\(organization.name):\(gateway.typeID):\(gateway.deviceID)"])
    tellChange(organization, key, .deviceChanged(key))
    return .success(device)
  }

  /// Notes a failure. Where there are too many, what is over goes first, then the oldest.
  private func noteFailedRegistration(_ key: DeviceKey, _ organization: Organization) {
    if organization.failedRegistrations.count >= ServiceLimits.failedRegistrationsMax {
      organization.failedRegistrations = organization.failedRegistrations.filter { $0.value > now.instant }
    }
    if organization.failedRegistrations.count >= ServiceLimits.failedRegistrationsMax,
      let oldest = organization.failedRegistrations.min(by: { $0.value < $1.value })
    {
      organization.failedRegistrations[oldest.key] = nil
    }
    organization.failedRegistrations[key] = now.instant + ServiceLimits.registrationPause
  }

  /// Tells a gateway what it did wrong, on its notification topic.
  func tellGateway(_ session: ClientSession, request: String, topic: Span<UInt8>, _ fault: GatewayFault) {
    guard let gateway = session.identity.device else { return }
    log(
      .info, "gateway", "notified",
      [
        "client-id": session.clientID, "request": request.lowercased(), "code": "\(fault.code)",
        "topic": String(copying: topic),
      ])
    let addressed = addressedDevice(topic)
    let body = JSONValue.members([
      "Request": .string(request), "Time": .string(now.wall.text), "Topic": .string(String(copying: topic)),
      "Type": addressed.map { .string($0.typeID) }, "Id": addressed.map { .string($0.deviceID) },
      "Client": .string(session.clientID), "RC": .integer(fault.code), "Message": .string(fault.message),
    ])
    let bytes = body.bytes
    let path = Array("iot-2/type/\(gateway.typeID)/id/\(gateway.deviceID)/notify".utf8)
    guard let connection = session.connection,
      session.subscriptions.contains(where: { $0.filter.kind == .gatewayNotification })
    else { return }
    sendMessage(connection, topic: path.span, payload: bytes.span)
  }

  private func addressedDevice(_ topic: Span<UInt8>) -> DeviceKey? {
    guard let levels = Levels(topic), levels.count > 4, levels.level(1, of: topic, is: "type"),
      levels.level(3, of: topic, is: "id")
    else { return nil }
    return DeviceKey(
      typeID: String(copying: topic.extracting(levels[2])), deviceID: String(copying: topic.extracting(levels[4])))
  }
}
