// The calls of the REST interface that an operator makes.

import NIOHTTP1
import PlatformProtocol

/// A device's part of a device-management request, as the platform tells it.
public struct RequestStatus: Equatable, Sendable {
  /// 0 means success. The platform's documents do not list the other numbers.
  public let status: Int64
  /// For people.
  public let message: String
  /// Whether nothing more will happen.
  public let isComplete: Bool

  /// Whether the device did what was asked for.
  public var isSuccess: Bool { isComplete && status == 0 }

  /// A device's part of a request.
  public init(status: Int64, message: String, isComplete: Bool) {
    self.status = status
    self.message = message
    self.isComplete = isComplete
  }

  init?(_ json: JSONValue?) {
    guard let json, let isComplete = json["complete"]?.boolean, let status = json["status"]?.integer else { return nil }
    self.init(status: status, message: json["message"]?.string ?? "", isComplete: isComplete)
  }
}

extension RESTClient {
  private func path(_ device: DeviceKey) -> String {
    "/device/types/\(pathPart(device.typeID))/devices/\(pathPart(device.deviceID))"
  }

  // MARK: - Devices

  /// All devices, of one type if it is given, as the platform describes them.
  public func devices(type: String?) async throws(ClientError) -> [JSONValue] {
    try await pages(type.map { "/device/types/\(pathPart($0))/devices" } ?? "/bulk/devices")
  }

  /// What was last told about each client's connection.
  public func connectionStates() async throws(ClientError) -> [JSONValue] {
    try await pages("/clientconnectionstates")
  }

  /// All that a listing gives, page by page.
  private func pages(_ path: String) async throws(ClientError) -> [JSONValue] {
    var results: [JSONValue] = []
    var bookmark: String?
    for _ in 0..<pagesMax {
      let query = "?_limit=\(pageLimit)" + (bookmark.map { "&_bookmark=\(pathPart($0))" } ?? "")
      let answer = try await call(.GET, path + query)
      guard let json = answer.json, let page = json["results"]?.array else { throw malformed(.GET, path, "results") }
      results += page
      guard let next = json["bookmark"]?.string, !next.isEmpty, next != bookmark, !page.isEmpty else { return results }
      bookmark = next
    }
    return results
  }

  /// Entries of a page that are asked for.
  private var pageLimit: Int { 100 }
  /// The longest listing, in pages.
  private var pagesMax: Int { 10_000 }

  /// A device.
  public func device(_ device: DeviceKey) async throws(ClientError) -> JSONValue {
    let answer = try await call(.GET, path(device))
    guard let json = answer.json else { throw malformed(.GET, path(device), "a device") }
    return json
  }

  /// Looks whether a device is there.
  ///
  /// - Returns: our own address towards the platform.
  public func probe(_ device: DeviceKey) async throws(ClientError) -> String? {
    try await call(.GET, path(device)).localAddress
  }

  /// Something about a device, `mgmt` for example; nil where there is nothing.
  public func detail(_ device: DeviceKey, _ name: String) async throws(ClientError) -> JSONValue? {
    do {
      return try await call(.GET, path(device) + "/" + name).json
    } catch {
      if error.kind == .notFound { return nil }
      throw error
    }
  }

  /// Registers a device, and gives what the platform answers: the token is in `authToken`, for the only time.
  public func addDevice(_ device: DeviceKey, _ body: [JSONValue.Member]) async throws(ClientError) -> JSONValue {
    let path = "/device/types/\(pathPart(device.typeID))/devices"
    let answer = try await call(
      .POST, path, body: .object([.init("deviceId", .string(device.deviceID))] + body))
    guard let json = answer.json else { throw malformed(.POST, path, "the device") }
    return json
  }

  /// Gives a device a new token: `token`, or one that the platform makes.
  ///
  /// - Returns: the token.
  public func setToken(_ device: DeviceKey, _ token: String?) async throws(ClientError) -> String {
    let path = path(device) + "/token"
    let answer = try await call(.POST, path, body: .members(["authToken": token.map(JSONValue.string)]))
    guard let token = answer.json?["authToken"]?.string else { throw malformed(.POST, path, "authToken") }
    return token
  }

  /// Makes a device type; one that exists already stays as it is.
  public func addType(_ id: String, isGateway: Bool) async throws(ClientError) {
    do {
      _ = try await call(
        .POST, "/device/types",
        body: .members(["id": .string(id), "classId": .string(isGateway ? "Gateway" : "Device")]))
    } catch {
      guard error.kind == .refused, error.message.hasPrefix("HTTP 409") else { throw error }
    }
  }

  /// Removes a device and all that belongs to it.
  public func removeDevice(_ device: DeviceKey) async throws(ClientError) {
    _ = try await call(.DELETE, path(device))
  }

  /// Empties a device's diagnostic log or error codes.
  public func clear(_ device: DeviceKey, _ name: String) async throws(ClientError) {
    _ = try await call(.DELETE, path(device) + "/" + name)
  }

  // MARK: - API keys

  private var keys: String { "/authorization/apikeys" }

  /// All API keys, as the platform describes them.
  public func apiKeys() async throws(ClientError) -> [JSONValue] { try await pages(keys) }

  /// Makes an API key: the token is in the answer, for the only time.
  public func addAPIKey(role: String, comment: String, expiresInDays: Int?) async throws(ClientError) -> JSONValue {
    let body = JSONValue.members([
      "role": .string(role), "comment": .string(comment), "expiresInDays": expiresInDays.map { .integer($0) },
    ])
    guard let json = try await call(.POST, keys, body: body).json, json["token"]?.string != nil else {
      throw malformed(.POST, keys, "token")
    }
    return json
  }

  /// Gives an API key a new token, which is in the answer.
  public func rotateAPIKey(_ key: String) async throws(ClientError) -> JSONValue {
    let path = "\(keys)/\(pathPart(key))/token"
    guard let json = try await call(.POST, path).json, json["token"]?.string != nil else {
      throw malformed(.POST, path, "token")
    }
    return json
  }

  /// Takes an API key back.
  public func removeAPIKey(_ key: String) async throws(ClientError) {
    _ = try await call(.DELETE, "\(keys)/\(pathPart(key))")
  }

  // MARK: - Device management

  /// Asks devices for an action.
  ///
  /// - Returns: the request's identifier.
  public func makeRequest(
    _ action: ManagementAction, _ devices: [DeviceKey], parameters: [(String, String)] = [], timeoutSeconds: Int?,
    overrides: Bool = false
  ) async throws(ClientError) -> String {
    let path = "/mgmt/requests" + (overrides ? "?override=true" : "")
    let body = JSONValue.members([
      "action": .string(action.name),
      "parameters": parameters.isEmpty
        ? nil : .array(parameters.map { .members(["name": .string($0.0), "value": .string($0.1)]) }),
      "devices": .array(
        devices.map { .members(["typeId": .string($0.typeID), "deviceId": .string($0.deviceID)]) }),
      "timeout": timeoutSeconds.map { .integer($0) },
    ])
    let answer = try await call(.POST, path, body: body).json
    guard let id = answer?["reqId"]?.string ?? answer?["id"]?.string ?? answer?["requestId"]?.string else {
      throw malformed(.POST, path, "the request's identifier")
    }
    return id
  }

  /// How far a device is with a request.
  public func requestStatus(_ id: String, _ device: DeviceKey) async throws(ClientError) -> RequestStatus {
    let path =
      "/mgmt/requests/\(pathPart(id))/deviceStatus/\(pathPart(device.typeID))/\(pathPart(device.deviceID))"
    guard let status = RequestStatus(try await call(.GET, path).json) else {
      throw malformed(.GET, path, "status and complete")
    }
    return status
  }

  /// Ends what is open in a request.
  public func cancelRequest(_ id: String) async throws(ClientError) {
    _ = try await call(.POST, "/mgmt/requests/\(pathPart(id))/cancel")
  }

  // MARK: - Words

  private func malformed(_ method: HTTPMethod, _ path: String, _ expected: String) -> ClientError {
    ClientError(.malformed, "\(method.rawValue) \(settings.api)/api/v0002\(path)", "expected JSON with \(expected)")
  }
}
