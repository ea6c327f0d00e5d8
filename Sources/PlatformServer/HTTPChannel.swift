// Connections to the HTTP port: requests for Hummingbird, or WebSockets that carry MQTT.

import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOSSL
import NIOWebSocket
import PlatformService

/// Sets up one connection to the HTTP port.
struct HTTPChannel: HTTPChannelHandler {
  let responder: HTTPChannelHandler.Responder
  let platform: Platform
  let tls: NIOSSLContext?

  /// What became of a connection.
  enum Outcome: Sendable {
    case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>)
    case mqtt
  }

  struct Value: ServerChildChannelValue {
    let outcome: EventLoopFuture<Outcome>
    let channel: any Channel
  }

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      let pipeline = channel.pipeline.syncOperations
      if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
      let upgrade = NIOTypedHTTPServerUpgradeConfiguration<Outcome>(
        upgraders: [webSocketUpgrader]
      ) { channel in
        channel.eventLoop.makeCompletedFuture { .http(try addHTTP(to: channel, logger)) }
      }
      var configuration = NIOUpgradableHTTPServerPipelineConfiguration(upgradeConfiguration: upgrade)
      configuration.enablePipelining = false
      configuration.enableResponseHeaderValidation = false
      configuration.decoderConfiguration.maxHeaderListSize = ServerLimits.headerBytesMax
      configuration.decoderConfiguration.maxHeaderFieldSize = ServerLimits.headerBytesMax
      let outcome = try pipeline.configureUpgradableHTTPServerPipeline(configuration: configuration)
      // A peer that never gets to a request is not waited for.
      let timeout = channel.eventLoop.scheduleTask(in: ServerLimits.handshakeTimeout) { channel.close(promise: nil) }
      outcome.whenComplete { _ in timeout.cancel() }
      return Value(outcome: outcome, channel: channel)
    }
  }

  private func addHTTP(
    to channel: any Channel, _ logger: Logger
  ) throws -> NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart> {
    let pipeline = channel.pipeline.syncOperations
    try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: tls != nil))
    try pipeline.addHandler(HTTPConnectionStateHandler(idleTimeout: ServerLimits.httpIdleTimeout, logger: logger))
    return try NIOAsyncChannel(
      wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
  }

  private var webSocketUpgrader: NIOTypedWebSocketServerUpgrader<Outcome> {
    NIOTypedWebSocketServerUpgrader(
      maxFrameSize: ServerLimits.frameBytesMax,
      shouldUpgrade: { channel, head in channel.eventLoop.makeSucceededFuture(answer(to: head)) },
      upgradePipelineHandler: { channel, _ in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(WebSocketFrames())
          try pipeline.addHandler(MQTTHandler(platform: platform, isSecure: tls != nil, isWebSocket: true))
          return .mqtt
        }
      })
  }

  /// The headers of the answer to a WebSocket's handshake; nil to refuse it. Only MQTT 3.1.1 is spoken: with its
  /// subprotocol any path will do, without one the path says it.
  private func answer(to head: HTTPRequestHead) -> HTTPHeaders? {
    let offered = head.headers[canonicalForm: "Sec-WebSocket-Protocol"]
    if offered.contains("mqtt") { return ["Sec-WebSocket-Protocol": "mqtt"] }
    let path = head.uri.prefix { $0 != "?" }
    return offered.isEmpty && path == "/mqtt" ? [:] : nil
  }

  func handle(value: Value, logger: Logger) async {
    guard let outcome = try? await value.outcome.get() else { return }
    switch outcome {
    case .http(let channel): await handleHTTP(asyncChannel: channel, logger: logger)
    case .mqtt: try? await value.channel.closeFuture.get()
    }
  }
}
