// The device-management server's passive half: what devices tell, and the answers they get.

import Bytes
import MQTT
import PlatformProtocol

/// An answer to a device: code and text.
private struct Answer: Error {
  let code: Int
  let message: String?

  init(_ code: Int, _ message: String? = nil) {
    self.code = code
    self.message = message
  }

  static let ok = Answer(200)
}

extension PlatformService {
  /// Handles what a device, or a gateway for it, published below `iotdevice-1/`.
  func handleManagement(_ path: Span<UInt8>, _ payload: Span<UInt8>, _ device: Device, _ session: ClientSession) {
    guard let body = try? JSONValue(payload), body.members != nil else {
      // Without a request identifier there is nothing to answer.
      log(.info, "management", "malformed", ["client-id": session.clientID, "path": String(copying: path)])
      return
    }
    if path.equals("response") { return handleAnswer(body, device, session) }
    let answer = answer(path, body["d"], device, session)
    if let requestID = body["reqId"], requestID != .null { respond(answer, requestID, device, session) }
    if answer.code == 200, path.equals("mgmt/manage") { resumeAfterManage(device) }
  }

  private func answer(
    _ path: Span<UInt8>, _ data: JSONValue?, _ device: Device, _ session: ClientSession
  ) -> Answer {
    do throws(Answer) {
      if path.equals("mgmt/manage") { return try manage(data, device, session) }
      guard device.record.management != nil else { return Answer(404, "The device is not managed.") }
      device.record.management?.lastActivityTime = now.wall.milliseconds
      if path.equals("mgmt/unmanage") {
        unmanage(device, "The device left device management.")
      } else if path.equals("device/update/location") {
        device.record.location = try location(data)
      } else if path.equals("add/diag/errorCodes") {
        try addErrorCode(data, device)
      } else if path.equals("clear/diag/errorCodes") {
        device.record.errorCodes = []
      } else if path.equals("add/diag/log") {
        try addLogEntry(data, device)
      } else if path.equals("clear/diag/log") {
        device.record.log = []
      } else if path.equals("notify") {
        try handleNotification(data, device)
      } else {
        return Answer(404, "There is no such request.")
      }
    } catch {
      return error
    }
    keep(device)
    return .ok
  }

  private func respond(_ answer: Answer, _ requestID: JSONValue, _ device: Device, _ session: ClientSession) {
    let body = JSONValue.members([
      "rc": .integer(answer.code), "message": answer.message.map(JSONValue.string), "reqId": requestID,
    ])
    sendManagement("response", body, device, session)
  }

  // MARK: - Manage

  private func manage(_ data: JSONValue?, _ device: Device, _ session: ClientSession) throws(Answer) -> Answer {
    var management =
      device.record.management
      ?? ManagementRecord(
        dormantTime: nil, lastActivityTime: 0, supportsDeviceActions: false, supportsFirmwareActions: false,
        bundles: [], firmware: FirmwareRecord(), gateway: nil)
    let lifetime = try lifetime(data?["lifetime"])
    var bundles: [String] = []
    var supports: [String: Bool] = [:]
    for member in data?["supports"]?.members ?? [] {
      guard let value = member.value.boolean else { throw Answer(400, "supports.\(member.name) is true or false.") }
      supports[member.name] = value
      guard value, member.name != "deviceActions", member.name != "firmwareActions" else { continue }
      guard own.bundles[member.name] != nil else { throw Answer(403, "There is no bundle '\(member.name)'.") }
      bundles.append(member.name)
    }
    // On a copy: all of it is taken, or nothing.
    var record = device.record
    if let value = data?["metadata"], value != .null { record.metadata = try metadata(value) }
    if let info = data?["deviceInfo"], info != .null { try record.deviceInfo.merge(info) }
    management.lastActivityTime = now.wall.milliseconds
    management.dormantTime = lifetime == 0 ? nil : now.wall.milliseconds + lifetime * 1000
    management.supportsDeviceActions = supports["deviceActions"] ?? false
    management.supportsFirmwareActions = supports["firmwareActions"] ?? false
    management.bundles = bundles
    management.gateway = session.identity.device == device.key ? nil : session.identity.device
    record.management = management
    device.record = record
    keep(device)
    log(
      .info, "management", "managed",
      ["type": device.key.typeID, "id": device.key.deviceID, "lifetime": "\(lifetime)s"])
    return .ok
  }

  private func metadata(_ value: JSONValue) throws(Answer) -> JSONValue {
    guard value.members != nil, value.bytes.count <= ServiceLimits.metadataBytesMax else {
      throw Answer(400, "metadata is an object of at most \(ServiceLimits.metadataBytesMax) bytes.")
    }
    return value
  }

  private func lifetime(_ value: JSONValue?) throws(Answer) -> Int64 {
    guard let value, value != .null else { return 0 }
    guard let lifetime = value.integer, lifetime == 0 || lifetime >= ServiceLimits.lifetimeSecondsMin,
      lifetime <= ServiceLimits.lifetimeSecondsMax
    else { throw Answer(400, "lifetime is 0, or at least \(ServiceLimits.lifetimeSecondsMin) seconds.") }
    return lifetime
  }

  /// Ends a device's management: by its wish, or because its lifetime ran out.
  private func unmanage(_ device: Device, _ why: String) {
    device.record.management = nil
    failRequests(of: device, why)
    log(.info, "management", "unmanaged", ["type": device.key.typeID, "id": device.key.deviceID, "reason": why])
  }

  /// Makes devices dormant whose lifetime ran out.
  func expireManagement() {
    for device in own.devices.values {
      guard let time = device.record.management?.dormantTime, time <= now.wall.milliseconds else { continue }
      unmanage(device, "The device is dormant: its lifetime ran out.")
      keep(device)
    }
  }

  // MARK: - Location and diagnostics

  private func location(_ data: JSONValue?) throws(Answer) -> DeviceLocation {
    guard let data, let location = DeviceLocation(data, now: now.wall) else {
      throw Answer(400, "A location has latitude, -90 to 90, and longitude, -180 to 180, in degrees.")
    }
    return location
  }

  private func addErrorCode(_ data: JSONValue?, _ device: Device) throws(Answer) {
    guard let code = data?["errorCode"]?.integer else { throw Answer(400, "errorCode is an integer.") }
    device.record.errorCodes.append(DiagnosticErrorCode(errorCode: code, timestamp: now.wall.text))
    let surplus = device.record.errorCodes.count - ServiceLimits.errorCodesMax
    if surplus > 0 { device.record.errorCodes.removeFirst(surplus) }
  }

  private func addLogEntry(_ data: JSONValue?, _ device: Device) throws(Answer) {
    guard let message = data?["message"]?.string, let severity = data?["severity"]?.integer, (0...2) ~= severity else {
      throw Answer(400, "A log entry has message, timestamp and severity, 0 to 2.")
    }
    guard let timestamp = data?["timestamp"]?.string, isDateTime(timestamp) else {
      throw Answer(400, "timestamp is a date and time of ISO 8601, 2024-05-01T10:20:00Z for example.")
    }
    let content = data?["data"] ?? .null
    guard content == .null || content.string.map(isBase64) == true else {
      throw Answer(400, "data is a text in base64.")
    }
    let entry = DiagnosticLogEntry(
      id: uuid(), message: message, severity: severity, data: content.string, timestamp: timestamp)
    guard entry.byteCount <= ServiceLimits.logBytesMax else { throw Answer(400, "The log entry is too large.") }
    device.record.log.append(entry)
    var bytes = device.record.log.reduce(0) { $0 + $1.byteCount }
    // The oldest make room.
    while device.record.log.count > ServiceLimits.logEntriesMax || bytes > ServiceLimits.logBytesMax {
      bytes -= device.record.log.removeFirst().byteCount
    }
  }

  // MARK: - Notifications

  /// `{"fields":[{"field":F,"value":V}…]}`, or as old clients have it `{"field":F,"value":V}`.
  private func handleNotification(_ data: JSONValue?, _ device: Device) throws(Answer) {
    let fields = data?["fields"]?.array ?? [data].compactMap { $0 }
    guard !fields.isEmpty, fields.allSatisfy({ $0["field"]?.string != nil }) else {
      throw Answer(400, "A notification has fields, each with field and value.")
    }
    // On a copy: all fields are taken, or none.
    var record = device.record
    var firmware: [JSONValue] = []
    for field in fields {
      if let value = try takeField(field, &record) { firmware.append(value) }
    }
    device.record = record
    for value in firmware { takeFirmware(value, device) }
  }

  /// Takes over a field. What it tells about the firmware is given back: it moves a request on.
  private func takeField(_ field: JSONValue, _ record: inout DeviceRecord) throws(Answer) -> JSONValue? {
    guard let name = field["field"]?.string, let value = field["value"] else {
      throw Answer(400, "A field has a value.")
    }
    switch name {
    case "mgmt.firmware": return try firmware(value)
    case "location": record.location = try location(value)
    case "deviceInfo": try record.deviceInfo.merge(value)
    case "metadata": record.metadata = try metadata(value)
    default:
      // One member of the firmware, `mgmt.firmware.state` for example.
      let prefix = "mgmt.firmware."
      guard name.hasPrefix(prefix) else { throw Answer(404, "There is no attribute '\(name)'.") }
      return try firmware(.object([.init(String(name.dropFirst(prefix.count)), value)]))
    }
    return nil
  }

  private func firmware(_ value: JSONValue) throws(Answer) -> JSONValue {
    guard FirmwareRecord.canMerge(value) else {
      throw Answer(400, "mgmt.firmware is an object of texts, state (0 to 2) and updateStatus (0 to 6).")
    }
    return value
  }

  /// Takes over what a device tells about its firmware, and moves its request on.
  private func takeFirmware(_ value: JSONValue, _ device: Device) {
    guard var firmware = device.record.management?.firmware else { return }
    let before = firmware
    firmware.merge(value, now: now.wall)
    device.record.management?.firmware = firmware
    advanceFirmware(device, value, before: before)
  }

  /// Takes over the attributes in an answer to `observe`.
  func takeObserved(_ data: JSONValue?, _ device: Device) {
    for field in data?["fields"]?.array ?? [] where field["field"]?.string == "mgmt.firmware" {
      guard let value = field["value"], FirmwareRecord.canMerge(value) else { continue }
      device.record.management?.firmware.merge(value, now: now.wall)
    }
  }

  // MARK: - To devices

  /// Sends a device-management message to a device: through `session` if given, otherwise by its own connection or the
  /// gateway that speaks for it. False where nobody takes it.
  ///
  /// - Parameter step: is told where the message goes.
  @discardableResult
  func sendManagement(
    _ path: String, _ body: JSONValue, _ device: Device, _ given: ClientSession? = nil, step: StepDelivery? = nil
  ) -> Bool {
    guard let session = given ?? managementSession(device) else { return false }
    let isGateway = session.usesLongForm
    let topic = Array(
      (isGateway ? "iotdm-1/type/\(device.key.typeID)/id/\(device.key.deviceID)/\(path)" : "iotdm-1/\(path)").utf8)
    let subscription = session.subscriptions.first {
      $0.filter.kind == .management && topicFilter($0.filter.pattern.span, matches: topic.span)
    }
    guard let subscription else { return false }
    step?.session = session
    // The server publishes with QoS 1.
    if subscription.qos == 0 {
      guard let connection = session.connection else { return false }
      step?.connection = connection.id
      let bytes = body.bytes
      return sendMessage(connection, topic: topic.span, payload: bytes.span)
    }
    enqueue(session, topic: topic, payload: body.bytes, .atLeastOnce, step: step)
    return true
  }

  /// The session that takes device-management messages for a device.
  func managementSession(_ device: Device) -> ClientSession? {
    if let gateway = device.record.management?.gateway {
      guard roleFault(device.key, gateway, own) == nil else { return nil }
      return own.sessions["g:\(own.name):\(gateway.typeID):\(gateway.deviceID)"]
    }
    return own.sessions[clientID(device)]
  }

  /// Tells a managed device that somebody changed its location. It does not answer that.
  func sendLocation(_ location: DeviceLocation, _ device: Device) {
    guard device.record.management != nil else { return }
    let field = JSONValue.members(["field": .string("location"), "value": location.json])
    sendManagement("device/update", .members(["d": .members(["fields": .array([field])])]), device)
  }
}

extension DeviceInfo {
  /// The members' names on the wire.
  public static var names: KeyValuePairs<String, WritableKeyPath<DeviceInfo, String?> & Sendable> {
    [
      "serialNumber": \.serialNumber, "manufacturer": \.manufacturer, "model": \.model, "deviceClass": \.deviceClass,
      "description": \.description, "fwVersion": \.fwVersion, "hwVersion": \.hwVersion,
      "descriptiveLocation": \.descriptiveLocation,
    ]
  }

  /// Replaces the members that `value` has; null and unknown ones change nothing.
  ///
  /// - Throws: the name of a member that is no text, or too long.
  fileprivate mutating func merge(_ value: JSONValue) throws(Answer) {
    guard let changed = merging(value) else { throw Answer(400, "deviceInfo is an object of texts.") }
    self = changed
  }

  /// This with the members that `value` has replaced; nil where it is no object of texts.
  public func merging(_ value: JSONValue) -> DeviceInfo? {
    guard value.members != nil else { return nil }
    var result = self
    for (name, path) in DeviceInfo.names {
      guard let member = value[name], member != .null else { continue }
      guard let text = member.string, text.utf8.count <= ServiceLimits.deviceInfoBytesMax else { return nil }
      result[keyPath: path] = text
    }
    return result
  }

  /// The members that are known.
  public var json: JSONValue {
    .object(DeviceInfo.names.compactMap { name, path in self[keyPath: path].map { .init(name, .string($0)) } })
  }
}

extension DeviceLocation {
  /// The location in `value`; nil where latitude or longitude is missing or out of range.
  public init?(_ value: JSONValue, now: WallTime) {
    guard let latitude = value["latitude"]?.decimal(-90...90), let longitude = value["longitude"]?.decimal(-180...180)
    else { return nil }
    self.latitude = latitude
    self.longitude = longitude
    elevation = value["elevation"]?.decimal(-1e9...1e9)
    accuracy = value["accuracy"]?.decimal(0...1e9)
    measuredDateTime = value["measuredDateTime"]?.string ?? now.text
    updatedDateTime = now.text
  }

  /// The location as JSON.
  public var json: JSONValue {
    .members([
      "latitude": .number(latitude), "longitude": .number(longitude), "elevation": elevation.map(JSONValue.number),
      "accuracy": accuracy.map(JSONValue.number), "measuredDateTime": .string(measuredDateTime),
      "updatedDateTime": .string(updatedDateTime),
    ])
  }
}

extension JSONValue {
  /// The text of a number in this range.
  fileprivate func decimal(_ range: ClosedRange<Double>) -> String? {
    guard case .number(let text) = self, let value = Double(text), range.contains(value) else { return nil }
    return text
  }
}

extension FirmwareRecord {
  /// Whether `value` is an object whose known members are what they should be. Null is as good as nothing.
  static func canMerge(_ value: JSONValue) -> Bool {
    guard value.members != nil else { return false }
    func fits(_ name: String, _ isRight: (JSONValue) -> Bool) -> Bool {
      let member = value[name] ?? .null
      return member == .null || isRight(member)
    }
    return ["version", "name", "uri", "url", "verifier", "updatedDateTime"].allSatisfy { fits($0) { $0.string != nil } }
      && fits("state") { $0.integer.map { (0...2).contains($0) } ?? false }
      && fits("updateStatus") { $0.integer.map { (0...6).contains($0) } ?? false }
  }

  /// Replaces the members that `value` has.
  mutating func merge(_ value: JSONValue, now: WallTime) {
    version = value["version"]?.string ?? version
    name = value["name"]?.string ?? name
    uri = value["uri"]?.string ?? value["url"]?.string ?? uri
    verifier = value["verifier"]?.string ?? verifier
    state = value["state"]?.integer ?? state
    updateStatus = value["updateStatus"]?.integer ?? updateStatus
    updatedDateTime = now.text
  }

  /// The record as JSON.
  public var json: JSONValue {
    .members([
      "version": .string(version), "name": .string(name), "uri": .string(uri), "verifier": .string(verifier),
      "state": .integer(state), "updateStatus": .integer(updateStatus), "updatedDateTime": .string(updatedDateTime),
    ])
  }
}

extension DiagnosticLogEntry {
  var byteCount: Int { message.utf8.count + timestamp.utf8.count + (data?.utf8.count ?? 0) }
}
