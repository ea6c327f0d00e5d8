// Messages over HTTP: devices post events, applications post events and commands, devices ask for commands.

import Bytes
import HTTPTypes
import Hummingbird
import NIOCore
import PlatformProtocol
import PlatformServer
import PlatformService

extension HTTPField.Name {
  static let commandID = constant("X-commandId")
  static let deviceType = constant("X-deviceType")
  static let deviceID = constant("X-deviceId")
}

extension Interface {
  /// The longest time that a device may wait for a command, in seconds.
  private static var waitSecondsMax: Int64 { 3600 }

  func addMessaging(to table: RouteTable) {
    table.on(.post, "/device/types/:type/devices/:device/events/:event") { request, context in
      let key = try context.device()
      let principal = try await messagePrincipal(request, context, key)
      if case .application = principal { throw notAllowed("An application publishes below /application/.") }
      return try await publish(.event, request, to: key, name: try context.name("event"), principal)
    }
    table.on(.post, "/device/types/:type/devices/:device/commands/:command/request") { request, context in
      let filter = CommandFilter(
        typeID: try context.nameOrAny("type"), deviceID: try context.nameOrAny("device"),
        name: try context.nameOrAny("command"))
      var device: DeviceKey?
      if let type = filter.typeID, let id = filter.deviceID { device = DeviceKey(typeID: type, deviceID: id) }
      let principal = try await messagePrincipal(request, context, device)
      guard principal != .quickstart else { throw credentialsMissing }
      return try await awaitCommand(request, context, filter, principal)
    }
    for (path, kind) in [("events", MessageKind.event), ("commands", .command)] {
      table.on(.post, "/application/types/:type/devices/:device/\(path)/:name") { request, context in
        let key = try context.device()
        let principal = try await messagePrincipal(request, context, key)
        guard case .application(let apiKey) = principal else {
          throw principal == .quickstart ? credentialsMissing : notAllowed("This needs an API key.")
        }
        try await checkRole(apiKey, .operate)
        return try await publish(kind, request, to: key, name: try context.name("name"), principal)
      }
    }
  }

  private var credentialsMissing: ServiceError {
    ServiceError(
      .unauthorized, "The credentials are missing: a user's name and a token, by basic authentication.")
  }

  private func notAllowed(_ message: String) -> ServiceError { ServiceError(.forbidden, message) }

  /// Who sends a message. Wrong credentials are 403 here, as the protocol has it. Without any it is Quickstart's
  /// organisation, unless the host is this one's: a device that has lost its token is told so.
  private func messagePrincipal(
    _ request: Request, _ context: PlatformContext, _ key: DeviceKey?
  ) async throws -> Principal {
    let isOwnHost = try await checkOrganization(request)
    do {
      if let credentials = try request.credentials() {
        return try await credential(credentials, context, device: key).principal
      }
      if let key = await login(of: request) { return .application(key: key) }
    } catch let error as ServiceError where error.kind == .unauthorized {
      throw notAllowed(error.message)
    }
    guard !isOwnHost else { throw credentialsMissing }
    return .quickstart
  }

  /// Whether the host name is this organisation's, for messaging or for REST. For messaging it may be Quickstart's, or
  /// name no organisation, but not another one.
  private func checkOrganization(_ request: Request) async throws -> Bool {
    let labels = (request.head.authority ?? "").lowercased().prefix { $0 != ":" }.split(separator: ".")
    let own = platform.organizationName
    guard labels.count > 2, labels[1] == "messaging" else { return labels.count > 1 && labels[0] == own }
    guard labels[0] == own || labels[0] == "quickstart" else {
      throw notAllowed("This is the organisation '\(own)', not '\(labels[0])'.")
    }
    return labels[0] == own
  }

  private func publish(
    _ kind: MessageKind, _ request: Request, to key: DeviceKey, name: String, _ principal: Principal
  ) async throws -> Response {
    let format = try format(request)
    let payload = try await request.bytes(max: ServiceLimits.payloadBytesMax)
    guard !payload.isEmpty else { throw ServiceError(.invalid, "The body is the payload: it is empty.") }
    if format == "json" {
      do {
        _ = try JSONValue(payload.span)
      } catch {
        throw ServiceError(.invalid, "The body is not JSON: \(error.kind) at byte \(error.offset).")
      }
    }
    let pause = try await platform.change {
      try $0.publish(
        kind, to: key, name: name, format: format, payload: payload, as: principal, now: .now)
    }
    if let pause { try await Task.sleep(for: .milliseconds(pause.milliseconds)) }
    return Response(status: .ok)
  }

  /// The content type as the format of a topic.
  private func format(_ request: Request) throws(ServiceError) -> String {
    switch request.mediaType {
    case "application/json": return "json"
    case "application/xml": return "xml"
    case "application/octet-stream": return "bin"
    case .some(let type) where type.hasPrefix("text/") && type.count > 5: return "text"
    default:
      throw ServiceError(
        .unsupportedMediaType,
        "Content-Type is application/json, text/…, application/xml or application/octet-stream.")
    }
  }

  private func contentType(_ format: String) -> String {
    switch format {
    case "json": "application/json"
    case "xml": "application/xml"
    case "text", "txt": "text/plain; charset=utf-8"
    default: "application/octet-stream"
    }
  }

  /// Answers with the oldest command that was kept for the principal, or the first that comes while the request waits.
  private func awaitCommand(
    _ request: Request, _ context: PlatformContext, _ wanted: CommandFilter, _ principal: Principal
  ) async throws -> Response {
    let bytes = try await request.bytes(max: ServerLimits.bodyBytesMax)
    var seconds: Int64 = 0
    if !bytes.isEmpty {
      let problem = ServiceError(
        .invalid, #"The body is empty or {"waitTimeSecs": N}, N from 0 to \#(Self.waitSecondsMax)."#)
      guard let body = try? JSONValue(bytes.span), body.members != nil else { throw problem }
      if body["waitTimeSecs"] != nil {
        guard let number = try MemberReader(value: body).optionalInteger("waitTimeSecs"),
          (0...Self.waitSecondsMax).contains(number)
        else { throw problem }
        seconds = number
      }
    }
    let departure = context.departure()
    // For a client that has gone nothing is taken.
    let take: @Sendable () async throws -> ObservedMessage? = { [platform] in
      try await platform.read { service in
        departure.hasCome ? nil : try service.takeCommand(wanted, as: principal, now: .now)
      }
    }
    if let kept = try await take() { return answer(kept, wanted) }
    guard seconds > 0 else { return Response(status: .noContent) }
    var filter = ObservationFilter(
      organization: platform.organizationName, typeID: wanted.typeID, deviceID: wanted.deviceID)
    (filter.includesEvents, filter.includesCommands, filter.includesChanges) = (false, true, false)
    filter.client = "\(principal)"
    let observations = try await platform.observe(filter)
    // One may have come between the two.
    if let kept = try await take() { return answer(kept, wanted) }
    // Each is taken once, whoever waits for it.
    let found = await first(of: observations, within: seconds, departure) { try? await take() }
    return found.map { answer($0, wanted) } ?? Response(status: .noContent)
  }

  private func answer(_ command: ObservedMessage, _ wanted: CommandFilter) -> Response {
    var headers: HTTPFields = [.contentType: contentType(command.format), .commandID: command.name]
    // Who asked for any gets to know which.
    if wanted.typeID == nil || wanted.deviceID == nil {
      headers[.deviceType] = command.device.typeID
      headers[.deviceID] = command.device.deviceID
    }
    return Response(
      status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: command.payload)))
  }

  private func first(
    of observations: AsyncStream<Observation>, within seconds: Int64, _ departure: Departure,
    take: @escaping @Sendable () async -> ObservedMessage?
  ) async -> ObservedMessage? {
    await withTaskGroup(of: ObservedMessage?.self) { tasks in
      tasks.addTask {
        for await _ in observations {
          if let message = await take() { return message }
        }
        return nil
      }
      tasks.addTask {
        try? await Task.sleep(for: .seconds(seconds))
        return nil
      }
      tasks.addTask {
        await departure.wait()
        return nil
      }
      let first = await tasks.next()
      tasks.cancelAll()
      return first ?? nil
    }
  }
}

extension PlatformContext {
  /// A part of the path; nil for `+`, which stands for any.
  func nameOrAny(_ parameter: String) throws(ServiceError) -> String? {
    parameters.get(parameter)?.removingPercentEncoding == "+" ? nil : try name(parameter)
  }

  /// The device that the path names.
  func device() throws(ServiceError) -> DeviceKey {
    DeviceKey(typeID: try name("type"), deviceID: try name("device"))
  }
}
