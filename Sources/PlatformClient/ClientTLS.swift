// TLS as a client: the same for MQTT and HTTP.

import NIOCore
import NIOSSL

/// TLS to the servers of one platform.
struct ClientTLS: Sendable {
  private let context: NIOSSLContext

  /// - Throws: where the CA file cannot be used.
  init(_ settings: ApplicationSettings, verifies: Bool) throws(ClientError) {
    var configuration = TLSConfiguration.makeClientConfiguration()
    configuration.minimumTLSVersion = .tlsv12
    if !verifies { configuration.certificateVerification = .none }
    if let file = settings.caFile { configuration.trustRoots = .file(file) }
    do {
      context = try NIOSSLContext(configuration: configuration)
    } catch {
      let place = settings.caFile ?? "the system's certificates"
      throw ClientError(.configuration, place, "expected a readable PEM file of certificates to trust")
    }
  }

  /// Adds TLS to a connection to `host`. An address has no server name; its certificate must name the address.
  func add(to channel: any Channel, host: String) throws {
    let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
    try channel.pipeline.syncOperations.addHandler(
      NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host))
  }
}
