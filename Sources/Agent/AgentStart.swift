// What is logged when the agent starts: who it is, where its memory goes, and what is unsafe about its settings.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform

extension Agent {
  /// Logs the start. `arenas` are those that the agent's memory came from; their terms are written as one sum.
  public mutating func logStart<H: Host & ~Copyable>(
    version: Span<UInt8>, connection: borrowing Arena, configuration: borrowing Arena, _ host: inout H
  ) {
    log.begin(.info, "agent", "starting")
    log.add("version", text: version)
    writeClientIdentifier(of: plan.settings, into: &scratch)
    log.add("client-id", text: scratch)
    writeServer(of: plan.settings, into: &scratch)
    log.add("server", text: scratch)
    log.add("tls", plan.settings.server.tls ? "yes" : "no")
    log.end(to: &host)

    log.begin(.info, "agent", "memory")
    log.add("total", connection.byteCount + configuration.byteCount)
    log.add(termsOf: connection)
    log.add(termsOf: configuration)
    log.end(to: &host)
    warn(&host)
  }

  /// Unsafe choices are allowed, but not forgotten.
  private mutating func warn<H: Host & ~Copyable>(_ host: inout H) {
    if plan.settings.sendsPlaintextToken {
      log.begin(.warning, "server", "plaintext-token")
      log.end(to: &host)
    }
    if plan.settings.leavesServerUnverified {
      log.begin(.warning, "server", "unverified")
      log.end(to: &host)
    }
  }
}

/// Puts the MQTT client identifier together.
func writeClientIdentifier(of settings: borrowing Settings, into buffer: inout ByteBuffer) {
  buffer.removeAll()
  buffer.appendClientIdentifier(
    organization: settings.bytes(settings.identity.organization), type: settings.bytes(settings.identity.type),
    id: settings.bytes(settings.identity.id))
}

private func writeServer(of settings: borrowing Settings, into buffer: inout ByteBuffer) {
  let host = settings.bytes(settings.server.host)
  // RFC 3986, section 3.2.2: an IPv6 address before a port is in brackets.
  let isIPv6 = host.firstIndex(of: UInt8(ascii: ":")) != nil
  buffer.removeAll()
  if isIPv6 { buffer.append(UInt8(ascii: "[")) }
  buffer.append(host)
  if isIPv6 { buffer.append(UInt8(ascii: "]")) }
  buffer.append(UInt8(ascii: ":"))
  buffer.append(decimal: Int(settings.server.port))
}
