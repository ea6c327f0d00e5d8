// What holds for every answer: headers, errors as JSON, and that no other site's page may change anything.

import Foundation
import HTTPTypes
import Hummingbird
import PlatformProtocol
import PlatformServer
import PlatformService

extension HTTPField.Name {
  static let contentTypeOptions = constant("X-Content-Type-Options")
  static let referrerPolicy = constant("Referrer-Policy")
  static let resourcePolicy = constant("Cross-Origin-Resource-Policy")
  static let fetchSite = constant("Sec-Fetch-Site")
  static let fetchMode = constant("Sec-Fetch-Mode")

  /// A name that is one: letters and `-`.
  static func constant(_ name: String) -> HTTPField.Name { HTTPField.Name(name) ?? .accept }
}

/// Headers of every answer.
struct HeadersMiddleware<Context: RequestContext>: RouterMiddleware {
  /// Nothing but what this platform serves, no markup's own scripts or styles, in no other page's frame.
  private static var contentPolicy: String {
    """
    default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'
    """
  }

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    var response = try await next(request, context)
    response.headers[.contentSecurityPolicy] = Self.contentPolicy
    response.headers[.contentTypeOptions] = "nosniff"
    response.headers[.referrerPolicy] = "no-referrer"
    response.headers[.resourcePolicy] = "same-origin"
    if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
    return response
  }
}

/// Errors become JSON that says what was expected.
struct ErrorsMiddleware<Context: RequestContext>: RouterMiddleware {
  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch let error as ServiceError {
      return answer(request, .init(code: error.kind.rawValue), error.message)
    } catch let error as Refusal {
      return answer(request, error.status, error.message, error.headers)
    } catch let error as HTTPError {
      let message = error.status == .notFound ? "There is nothing at \(request.uri.path)." : error.body
      return answer(request, error.status, message ?? error.status.reasonPhrase)
    }
  }

  private func answer(
    _ request: Request, _ status: HTTPResponse.Status, _ message: String, _ headers: HTTPFields = [:]
  ) -> Response {
    var response = jsonResponse(
      .members(["status": .integer(status.code), "message": .string(message)]), status: status)
    response.headers.append(contentsOf: headers)
    if status == .contentTooLarge { response = closing(response) }
    // A browser's own dialog would come in front of the page's; other clients are told as the standard wants it
    // (RFC 9110, section 11.6.1).
    if status == .unauthorized {
      let isPage = request.headers[.fetchMode] != nil
      response.headers[.wwwAuthenticate] = isPage ? "Login" : "Basic realm=\"Platform Service\", charset=\"UTF-8\""
    }
    return response
  }
}

/// How long a client that sends too much has for reading that, before its connection is closed.
private let lastWordsTime = Duration.milliseconds(200)

/// What ends a connection after its last answer.
private struct ConnectionIsOver: Error {}

/// The same answer, behind which the connection ends: what the client still sends is not read, however long it is.
private func closing(_ response: Response) -> Response {
  var response = response
  let body = response.body
  response.headers[.connection] = "close"
  response.body = ResponseBody(contentLength: body.contentLength) { writer in
    try await body.write(writer)
    try await Task.sleep(for: lastWordsTime)
    throw ConnectionIsOver()
  }
  return response
}

/// A refusal with a status that the service does not know.
struct Refusal: Error {
  let status: HTTPResponse.Status
  let message: String
  var headers: HTTPFields = [:]
}

extension Request {
  /// Whether this is the handshake of a WebSocket (RFC 6455, section 4.1).
  var isWebSocketHandshake: Bool { headers[.upgrade]?.lowercased().contains("websocket") == true }
}

/// What is meant for another host is refused, and what another site's page sends, unless it only reads. A WebSocket
/// does more than that.
struct OriginMiddleware<Context: RequestContext>: RouterMiddleware {
  let names: HostNames

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    guard names.include(request.head.authority) else {
      throw Refusal(
        status: .misdirectedRequest,
        message: "This platform answers to addresses, localhost and the names that --name gives it, not to this one.")
    }
    let onlyReads = (request.method == .get || request.method == .head) && !request.isWebSocketHandshake
    if !onlyReads, isForeign(request) {
      throw Refusal(status: .forbidden, message: "A page of another site may not change anything here.")
    }
    return try await next(request, context)
  }

  private func isForeign(_ request: Request) -> Bool {
    comesFromOtherSite(
      site: request.headers[.fetchSite], origin: request.headers[.origin], authority: request.head.authority)
  }
}

/// An answer of JSON.
func jsonResponse(_ value: JSONValue, status: HTTPResponse.Status = .ok) -> Response {
  Response(
    status: status, headers: [.contentType: "application/json"],
    body: ResponseBody(byteBuffer: ByteBuffer(bytes: value.bytes)))
}
