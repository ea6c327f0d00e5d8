// Messages that do not come over MQTT: posted over HTTP, or made by the page.

import Bytes
import IoTPlatform
import MQTT

/// What is published without a connection.
public enum MessageKind: Sendable {
  /// A device says something.
  case event
  /// A device is to do something.
  case command
}

extension PlatformService {
  /// Publishes an event of a device, or a command to it, with QoS 1 to those who are durable.
  ///
  /// - Throws: `invalid` for names that break the rules, `forbidden` for what the principal may not, `notFound` for an
  ///   unknown device, `tooLarge`.
  public func publish(
    _ kind: MessageKind, to key: DeviceKey, name: String, format: String, payload: [UInt8], as principal: Principal,
    now: Moment
  ) throws(ServiceError) {
    begin(now)
    guard isValidName(name), isValidName(format) else {
      throw ServiceError(.invalid, "A name is 1 to 36 letters, digits, '-', '_' and '.'.")
    }
    guard payload.count <= ServiceLimits.payloadBytesMax else {
      throw ServiceError(.tooLarge, "A payload has at most \(ServiceLimits.payloadBytesMax) bytes.")
    }
    let (device, organization) = try reach(key, kind, principal)
    if organization.isQuickstart, format != "json" {
      throw ServiceError(.invalid, "Quickstart takes JSON only.")
    }
    let topic = Array("iot-2/\(kind == .event ? "evt" : "cmd")/\(name)/fmt/\(format)".utf8)
    let start = 10
    let parsed = PublishedTopic(
      kind: kind == .event ? .event : .command, device: nil, name: start..<(start + name.utf8.count),
      format: (topic.count - format.utf8.count)..<topic.count, tail: 6..<topic.count)
    counters.received += 1
    switch kind {
    case .event: takeEvent(parsed, topic.span, payload.span, .atLeastOnce, device, organization)
    case .command: takeCommand(parsed, topic.span, payload.span, .atLeastOnce, device, organization)
    }
  }

  private func reach(
    _ key: DeviceKey, _ kind: MessageKind, _ principal: Principal
  ) throws(ServiceError) -> (Device, Organization) {
    switch principal {
    case .application: return (try find(key, own), own)
    case .device(let me):
      guard me == key, kind == .event else { throw ServiceError(.forbidden, "A device speaks for itself only.") }
      return (try find(key, own), own)
    case .gateway(let me):
      guard kind == .event else { throw ServiceError(.forbidden, "A gateway publishes events.") }
      let session = Session(
        id: "", clientID: "", identity: .gateway(organization: own.name, me), organization: own, number: nil)
      switch device(key, forGateway: session) {
      case .success(let device): return (device, own)
      case .failure(let fault): throw ServiceError(.forbidden, fault.message)
      }
    case .quickstart:
      guard kind == .event, configuration.allowsQuickstart, isValidName(key.typeID), isValidName(key.deviceID) else {
        throw ServiceError(.forbidden, "Quickstart takes events only.")
      }
      if quickstart.devices[key] == nil {
        guard quickstart.devices.count < ServiceLimits.quickstartDevicesMax else {
          throw ServiceError(.unavailable, "No more devices fit.")
        }
        quickstart.devices[key] = Device(
          DeviceRecord(typeID: key.typeID, deviceID: key.deviceID, registered: now.wall.milliseconds))
      }
      return (try find(key, quickstart), quickstart)
    }
  }
}
