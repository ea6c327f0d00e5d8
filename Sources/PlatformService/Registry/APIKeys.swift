// API keys: made, given new tokens and taken back. What is taken back ends what it has opened, at once.

import Bytes
import PlatformProtocol

/// An API key to be made.
public struct APIKeyDraft: Sendable {
  /// The key, `a-ORG-RANDOM`; nil for one that the platform makes.
  public var key: String?
  /// Its token; nil for one that the platform makes.
  public var token: String?
  /// For people.
  public var comment: String
  /// What it may do.
  public var role: KeyRole
  /// When it ends, in milliseconds since 1970; nil for never.
  public var expires: Int64?

  /// An API key to be made.
  public init(
    key: String? = nil, token: String? = nil, comment: String = "", role: KeyRole = .administer, expires: Int64? = nil
  ) {
    self.key = key
    self.token = token
    self.comment = comment
    self.role = role
    self.expires = expires
  }
}

extension PlatformService {
  /// All API keys, oldest first.
  public var apiKeys: [APIKeyRecord] { own.keys.values.sorted { ($0.created, $0.key) < ($1.created, $1.key) } }

  /// What an API key may do; nil for one that is not, or not any more.
  public func role(ofKey key: String, now: Moment) -> KeyRole? {
    guard let record = own.keys[key], !record.hasEnded(now.wall) else { return nil }
    return record.role ?? .administer
  }

  /// Makes an API key, and gives its token, which nobody can tell again.
  ///
  /// - Throws: `invalid`, `conflict`, `unavailable`.
  public func addAPIKey(
    _ draft: APIKeyDraft, now: Moment
  ) throws(ServiceError) -> (key: APIKeyRecord, token: String) {
    begin(now)
    let random = makeToken(random: configuration.random).lowercased().filter { $0.isLetter || $0.isNumber }.prefix(10)
    let name = draft.key ?? "a-\(own.name)-\(random)"
    guard name.hasPrefix("a-\(own.name)-"), isValidName(name) else {
      throw ServiceError(.invalid, "An API key is a-\(own.name)- and letters, digits, '-', '_' and '.'.")
    }
    guard draft.comment.unicodeScalars.count <= ServiceLimits.keyCommentCharactersMax else {
      throw ServiceError(.invalid, "A comment has at most \(ServiceLimits.keyCommentCharactersMax) characters.")
    }
    if let expires = draft.expires, expires <= now.wall.milliseconds {
      throw ServiceError(.invalid, "An API key ends in the future.")
    }
    guard own.keys[name] == nil else { throw ServiceError(.conflict, "The API key '\(name)' exists already.") }
    guard own.keys.count < ServiceLimits.apiKeysMax else { throw ServiceError(.unavailable, "No more API keys fit.") }
    let secret = draft.token ?? makeToken(random: configuration.random)
    let record = APIKeyRecord(
      key: name, tokenHash: try hash(secret), comment: draft.comment, created: now.wall.milliseconds, role: draft.role,
      expires: draft.expires)
    own.keys[name] = record
    endedKeys.remove(name)
    store(.putKey(record))
    log(.info, "registry", "api-key-added", ["key": name, "role": draft.role.rawValue])
    return (record, secret)
  }

  /// Gives an API key a new token, and ends what the old one has opened.
  ///
  /// - Throws: `notFound`, `invalid`.
  public func rotateAPIKey(_ key: String, token: String? = nil, now: Moment) throws(ServiceError) -> String {
    begin(now)
    guard var record = own.keys[key] else { throw ServiceError(.notFound, "There is no API key '\(key)'.") }
    let token = token ?? makeToken(random: configuration.random)
    record.tokenHash = try hash(token)
    own.keys[key] = record
    store(.putKey(record))
    log(.info, "registry", "api-key-rotated", ["key": key])
    endAll(of: key)
    return token
  }

  /// Takes an API key back, and ends what it has opened.
  ///
  /// - Throws: `notFound`; `conflict` for the last one that may make others.
  public func removeAPIKey(_ key: String, now: Moment) throws(ServiceError) {
    begin(now)
    guard own.keys[key] != nil else { throw ServiceError(.notFound, "There is no API key '\(key)'.") }
    let others = own.keys.keys.filter { $0 != key }
    guard others.isEmpty || others.contains(where: { role(ofKey: $0, now: now) == .administer }) else {
      throw ServiceError(.conflict, "No other API key that is left may make API keys.")
    }
    own.keys[key] = nil
    own.keyRates[key] = nil
    store(.removeKey(key))
    log(.info, "registry", "api-key-removed", ["key": key])
    endAll(of: key)
  }

  /// Ends what API keys have opened whose time is over.
  func endExpiredKeys() {
    for record in own.keys.values where record.hasEnded(now.wall) && !endedKeys.contains(record.key) {
      endedKeys.insert(record.key)
      log(.info, "registry", "api-key-expired", ["key": record.key])
      endAll(of: record.key)
    }
  }

  private func endAll(of key: String) {
    for connection in connections.values where connection.session?.isApplication == true && connection.user == key {
      close(connection, .byAdministrator)
    }
    for id in observers.ids(ofClient: key) {
      observers.remove(id)
      output.end(observer: id)
    }
  }
}
