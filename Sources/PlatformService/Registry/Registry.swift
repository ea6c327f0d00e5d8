// The registry: types, devices, API keys and bundles, and what is asked about them.

import Bytes
import IoTPlatform
import PlatformProtocol

/// Who makes a request over HTTP.
public enum Principal: Equatable, Sendable {
  /// A device with its token.
  case device(DeviceKey)
  /// A gateway with its token.
  case gateway(DeviceKey)
  /// An application with an API key.
  case application(key: String)
  /// Nobody: Quickstart's organisation asks for nothing.
  case quickstart
}

/// What is known of someone's token.
public struct StoredCredential: Sendable, Equatable {
  /// Who has it.
  public let principal: Principal
  fileprivate let tokenHash: String

  /// Whether this is the token. That takes about a millisecond.
  public func matches(_ token: String) -> Bool { TokenHash.verify(token, tokenHash) }
}

/// A device to be registered.
public struct DeviceDraft: Sendable {
  /// The device type, which must exist.
  public var typeID: String
  /// The device.
  public var deviceID: String
  /// Its token; nil for one that the platform makes.
  public var token: String?
  /// What it is.
  public var deviceInfo: DeviceInfo?
  /// Free JSON.
  public var metadata: JSONValue?
  /// Where it is.
  public var location: DeviceLocation?
  /// The devices that a gateway of the Standard role may speak for; nil for the Privileged role.
  public var resourceGroup: Set<DeviceKey>?

  /// A device to be registered.
  public init(typeID: String, deviceID: String, token: String? = nil) {
    self.typeID = typeID
    self.deviceID = deviceID
    self.token = token
  }
}

extension PlatformService {
  /// The organisation whose devices are registered here.
  public var organizationName: String { own.name }

  // MARK: - Types

  /// All device types, by name.
  public var types: [DeviceTypeRecord] { own.types.values.sorted { $0.id < $1.id } }

  /// A device type.
  ///
  /// - Throws: `notFound`.
  public func type(_ id: String) throws(ServiceError) -> DeviceTypeRecord {
    guard let type = own.types[id] else { throw ServiceError(.notFound, "There is no device type '\(id)'.") }
    return type
  }

  /// Makes a device type.
  ///
  /// - Throws: `invalid`, `conflict`, `unavailable`.
  @discardableResult
  public func addType(_ draft: DeviceTypeRecord, now: Moment) throws(ServiceError) -> DeviceTypeRecord {
    begin(now)
    try checkName(draft.id, "type identifier")
    try checkMetadata(draft.metadata)
    guard own.types[draft.id] == nil else {
      throw ServiceError(.conflict, "The device type '\(draft.id)' exists already.")
    }
    guard own.types.count < ServiceLimits.typesMax else { throw ServiceError(.unavailable, "No more types fit.") }
    var type = draft
    type.created = now.wall.milliseconds
    own.types[type.id] = type
    store(.putType(type))
    return type
  }

  /// Changes a device type; its name, class and date stay.
  ///
  /// - Throws: `notFound`, `invalid`.
  @discardableResult
  public func updateType(_ draft: DeviceTypeRecord, now: Moment) throws(ServiceError) -> DeviceTypeRecord {
    begin(now)
    let old = try type(draft.id)
    try checkMetadata(draft.metadata)
    var type = draft
    type.classID = old.classID
    type.created = old.created
    own.types[type.id] = type
    store(.putType(type))
    return type
  }

  /// Removes a device type.
  ///
  /// - Throws: `notFound`; `conflict` while it has devices.
  public func removeType(_ id: String, now: Moment) throws(ServiceError) {
    begin(now)
    _ = try type(id)
    guard !own.devices.keys.contains(where: { $0.typeID == id }) else {
      throw ServiceError(.conflict, "The device type '\(id)' has devices.")
    }
    own.types[id] = nil
    store(.removeType(id))
  }

  // MARK: - Devices

  /// All devices of an organisation, by type and name.
  public func devices(inQuickstart: Bool = false, typeID: String? = nil) -> [DeviceRecord] {
    (inQuickstart ? quickstart : own).devices.values.filter { typeID == nil || $0.key.typeID == typeID }.map(\.record)
      .sorted { ($0.typeID, $0.deviceID) < ($1.typeID, $1.deviceID) }
  }

  /// A device.
  ///
  /// - Throws: `notFound`.
  public func device(_ key: DeviceKey, inQuickstart: Bool = false) throws(ServiceError) -> DeviceRecord {
    try find(key, inQuickstart ? quickstart : own).record
  }

  func find(_ key: DeviceKey, _ organization: Organization) throws(ServiceError) -> Device {
    guard let device = organization.devices[key] else {
      throw ServiceError(.notFound, "There is no device '\(key.typeID)' '\(key.deviceID)'.")
    }
    return device
  }

  /// Registers a device, and gives its token, which nobody can tell again.
  ///
  /// - Throws: `invalid`, `notFound` for the type, `conflict`, `unavailable`.
  public func addDevice(
    _ draft: DeviceDraft, now: Moment
  ) throws(ServiceError) -> (device: DeviceRecord, token: String) {
    begin(now)
    try checkName(draft.typeID, "type identifier")
    try checkName(draft.deviceID, "device identifier")
    try checkMetadata(draft.metadata)
    let type = try type(draft.typeID)
    try checkGroup(draft.resourceGroup, type.classID)
    let key = DeviceKey(typeID: draft.typeID, deviceID: draft.deviceID)
    guard own.devices[key] == nil else {
      throw ServiceError(.conflict, "The device '\(key.typeID)' '\(key.deviceID)' exists already.")
    }
    guard own.devices.count < ServiceLimits.devicesMax else { throw ServiceError(.unavailable, "No more devices fit.") }
    let token = draft.token ?? makeToken(random: configuration.random)
    var record = DeviceRecord(
      typeID: key.typeID, deviceID: key.deviceID, classID: type.classID, registered: now.wall.milliseconds)
    record.tokenHash = try hash(token)
    record.deviceInfo = draft.deviceInfo ?? type.deviceInfo
    record.metadata = draft.metadata
    record.location = draft.location
    record.resourceGroup = draft.resourceGroup
    own.devices[key] = Device(record)
    own.failedRegistrations[key] = nil
    store(.putDevice(record))
    log(.info, "registry", "device-added", ["type": key.typeID, "id": key.deviceID])
    tellChange(own, key, .deviceChanged(key))
    return (record, token)
  }

  /// Changes what is known about a device, by `change`; name, class, token and dates stay.
  ///
  /// - Throws: `notFound`, `invalid`.
  @discardableResult
  public func updateDevice(
    _ key: DeviceKey, now: Moment, _ change: (inout DeviceRecord) -> Void
  ) throws(ServiceError) -> DeviceRecord {
    begin(now)
    let device = try find(key, own)
    var record = device.record
    change(&record)
    try checkMetadata(record.metadata)
    try checkGroup(record.resourceGroup, device.record.classID)
    record.classID = device.record.classID
    record.tokenHash = device.record.tokenHash
    record.registered = device.record.registered
    let hasMoved = record.location != device.record.location
    device.record = record
    keep(device)
    if hasMoved, let location = record.location { sendLocation(location, device) }
    return record
  }

  /// Gives a device a new token, and ends its connection.
  ///
  /// - Throws: `notFound`, `invalid`.
  public func setToken(_ key: DeviceKey, token: String?, now: Moment) throws(ServiceError) -> String {
    begin(now)
    let device = try find(key, own)
    let token = token ?? makeToken(random: configuration.random)
    device.record.tokenHash = try hash(token)
    keep(device)
    disconnect(own, clientID(device), .byAdministrator)
    return token
  }

  /// Removes a device: its connection, session, last events and requests go.
  ///
  /// - Throws: `notFound`.
  public func removeDevice(_ key: DeviceKey, now: Moment) throws(ServiceError) {
    begin(now)
    let device = try find(key, own)
    disconnect(own, clientID(device), .byAdministrator)
    if let session = own.sessions[clientID(device)] { end(session) }
    failRequests(of: device, "The device was removed.")
    mailboxBytes -= device.mailbox?.byteCount ?? 0
    own.devices[key] = nil
    // What is not stored yet must not come behind the removal.
    unstoredEvents.removeAll { $0 === device }
    store(.removeDevice(key))
    log(.info, "registry", "device-removed", ["type": key.typeID, "id": key.deviceID])
    tellChange(own, key, .deviceRemoved(key))
  }

  func clientID(_ device: Device) -> String {
    let letter = device.record.classID == .gateway ? "g" : "d"
    return "\(letter):\(own.name):\(device.key.typeID):\(device.key.deviceID)"
  }

  /// Keeps what changed about a device, and tells those who watch.
  func keep(_ device: Device) {
    store(.putDevice(device.record))
    tellChange(own, device.key, .deviceChanged(device.key))
  }

  /// The last messages of a device's events.
  ///
  /// - Throws: `notFound`.
  public func lastEvents(_ key: DeviceKey, inQuickstart: Bool = false) throws(ServiceError) -> [LastEvent] {
    try find(key, inQuickstart ? quickstart : own).lastEvents
  }

  /// When a device's last event came, kept or not, in milliseconds since 1970; nil before the first one.
  public func lastEventTime(_ key: DeviceKey, inQuickstart: Bool = false) -> Int64? {
    (inQuickstart ? quickstart : own).devices[key]?.lastEventTime
  }

  /// What was last told about the connections of all clients that it was told of, devices first.
  public func connectionStates(inQuickstart: Bool = false) -> [MonitoringMessage] {
    let organization = inQuickstart ? quickstart : own
    return organization.devices.values.compactMap(\.status).sorted { $0.clientID < $1.clientID }
      + organization.applicationStatus.values.map(\.message).sorted { $0.clientID < $1.clientID }
  }

  /// Whose credentials over HTTP belong to a user's name: an API key, or for messages `use-token-auth` with `device`,
  /// or `g/ORG/TYPE/ID` or `g-ORG-TYPE-ID`; nil for nobody's.
  public func credential(user: String, device: DeviceKey? = nil, now: Moment) -> StoredCredential? {
    if let key = own.keys[user] {
      if key.hasEnded(now.wall) { return nil }
      return StoredCredential(principal: .application(key: user), tokenHash: key.tokenHash)
    }
    let found: Device
    if user == tokenUserName, let device, let registered = own.devices[device] {
      found = registered
    } else if let gateway = gateway(named: user) {
      found = gateway
    } else {
      return nil
    }
    guard let hash = found.record.tokenHash else { return nil }
    return StoredCredential(
      principal: found.record.classID == .gateway ? .gateway(found.key) : .device(found.key), tokenHash: hash)
  }

  private func gateway(named user: String) -> Device? {
    for separator in ["/", "-"] {
      let prefix = "g\(separator)\(own.name)\(separator)"
      guard user.hasPrefix(prefix) else { continue }
      // Names may hold the separator `-`, so each place where it stands is tried.
      let rest = user.dropFirst(prefix.count)
      for index in rest.indices where rest[index] == Character(separator) {
        let key = DeviceKey(typeID: String(rest[..<index]), deviceID: String(rest[rest.index(after: index)...]))
        if let device = own.devices[key], device.record.classID == .gateway { return device }
      }
    }
    return nil
  }

  // MARK: - Bundles

  /// All bundles of custom actions by their identifiers.
  public var bundles: [String: JSONValue] { own.bundles }

  /// Makes or replaces a bundle, whose shape the caller has checked.
  ///
  /// - Throws: `unavailable`.
  public func putBundle(_ id: String, _ bundle: JSONValue, now: Moment) throws(ServiceError) {
    begin(now)
    guard own.bundles[id] != nil || own.bundles.count < ServiceLimits.bundlesMax else {
      throw ServiceError(.unavailable, "No more bundles fit.")
    }
    own.bundles[id] = bundle
    store(.putBundle(id: id, bundle))
  }

  /// Removes a bundle.
  ///
  /// - Throws: `notFound`.
  public func removeBundle(_ id: String, now: Moment) throws(ServiceError) {
    begin(now)
    guard own.bundles.removeValue(forKey: id) != nil else {
      throw ServiceError(.notFound, "There is no bundle '\(id)'.")
    }
    store(.removeBundle(id))
  }

  // MARK: - Checks

  func hash(_ token: String) throws(ServiceError) -> String {
    guard ServiceLimits.tokenBytesRange.contains(token.utf8.count),
      token.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
    else { throw ServiceError(.invalid, "A token has 8 to 256 printable characters.") }
    // What is never written down need not be slow to guess, and a platform in memory registers all at each start.
    if !configuration.isKept { return TokenHash.quickHash(token, random: configuration.random) }
    guard let hash = TokenHash.hash(token, random: configuration.random) else {
      throw ServiceError(.internal, "The token could not be hashed.")
    }
    return hash
  }

  private func checkName(_ name: String, _ what: String) throws(ServiceError) {
    guard isValidName(name) else {
      throw ServiceError(.invalid, "A \(what) is 1 to 36 letters, digits, '-', '_' and '.'.")
    }
  }

  private func checkGroup(_ group: Set<DeviceKey>?, _ classID: DeviceClass) throws(ServiceError) {
    guard let group else { return }
    guard classID == .gateway else { throw ServiceError(.invalid, "Only a gateway has a role and a resource group.") }
    guard group.count <= ServiceLimits.gatewayDevicesMax else {
      throw ServiceError(.invalid, "A resource group has at most \(ServiceLimits.gatewayDevicesMax) devices.")
    }
  }

  private func checkMetadata(_ metadata: JSONValue?) throws(ServiceError) {
    guard let metadata else { return }
    guard metadata.members != nil, metadata.bytes.count <= ServiceLimits.metadataBytesMax else {
      throw ServiceError(.invalid, "Metadata is a JSON object of at most \(ServiceLimits.metadataBytesMax) bytes.")
    }
  }
}
