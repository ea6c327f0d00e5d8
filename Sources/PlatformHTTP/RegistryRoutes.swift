// Device types and devices.

import Bytes
import Hummingbird
import PlatformProtocol
import PlatformServer
import PlatformService

extension Interface {
  private func type(_ id: String) async throws -> DeviceTypeRecord { try await platform.read { try $0.type(id) } }

  func addTypes(to table: RouteTable) {
    table.on(.get, "/device/types") { request, context in
      try await application(request, context)
      return try ListPage(request).answer(await platform.read(\.types), json: describe)
    }
    table.on(.post, "/device/types") { request, context in
      try await application(request, context)
      let reader = MemberReader(value: try await request.object())
      var type = DeviceTypeRecord(id: try reader.text("id"))
      if let name = try reader.optionalText("classId") {
        guard let found = DeviceClass(rawValue: name) else {
          throw ServiceError(.invalid, "'classId' is Device or Gateway.")
        }
        type.classID = found
      }
      let draft = try read(reader, into: type)
      let added = try await platform.change { try $0.addType(draft, now: .now) }
      return jsonResponse(describe(added), status: .created)
    }
    table.on(.get, "/device/types/:type") { request, context in
      try await application(request, context)
      return jsonResponse(describe(try await type(try context.name("type"))))
    }
    table.on(.put, "/device/types/:type") { request, context in
      try await application(request, context)
      let old = try await type(try context.name("type"))
      let type = try read(MemberReader(value: try await request.object()), into: old)
      return jsonResponse(describe(try await platform.change { try $0.updateType(type, now: .now) }))
    }
    table.on(.delete, "/device/types/:type") { request, context in
      try await application(request, context)
      let id = try context.name("type")
      try await platform.change { try $0.removeType(id, now: .now) }
      return Response(status: .noContent)
    }
  }

  private func read(_ reader: MemberReader, into type: DeviceTypeRecord) throws -> DeviceTypeRecord {
    var type = type
    type.description = try reader.optionalText("description") ?? type.description
    type.deviceInfo = try reader.deviceInfo(type.deviceInfo) ?? type.deviceInfo
    type.metadata = try reader.optionalObject("metadata") ?? type.metadata
    return type
  }

  private func describe(_ type: DeviceTypeRecord) -> JSONValue {
    .members([
      "id": .string(type.id), "classId": .string(type.classID.rawValue),
      "description": type.description.map(JSONValue.string), "deviceInfo": type.deviceInfo.json,
      "metadata": type.metadata, "createdDateTime": timeText(type.created),
    ])
  }

  func addDevices(to table: RouteTable) {
    let devices = "/device/types/:type/devices"
    table.on(.get, devices) { request, context in
      try await application(request, context)
      let type = try await type(try context.name("type"))
      return try await list(request, typeID: type.id)
    }
    table.on(.post, devices) { request, context in
      try await application(request, context)
      let reader = MemberReader(value: try await request.object())
      let draft = try draft(reader, typeID: try context.name("type"))
      let added = try await platform.change { try $0.addDevice(draft, now: .now) }
      return jsonResponse(describe(added.device, token: added.token), status: .created)
    }
    table.on(.get, "\(devices)/:device") { request, context in
      try await application(request, context)
      return jsonResponse(describe(try await device(try context.device())))
    }
    table.on(.put, "\(devices)/:device") { request, context in
      try await application(request, context)
      let old = try await device(try context.device())
      let reader = MemberReader(value: try await request.object())
      let info = try reader.deviceInfo(old.deviceInfo)
      let metadata = try reader.optionalObject("metadata")
      let group = try reader.resourceGroup()
      let new = try await update(old.key) { record in
        if let info { record.deviceInfo = info }
        if let metadata { record.metadata = metadata }
        if let group { record.resourceGroup = group }
      }
      return jsonResponse(describe(new))
    }
    table.on(.delete, "\(devices)/:device") { request, context in
      try await application(request, context)
      let key = try context.device()
      try await platform.change { try $0.removeDevice(key, now: .now) }
      return Response(status: .noContent)
    }
    table.on(.post, "\(devices)/:device/token") { request, context in
      try await application(request, context)
      let wanted = try MemberReader(value: try await request.optionalObject()).optionalText("authToken")
      let key = try context.device()
      let token = try await platform.change { try $0.setToken(key, token: wanted, now: .now) }
      return jsonResponse(.members(["authToken": .string(token)]))
    }
    addBulk(to: table)
  }

  private func addBulk(to table: RouteTable) {
    table.on(.get, "/bulk/devices") { request, context in
      try await application(request, context)
      return try await list(request, typeID: request.parameter("typeId"))
    }
    table.on(.post, "/bulk/devices/add") { request, context in
      try await bulk(request, context, status: .created) { entry in
        let reader = MemberReader(value: entry)
        let draft = try draft(reader, typeID: try reader.text("typeId"))
        return try await platform.change { try $0.addDevice(draft, now: .now) }.token
      }
    }
    table.on(.post, "/bulk/devices/remove") { request, context in
      try await bulk(request, context, status: .ok) { entry in
        let key = try MemberReader(value: entry).device()
        try await platform.change { try $0.removeDevice(key, now: .now) }
        return nil
      }
    }
  }

  /// Devices in one bulk request.
  private static var bulkMax: Int { 512 }

  /// Does something to each device of an array, and tells for each how that went; 202 where something went wrong.
  private func bulk(
    _ request: Request, _ context: PlatformContext, status: HTTPResponse.Status,
    _ body: (JSONValue) async throws -> String?
  ) async throws -> Response {
    try await application(request, context)
    guard let entries = try await request.json().array, (1...Self.bulkMax).contains(entries.count) else {
      throw ServiceError(
        .invalid, #"The body is an array of 1 to \#(Self.bulkMax) devices: {"typeId": T, "deviceId": D, …}."#)
    }
    var results: [JSONValue] = []
    var isComplete = true
    for entry in entries {
      var token: String?
      var problem: String?
      do {
        token = try await body(entry)
      } catch let error as ServiceError {
        problem = error.message
        isComplete = false
      }
      results.append(
        .members([
          "typeId": entry["typeId"] ?? .null, "deviceId": entry["deviceId"] ?? .null,
          "success": .boolean(problem == nil), "authToken": token.map(JSONValue.string),
          "message": problem.map(JSONValue.string),
        ]))
    }
    return jsonResponse(.array(results), status: isComplete ? status : .accepted)
  }

  private func draft(_ reader: MemberReader, typeID: String) throws -> DeviceDraft {
    var draft = DeviceDraft(
      typeID: typeID, deviceID: try reader.text("deviceId"), token: try reader.optionalText("authToken"))
    draft.deviceInfo = try reader.deviceInfo()
    draft.metadata = try reader.optionalObject("metadata")
    draft.location = try reader.location()
    draft.resourceGroup = try reader.resourceGroup() ?? nil
    return draft
  }

  private func list(_ request: Request, typeID: String?) async throws -> Response {
    let page = try ListPage(request)
    let devices = await platform.read { $0.devices(typeID: typeID) }
    return page.answer(devices) { describe($0) }
  }

  private func describe(_ device: DeviceRecord, token: String? = nil) -> JSONValue {
    let organization = platform.organizationName
    let letter = device.classID == .gateway ? "g" : "d"
    let path = "/api/v0002/device/types/\(device.typeID)/devices/\(device.deviceID)"
    return .members([
      "clientId": .string("\(letter):\(organization):\(device.typeID):\(device.deviceID)"),
      "typeId": .string(device.typeID), "deviceId": .string(device.deviceID),
      "classId": .string(device.classID.rawValue),
      "gatewayRole": device.classID == .gateway
        ? .string(device.resourceGroup == nil ? "privileged" : "standard") : nil,
      "resourceGroup": device.resourceGroup.map { group in
        .array(
          group.sorted { ($0.typeID, $0.deviceID) < ($1.typeID, $1.deviceID) }.map {
            .members(["typeId": .string($0.typeID), "deviceId": .string($0.deviceID)])
          })
      },
      "deviceInfo": device.deviceInfo.json,
      "metadata": device.metadata, "location": device.location?.json,
      "registration": .members([
        "date": timeText(device.registered),
        "auth": device.registeredBy.map {
          .members(["type": .string("device"), "id": .string("g:\(organization):\($0.typeID):\($0.deviceID)")])
        },
      ]),
      "connection": device.connection.map(describe), "managed": .boolean(device.management != nil),
      "refs": .members([
        "location": .string("\(path)/location"), "mgmt": .string("\(path)/mgmt"),
        "diag": .members([
          "logs": .string("\(path)/diag/logs"), "errorCodes": .string("\(path)/diag/errorCodes"),
        ]),
      ]),
      "authToken": token.map(JSONValue.string),
    ])
  }

  private func describe(_ connection: ConnectionStatus) -> JSONValue {
    .members([
      "connected": .boolean(connection.isConnected), "time": timeText(connection.time),
      "address": .string(connection.address), "secure": .boolean(connection.isSecure),
      "protocol": .string(connection.protocolName), "closeCode": connection.closeCode.map { .integer($0) },
      "connectTime": timeText(connection.connectTime),
    ])
  }
}
