// What a peer may take its time for: heads and bodies of requests have deadlines as a whole, however steadily their
// bytes come, and a connection that is done with is closed.

import NIOCore
import NIOHTTP1

/// Counts what a peer sends, as it comes from the socket.
final class HTTPByteCounter: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = ByteBuffer

  /// Bytes since the last request's head.
  var count = 0

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    count += unwrapInboundIn(data).readableBytes
    context.fireChannelRead(data)
  }
}

/// Watches the requests of one connection, and closes it where they break the rules for their time and form.
final class HTTPRequestClock: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private enum Phase {
    /// The next head is awaited.
    case head
    /// A body is coming, since then, and so much of it is there.
    case body(since: NIODeadline, byteCount: Int)
    /// The answer is awaited.
    case answer
    /// Nothing more is taken: what the peer still sends is nothing to us.
    case over
  }

  private let counter: HTTPByteCounter
  private let departurePromise: EventLoopPromise<Void>
  private var phase = Phase.head
  private var timer: Scheduled<Void>?
  /// Requests without an answer: a peer need not wait for one before it sends the next.
  private var unansweredCount = 0
  /// Whether the last of them ends the connection.
  private var isLast = false

  init(_ counter: HTTPByteCounter, eventLoop: any EventLoop) {
    self.counter = counter
    departurePromise = eventLoop.makePromise()
  }

  /// Tells when the peer has gone, or will send nothing more. To be asked on the event loop.
  var departure: EventLoopFuture<Void> { departurePromise.futureResult }

  func handlerRemoved(context: ChannelHandlerContext) {
    timer?.cancel()
    departurePromise.succeed()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    if case .over = phase { return }
    switch unwrapInboundIn(data) {
    case .head(let head):
      counter.count = 0
      guard isWellFormed(head) else { return refuse(context, .badRequest) }
      unansweredCount += 1
      isLast = isLast || !head.isKeepAlive
      phase = .body(since: .now(), byteCount: 0)
      schedule(context, in: ServerLimits.bodyCheckInterval)
    case .body(let bytes):
      if case .body(let since, let count) = phase {
        phase = .body(since: since, byteCount: count + bytes.readableBytes)
        guard !isBloated(count + bytes.readableBytes) else { return refuse(context, .badRequest) }
      }
    case .end:
      phase = .answer
      timer?.cancel()
      rest(context)
    }
    context.fireChannelRead(data)
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    // What is around the body's bytes, extensions of chunks for example, may be without end as well.
    if case .body(_, let count) = phase, isBloated(count) { return refuse(context, .badRequest) }
    context.fireChannelReadComplete()
  }

  /// RFC 9112, section 3.2: a request of HTTP/1.1 has one `Host`.
  private func isWellFormed(_ head: HTTPRequestHead) -> Bool {
    let hosts = head.headers["Host"]
    return hosts.count == 1 || (hosts.isEmpty && head.version == .http1_0)
  }

  private func isBloated(_ bodyCount: Int) -> Bool {
    counter.count > ServerLimits.bodyOverheadMax + ServerLimits.bodyOverheadFactor * bodyCount
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(let head):
      if head.headers[canonicalForm: "Connection"].contains("close") { isLast = true }
    case .body: break
    case .end:
      unansweredCount -= 1
      rest(context)
    }
    context.write(data, promise: promise)
  }

  /// What is to happen when all requests have come and are answered.
  private func rest(_ context: ChannelHandlerContext) {
    guard unansweredCount <= 0, case .answer = phase else { return }
    if isLast { return end(context) }
    phase = .head
    schedule(context, in: ServerLimits.httpIdleTimeout)
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if case ChannelEvent.inputClosed? = event as? ChannelEvent { departurePromise.succeed() }
    context.fireUserInboundEventTriggered(event)
  }

  func channelInactive(context: ChannelHandlerContext) {
    timer?.cancel()
    departurePromise.succeed()
    context.fireChannelInactive()
  }

  /// After the last answer: the peer gets to read it, and then the connection is closed, whether the peer does or not.
  private func end(_ context: ChannelHandlerContext) {
    schedule(context, in: ServerLimits.lingerTimeout, isLast: true)
  }

  private func refuse(_ context: ChannelHandlerContext, _ status: HTTPResponseStatus) {
    phase = .over
    // What it still sends waits on its side.
    context.channel.setOption(.autoRead, value: false).whenFailure { _ in }
    let head = HTTPResponseHead(
      version: .http1_1, status: status, headers: ["Connection": "close", "Content-Length": "0"])
    context.write(wrapOutboundOut(.head(head)), promise: nil)
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
    context.close(mode: .output, promise: nil)
    end(context)
  }

  private func schedule(_ context: ChannelHandlerContext, in delay: TimeAmount, isLast: Bool = false) {
    timer?.cancel()
    let me = NIOLoopBound((clock: self, context: context), eventLoop: context.eventLoop)
    timer = context.eventLoop.scheduleTask(in: delay) {
      let (clock, context) = me.value
      if isLast { context.close(promise: nil) } else { clock.check(context) }
    }
  }

  /// Looks whether the peer is too slow.
  private func check(_ context: ChannelHandlerContext) {
    switch phase {
    case .head: context.close(promise: nil)
    case .body(let since, let count):
      let late = (.now() - since - ServerLimits.bodyGrace).nanoseconds / 1_000_000_000
      guard late <= 0 || count >= Int(late) * ServerLimits.bodyBytesPerSecondMin else {
        return refuse(context, .requestTimeout)
      }
      schedule(context, in: ServerLimits.bodyCheckInterval)
    case .answer, .over: break
    }
  }
}

/// Tells when the peer of an HTTP connection has gone, or will send nothing more; fails where it is closed already.
public func clientDeparture(of channel: any Channel) -> EventLoopFuture<Void> {
  channel.eventLoop.submit {
    try channel.pipeline.syncOperations.handler(type: HTTPRequestClock.self).departure
  }.flatMap { $0 }
}
