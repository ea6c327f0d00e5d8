// Messages that do not come over MQTT: posted over HTTP, or made by the page.

import Bytes
import IoTPlatform
import MQTT
import PlatformProtocol

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
  /// - Returns: How long the answer is to be held back, because the principal publishes faster than it may.
  /// - Throws: `invalid` for names that break the rules, `forbidden` for what the principal may not, `notFound` for an
  ///   unknown device, `tooLarge`, `unavailable` for what comes far too fast.
  @discardableResult
  public func publish(
    _ kind: MessageKind, to key: DeviceKey, name: String, format: String, payload: [UInt8], as principal: Principal,
    now: Moment
  ) throws(ServiceError) -> TimeSpan? {
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
    let pause = try count(principal, device, bytes: payload.count)
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
    return pause
  }

  /// Holds a message against its sender's rate.
  private func count(_ principal: Principal, _ device: Device, bytes: Int) throws(ServiceError) -> TimeSpan? {
    func bucket(_ client: RatedClient) -> RateBucket {
      RateBucket(PublishRate(configuration.rates, client, overHTTP: true))
    }
    switch principal {
    case .quickstart:
      var rate = device.httpRate ?? bucket(.quickstartDevice)
      guard rate.admit(bytes: bytes, now: now.instant) else {
        counters.droppedByRate += 1
        throw ServiceError(.unavailable, "Quickstart takes one message a second from a device.")
      }
      device.httpRate = rate
      return nil
    case .device(let key), .gateway(let key):
      let sender = try find(key, own)
      var rate = sender.httpRate ?? bucket(sender.record.classID == .gateway ? .gateway : .device)
      defer { sender.httpRate = rate }
      return try rate.hold(bytes: bytes, now: now.instant)
    case .application(let key):
      var rate = own.keyRates[key] ?? bucket(.application)
      defer { own.keyRates[key] = rate }
      return try rate.hold(bytes: bytes, now: now.instant)
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
      switch device(key, forGateway: me, own) {
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
