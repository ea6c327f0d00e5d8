// What belongs to one device: where it is, how it is managed, its log and error codes, its last events.

import Bytes
import Foundation
import Hummingbird
import PlatformProtocol
import PlatformServer
import PlatformService

extension Interface {
  /// A registered device.
  func device(_ key: DeviceKey) async throws -> DeviceRecord { try await platform.read { try $0.device(key) } }

  /// Changes what is known about a device.
  func update(_ key: DeviceKey, _ change: @escaping @Sendable (inout DeviceRecord) -> Void) async throws -> DeviceRecord
  {
    try await platform.change { try $0.updateDevice(key, now: .now, change) }
  }

  private func lastEvents(_ key: DeviceKey) async throws -> [LastEvent] {
    try await platform.read { try $0.lastEvents(key) }
  }

  func addDeviceParts(to table: RouteTable) {
    let device = "/device/types/:type/devices/:device"
    table.on(.get, "\(device)/location") { request, context in
      try await application(request, context)
      let key = try context.device()
      guard let location = try await self.device(key).location else {
        throw ServiceError(.notFound, "The location of '\(key.typeID)' '\(key.deviceID)' is not known.")
      }
      return jsonResponse(location.json)
    }
    table.on(.put, "\(device)/location") { request, context in
      try await application(request, context)
      let location = try readLocation(try await request.object())
      let record = try await update(try context.device()) { $0.location = location }
      return jsonResponse(record.location?.json ?? .null)
    }
    table.on(.get, "\(device)/mgmt") { request, context in
      try await application(request, context)
      let key = try context.device()
      guard let management = try await self.device(key).management else {
        throw ServiceError(.notFound, "The device '\(key.typeID)' '\(key.deviceID)' is not managed, or dormant.")
      }
      return jsonResponse(describe(management))
    }
    addDiagnostics(to: table, device)
    addLastEvents(to: table, device)
  }

  private func describe(_ management: ManagementRecord) -> JSONValue {
    .members([
      "dormant": .boolean(false), "dormantDateTime": management.dormantTime.map(timeText),
      "lastActivityDateTime": timeText(management.lastActivityTime),
      "supports": .members([
        "deviceActions": .boolean(management.supportsDeviceActions),
        "firmwareActions": .boolean(management.supportsFirmwareActions),
        "bundles": .array(management.bundles.map(JSONValue.string)),
      ]),
      "firmware": management.firmware.json,
      "gateway": management.gateway.map {
        .members(["typeId": .string($0.typeID), "deviceId": .string($0.deviceID)])
      },
    ])
  }

  // MARK: - Diagnostics

  private func addDiagnostics(to table: RouteTable, _ device: String) {
    table.on(.get, "\(device)/diag/logs") { request, context in
      try await application(request, context)
      let device = try await self.device(try context.device())
      return jsonResponse(.array(device.log.map { describe($0, device.key) }))
    }
    table.on(.post, "\(device)/diag/logs") { request, context in
      try await application(request, context)
      let key = try context.device()
      let entry = try readLogEntry(MemberReader(value: try await request.object()))
      _ = try await update(key) { record in
        record.log.append(entry)
        record.log.removeFirst(max(0, record.log.count - ServiceLimits.logEntriesMax))
      }
      return jsonResponse(describe(entry, key), status: .created)
    }
    table.on(.delete, "\(device)/diag/logs") { request, context in
      try await application(request, context)
      _ = try await update(try context.device()) { $0.log = [] }
      return Response(status: .noContent)
    }
    table.on(.get, "\(device)/diag/logs/:entry") { request, context in
      try await application(request, context)
      let device = try await self.device(try context.device())
      return jsonResponse(describe(try context.logEntry(of: device), device.key))
    }
    table.on(.delete, "\(device)/diag/logs/:entry") { request, context in
      try await application(request, context)
      let device = try await self.device(try context.device())
      let id = try context.logEntry(of: device).id
      _ = try await update(device.key) { $0.log.removeAll { $0.id == id } }
      return Response(status: .noContent)
    }
    addErrorCodes(to: table, device)
  }

  private func addErrorCodes(to table: RouteTable, _ device: String) {
    table.on(.get, "\(device)/diag/errorCodes") { request, context in
      try await application(request, context)
      // Newest first, as the service has it.
      return jsonResponse(.array(try await self.device(try context.device()).errorCodes.reversed().map(describe)))
    }
    table.on(.post, "\(device)/diag/errorCodes") { request, context in
      try await application(request, context)
      let reader = MemberReader(value: try await request.object())
      guard let number = try reader.optionalInteger("errorCode") else {
        throw ServiceError(.invalid, "'errorCode' is missing: an integer.")
      }
      let code = DiagnosticErrorCode(
        code: number, at: try reader.optionalText("timestamp") ?? Moment.now.wall.text)
      _ = try await update(try context.device()) { record in
        record.errorCodes.append(code)
        record.errorCodes.removeFirst(max(0, record.errorCodes.count - ServiceLimits.errorCodesMax))
      }
      return jsonResponse(describe(code), status: .created)
    }
    table.on(.delete, "\(device)/diag/errorCodes") { request, context in
      try await application(request, context)
      _ = try await update(try context.device()) { $0.errorCodes = [] }
      return Response(status: .noContent)
    }
  }

  /// The longest text of a log entry that is written over HTTP, in bytes.
  private static var logTextBytesMax: Int { 1024 }

  private func readLogEntry(_ reader: MemberReader) throws -> DiagnosticLogEntry {
    let entry = DiagnosticLogEntry(
      id: UUID().uuidString.lowercased(), message: try reader.text("message"),
      severity: try reader.optionalInteger("severity") ?? 0,
      data: try reader.optionalText("data"), at: try reader.optionalText("timestamp") ?? Moment.now.wall.text)
    guard (0...2).contains(entry.severity) else {
      throw ServiceError(.invalid, "'severity' is 0 (information), 1 (warning) or 2 (error).")
    }
    guard [entry.message, entry.data ?? "", entry.timestamp].allSatisfy({ $0.utf8.count <= Self.logTextBytesMax })
    else { throw ServiceError(.invalid, "The texts of a log entry have at most \(Self.logTextBytesMax) bytes.") }
    return entry
  }

  /// The vendor's libraries want all of it to be there.
  private func describe(_ entry: DiagnosticLogEntry, _ key: DeviceKey) -> JSONValue {
    .members([
      "id": entry.id.map(JSONValue.string), "typeId": .string(key.typeID), "deviceId": .string(key.deviceID),
      "message": .string(entry.message), "severity": .integer(entry.severity),
      "data": entry.data.map(JSONValue.string) ?? .null, "timestamp": .string(entry.timestamp),
    ])
  }

  private func describe(_ code: DiagnosticErrorCode) -> JSONValue {
    .members(["errorCode": .integer(code.errorCode), "timestamp": .string(code.timestamp)])
  }

  // MARK: - Last events

  private func addLastEvents(to table: RouteTable, _ device: String) {
    table.on(.get, "\(device)/events") { request, context in
      try await application(request, context)
      let key = try context.device()
      return jsonResponse(.array(try await lastEvents(key).map { describe($0, key) }))
    }
    table.on(.get, "\(device)/events/:event") { request, context in
      try await application(request, context)
      let key = try context.device()
      let name = try context.name("event")
      guard let event = try await lastEvents(key).first(where: { $0.eventID == name }) else {
        throw ServiceError(.notFound, "No event '\(name)' of '\(key.typeID)' '\(key.deviceID)' is kept.")
      }
      return jsonResponse(describe(event, key))
    }
  }

  private func describe(_ event: LastEvent, _ key: DeviceKey) -> JSONValue {
    .members([
      "typeId": .string(key.typeID), "deviceId": .string(key.deviceID), "eventId": .string(event.eventID),
      "format": .string(event.format), "timestamp": timeText(event.time),
      "payload": .string(Data(event.payload).base64EncodedString()),
    ])
  }
}

extension PlatformContext {
  /// The entry of a device's log that the path names.
  fileprivate func logEntry(of device: DeviceRecord) throws(ServiceError) -> DiagnosticLogEntry {
    let id = parameters.get("entry")?.removingPercentEncoding ?? ""
    guard let entry = device.log.first(where: { $0.id == id }) else {
      throw ServiceError(.notFound, "There is no such entry in the log of '\(device.typeID)' '\(device.deviceID)'.")
    }
    return entry
  }
}
