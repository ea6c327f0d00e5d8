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
  let platform: ServiceActor
  let names: HostNames
  let tls: NIOSSLContext?

  struct Value: ServerChildChannelValue {
    let outcome: EventLoopFuture<ProtocolChooser.Outcome>
    let channel: any Channel
  }

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      let pipeline = channel.pipeline.syncOperations
      if let tls { try pipeline.addHandler(NIOSSLServerHandler(context: tls)) }
      let outcome = channel.eventLoop.makePromise(of: ProtocolChooser.Outcome.self)
      let chooser = ProtocolChooser(
        platform: platform, names: names, isSecure: tls != nil, logger: logger, outcome: outcome)
      var limits = NIOHTTPDecoderLimitConfiguration()
      limits.maxHeaderListSize = ServerLimits.headerBytesMax
      limits.maxHeaderFieldSize = ServerLimits.headerBytesMax
      let decoder = HTTPRequestDecoder(leftOverBytesStrategy: .forwardBytes, limitConfiguration: limits)
      let counter = HTTPByteCounter()
      let handlers: [any RemovableChannelHandler] = [
        HTTPResponseEncoder(), counter, ByteToMessageHandler(decoder), HTTPServerProtocolErrorHandler(),
        HTTPRequestClock(counter, eventLoop: channel.eventLoop),
      ]
      try pipeline.addHandlers(handlers)
      chooser.httpHandlers = handlers
      try pipeline.addHandler(chooser)
      // A peer that never gets to a request is not waited for.
      let timeout = channel.eventLoop.scheduleTask(in: ServerLimits.handshakeTimeout) { channel.close(promise: nil) }
      platform.assumeIsolated { $0.httpConnections.add(channel) }
      let platform = platform
      outcome.futureResult.whenComplete { result in
        timeout.cancel()
        // What speaks MQTT has bounds of its own.
        if case .success(.mqtt) = result { platform.assumeIsolated { $0.httpConnections.remove(channel) } }
      }
      channel.closeFuture.whenComplete { _ in platform.assumeIsolated { $0.httpConnections.remove(channel) } }
      return Value(outcome: outcome.futureResult, channel: channel)
    }
  }

  func handle(value: Value, logger: Logger) async {
    guard let outcome = try? await value.outcome.get() else { return }
    switch outcome {
    case .http(let channel): await handleHTTP(asyncChannel: channel, logger: logger)
    case .mqtt: try? await value.channel.closeFuture.get()
    }
  }
}

/// Looks at the first request of a connection: a WebSocket that offers MQTT becomes one, all else goes on to
/// Hummingbird.
///
/// Not NIO's own handler for upgrades, which loses the request that it declines.
final class ProtocolChooser: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  /// What became of a connection.
  enum Outcome: Sendable {
    case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>)
    case mqtt
  }

  private enum State {
    case first
    /// The WebSocket's handshake, until its end has come.
    case handshake(HTTPRequestHead)
    /// What comes meanwhile are bytes behind the handshake.
    case upgrading([NIOAny])
    case decided
  }

  private let platform: ServiceActor
  private let names: HostNames
  private let isSecure: Bool
  private let logger: Logger
  private let outcome: EventLoopPromise<Outcome>
  private var state = State.first
  /// The handlers in front, which a WebSocket has no use for.
  var httpHandlers: [any RemovableChannelHandler] = []

  init(
    platform: ServiceActor, names: HostNames, isSecure: Bool, logger: Logger, outcome: EventLoopPromise<Outcome>
  ) {
    self.platform = platform
    self.names = names
    self.isSecure = isSecure
    self.logger = logger
    self.outcome = outcome
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch state {
    case .decided: context.fireChannelRead(data)
    case .upgrading(let waiting): state = .upgrading(waiting + [data])
    case .first:
      guard case .head(let head) = unwrapInboundIn(data), answer(to: head) != nil else {
        return goOnWithHTTP(context, data)
      }
      state = .handshake(head)
    case .handshake(let head):
      if case .end = unwrapInboundIn(data) { upgrade(context, head) }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    if case .decided = state {} else { outcome.fail(ChannelError.eof) }
    state = .decided
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // Nobody behind this one knows what to do about it, before it is decided who that is.
    guard case .decided = state else { return context.close(promise: nil) }
    context.fireErrorCaught(error)
  }

  private func goOnWithHTTP(_ context: ChannelHandlerContext, _ first: NIOAny) {
    state = .decided
    do {
      let pipeline = context.pipeline.syncOperations
      try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: isSecure))
      try pipeline.addHandler(HTTPConnectionStateHandler(logger: logger))
      let channel = try NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>(
        wrappingChannelSynchronously: context.channel, configuration: .init(isOutboundHalfClosureEnabled: true))
      outcome.succeed(.http(channel))
      context.fireChannelRead(first)
    } catch {
      outcome.fail(error)
      context.close(promise: nil)
    }
  }

  /// The headers of the answer to a WebSocket's handshake; nil for what is none, or none for MQTT 3.1.1: with that
  /// subprotocol any path will do, without one the path says it. Another site's page gets none either: any page could
  /// talk to a platform on its reader's machine otherwise.
  private func answer(to head: HTTPRequestHead) -> HTTPHeaders? {
    guard head.method == .GET,
      head.headers[canonicalForm: "Upgrade"].contains(where: { $0.lowercased() == "websocket" })
    else { return nil }
    let isForeign = comesFromOtherSite(
      site: value(head, "Sec-Fetch-Site"), origin: value(head, "Origin"), authority: value(head, "Host"))
    guard !isForeign, names.include(value(head, "Host")) else { return nil }
    let offered = head.headers[canonicalForm: "Sec-WebSocket-Protocol"]
    if offered.contains("mqtt") { return ["Sec-WebSocket-Protocol": "mqtt"] }
    let path = head.uri.prefix { $0 != "?" }
    return offered.isEmpty && path == "/mqtt" ? [:] : nil
  }

  private func value(_ head: HTTPRequestHead, _ name: String) -> String? {
    let values = head.headers[name]
    return values.isEmpty ? nil : values.joined(separator: ", ")
  }

  private func upgrade(_ context: ChannelHandlerContext, _ head: HTTPRequestHead) {
    state = .upgrading([])
    let headers = answer(to: head)
    let platform = platform
    let isSecure = isSecure
    let upgrader = NIOTypedWebSocketServerUpgrader<Outcome>(
      maxFrameSize: ServerLimits.frameBytesMax,
      shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(headers) },
      upgradePipelineHandler: { channel, _ in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(WebSocketFrames())
          try pipeline.addHandler(MQTTHandler(platform: platform, isSecure: isSecure, isWebSocket: true))
          return .mqtt
        }
      })
    let channel = context.channel
    let me = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
    upgrader.buildUpgradeResponse(
      channel: channel, upgradeRequest: head, initialResponseHeaders: ["Connection": "upgrade", "Upgrade": "websocket"]
    ).flatMap { headers in
      let (handler, context) = me.value
      let answer = HTTPResponseHead(version: .http1_1, status: .switchingProtocols, headers: headers)
      context.writeAndFlush(handler.wrapOutboundOut(.head(answer)), promise: nil)
      return handler.removeHTTP(channel)
    }.flatMap {
      upgrader.upgrade(channel: channel, upgradeRequest: head)
    }.whenComplete { result in
      let (handler, context) = me.value
      handler.finishUpgrade(context, result)
    }
  }

  private func removeHTTP(_ channel: any Channel) -> EventLoopFuture<Void> {
    EventLoopFuture.andAllSucceed(
      httpHandlers.reversed().map { channel.pipeline.syncOperations.removeHandler($0) }, on: channel.eventLoop)
  }

  private func finishUpgrade(_ context: ChannelHandlerContext, _ result: Result<Outcome, any Error>) {
    guard case .upgrading(let waiting) = state else { return }
    state = .decided
    outcome.completeWith(result)
    guard case .success = result else { return context.close(promise: nil) }
    for data in waiting { context.fireChannelRead(data) }
    context.fireChannelReadComplete()
  }
}
