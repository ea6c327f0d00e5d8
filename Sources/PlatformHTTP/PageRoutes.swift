// The page's files, which are part of the program, and the chart library's, which are a Debian package's.

import Foundation
import Hummingbird
import PlatformService

extension Interface {
  /// Where Debian's package libjs-dygraphs puts its files.
  private static var libraryFolder: String { "/usr/share/javascript/dygraphs/" }

  func addPage(to table: RouteTable) {
    table.on(.get, "/") { _, _ in Response.redirect(to: "/quickstart/", type: .found) }
    table.on(.get, "/quickstart/") { _, _ in file(PackageResources.quickstart_html, "text/html; charset=utf-8") }
    table.on(.get, "/page/icon.svg") { _, _ in file(PackageResources.icon_svg, "image/svg+xml") }
    table.on(.get, "/page/style.css") { _, _ in file(PackageResources.style_css, "text/css; charset=utf-8") }
    table.on(.get, "/page/common.js") { _, _ in file(PackageResources.common_js, "text/javascript; charset=utf-8") }
    table.on(.get, "/page/chart.js") { _, _ in file(PackageResources.chart_js, "text/javascript; charset=utf-8") }
    table.on(.get, "/page/quickstart.js") { _, _ in
      file(PackageResources.quickstart_js, "text/javascript; charset=utf-8")
    }
    table.on(.get, "/dygraphs/dygraph.min.js") { _, _ in try library("dygraph.min.js", "text/javascript; charset=utf-8")
    }
    table.on(.get, "/dygraphs/dygraph.min.css") { _, _ in try library("dygraph.min.css", "text/css; charset=utf-8") }
    table.on(.get, "/api/openapi.json") { _, _ in file(PackageResources.openapi_json, "application/json") }
    table.refuseOtherMethods()
  }

  private func file(_ bytes: [UInt8], _ type: String) -> Response {
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
    return file(Array(data), type)
  }
}
