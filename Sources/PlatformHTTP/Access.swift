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

  /// The API key that makes a request, with its token or by a login.
  ///
  /// - Throws: `unauthorized`.
  @discardableResult
  func application(_ request: Request, _ context: PlatformContext) async throws -> String {
    guard let credentials = try request.credentials() else {
      if let login = request.login, let key = logins.key(of: login) {
        await context.noteLogin(platform)
        return key
      }
      throw ServiceError(.unauthorized, "This needs an API key and its token, by basic authentication.")
    }
    guard case .application(let key) = try await principal(credentials, context) else {
      throw ServiceError(.forbidden, "This needs an API key; a device's token is not enough.")
    }
    return key
  }

  /// Who has these credentials.
  ///
  /// - Throws: `unauthorized`, late.
  func principal(
    _ credentials: BasicCredentials, _ context: PlatformContext, device: DeviceKey? = nil
  ) async throws -> Principal {
    let found = await platform.read { $0.credential(user: credentials.user, device: device) }
    guard try await check.isRight(credentials, found, address: context.address), let found else {
      try await Task.sleep(for: Self.failureDelay)
      throw ServiceError(.unauthorized, "The credentials are wrong or missing.")
    }
    await context.noteLogin(platform)
    return found.principal
  }

  // MARK: - Logins of the page

  func addLogins(to table: RouteTable) {
    table.on(.get, "/login") { request, _ in
      let key = request.login.flatMap { logins.key(of: $0) }
      return jsonResponse(
        .members([
          "key": key.map(JSONValue.string), "organization": .string(platform.organizationName),
          "hasKeys": .boolean(!(await platform.read { $0.apiKeys.isEmpty })),
        ]))
    }
    table.on(.post, "/login") { request, context in
      let body = try await request.object()
      guard let user = body["key"]?.string, let password = body["token"]?.string else {
        throw ServiceError(.invalid, #"A login is {"key": API-KEY, "token": TOKEN}."#)
      }
      guard case .application(let key) = try await principal(BasicCredentials(user: user, password: password), context)
      else {
        throw ServiceError(.unauthorized, "The credentials are wrong or missing.")
      }
      let maxAge = Int(Logins.lifetime.components.seconds)
      return cookie(logins.add(key: key), maxAge: maxAge, request)
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
