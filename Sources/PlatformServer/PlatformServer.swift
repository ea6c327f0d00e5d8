// The platform's listeners, on one event loop.

import Bytes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import PlatformService
import PlatformStore

/// Where the platform listens, and what it keeps. A port of 0 means any that is free; nil means no listener.
public struct ServerConfiguration: Sendable {
  /// The address to listen on.
  public var address = "127.0.0.1"
  /// MQTT without TLS.
  public var mqttPort: Int?
  /// MQTT over TLS.
  public var mqttsPort: Int?
  /// HTTP, and MQTT in WebSockets, without TLS.
  public var httpPort: Int?
  /// The same over TLS.
  public var httpsPort: Int?
  /// The certificate chain, PEM, and its key.
  public var certificate: (chain: String, key: String)?
  /// The host names, besides addresses and `localhost`, that HTTP requests may be for.
  public var names: [String] = []
  /// The folder of the database; nil for memory.
  public var folder: String?

  /// Whether there is anything to listen to.
  public var hasListener: Bool { [mqttPort, mqttsPort, httpPort, httpsPort].contains { $0 != nil } }

  /// A configuration without listeners.
  public init() {}
}

/// A platform that listens.
public final class PlatformServer: Sendable {
  /// What other code calls.
  public let platform: ServiceActor
  /// The host names that HTTP requests may be for.
  public let hostNames: HostNames
  private let configuration: ServerConfiguration
  private let group: MultiThreadedEventLoopGroup
  private let writer: StoreWriter?
  private let tls: NIOSSLContext?
  private let logger: Logger

  /// Opens the database and makes the platform; listens to nothing yet.
  ///
  /// - Throws: where the database or the certificate cannot be read.
  public init(
    _ configuration: ServerConfiguration, service: ServiceConfiguration, logger: Logger
  ) throws {
    self.configuration = configuration
    self.logger = logger
    hostNames = HostNames(configuration.names + certifiedNames(configuration.certificate?.chain))
    tls = try configuration.certificate.map { try makeTLSContext(chain: $0.chain, key: $0.key) }
    let store = try configuration.folder.map { try PlatformStore(folder: $0) }
    let state = try store?.load() ?? StoredState()
    writer = store.map { StoreWriter($0) }
    group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    platform = ServiceActor(service, state: state, store: writer, eventLoop: group.next(), logger: logger)
  }

  /// An open listener: `mqtt`, `mqtts`, `http` or `https`, and where it is.
  public struct Listener: Sendable {
    /// What is spoken there.
    public let name: String
    /// The address.
    public let address: String
    /// The port.
    public let port: Int
  }

  /// Listens, calls `ready` once when all listeners are open, and serves until it is cancelled.
  ///
  /// - Throws: where a port is taken, for example.
  public func run<Responder: HTTPResponder>(
    responder: Responder, ready: @escaping @Sendable ([Listener]) async -> Void
  ) async throws where Responder.Context: InitializableFromSource<ApplicationRequestContextSource> {
    var listeners: [Listener] = []
    var channels: [any Channel] = []
    for (name, port, isSecure) in [("mqtt", configuration.mqttPort, false), ("mqtts", configuration.mqttsPort, true)] {
      guard let port else { continue }
      let channel = try await listen(port, isSecure: isSecure)
      channels.append(channel)
      listeners.append(listener(name, channel))
    }
    let opened = listeners
    let clock = group.next().scheduleRepeatedTask(
      initialDelay: ServerLimits.tickInterval, delay: ServerLimits.tickInterval
    ) { [platform] _ in platform.assumeIsolated { $0.tick() } }
    defer { clock.cancel() }
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      let (found, foundContinuation) = AsyncStream.makeStream(of: Listener.self)
      var count = 0
      for (name, port, tls) in [("http", configuration.httpPort, nil), ("https", configuration.httpsPort, tls)] {
        guard let port, name == "http" || tls != nil else { continue }
        count += 1
        tasks.addTask {
          try await self.serveHTTP(responder, port: port, tls: tls) { foundContinuation.yield(self.listener(name, $0)) }
        }
      }
      let httpCount = count
      tasks.addTask {
        var all = opened
        var iterator = found.makeAsyncIterator()
        while all.count < opened.count + httpCount, let next = await iterator.next() { all.append(next) }
        await ready(all)
        // Until it is cancelled.
        for await _ in found {}
      }
      try await tasks.waitForAll()
    }
    for channel in channels { try? await channel.close() }
  }

  private func listener(_ name: String, _ channel: any Channel) -> Listener {
    Listener(name: name, address: channel.localAddress?.ipAddress ?? "", port: channel.localAddress?.port ?? 0)
  }

  private func listen(_ port: Int, isSecure: Bool) async throws -> any Channel {
    let platform = platform
    let tls = tls
    return try await ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: ServerLimits.backlog)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      // Small packets are not kept back for larger ones.
      .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
      .childChannelOption(
        .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 1024, maximum: 32_768)
      )
      .childChannelOption(
        .writeBufferWaterMark,
        value: .init(low: ServerLimits.writeBufferMarks.low, high: ServerLimits.writeBufferMarks.high)
      )
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          if isSecure, let tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls)) }
          try channel.pipeline.syncOperations.addHandler(
            MQTTHandler(platform: platform, isSecure: isSecure, isWebSocket: false))
        }
      }
      .bind(host: configuration.address, port: port).get()
  }

  private func serveHTTP<Responder: HTTPResponder>(
    _ responder: Responder, port: Int, tls: NIOSSLContext?, ready: @escaping @Sendable (any Channel) -> Void
  ) async throws where Responder.Context: InitializableFromSource<ApplicationRequestContextSource> {
    var quiet = Logger(label: "http")
    // What it says of errors is how the tasks of connections end when the platform stops.
    quiet.logLevel = .critical
    let platform = platform
    let names = hostNames
    let application = Application(
      responder: responder,
      server: HTTPServerBuilder { HTTPChannel(responder: $0, platform: platform, names: names, tls: tls) },
      configuration: .init(
        address: .hostname(configuration.address, port: port), serverName: "mote", backlog: Int(ServerLimits.backlog),
        availableConnectionsDelegate: MaximumAvailableConnections(ServerLimits.httpConnectionsMax)),
      onServerRunning: { ready($0) }, eventLoopGroupProvider: .shared(group), logger: quiet)
    try await application.run()
  }

  /// Closes all connections, and returns when all that was stored is on the disk and the last bytes are on their way.
  /// The program is to end then: what serves HTTP is still there.
  public func shutDown() async throws {
    await platform.shutDown()
    try await Task.sleep(for: ServerLimits.farewell)
    try await writer?.shutDown()
  }
}

/// The host names that a certificate is for: whoever comes by one of them means this platform.
private func certifiedNames(_ chain: String?) -> [String] {
  guard let chain, let certificate = try? NIOSSLCertificate.fromPEMFile(chain).first else { return [] }
  return certificate._subjectAlternativeNames().filter { $0.nameType == .dnsName }.map { name in
    let text = String(decoding: name.contents, as: UTF8.self)
    return text.hasPrefix("*.") ? String(text.dropFirst(2)) : text
  }
}

/// TLS with a certificate of files.
private func makeTLSContext(chain: String, key: String) throws -> NIOSSLContext {
  let certificates = try NIOSSLCertificate.fromPEMFile(chain).map { NIOSSLCertificateSource.certificate($0) }
  var configuration = TLSConfiguration.makeServerConfiguration(
    certificateChain: certificates, privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
  configuration.minimumTLSVersion = .tlsv12
  return try NIOSSLContext(configuration: configuration)
}

extension ServiceActor {
  func tick() {
    service.tick(now: .now)
    hub.flush()
    giveMemoryBack()
  }

  /// Closes all connections, with their last bytes, and waits for the disk.
  func shutDown() async {
    service.shutDown(now: .now)
    hub.flush()
    try? await hub.waitUntilStored()
  }
}
