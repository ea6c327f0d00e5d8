// From layers of settings to where and who.

import Foundation
import IoTPlatform

extension ApplicationSettings {
  /// The settings that `layers` make together; of two for one thing the former layer wins.
  ///
  /// Without a server and a domain, the platform is the local one: MQTT on 127.0.0.1:1883 and HTTP on port 8080. With a
  /// domain it is `ORG.messaging.DOMAIN:8883` and `https://ORG.DOMAIN`.
  ///
  /// - Throws: `ClientError` that names the place of what is wrong or missing.
  public init(layers: [SettingLayer]) throws(ClientError) {
    func find(_ name: SettingName) -> SettingValue? { layers.lazy.compactMap { $0[name] }.first }
    let credentials = try findCredentials(layers)
    let organization = try findOrganization(find(.organization), credentials)
    let (broker, api) = try findServers(layers, organization)
    self.init(
      organization: organization, applicationID: try findApplicationID(find(.applicationID)),
      credentials: organization == "quickstart" ? nil : credentials, broker: broker, api: api)
    if organization != "quickstart", credentials == nil {
      throw ClientError(
        .configuration, "credentials",
        "no API key; expected --key and --token-file, WIOTP_AUTH_KEY and WIOTP_AUTH_TOKEN, or a profile")
    }
    caFile = find(.caFile)?.text
    if let value = find(.keepAlive) {
      guard let seconds = UInt16(value.text), seconds > 0 else {
        throw ClientError(
          .configuration, value.place, "expected a keep-alive of 1 to 65535 seconds, not '\(value.text)'")
      }
      keepAliveSeconds = Int(seconds)
    }
    if let value = find(.transport), value.text.lowercased() != "tcp" {
      throw ClientError(.configuration, value.place, "expected tcp, the only transport here, not '\(value.text)'")
    }
    if try truth(find(.allowUnverifiedServer)) { verifiesServer = false }
    if let value = find(.verifyAPI) { verifiesAPI = try truth(value) }
    let allowsPlaintext = try truth(find(.allowPlaintextToken))
    for end in [broker, api] where self.credentials != nil && !end.isSecure && !end.isLoopback && !allowsPlaintext {
      throw ClientError(
        .configuration, "\(end)",
        "the token would cross the network without TLS; expected \(end.scheme)s://, or --allow-plaintext-token")
    }
  }
}

private func truth(_ value: SettingValue?) throws(ClientError) -> Bool {
  guard let value else { return false }
  switch value.text.lowercased() {
  case "yes", "true", "1", "on": return true
  case "no", "false", "0", "off": return false
  default: throw ClientError(.configuration, value.place, "expected yes or no, not '\(value.text)'")
  }
}

private func findCredentials(_ layers: [SettingLayer]) throws(ClientError) -> Credentials? {
  guard let key = layers.lazy.compactMap({ $0[.key] }).first else { return nil }
  // A token and a file with it are two ways to say the same: the layer decides.
  guard let layer = layers.first(where: { $0[.token] != nil || $0[.tokenFile] != nil }) else {
    throw ClientError(
      .configuration, key.place,
      "an API key without its token; expected --token-file, WIOTP_AUTH_TOKEN, or auth-token in a profile")
  }
  var token = layer[.token]?.text ?? ""
  var place = layer[.token]?.place ?? ""
  if let file = layer[.tokenFile] {
    place = file.text
    token = try readSecret(file.text)
    if token.hasSuffix("\r\n") || token.hasSuffix("\n") { token.removeLast() }
  }
  guard !token.isEmpty, token.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
    throw ClientError(.configuration, place, "expected a token: one line, not empty")
  }
  guard !key.text.isEmpty, !key.text.contains(":") else {
    throw ClientError(.configuration, key.place, "expected an API key like a-ab12cd-x1y2z3, not '\(key.text)'")
  }
  return Credentials(key: key.text, token: token)
}

private func findOrganization(_ value: SettingValue?, _ credentials: Credentials?) throws(ClientError) -> String {
  if let value {
    guard IdentityRules.isValidOrganization(value.text.utf8Span.span) else {
      throw ClientError(
        .configuration, value.place, "expected six lower-case letters and digits, or quickstart, not '\(value.text)'")
    }
    return value.text
  }
  // a-ORG-RANDOM
  let parts = credentials?.key.split(separator: "-", omittingEmptySubsequences: false) ?? []
  if parts.count >= 3, parts[0] == "a", IdentityRules.isValidOrganization(String(parts[1]).utf8Span.span) {
    return String(parts[1])
  }
  throw ClientError(
    .configuration, "organisation",
    "unknown; expected an API key like a-ab12cd-x1y2z3 (--key, WIOTP_AUTH_KEY or a profile), or --organization")
}

private func findApplicationID(_ value: SettingValue?) throws(ClientError) -> String {
  // Two programs of one name would end each other's connections.
  guard let value else { return "motectl-" + String(UInt32.random(in: .min ... .max), radix: 16) }
  guard IdentityRules.isValidComponent(value.text.utf8Span.span) else {
    throw ClientError(.configuration, value.place, "expected 1 to 36 of A-Z a-z 0-9 - _ ., not '\(value.text)'")
  }
  return value.text
}

private func findServers(
  _ layers: [SettingLayer], _ organization: String
) throws(ClientError) -> (broker: Endpoint, api: Endpoint) {
  let index = layers.firstIndex { $0[.server] != nil || $0[.domain] != nil }
  let broker: Endpoint
  var api: Endpoint
  let port = try findPort(layers)
  if let index, let server = layers[index][.server] {
    broker = try parseServer(server, port: port)
    api = broker.isSecure ? Endpoint("https", broker.host, 443) : Endpoint("http", broker.host, 8080)
    // The hosted platform's REST interface has a host of its own.
    if broker.host.hasPrefix("\(organization).messaging.") {
      api.host = organization + broker.host.dropFirst("\(organization).messaging".count)
    }
  } else if let index, let domain = layers[index][.domain] {
    guard isHost(domain.text) else { throw ClientError(.configuration, domain.place, "expected a domain name") }
    broker = Endpoint("mqtts", "\(organization).messaging.\(domain.text)", port ?? 8883)
    api = Endpoint("https", "\(organization).\(domain.text)", 443)
  } else {
    broker = Endpoint("mqtt", "127.0.0.1", port ?? 1883)
    api = Endpoint("http", "127.0.0.1", 8080)
  }
  // The REST interface of another layer's server is another platform's.
  let near = layers.prefix(index.map { $0 + 1 } ?? layers.count)
  if let value = near.lazy.compactMap({ $0[.api] }).first { api = try parseAPI(value) }
  return (broker, api)
}

private func findPort(_ layers: [SettingLayer]) throws(ClientError) -> Int? {
  guard let value = layers.lazy.compactMap({ $0[.port] }).first else { return nil }
  guard let port = UInt16(value.text), port > 0 else {
    throw ClientError(.configuration, value.place, "expected a port, 1 to 65535, not '\(value.text)'")
  }
  return Int(port)
}

/// `[mqtt://|mqtts://]HOST[:PORT]`. Without a scheme TLS is meant, but not on the loopback or for port 1883.
private func parseServer(_ value: SettingValue, port: Int?) throws(ClientError) -> Endpoint {
  let expected = "expected HOST[:PORT], mqtt://HOST[:PORT] or mqtts://HOST[:PORT], not '\(value.text)'"
  let (scheme, rest) = splitScheme(value.text)
  guard scheme == nil || scheme == "mqtt" || scheme == "mqtts", let (host, own) = splitHost(rest) else {
    throw ClientError(.configuration, value.place, expected)
  }
  let given = own ?? port
  var end = Endpoint(scheme ?? "mqtts", host, 0)
  if scheme == nil, given == 1883 || (given == nil && end.isLoopback) { end.scheme = "mqtt" }
  end.port = given ?? (end.isSecure ? 8883 : 1883)
  return end
}

/// `http://HOST[:PORT]` or `https://HOST[:PORT]`.
private func parseAPI(_ value: SettingValue) throws(ClientError) -> Endpoint {
  var (scheme, rest) = splitScheme(value.text)
  if rest.hasSuffix("/") { rest.removeLast() }
  guard let scheme, scheme == "http" || scheme == "https", let (host, port) = splitHost(rest) else {
    throw ClientError(
      .configuration, value.place, "expected http://HOST[:PORT] or https://HOST[:PORT], not '\(value.text)'")
  }
  return Endpoint(scheme, host, port ?? (scheme == "https" ? 443 : 80))
}

private func splitScheme(_ text: String) -> (scheme: String?, rest: String) {
  guard let range = text.range(of: "://") else { return (nil, text) }
  return (text[..<range.lowerBound].lowercased(), String(text[range.upperBound...]))
}

/// `HOST[:PORT]`, where an address of IPv6 stands in brackets.
private func splitHost(_ text: String) -> (host: String, port: Int?)? {
  var host = text
  var port: Int?
  if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
    host = String(text[text.index(after: text.startIndex)..<end])
    let rest = text[text.index(after: end)...]
    guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
    if !rest.isEmpty {
      guard let number = UInt16(rest.dropFirst()), number > 0 else { return nil }
      port = Int(number)
    }
    guard host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }), host.contains(":") else { return nil }
    return (host, port)
  }
  if let colon = text.lastIndex(of: ":") {
    guard let number = UInt16(text[text.index(after: colon)...]), number > 0 else { return nil }
    host = String(text[..<colon])
    port = Int(number)
  }
  return isHost(host) ? (host, port) : nil
}

private func isHost(_ text: String) -> Bool {
  !text.isEmpty && text.utf8.count <= 253
    && text.utf8.allSatisfy { byte in
      (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        || byte == UInt8(ascii: "-") || byte == UInt8(ascii: ".") || byte == UInt8(ascii: "_")
    }
}
