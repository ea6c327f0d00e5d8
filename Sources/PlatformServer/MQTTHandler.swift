// One connection's bytes: from the socket, or from WebSocket frames, to the service and back.

import Bytes
import NIOCore
import NIOSSL
import PlatformProtocol
import PlatformService

/// The last handler of a connection that speaks MQTT.
final class MQTTHandler: ChannelInboundHandler, HubConnection {
  typealias InboundIn = NIOCore.ByteBuffer
  typealias OutboundOut = NIOCore.ByteBuffer

  private let platform: ServiceActor
  private let isSecure: Bool
  private let isWebSocket: Bool
  private var context: ChannelHandlerContext?
  private var state = State.opening
  /// What came and was not a whole packet, or must wait.
  private var unread: NIOCore.ByteBuffer?
  /// What is written at the next flush.
  private var pending: NIOCore.ByteBuffer?
  var isDirty = false
  var held: HeldOutput?

  private enum State {
    /// The service does not know of it yet.
    case opening
    /// Read from, unless something is in the way.
    case open(ConnectionID, Obstacles)
    /// Not read from any more: the connection ends when what waits for the disk is written.
    case ending(ConnectionID)
    /// The service has been told, or was never asked.
    case closed
  }

  /// What is in the way of reading.
  private struct Obstacles: OptionSet {
    let rawValue: Int
    /// A moment that has not come.
    static let time = Obstacles(rawValue: 1)
    /// A peer that takes no bytes: nothing is read from it either, as every packet wants an answer.
    static let peer = Obstacles(rawValue: 2)
  }

  init(platform: ServiceActor, isSecure: Bool, isWebSocket: Bool) {
    self.platform = platform
    self.isSecure = isSecure
    self.isWebSocket = isWebSocket
  }

  // MARK: - Channel

  func handlerAdded(context: ChannelHandlerContext) {
    self.context = context
    // A WebSocket's channel is active already when this handler is added.
    if context.channel.isActive { open(context) }
  }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    open(context)
    context.fireChannelActive()
  }

  private func open(_ context: ChannelHandlerContext) {
    guard case .opening = state else { return }
    let peer = Peer(
      address: context.remoteAddress?.ipAddress ?? "", port: context.localAddress?.port ?? 0, isSecure: isSecure,
      isWebSocket: isWebSocket)
    let handler = Unchecked(self)
    guard let id = platform.assumeIsolated({ $0.open(handler, peer) }) else {
      state = .closed
      return context.close(promise: nil)
    }
    state = .open(id, [])
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .open = state else { return }
    var buffer = unwrapInboundIn(data)
    if unread != nil {
      unread?.writeBuffer(&buffer)
    } else {
      unread = buffer
    }
    consume()
  }

  /// Hands what came to the service, unless something is in the way, and keeps what it does not take yet.
  private func consume() {
    guard case .open(let id, let obstacles) = state, obstacles.isEmpty, let bytes = unread else { return }
    unread = nil
    var buffer = bytes
    let consumed = platform.assumeIsolated { $0.receive(id, bytes) }
    guard case .open = state else { return }
    buffer.moveReaderIndex(forwardBy: consumed)
    // A copy, so that a few bytes do not keep the large buffer of a read.
    if buffer.readableBytes > 0 { unread = NIOCore.ByteBuffer(buffer: buffer) }
    chooseReading()
  }

  private func chooseReading() {
    let reads = if case .open(_, let obstacles) = state { obstacles.isEmpty } else { false }
    context?.channel.setOption(.autoRead, value: reads).whenFailure { _ in }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    platform.assumeIsolated { $0.hub.flush() }
    context.fireChannelReadComplete()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    switch state {
    case .open(let id, var obstacles):
      let isWritable = context.channel.isWritable
      if isWritable { obstacles.remove(.peer) } else { obstacles.insert(.peer) }
      state = .open(id, obstacles)
      platform.assumeIsolated { $0.setWritable(id, isWritable) }
      if isWritable {
        consume()
        platform.assumeIsolated { $0.hub.flush() }
      }
      chooseReading()
    case .opening, .ending, .closed: break
    }
    context.fireChannelWritabilityChanged()
  }

  func channelInactive(context: ChannelHandlerContext) {
    closed(.byClient)
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if let error = error as? NIOSSLError, case .handshakeFailed = error {
      closed(.handshake)
    } else if error is WebSocketFault {
      closed(.malformed)
    } else {
      closed(.byClient)
    }
    context.close(promise: nil)
  }

  private func closed(_ code: ClosingCode) {
    let old = state
    state = .closed
    switch old {
    case .open(let id, _), .ending(let id): platform.assumeIsolated { $0.closed(id, code) }
    case .opening, .closed: break
    }
  }

  // MARK: - Hub

  func enqueue(_ bytes: Span<UInt8>) {
    guard let context else { return }
    if pending == nil { pending = context.channel.allocator.buffer(capacity: bytes.count) }
    pending?.writeBytes(bytes.bytes)
  }

  func flush() {
    guard let buffer = pending, let context else { return }
    pending = nil
    context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
  }

  func finish() {
    guard let context else { return }
    if case .closed = state { return }
    state = .closed
    unread = nil
    let promise = context.eventLoop.makePromise(of: Void.self)
    context.writeAndFlush(wrapOutboundOut(pending ?? NIOCore.ByteBuffer()), promise: promise)
    pending = nil
    // The peer gets to read what was written last: closing a socket with unread bytes in it would throw that away.
    let channel = context.channel
    promise.futureResult.whenComplete { _ in channel.close(mode: .output, promise: nil) }
    context.eventLoop.scheduleTask(in: ServerLimits.lingerTimeout) { channel.close(promise: nil) }
  }

  func abort() {
    guard let context else { return }
    context.close(promise: nil)
  }

  func stopReading() {
    guard case .open(let id, _) = state else { return }
    state = .ending(id)
    unread = nil
    chooseReading()
  }

  func pause(until moment: Instant) {
    guard let context, case .open(let id, let obstacles) = state else { return }
    // Both moments are cut to milliseconds.
    let delay = max(0, (moment - Moment.now.instant).milliseconds + 1)
    state = .open(id, obstacles.union(.time))
    chooseReading()
    let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
    context.eventLoop.scheduleTask(in: .milliseconds(delay)) { handler.value.resume() }
  }

  private func resume() {
    guard case .open(let id, var obstacles) = state, obstacles.remove(.time) != nil else { return }
    state = .open(id, obstacles)
    consume()
    chooseReading()
    platform.assumeIsolated { $0.hub.flush() }
  }
}

/// A value that stays on the event loop, handed over to code on the same event loop.
struct Unchecked<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}

extension ServiceActor {
  /// Takes a new connection; nil where it is to be closed.
  func open(_ handler: Unchecked<MQTTHandler>, _ peer: Peer) -> ConnectionID? {
    let id = makeConnectionID()
    // Sockets that wait for a full disk are sockets.
    let count = service.connectionCount + hub.endingCount
    guard count < ServiceLimits.connectionsMax + ServiceLimits.connectionsToRefuseMax else { return nil }
    guard service.open(id, peer: peer, now: .now) else { return nil }
    hub.add(handler.value, id)
    return id
  }

  /// Handles bytes of a connection; how many of them were whole packets.
  func receive(_ id: ConnectionID, _ buffer: NIOCore.ByteBuffer) -> Int {
    if hub.isBehind {
      let now = Moment.now
      service.pauseReading(id, until: now.instant + ServerLimits.behindPause, now: now)
      return 0
    }
    return service.receive(id, buffer.readableBytesUInt8Span, now: .now)
  }

  func setWritable(_ id: ConnectionID, _ isWritable: Bool) {
    service.setWritable(id, isWritable, now: .now)
    hub.flush()
  }

  func closed(_ id: ConnectionID, _ code: ClosingCode) {
    service.closed(id, code: code, now: .now)
    hub.remove(id)
    hub.flush()
  }
}
