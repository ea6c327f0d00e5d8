// Routes, and 405 for the methods that a path does not have.

import HTTPTypes
import Hummingbird

/// Adds routes to a router and remembers which methods each path has.
final class RouteTable {
  typealias Handler = @Sendable (Request, PlatformContext) async throws -> Response

  private let router: Router<PlatformContext>
  private let prefix: String
  private var methods: [String: [HTTPRequest.Method]] = [:]

  /// Like GET, with a body (draft-ietf-httpbis-safe-method-w-body).
  private var query: HTTPRequest.Method { HTTPRequest.Method("QUERY") ?? .trace }

  /// Routes below `prefix`.
  init(_ router: Router<PlatformContext>, prefix: String = "") {
    self.router = router
    self.prefix = prefix
  }

  /// Adds a route.
  func on(_ method: HTTPRequest.Method, _ path: String, _ handler: @escaping Handler) {
    router.on(RouterPath(prefix + path), method: method, use: handler)
    methods[path, default: []].append(method)
  }

  /// Answers 405 to the other methods of all paths (RFC 9110, section 15.5.6).
  func refuseOtherMethods() {
    for (path, known) in methods {
      let withHead = known + (known.contains(.get) ? [.head] : [])
      let allowed = withHead.map(\.rawValue).sorted().joined(separator: ", ")
      for method in [.get, .head, .post, .put, .patch, .delete, .options, .trace, query] as [HTTPRequest.Method]
      where !withHead.contains(method) {
        router.on(RouterPath(prefix + path), method: method) { _, _ -> Response in
          throw Refusal(
            status: .methodNotAllowed, message: "The method is one of: \(allowed).", headers: [.allow: allowed])
        }
      }
    }
  }
}
