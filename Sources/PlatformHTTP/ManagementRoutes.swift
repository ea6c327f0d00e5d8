// Device-management requests, bundles of custom actions, and what is known about connections.

import Bytes
import Hummingbird
import PlatformProtocol
import PlatformServer
import PlatformService

extension Interface {
  private func managementRequest(_ id: String) async throws -> ManagementRequest {
    try await platform.read { try $0.request(id) }
  }

  func addRequests(to table: RouteTable) {
    table.on(.get, "/mgmt/requests") { request, context in
      try await application(request, context)
      let page = try ListPage(request)
      let (type, device) = (try request.name("typeId"), try request.name("deviceId"))
      let requests = await platform.read(\.requests)
      guard type != nil || device != nil else { return page.answer(requests, json: describe) }
      // Of up to thousands of devices in each, those that were asked for.
      let found = requests.reversed().compactMap { request -> (ManagementRequest, [DeviceProgress])? in
        let devices = request.devices.filter {
          (type ?? $0.device.typeID) == $0.device.typeID && (device ?? $0.device.deviceID) == $0.device.deviceID
        }
        return devices.isEmpty ? nil : (request, devices)
      }
      return page.answer(found) { describe($0.0, of: $0.1) }
    }
    table.on(.post, "/mgmt/requests") { request, context in
      try await application(request, context)
      let overrides = request.parameter("override")
      guard overrides == nil || overrides == "true" || overrides == "false" else {
        throw ServiceError(.invalid, "'override' is true or false.")
      }
      var draft = try readRequest(MemberReader(value: try await request.object()))
      draft.overrides = overrides == "true"
      let made = try await platform.change { [draft] in try $0.addRequest(draft, now: .now) }
      var response = jsonResponse(.members(["reqId": .string(made.id)]), status: .accepted)
      response.headers[.location] = "/api/v0002/mgmt/requests/\(made.id)"
      return response
    }
    table.on(.get, "/mgmt/requests/:request") { request, context in
      try await application(request, context)
      return jsonResponse(describe(try await managementRequest(try context.name("request"))))
    }
    table.on(.delete, "/mgmt/requests/:request") { request, context in
      try await application(request, context)
      let id = try context.name("request")
      try await platform.change { try $0.removeRequest(id, now: .now) }
      return Response(status: .noContent)
    }
    table.on(.post, "/mgmt/requests/:request/cancel") { request, context in
      try await application(request, context)
      let id = try context.name("request")
      try await platform.change { try $0.cancelRequest(id, now: .now) }
      return jsonResponse(describe(try await managementRequest(id)))
    }
    table.on(.get, "/mgmt/requests/:request/deviceStatus") { request, context in
      try await application(request, context)
      let found = try await managementRequest(try context.name("request"))
      return try ListPage(request).answer(
        found.devices, json: describe)
    }
    table.on(.get, "/mgmt/requests/:request/deviceStatus/:type/:device") { request, context in
      try await application(request, context)
      let key = try context.device()
      let found = try await managementRequest(try context.name("request"))
      guard let progress = found.devices.first(where: { $0.device == key }) else {
        throw ServiceError(.notFound, "The request is not for '\(key.typeID)' '\(key.deviceID)'.")
      }
      return jsonResponse(describe(progress))
    }
  }

  private func readRequest(_ reader: MemberReader) throws -> ManagementRequestDraft {
    var draft = ManagementRequestDraft(action: try reader.text("action"), devices: [])
    if let member = reader.value["parameters"], member != .null {
      draft.parameters = try reader.array("parameters").map { entry in
        guard let name = entry["name"]?.string, let value = entry["value"] else {
          throw ServiceError(.invalid, #"'parameters' is an array of {"name": NAME, "value": VALUE}."#)
        }
        return ActionParameter(name: name, value: value)
      }
    }
    // Who is named twice is asked once.
    var seen: Set<DeviceKey> = []
    draft.devices = try reader.array("devices").map { try MemberReader(value: $0).device() }
      .filter { seen.insert($0).inserted }
    if let timeout = try reader.optionalInteger("timeout") {
      draft.timeoutSeconds = Int(timeout)
    }
    return draft
  }

  private func describe(_ request: ManagementRequest) -> JSONValue { describe(request, of: request.devices) }

  private func describe(_ request: ManagementRequest, of devices: [DeviceProgress]) -> JSONValue {
    .members([
      "id": .string(request.id), "action": .string(request.action),
      "parameters": .array(
        request.parameters.map { .members(["name": .string($0.name), "value": $0.value]) }),
      "devices": .array(
        devices.map {
          .members(["typeId": .string($0.device.typeID), "deviceId": .string($0.device.deviceID)])
        }),
      "deviceCount": .integer(request.devices.count), "complete": .boolean(request.isComplete),
      "started": timeText(request.started), "expires": timeText(request.expires),
    ])
  }

  private func describe(_ progress: DeviceProgress) -> JSONValue {
    .members([
      "typeId": .string(progress.device.typeID), "deviceId": .string(progress.device.deviceID),
      "status": .integer(progress.status), "message": .string(progress.message),
      "complete": .boolean(progress.isComplete), "updated": timeText(progress.updated),
    ])
  }

  // MARK: - Bundles

  func addBundles(to table: RouteTable) {
    table.on(.get, "/mgmt/custom/bundle") { request, context in
      try await application(request, context)
      return jsonResponse(.array(await platform.read(\.bundles).sorted { $0.key < $1.key }.map(\.value)))
    }
    table.on(.post, "/mgmt/custom/bundle") { request, context in
      try await application(request, context)
      let bundle = try await request.object()
      let id = try checkBundle(bundle)
      guard await platform.read(\.bundles)[id] == nil else {
        throw ServiceError(.conflict, "The bundle '\(id)' exists already.")
      }
      try await platform.change { try $0.putBundle(id, bundle, now: .now) }
      return jsonResponse(bundle, status: .created)
    }
    table.on(.get, "/mgmt/custom/bundle/:bundle") { request, context in
      try await application(request, context)
      return jsonResponse(try await bundle(try context.bundle()))
    }
    table.on(.put, "/mgmt/custom/bundle/:bundle") { request, context in
      try await application(request, context)
      let id = try context.bundle()
      _ = try await bundle(id)
      let new = try await request.object()
      guard try checkBundle(new) == id else {
        // RFC 9110, section 9.3.4.
        throw ServiceError(.conflict, "'bundleId' is the one of the path, '\(id)'.")
      }
      try await platform.change { try $0.putBundle(id, new, now: .now) }
      return jsonResponse(new)
    }
    table.on(.delete, "/mgmt/custom/bundle/:bundle") { request, context in
      try await application(request, context)
      let id = try context.bundle()
      try await platform.change { try $0.removeBundle(id, now: .now) }
      return Response(status: .noContent)
    }
  }

  private func bundle(_ id: String) async throws -> JSONValue {
    guard let bundle = await platform.read(\.bundles)[id] else {
      throw ServiceError(.notFound, "There is no bundle '\(id)'.")
    }
    return bundle
  }

  /// The largest bundle, as JSON text, in bytes.
  private static var bundleBytesMax: Int { 65_536 }

  /// Gives a bundle's name, if the bundle has what one needs.
  private func checkBundle(_ bundle: JSONValue) throws(ServiceError) -> String {
    let rule = "1 to \(ServiceLimits.bundleNameBytesMax) letters, digits, '-', '_' and '.'"
    guard let id = bundle["bundleId"]?.string, CustomParameter.isValidName(id) else {
      throw ServiceError(.invalid, "'bundleId' is \(rule).")
    }
    let version = bundle["version"] ?? .null
    guard version == .null || version.string.map(CustomParameter.isValidName) == true else {
      throw ServiceError(.invalid, "'version' is \(rule).")
    }
    try checkTexts(bundle["displayName"], "displayName")
    guard let actions = bundle["actions"]?.members, !actions.isEmpty,
      actions.allSatisfy({ CustomParameter.isValidName($0.name) && $0.value.members != nil })
    else { throw ServiceError(.invalid, "'actions' is an object of one or more actions by name, each \(rule).") }
    for action in actions {
      try checkTexts(action.value["actionDisplayName"], "actionDisplayName' of '\(action.name)")
      _ = try CustomParameter.parameters(of: action.value)
    }
    guard bundle.bytes.count <= Self.bundleBytesMax else {
      throw ServiceError(.tooLarge, "A bundle has at most \(Self.bundleBytesMax) bytes.")
    }
    return id
  }

  /// Checks a text that people read, in one language or more.
  private func checkTexts(_ value: JSONValue?, _ name: String) throws(ServiceError) {
    guard let members = value?.members, !members.isEmpty, members.allSatisfy({ $0.value.string != nil }) else {
      throw ServiceError(.invalid, "'\(name)' is an object of texts by language, one or more.")
    }
  }

  // MARK: - Connections

  func addConnections(to table: RouteTable) {
    table.on(.get, "/clientconnectionstates") { request, context in
      try await application(request, context)
      // A mistake in a filter would show all.
      let known = [
        "connectionStatus", "deviceType", "typeId", "deviceId", "connectedAfter", "_limit", "_bookmark", "_sort",
      ]
      if let key = request.uri.queryParameters.first(where: { !known.contains(String($0.key)) })?.key {
        throw ServiceError(.invalid, "There is no parameter '\(key)'; there are \(known.joined(separator: ", ")).")
      }
      let after = request.parameter("connectedAfter").map(WallTime.init(text:))
      if let after, after == nil {
        throw ServiceError(.invalid, "'connectedAfter' is a date and time of ISO 8601, 2024-05-01T10:20:00Z.")
      }
      let wanted = request.parameter("connectionStatus")
      guard wanted == nil || wanted == "connected" || wanted == "disconnected" else {
        throw ServiceError(.invalid, "'connectionStatus' is connected or disconnected.")
      }
      let type = request.parameter("deviceType") ?? request.parameter("typeId")
      let id = request.parameter("deviceId")
      let states = await platform.read { $0.connectionStates() }.filter {
        (wanted == nil || ($0.action == .connect) == (wanted == "connected"))
          && (type == nil || $0.device?.typeID == type) && (id == nil || $0.device?.deviceID == id)
          && (after == nil || ($0.connectTime?.milliseconds ?? 0) > (after??.milliseconds ?? 0))
      }
      return try ListPage(request).answer(states, json: describe)
    }
    table.on(.get, "/clientconnectionstates/:client") { request, context in
      try await application(request, context)
      let id = context.parameters.get("client")?.removingPercentEncoding ?? ""
      let states = await platform.read { $0.connectionStates() }
      guard let state = states.first(where: { $0.clientID == id }) else {
        throw ServiceError(.notFound, "Nothing is known about a client of this identifier.")
      }
      return jsonResponse(describe(state))
    }
  }

  private func describe(_ message: MonitoringMessage) -> JSONValue {
    let isConnected = message.action == .connect
    return .members([
      "id": .string(message.clientID), "connectionStatus": .string(isConnected ? "connected" : "disconnected"),
      "deviceType": message.device.map { .string($0.typeID) }, "deviceId": message.device.map { .string($0.deviceID) },
      "connectedDateTime": message.connectTime.map { .string($0.text) },
      "disconnectedDateTime": isConnected ? nil : .string(message.time.text),
      "clientAddr": .string(message.clientAddress), "protocol": .string(message.protocolName),
      "secure": .boolean(message.isSecure), "closeCode": message.closeCode.map { .integer($0.rawValue) },
      "reason": message.closeCode.map { .string($0.reason) },
    ])
  }
}
