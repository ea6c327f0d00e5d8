// What is logged when the agent starts: who it is, where its memory goes, and what is unsafe about its settings.

import AgentConfiguration
import Bytes
import HostInterface

extension LogWriter {
  /// Writes who starts and whom it will connect to.
  mutating func writeStart<H: HostLog & ~Copyable>(
    of settings: borrowing Settings, version: Span<UInt8>, to host: inout H
  ) {
    begin(.info, "agent starting")
    add("version", text: version)
    addClientIdentifier(of: settings)
    addServer(of: settings)
    add("tls", settings.server.tls ? "yes" : "no")
    end(to: &host)
  }

  /// Writes what start-up memory is for: the terms of both arenas as one sum.
  mutating func writeMemory<H: HostLog & ~Copyable>(
    connection: borrowing Arena, configuration: borrowing Arena, to host: inout H
  ) {
    begin(.info, "agent memory")
    add("total", connection.byteCount + configuration.byteCount)
    add(termsOf: connection)
    add(termsOf: configuration)
    end(to: &host)
  }

  /// Unsafe choices are allowed, but not forgotten.
  mutating func warn<H: HostLog & ~Copyable>(about settings: borrowing Settings, to host: inout H) {
    if settings.sendsPlaintextToken {
      begin(.warning, "server plaintext-token")
      end(to: &host)
    }
    if settings.leavesServerUnverified {
      begin(.warning, "server unverified")
      end(to: &host)
    }
  }
}

extension LogWriter {
  /// Writes that a new configuration is at work; `connection` says what becomes of the present one.
  mutating func writeReloaded<H: HostLog & ~Copyable>(connection: StaticString, to host: inout H) {
    write(.info, "agent reloaded", "connection", connection, to: &host)
  }

  /// Writes that a new configuration was wrong and the present one stays.
  mutating func writeReloadRefused<H: HostLog & ~Copyable>(to host: inout H) {
    write(.error, "agent reload-refused", "configuration", "kept", to: &host)
  }
}
