// Who makes a request: basic authentication (RFC 7617), or a login of the page.

import Foundation
import HTTPTypes
import Hummingbird
import PlatformProtocol
import PlatformServer
import PlatformService

/// A user's name and password.
struct BasicCredentials: Sendable {
  let user: String
  let password: String
}

extension Request {
  /// The credentials of the request; nil if there are none.
  ///
  /// - Throws: `unauthorized` where there are some of another sort.
  func credentials() throws(ServiceError) -> BasicCredentials? {
    guard let field = headers[.authorization] else { return nil }
    let parts = field.split(separator: " ", maxSplits: 1)
    guard parts.count == 2, parts[0].lowercased() == "basic",
      let data = Data(base64Encoded: parts[1].trimmingCharacters(in: .whitespaces)),
      let text = String(validating: data, as: UTF8.self), let colon = text.firstIndex(of: ":")
    else { throw ServiceError(.unauthorized, "Authorization is 'Basic' and base64 of USER:PASSWORD.") }
    return BasicCredentials(user: String(text[..<colon]), password: String(text[text.index(after: colon)...]))
  }

  /// The value of a login's cookie.
  var login: String? {
    for field in headers[values: .cookie] {
      for pair in field.split(separator: ";") {
        let parts = pair.trimmingCharacters(in: .whitespaces).split(separator: "=", maxSplits: 1)
        if parts.count == 2, parts[0] == Logins.cookie { return String(parts[1]) }
      }
    }
    return nil
  }
}

extension Interface {
  /// How long an answer to wrong credentials takes: guessing is slow.
  private static var failureDelay: Duration { .milliseconds(250) }

  /// The API key that makes a request, with its token or by a login, and that may do what is asked for.
  ///
  /// - Throws: `unauthorized`, `forbidden`.
  @discardableResult
  func application(_ request: Request, _ context: PlatformContext) async throws -> String {
    let key: String
    if let credentials = try request.credentials() {
      guard case .application(let found) = try await credential(credentials, context).principal else {
        throw ServiceError(.forbidden, "This needs an API key; a device's token is not enough.")
      }
      key = found
    } else if let found = await login(of: request) {
      await context.noteLogin(platform)
      key = found
    } else {
      throw ServiceError(.unauthorized, "This needs an API key and its token, by basic authentication.")
    }
    try await checkRole(key, KeyRole(needed: request))
    return key
  }

  func checkRole(_ key: String, _ needed: KeyRole) async throws {
    guard let role = await platform.read({ $0.role(ofKey: key, now: .now) }) else {
      throw ServiceError(.unauthorized, "The API key is not there any more.")
    }
    guard role >= needed else {
      throw ServiceError(.forbidden, "This API key has the role '\(role.rawValue)'; '\(needed.rawValue)' is needed.")
    }
  }

  /// The API key of a login that is still one: the key is there, and has the token that it was made with.
  func login(of request: Request) async -> String? {
    guard let shown = request.login.flatMap({ logins.credential(of: $0) }), case .application(let key) = shown.principal
    else { return nil }
    return await platform.read { $0.credential(user: key, now: .now) == shown } ? key : nil
  }

  /// What belongs to these credentials, which are right.
  ///
  /// - Throws: `unauthorized`, late.
  func credential(
    _ credentials: BasicCredentials, _ context: PlatformContext, device: DeviceKey? = nil
  ) async throws -> StoredCredential {
    let found = await platform.read { $0.credential(user: credentials.user, device: device, now: .now) }
    guard try await check.isRight(credentials, device, found, address: context.address), let found else {
      try await Task.sleep(for: Self.failureDelay)
      throw ServiceError(.unauthorized, "The credentials are wrong or missing.")
    }
    await context.noteLogin(platform)
    return found
  }

  // MARK: - Logins of the page

  func addLogins(to table: RouteTable) {
    table.on(.get, "/login") { request, _ in
      let key = await login(of: request)
      let role = await platform.read { service in key.flatMap { service.role(ofKey: $0, now: .now) } }
      return jsonResponse(
        .members([
          "key": key.map(JSONValue.string), "role": role.map { .string($0.rawValue) },
          "organization": .string(platform.organizationName),
          "hasKeys": .boolean(!(await platform.read { $0.apiKeys.isEmpty })),
        ]))
    }
    table.on(.post, "/login") { request, context in
      let body = try await request.object()
      guard let user = body["key"]?.string, let password = body["token"]?.string else {
        throw ServiceError(.invalid, #"A login is {"key": API-KEY, "token": TOKEN}."#)
      }
      let found = try await credential(BasicCredentials(user: user, password: password), context)
      guard case .application = found.principal else {
        throw ServiceError(.unauthorized, "The credentials are wrong or missing.")
      }
      let maxAge = Int(Logins.lifetime.components.seconds)
      return cookie(logins.add(found), maxAge: maxAge, request)
    }
    table.on(.delete, "/login") { request, _ in
      if let login = request.login { logins.remove(login) }
      return cookie("", maxAge: 0, request)
    }
  }

  private func cookie(_ value: String, maxAge: Int, _ request: Request) -> Response {
    let secure = request.head.scheme == "https" ? "; Secure" : ""
    return Response(
      status: .noContent,
      headers: [
        .setCookie: "\(Logins.cookie)=\(value); Path=/; Max-Age=\(maxAge); HttpOnly; SameSite=Strict\(secure)"
      ])
  }
}

extension KeyRole {
  /// What a request needs, by its method and path: whoever reads changes nothing.
  init(needed request: Request) {
    let path = request.uri.path
    let isManagement =
      path.hasPrefix("/api/v0002/mgmt/requests") || path.hasPrefix("/api/images") || path.contains("/diag/")
      || path.hasSuffix("/location")
    switch request.method {
    case _ where path.hasPrefix("/api/v0002/authorization"): self = .administer
    case .get, .head: self = .read
    default: self = isManagement ? .operate : .administer
    }
  }
}
