// How the platform is, and how much it carries.

import Bytes
import Foundation
import Hummingbird
import PlatformProtocol
import PlatformServer
import PlatformService

extension Interface {
  func addUsage(to table: RouteTable) {
    table.on(.get, "/service-status") { request, context in
      try await application(request, context)
      // Who gets this answer sees that it is there.
      let all = JSONValue.members([
        "messaging": .string("green"), "dashboard": .string("green"), "thirdParty": .string("green"),
      ])
      return jsonResponse(.members(["local": all]))
    }
    table.on(.get, "/usage/data-traffic") { request, context in
      try await application(request, context)
      let (start, end) = (try request.day("start"), try request.day("end"))
      guard start <= end else { throw ServiceError(.invalid, "'start' is not behind 'end'.") }
      let detail = request.parameter("detail")?.lowercased() ?? "false"
      guard detail == "true" || detail == "false" else { throw ServiceError(.invalid, "'detail' is true or false.") }
      let days = await platform.read { $0.usage(from: start, to: end, now: .now) }
      let total = days.reduce(0) { $0 + $1.byteCount }
      return jsonResponse(
        .members([
          "start": .string(start), "end": .string(end), "total": .integer(total),
          "average": .integer(days.isEmpty ? 0 : total / Int64(days.count)),
          "days": detail == "false"
            ? .null
            : .array(days.map { .members(["date": .string($0.day), "total": .integer($0.byteCount)]) }),
        ]))
    }
  }
}

extension Request {
  /// A day of the query, `2024-05-01`.
  fileprivate func day(_ name: String) throws(ServiceError) -> String {
    let text = parameter(name) ?? ""
    guard text.utf8.count == 10, WallTime(text: text + "T00:00:00Z") != nil else {
      throw ServiceError(.invalid, "'\(name)' is a day, 2024-05-01.")
    }
    return text
  }
}

extension WallTime {
  /// A date and time of ISO 8601; nil where `text` is none.
  init?(text: String) {
    let formatter = ISO8601DateFormatter()
    for options in [[.withInternetDateTime], [.withInternetDateTime, .withFractionalSeconds]]
      as [ISO8601DateFormatter.Options]
    {
      formatter.formatOptions = options
      if let date = formatter.date(from: text) {
        self.init(milliseconds: Int64(date.timeIntervalSince1970 * 1000))
        return
      }
    }
    return nil
  }
}
