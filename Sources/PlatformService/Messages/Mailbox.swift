// Commands for devices that ask for them over HTTP: kept from the first time that a device, or a gateway for others,
// asks.

import Bytes
import PlatformProtocol

/// Which commands are asked for; nil in a part stands for `+`.
public struct CommandFilter: Equatable, Sendable {
  /// The device type.
  public var typeID: String?
  /// The device.
  public var deviceID: String?
  /// The command.
  public var name: String?

  /// A filter.
  public init(typeID: String?, deviceID: String?, name: String?) {
    self.typeID = typeID
    self.deviceID = deviceID
    self.name = name
  }

  func matches(_ command: ObservedMessage) -> Bool {
    (typeID ?? command.device.typeID) == command.device.typeID
      && (deviceID ?? command.device.deviceID) == command.device.deviceID && (name ?? command.name) == command.name
  }
}

/// Commands that wait for a client. They are not stored: messages over HTTP come at most once.
struct Mailbox {
  private var commands: [(message: ObservedMessage, came: Instant)] = []
  private var lastAsked: Instant
  /// Bytes of all payloads.
  private(set) var byteCount = 0

  init(now: Instant) { lastAsked = now }

  /// Whether the client has asked lately enough.
  func isOpen(now: Instant) -> Bool { now - lastAsked < ServiceLimits.mailboxMemory }

  mutating func append(_ message: ObservedMessage, now: Instant) {
    commands.append((message, now))
    byteCount += message.payload.count
    while commands.count > ServiceLimits.mailboxCommandsMax || byteCount > ServiceLimits.mailboxBytesMax {
      byteCount -= commands.removeFirst().message.payload.count
    }
  }

  /// The oldest command of those that are asked for.
  mutating func take(_ filter: CommandFilter, now: Instant) -> ObservedMessage? {
    lastAsked = now
    commands.removeAll { now - $0.came >= ServiceLimits.mailboxMemory }
    let index = commands.firstIndex { filter.matches($0.message) }
    let taken = index.map { commands.remove(at: $0).message }
    byteCount = commands.reduce(0) { $0 + $1.message.payload.count }
    return taken
  }
}

extension PlatformService {
  /// A device asks for a command of its own, or a gateway for one of any device that it speaks for; from now on
  /// commands are kept for it until it asks.
  ///
  /// - Throws: `forbidden` for what the principal may not; `notFound`.
  public func takeCommand(
    _ filter: CommandFilter, as principal: Principal, now: Moment
  ) throws(ServiceError) -> ObservedMessage? {
    begin(now)
    let owner = try owner(filter, principal)
    var mailbox = owner.mailbox ?? Mailbox(now: now.instant)
    let before = mailbox.byteCount
    defer {
      mailboxBytes += mailbox.byteCount - before
      owner.mailbox = mailbox
    }
    return mailbox.take(filter, now: now.instant)
  }

  private func owner(_ filter: CommandFilter, _ principal: Principal) throws(ServiceError) -> Device {
    switch principal {
    case .device(let key):
      guard filter.typeID == key.typeID, filter.deviceID == key.deviceID else {
        throw ServiceError(.forbidden, "A device asks for its own commands only.")
      }
      return try find(key, own)
    case .gateway(let key):
      if let type = filter.typeID, let id = filter.deviceID {
        let device = device(DeviceKey(typeID: type, deviceID: id), forGateway: key, own)
        if case .failure(let fault) = device { throw ServiceError(.forbidden, fault.message) }
      }
      return try find(key, own)
    case .application, .quickstart:
      throw ServiceError(.forbidden, "Devices and gateways ask for commands, with their tokens.")
    }
  }

  /// Keeps a command for its device, and for the gateways that speak for it, if they ask over HTTP.
  func keepForHTTP(_ device: Device, _ message: @autoclosure () -> ObservedMessage) {
    keepForHTTP(in: device, message())
    for key in device.record.gateways ?? [] {
      guard let gateway = own.devices[key], device.isReached(by: key, gateway.record.resourceGroup) else { continue }
      keepForHTTP(in: gateway, message())
    }
  }

  private func keepForHTTP(in owner: Device, _ message: @autoclosure () -> ObservedMessage) {
    guard let isOpen = owner.mailbox?.isOpen(now: now.instant) else { return }
    let before = owner.mailbox?.byteCount ?? 0
    if isOpen {
      let message = message()
      guard mailboxBytes + message.payload.count <= ServiceLimits.mailboxBytesTotalMax else {
        counters.droppedFromQueues += 1
        return
      }
      owner.mailbox?.append(message, now: now.instant)
    } else {
      owner.mailbox = nil
    }
    mailboxBytes += (owner.mailbox?.byteCount ?? 0) - before
  }
}
