// The page's files, which are part of the program, and the chart library's, which are a Debian package's.

import Foundation
import Hummingbird
import PlatformService

extension Interface {
  /// Where Debian's package libjs-dygraphs puts its files.
  private static var libraryFolder: String { "/usr/share/javascript/dygraphs/" }

  private static var html: String { "text/html; charset=utf-8" }
  private static var css: String { "text/css; charset=utf-8" }
  private static var script: String { "text/javascript; charset=utf-8" }

  func addPage(to table: RouteTable) {
    table.on(.get, "/") { _, _ in Response.redirect(to: "/quickstart/", type: .found) }
    let files: [(path: String, type: String, bytes: [UInt8])] = [
      ("/quickstart", Self.html, PackageResources.quickstart_html), ("/fleet", Self.html, PackageResources.fleet_html),
      ("/page/icon.svg", "image/svg+xml", PackageResources.icon_svg),
      ("/page/style.css", Self.css, PackageResources.style_css),
      ("/page/chart.js", Self.script, PackageResources.chart_js),
      ("/page/common.js", Self.script, PackageResources.common_js),
      ("/page/device.js", Self.script, PackageResources.device_js),
      ("/page/firmware.js", Self.script, PackageResources.firmware_js),
      ("/page/fleet.js", Self.script, PackageResources.fleet_js),
      ("/page/keys.js", Self.script, PackageResources.keys_js),
      ("/page/operations.js", Self.script, PackageResources.operations_js),
      ("/page/quickstart.js", Self.script, PackageResources.quickstart_js),
      ("/page/rest.js", Self.script, PackageResources.rest_js),
      ("/api/openapi.json", "application/json", PackageResources.openapi_json),
    ]
    for file in files {
      table.on(.get, file.path) { _, _ in answer(file.bytes, file.type) }
    }
    table.on(.get, "/mqtt") { request, _ in
      // A WebSocket that gets here offers only what is not spoken.
      guard !request.isWebSocketHandshake else { throw HTTPError(.notFound) }
      throw Refusal(
        status: .upgradeRequired, message: "MQTT is spoken here in WebSockets, with the subprotocol 'mqtt'.",
        headers: [.upgrade: "websocket", .connection: "Upgrade"])
    }
    table.on(.get, "/dygraphs/dygraph.min.js") { _, _ in try library("dygraph.min.js", Self.script) }
    table.on(.get, "/dygraphs/dygraph.min.css") { _, _ in try library("dygraph.min.css", Self.css) }
  }

  private func answer(_ bytes: [UInt8], _ type: String) -> Response {
    Response(
      status: .ok, headers: [.contentType: type, .cacheControl: "no-cache"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }

  private func library(_ name: String, _ type: String) throws -> Response {
    let path = Self.libraryFolder + name
    guard let data = FileManager.default.contents(atPath: path) else {
      throw ServiceError(
        .notFound, "\(path) is missing: install Debian's package libjs-dygraphs on the platform's machine.")
    }
    return answer(Array(data), type)
  }
}
