// API keys: who may ask for them may make others.

import Bytes
import Hummingbird
import PlatformProtocol
import PlatformServer
import PlatformService

extension Interface {
  func addKeys(to table: RouteTable) {
    let keys = "/authorization/apikeys"
    table.on(.get, keys) { request, context in
      try await application(request, context)
      return try ListPage(request).answer(await platform.read(\.apiKeys)) { describe($0) }
    }
    table.on(.post, keys) { request, context in
      try await application(request, context)
      let draft = try readDraft(MemberReader(value: try await request.optionalObject()))
      let added = try await platform.change { try $0.addAPIKey(draft, now: .now) }
      return jsonResponse(describe(added.key, token: added.token), status: .created)
    }
    table.on(.delete, "\(keys)/:key") { request, context in
      try await application(request, context)
      let key = try context.name("key")
      try await platform.change { try $0.removeAPIKey(key, now: .now) }
      return Response(status: .noContent)
    }
    table.on(.post, "\(keys)/:key/token") { request, context in
      try await application(request, context)
      let key = try context.name("key")
      let token = try await platform.change { try $0.rotateAPIKey(key, now: .now) }
      return jsonResponse(.members(["key": .string(key), "token": .string(token)]))
    }
  }

  private func readDraft(_ reader: MemberReader) throws(ServiceError) -> APIKeyDraft {
    var draft = APIKeyDraft(comment: try reader.optionalText("comment") ?? "", role: .read)
    if let name = try reader.optionalText("role") {
      guard let role = KeyRole(rawValue: name) else {
        throw ServiceError(.invalid, "'role' is read, operate or administer.")
      }
      draft.role = role
    }
    if let days = try reader.optionalInteger("expiresInDays") {
      guard (1...36_500).contains(days) else { throw ServiceError(.invalid, "'expiresInDays' is 1 to 36500.") }
      draft.expires = Moment.now.wall.milliseconds + days * 86_400_000
    }
    return draft
  }

  private func describe(_ key: APIKeyRecord, token: String? = nil) -> JSONValue {
    .members([
      "key": .string(key.key), "role": .string((key.role ?? .administer).rawValue), "comment": .string(key.comment),
      "created": timeText(key.created), "expires": key.expires.map(timeText), "token": token.map(JSONValue.string),
    ])
  }
}
