// The whole configuration of a device's agent, as one file that is brought to the board.

import ArgumentParser
import Foundation
import PlatformClient
import PlatformProtocol
import PlatformServer

/// Where a device's configuration goes, and what it says.
struct ConfigurationOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      Write a whole configuration for the device's agent to this new file, which only its owner can read: who it is, \
      its token, where the platform is, and whom to trust.
      """, valueName: "file"), completion: .file())
  var config: String?
  @Option(
    help: ArgumentHelp(
      "With --config: the address by which the device reaches the platform. (default: found out)", valueName: "host"))
  var host: String?
  @Option(
    help: ArgumentHelp("With --config: where the file will be on the device.", valueName: "path"))
  var installAs = "/etc/mote/mote.conf"

  func validate() throws {
    if config == nil, host != nil { throw ValidationError("--host goes with --config.") }
    guard installAs.hasPrefix("/"), installAs.allSatisfy({ !$0.isNewline }) else {
      throw ValidationError("--install-as wants a path that begins with '/'.")
    }
  }
}

/// What a device's agent is told.
struct DeviceConfiguration {
  let organization: String
  let device: DeviceKey
  let token: String
  /// Where it connects to.
  let broker: Endpoint
  /// The certificates that it trusts, PEM; nil for the system's.
  let authority: String?
  /// Where the file will be.
  let path: String

  /// - Throws: `ClientError` where a file cannot be read, or the token cannot stand in a configuration.
  init(_ device: DeviceKey, token: String, _ options: ConfigurationOptions, _ settings: ApplicationSettings) throws {
    guard token.trimmingCharacters(in: .whitespaces) == token, token.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F })
    else {
      throw ClientError(.configuration, "token", "has blanks at an end, or control characters; no configuration can")
    }
    organization = settings.organization
    self.device = device
    self.token = token
    path = options.installAs
    var broker = settings.broker
    if let host = options.host {
      broker.host = host
    } else if ["127.0.0.1", "::1", "localhost"].contains(broker.host), broker.isSecure {
      // The platform's own machine: its devices are elsewhere.
      guard let address = try localAddresses().first else {
        throw ClientError(.configuration, "address", "this machine has none in a network; expected --host")
      }
      broker.host = address.text
    }
    self.broker = broker
    authority = broker.isSecure ? try settings.caFile.map(readCertificates) : nil
  }

  /// The file's text.
  var text: String {
    var lines = [
      "# Device \(device.deviceID) of type \(device.typeID), for the platform at \(broker).",
      "# It has the device's token: only the user that the agent runs as may read it (chmod 600).",
      "", "[device]", "org = \(organization)", "type = \(device.typeID)", "id = \(device.deviceID)",
      "auth-token = \(token)",
      "", "[server]", "host = \(broker.host)", "port = \(broker.port)",
    ]
    if !broker.isSecure {
      lines += ["# For an agent on the platform's own machine; others want TLS.", "tls = no"]
      lines += ["allow-plaintext-token = yes"]
    } else if authority != nil {
      lines += ["# This file itself: the certificate is at its end.", "ca-file = \(path)"]
    }
    lines += ["", "# 'mote sensors' lists what else there is to read.", "[event status]", "interval = 10s"]
    for (name, source) in [("cpu_usage", "cpu:usage"), ("memory_available", "memory:available"), ("uptime", "uptime")] {
      lines += ["", "[sensor \(name)]", "event = status", "read = \(source)"]
    }
    if let authority { lines += ["", "# Whom the agent trusts.", authority] }
    return lines.map { $0 + "\n" }.joined()
  }

  /// What a person does with the file.
  func explanation(_ file: String) -> String {
    let file = shellWord(file)
    if !broker.isSecure {
      return """
        wrote \(file). On this machine, without TLS ('motectl platform --lan' is for boards):
          mote run --config \(file)
        """
    }
    return """
      wrote \(file). On a board with the agent (README: Put it on a board):
        scp \(file) root@BOARD:\(shellWord(path))
        ssh root@BOARD 'chown mote: \(path) && chmod 600 \(path) && systemctl restart mote'
      """
  }
}

/// The certificates in a file, and nothing else of it.
private func readCertificates(_ file: String) throws(ClientError) -> String {
  guard let data = FileManager.default.contents(atPath: file), let text = String(data: data, encoding: .utf8) else {
    throw ClientError(.configuration, file, "cannot be read")
  }
  var lines: [Substring] = []
  var isInside = false
  for line in text.split(whereSeparator: \.isNewline) {
    if line.hasPrefix("-----BEGIN CERTIFICATE-----") { isInside = true }
    if isInside { lines.append(line) }
    if line.hasPrefix("-----END CERTIFICATE-----") { isInside = false }
  }
  guard !lines.isEmpty else { throw ClientError(.configuration, file, "has no certificate") }
  return lines.joined(separator: "\n")
}
