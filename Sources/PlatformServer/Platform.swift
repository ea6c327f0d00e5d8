// The platform as other code of this program sees it: an actor on the event loop that drives the service. What changes
// something returns when the change is on the disk.

import Bytes
import Logging
import NIOCore
import PlatformService

/// The platform.
public actor Platform {
  private let eventLoop: any EventLoop
  let service: PlatformService
  let hub: ConnectionHub
  private var nextConnection: ConnectionID = 1

  /// The event loop that everything here runs on.
  public nonisolated var unownedExecutor: UnownedSerialExecutor { eventLoop.executor.asUnownedSerialExecutor() }

  /// A platform on `eventLoop`, with what `store` kept; nil keeps nothing.
  public init(
    _ configuration: ServiceConfiguration, state: StoredState, store: StoreWriter?, eventLoop: any EventLoop,
    logger: Logger
  ) {
    self.eventLoop = eventLoop
    hub = ConnectionHub(store: store, eventLoop: eventLoop, logger: logger)
    service = PlatformService(configuration, state: state, output: hub, now: .now)
  }

  func makeConnectionID() -> ConnectionID {
    defer { nextConnection += 1 }
    return nextConnection
  }

  /// Asks the service something.
  func read<Result: Sendable>(
    _ body: (PlatformService) throws(ServiceError) -> Result
  ) throws(ServiceError) -> Result { try body(service) }

  /// Changes something, and waits until that is on the disk.
  func change<Result: Sendable>(
    _ body: (PlatformService) throws(ServiceError) -> Result
  ) async throws(ServiceError) -> Result {
    let result: Result
    do throws(ServiceError) {
      result = try body(service)
    } catch {
      hub.flush()
      throw error
    }
    hub.flush()
    do throws(ServiceError) {
      try await hub.waitUntilStored()
    } catch {
      // It is in memory, and in the next group for the disk: who only hears of the failure would ask for it twice.
      throw ServiceError(
        error.kind, error.message + " The change may still be made when it does: look whether it was.")
    }
    return result
  }

  // MARK: - Types

  /// The organisation whose devices are registered here.
  public var organizationName: String { service.organizationName }

  /// All device types.
  public var types: [DeviceTypeRecord] { service.types }

  /// A device type.
  public func type(_ id: String) throws(ServiceError) -> DeviceTypeRecord { try service.type(id) }

  /// Makes a device type.
  public func addType(_ type: DeviceTypeRecord) async throws(ServiceError) -> DeviceTypeRecord {
    try await change { service throws(ServiceError) in try service.addType(type, now: .now) }
  }

  /// Changes a device type.
  public func updateType(_ type: DeviceTypeRecord) async throws(ServiceError) -> DeviceTypeRecord {
    try await change { service throws(ServiceError) in try service.updateType(type, now: .now) }
  }

  /// Removes a device type without devices.
  public func removeType(_ id: String) async throws(ServiceError) {
    try await change { service throws(ServiceError) in try service.removeType(id, now: .now) }
  }

  // MARK: - Devices

  /// All devices, of one type if it is given.
  public func devices(inQuickstart: Bool = false, typeID: String? = nil) -> [DeviceRecord] {
    service.devices(inQuickstart: inQuickstart, typeID: typeID)
  }

  /// A device.
  public func device(_ key: DeviceKey, inQuickstart: Bool = false) throws(ServiceError) -> DeviceRecord {
    try service.device(key, inQuickstart: inQuickstart)
  }

  /// Registers a device, and gives its token, which nobody can tell again.
  public func addDevice(_ draft: DeviceDraft) async throws(ServiceError) -> (device: DeviceRecord, token: String) {
    try await change { service throws(ServiceError) in try service.addDevice(draft, now: .now) }
  }

  /// Changes what is known about a device.
  public func updateDevice(
    _ key: DeviceKey, _ change: @Sendable (inout DeviceRecord) -> Void
  ) async throws(ServiceError) -> DeviceRecord {
    try await self.change { service throws(ServiceError) in try service.updateDevice(key, now: .now, change) }
  }

  /// Gives a device a new token: `token`, or one that is made; ends its connection.
  public func setToken(_ key: DeviceKey, token: String? = nil) async throws(ServiceError) -> String {
    try await change { service throws(ServiceError) in try service.setToken(key, token: token, now: .now) }
  }

  /// Removes a device and all that belongs to it.
  public func removeDevice(_ key: DeviceKey) async throws(ServiceError) {
    try await change { service throws(ServiceError) in try service.removeDevice(key, now: .now) }
  }

  /// The last messages of a device's events, at most five.
  public func lastEvents(_ key: DeviceKey, inQuickstart: Bool = false) throws(ServiceError) -> [LastEvent] {
    try service.lastEvents(key, inQuickstart: inQuickstart)
  }

  /// What was last told about each client's connection.
  public func connectionStates(inQuickstart: Bool = false) -> [MonitoringMessage] {
    service.connectionStates(inQuickstart: inQuickstart)
  }

  // MARK: - API keys and credentials

  /// All API keys.
  public var apiKeys: [APIKeyRecord] { service.apiKeys }

  /// Makes an API key, and gives its token, which nobody can tell again.
  public func addAPIKey(
    key: String? = nil, token: String? = nil, comment: String = ""
  ) async throws(ServiceError) -> (key: String, token: String) {
    try await change { service throws(ServiceError) in
      try service.addAPIKey(key: key, token: token, comment: comment, now: .now)
    }
  }

  /// Removes an API key.
  public func removeAPIKey(_ key: String) async throws(ServiceError) {
    try await change { service throws(ServiceError) in try service.removeAPIKey(key, now: .now) }
  }

  /// Who it is that gives this user's name and password; `device` is the one that a message's path names.
  public func authenticate(
    user: String?, password: String?, device: DeviceKey? = nil
  ) throws(ServiceError) -> Principal {
    try service.authenticate(user: user, password: password, device: device)
  }

  // MARK: - Messages

  /// Publishes a device's event, or a command to it; gives how long the answer is to be held back.
  public func publish(
    _ kind: MessageKind, to key: DeviceKey, name: String, format: String, payload: [UInt8], as principal: Principal
  ) async throws(ServiceError) -> TimeSpan? {
    try await change { service throws(ServiceError) in
      try service.publish(kind, to: key, name: name, format: format, payload: payload, as: principal, now: .now)
    }
  }

  /// A device asks for a command, or a gateway for one of those that it speaks for.
  public func takeCommand(_ filter: CommandFilter, as principal: Principal) throws(ServiceError) -> ObservedMessage? {
    defer { hub.flush() }
    return try service.takeCommand(filter, as: principal, now: .now)
  }

  /// What happens from now on, until the stream's reader stops. A reader that is slower than the world misses the
  /// oldest of what it has not read.
  public func observe(_ filter: ObservationFilter) throws(ServiceError) -> AsyncStream<Observation> {
    let id = try service.observe(filter)
    let (stream, continuation) = AsyncStream.makeStream(
      of: Observation.self,
      bufferingPolicy: .bufferingNewest(
        filter.includesPayloads ? ServerLimits.observationsMax : ServerLimits.bareObservationsMax))
    hub.observers[id] = continuation
    continuation.onTermination = { [weak self] _ in
      guard let self else { return }
      Task { await self.stopObserving(id) }
    }
    return stream
  }

  private func stopObserving(_ id: ObserverID) {
    service.stopObserving(id)
    hub.observers[id] = nil
  }

  // MARK: - Device management

  /// Makes a device-management request.
  public func addRequest(_ draft: ManagementRequestDraft) async throws(ServiceError) -> ManagementRequest {
    try await change { service throws(ServiceError) in try service.addRequest(draft, now: .now) }
  }

  /// All requests, oldest first.
  public var requests: [ManagementRequest] { service.requests }

  /// A request.
  public func request(_ id: String) throws(ServiceError) -> ManagementRequest { try service.request(id) }

  /// Ends what is open in a request.
  public func cancelRequest(_ id: String) async throws(ServiceError) {
    try await change { service throws(ServiceError) in try service.cancelRequest(id, now: .now) }
  }

  /// Removes a request.
  public func removeRequest(_ id: String) async throws(ServiceError) {
    try await change { service throws(ServiceError) in try service.removeRequest(id, now: .now) }
  }

  /// All bundles of custom actions by their identifiers.
  public var bundles: [String: JSONValue] { service.bundles }

  /// Makes or replaces a bundle of custom actions.
  public func putBundle(_ id: String, _ bundle: JSONValue) async throws(ServiceError) {
    try await change { service throws(ServiceError) in try service.putBundle(id, bundle, now: .now) }
  }

  /// Removes a bundle of custom actions.
  public func removeBundle(_ id: String) async throws(ServiceError) {
    try await change { service throws(ServiceError) in try service.removeBundle(id, now: .now) }
  }

  // MARK: - The platform itself

  /// What the platform has done since it was started.
  public var counters: ServiceCounters { service.counters }

  /// How many connections there are.
  public var connectionCount: Int { service.connectionCount }
}
