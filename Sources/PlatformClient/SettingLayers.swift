// Where settings come from: flags, the environment, a profile file. Each value knows its place, for messages.

import Foundation

/// A setting by its key in a profile.
public enum SettingName: String, CaseIterable, Sendable {
  case server, api, domain, port
  case organization = "org"
  case applicationID = "id"
  case key = "auth-key"
  case token = "auth-token"
  case tokenFile = "auth-token-file"
  case caFile = "ca-file"
  case keepAlive = "keep-alive"
  case transport
  case allowPlaintextToken = "allow-plaintext-token"
  case allowUnverifiedServer = "allow-unverified-server"
  case verifyAPI = "verify-api"
}

/// The text of a setting, and where it stands.
public struct SettingValue: Equatable, Sendable {
  /// As written.
  public let text: String
  /// A flag, a variable, or a file and a line.
  public let place: String

  /// A value.
  public init(_ text: String, at place: String) {
    self.text = text
    self.place = place
  }
}

/// Settings of one origin.
public typealias SettingLayer = [SettingName: SettingValue]

/// What the environment says: the variables that the platform's libraries share. Of two for one setting the former
/// wins; an empty variable says nothing.
public func environmentLayer(_ environment: [String: String]) -> SettingLayer {
  var layer: SettingLayer = [:]
  for (variable, name) in environmentNames {
    guard let text = environment[variable], !text.isEmpty, layer[name] == nil else { continue }
    layer[name] = SettingValue(text, at: variable)
  }
  return layer
}

private let environmentNames: [(String, SettingName)] = [
  ("WIOTP_IDENTITY_ORGID", .organization),
  ("WIOTP_IDENTITY_APPID", .applicationID),
  ("WIOTP_AUTH_KEY", .key),
  ("WIOTP_API_KEY", .key),
  ("WIOTP_AUTH_TOKEN", .token),
  ("WIOTP_API_TOKEN", .token),
  ("WIOTP_OPTIONS_DOMAIN", .domain),
  ("WIOTP_OPTIONS_API_ROOT", .api),
  ("WIOTP_OPTIONS_HTTP_VERIFY", .verifyAPI),
  ("WIOTP_OPTIONS_MQTT_PORT", .port),
  ("WIOTP_OPTIONS_MQTT_TRANSPORT", .transport),
  ("WIOTP_OPTIONS_MQTT_CAFILE", .caFile),
  ("WIOTP_OPTIONS_MQTT_KEEPALIVE", .keepAlive),
]

/// Other spellings in profiles: those of the platform's libraries, and of the file that `motectl platform` writes.
private let profileAliases: [String: SettingName] = [
  "organization": .organization, "organization-id": .organization, "app-id": .applicationID, "api-key": .key,
  "authentication-token": .token, "api-token": .token, "mqtt-server": .server, "keepalive": .keepAlive,
]

/// Keys that the platform's libraries have in such files, and that mean nothing here.
private let profileStrangers: Set<String> = ["type", "auth-method", "authentication-method", "clean-session"]

/// Reads a profile: `key = value` lines, with or without a heading `[application]`; comments are lines of their own.
///
/// - Throws: `ClientError` that names the line, or a file that others can read.
public func readProfile(_ path: String) throws(ClientError) -> SettingLayer {
  let text = try readSecret(path)
  var layer: SettingLayer = [:]
  var number = 0
  for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
    number += 1
    let line = line.trimmingCharacters(in: .whitespaces.union(.newlines))
    let place = "\(path):\(number)"
    if line.isEmpty || line.hasPrefix("#") || line.hasPrefix(";") { continue }
    if line.hasPrefix("[") {
      guard line.lowercased() == "[application]" else {
        throw ClientError(.configuration, place, "expected [application] as the only heading, found '\(line)'")
      }
      continue
    }
    // Only the first one separates: tokens contain `=` and `#`.
    guard let separator = line.firstIndex(of: "=") else {
      throw ClientError(.configuration, place, "expected KEY = VALUE")
    }
    let key = line[..<separator].trimmingCharacters(in: .whitespaces)
    let value = line[line.index(after: separator)...].trimmingCharacters(in: .whitespaces)
    guard let name = try settingName(key, place) else { continue }
    if let earlier = layer[name] {
      throw ClientError(.configuration, place, "'\(key)' is given already, at \(earlier.place)")
    }
    layer[name] = SettingValue(value, at: place)
  }
  return layer
}

private func settingName(_ key: String, _ place: String) throws(ClientError) -> SettingName? {
  let lower = key.lowercased()
  if let name = SettingName(rawValue: lower) ?? profileAliases[lower] { return name }
  if let name = environmentNames.first(where: { $0.0.lowercased() == lower })?.1 { return name }
  if profileStrangers.contains(lower) { return nil }
  let known = SettingName.allCases.map(\.rawValue).joined(separator: ", ")
  throw ClientError(.configuration, place, "unknown key '\(key)'; expected one of \(known)")
}

/// Reads a file that nobody but its owner may read.
///
/// - Throws: `ClientError` where it is not there, too long, no text, or open to others.
public func readSecret(_ path: String) throws(ClientError) -> String {
  let file = open(path, O_RDONLY | O_CLOEXEC)
  guard file >= 0 else { throw ClientError(.configuration, path, String(cString: strerror(errno))) }
  let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
  var information = stat()
  guard fstat(file, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
    throw ClientError(.configuration, path, "expected a file")
  }
  guard information.st_mode & 0o077 == 0 else {
    let mode = String(information.st_mode & 0o777, radix: 8)
    throw ClientError(
      .configuration, path, "holds a secret, but its mode is 0\(mode); expected 0600: chmod 600 '\(path)'")
  }
  guard information.st_size <= ApplicationLimits.profileBytesMax else {
    throw ClientError(.configuration, path, "expected at most \(ApplicationLimits.profileBytesMax) bytes")
  }
  guard let data = try? handle.readToEnd() ?? Data(), let text = String(data: data, encoding: .utf8) else {
    throw ClientError(.configuration, path, "expected UTF-8 text")
  }
  return text
}
