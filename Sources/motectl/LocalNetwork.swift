// `motectl platform --lan`: an authority of its own, a certificate, and what a person does next.

import Foundation
import Logging
import PlatformCertificates
import PlatformClient
import PlatformServer

/// Where `motectl platform --lan` keeps what it has, where nothing else is said; nil for a user without a home.
func usualDataFolder(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String? {
  func value(_ name: String) -> String? { environment[name].flatMap { $0.hasPrefix("/") ? $0 : nil } }
  return (value("XDG_DATA_HOME") ?? value("HOME").map { $0 + "/.local/share" }).map { $0 + "/motectl/platform" }
}

/// A platform for the machines of this network.
struct LocalNetwork {
  /// The files in the platform's folder.
  enum FileName {
    static let authority = "authority.pem"
    static let authorityKey = "authority-key.pem"
    static let certificate = "certificate.pem"
    static let certificateKey = "certificate-key.pem"
    /// How this machine's own tools reach the platform.
    static let profile = "profile"

    static let all = [authority, authorityKey, certificate, certificateKey, profile]
  }

  private let folder: String
  /// Where others reach it.
  private let addresses: [String]
  /// Where this machine does.
  private let ownAddress: String

  /// The certificate and its key, for the listeners.
  var certificate: (String, String) { (path(FileName.certificate), path(FileName.certificateKey)) }

  /// Finds the authority and the certificate in `folder`, or makes them there.
  ///
  /// - Parameter address: The address that is listened to; all of this machine's for `0.0.0.0` and `::`.
  /// - Throws: `RegistrationsError`, `CertificateError`.
  init(in folder: String, organization: String, listeningTo address: String, _ logger: Logger) throws {
    let isEverywhere = address == "0.0.0.0" || address == "::"
    let found = isEverywhere ? try localAddresses().filter { $0.isIPv4 || address == "::" } : []
    self.folder = URL(fileURLWithPath: folder).path
    addresses = isEverywhere ? found.map(\.text) : [address]
    ownAddress = isEverywhere ? "127.0.0.1" : address
    var names = ServerNames(names: Set(["localhost"] + localNames()), addresses: Set(found.map(\.bytes)))
    for own in ["127.0.0.1", "::1", address] {
      if let bytes = addressBytes(own) { names.addresses.insert(bytes) } else { names.names.insert(own) }
    }
    try prepare(names, organization, logger)
  }

  private func path(_ name: String) -> String { folder + "/" + name }

  private func prepare(_ names: ServerNames, _ organization: String, _ logger: Logger) throws {
    let authority = try openAuthority(organization, logger)
    if let kept = try read(FileName.certificate, FileName.certificateKey),
      authority.vouches(for: kept, of: names, now: Date())
    {
      return
    }
    let issued = try authority.issue(for: names, now: Date())
    // Of a pair that does not belong together the next start makes a new one.
    try writeSecret(issued.key, to: path(FileName.certificateKey))
    try writeSecret(issued.certificate, to: path(FileName.certificate))
    logger.info("tls certificate-made file=\(quoted(path(FileName.certificate)))")
  }

  /// Devices trust the authority for years: where there is one, no other takes its place unasked.
  private func openAuthority(_ organization: String, _ logger: Logger) throws -> CertificateAuthority {
    if FileManager.default.fileExists(atPath: path(FileName.authority)) {
      do {
        guard let kept = try read(FileName.authority, FileName.authorityKey) else {
          throw CertificateError(description: "its key, \(FileName.authorityKey), is missing")
        }
        return try CertificateAuthority(kept)
      } catch let error as CertificateError {
        throw RegistrationsError(
          description: "the authority \(path(FileName.authority)) cannot be used: \(error.description)")
      }
    }
    let authority = try CertificateAuthority(of: organization, now: Date())
    let kept = try authority.kept()
    try writeSecret(kept.key, to: path(FileName.authorityKey))
    try writeSecret(kept.certificate, to: path(FileName.authority))
    logger.info("tls authority-made file=\(quoted(path(FileName.authority)))")
    return authority
  }

  private func read(_ certificate: String, _ key: String) throws -> CertifiedKey? {
    let files = FileManager.default
    guard files.fileExists(atPath: path(certificate)), files.fileExists(atPath: path(key)) else { return nil }
    do throws(ClientError) {
      return CertifiedKey(certificate: try readSecret(path(certificate)), key: try readSecret(path(key)))
    } catch {
      throw RegistrationsError(description: error.description)
    }
  }

  /// Writes the profile for this machine's tools.
  ///
  /// - Throws: `RegistrationsError`, `ClientError`.
  func writeProfile(_ listeners: [PlatformServer.Listener]) throws {
    // A person may keep the key elsewhere.
    guard FileManager.default.fileExists(atPath: path("api-key")) else { return }
    let key = try readProfile(path("api-key"))
    var lines = ["# Written at each start of 'motectl platform --lan': how this machine's own tools reach it."]
    for (name, scheme, setting) in [("mqtts", "mqtts", "server"), ("https", "https", "api")] {
      guard let listener = listeners.first(where: { $0.name == name }) else { continue }
      lines.append("\(setting) = \(Endpoint(scheme, ownAddress, listener.port))")
    }
    lines.append("ca-file = \(path(FileName.authority))")
    for name in [SettingName.key, .token] {
      if let value = key[name] { lines.append("\(name.rawValue) = \(value.text)") }
    }
    try writeSecret(lines.map { $0 + "\n" }.joined(), to: path(FileName.profile))
  }

  /// What a person does next.
  func explanation(_ listeners: [PlatformServer.Listener], isUsualFolder: Bool) -> String {
    func port(_ name: String) -> Int? { listeners.first { $0.name == name }?.port }
    var lines = [""]
    if addresses.isEmpty { lines.append("This machine has no address in any network yet; see 'ip address'.") }
    for address in addresses {
      if let port = port("mqtts") { lines.append("  Boards:    \(Endpoint("mqtts", address, port))") }
      if let port = port("https") { lines.append("  Browsers:  \(Endpoint("https", address, port))/fleet/") }
    }
    let profile = isUsualFolder ? "" : " --profile \(shellWord(path(FileName.profile)))"
    lines += [
      "",
      "Boards connect over TLS, with tokens. To add one, in another terminal of this machine:",
      "  motectl device add edge NAME --config mote.conf\(profile)",
      "Browsers are to trust \(path(FileName.authority));",
      "log in there with the key and the token in \(path("api-key")).",
    ]
    return lines.joined(separator: "\n")
  }
}

/// A word as a shell takes it.
func shellWord(_ text: String) -> String {
  let isPlain = !text.isEmpty && text.allSatisfy { $0.isLetter || $0.isNumber || "/._-+@:".contains($0) }
  return isPlain ? text : "'" + text.replacingOccurrences(of: "'", with: #"'\''"#) + "'"
}
