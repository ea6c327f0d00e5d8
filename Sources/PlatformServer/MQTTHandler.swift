// One connection's bytes: from the socket, or from WebSocket frames, to the service and back.

import Bytes
import NIOCore
import NIOSSL
import PlatformService

/// The last handler of a connection that speaks MQTT.
final class MQTTHandler: ChannelInboundHandler, HubConnection {
  typealias InboundIn = NIOCore.ByteBuffer
  typealias OutboundOut = NIOCore.ByteBuffer

  private let platform: Platform
  private let isSecure: Bool
  private let isWebSocket: Bool
  private var context: ChannelHandlerContext?
  private var id: ConnectionID?
  /// What came and was not a whole packet, or must wait.
  private var unread: NIOCore.ByteBuffer?
  /// What is written at the next flush.
  private var pending: NIOCore.ByteBuffer?
  private var isPaused = false
  /// Whether the peer takes no bytes: then nothing is read from it either, as every packet wants an answer.
  private var isBlocked = false
  private var isClosing = false
  var isDirty = false
  var held: HeldOutput?

  init(platform: Platform, isSecure: Bool, isWebSocket: Bool) {
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
    guard id == nil, !isClosing else { return }
    let peer = Peer(
      address: context.remoteAddress?.ipAddress ?? "", port: context.localAddress?.port ?? 0, isSecure: isSecure,
      isWebSocket: isWebSocket)
    let handler = Unchecked(self)
    id = platform.assumeIsolated { $0.open(handler, peer) }
    if id == nil {
      isClosing = true
      context.close(promise: nil)
    }
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosing, id != nil else { return }
    var buffer = unwrapInboundIn(data)
    if unread != nil {
      unread?.writeBuffer(&buffer)
    } else {
      unread = buffer
    }
    if !isPaused, !isBlocked { consume() }
  }

  /// Hands what came to the service, and keeps what it does not take yet.
  private func consume() {
    guard let id, let bytes = unread else { return }
    unread = nil
    var buffer = bytes
    let consumed = platform.assumeIsolated { $0.receive(id, bytes) }
    guard !isClosing else { return }
    buffer.moveReaderIndex(forwardBy: consumed)
    // A copy, so that a few bytes do not keep the large buffer of a read.
    if buffer.readableBytes > 0 { unread = NIOCore.ByteBuffer(buffer: buffer) }
    chooseReading()
  }

  private func chooseReading() {
    context?.channel.setOption(.autoRead, value: !isPaused && !isBlocked && !isClosing).whenFailure { _ in }
  }

  func channelReadComplete(context: ChannelHandlerContext) {
    platform.assumeIsolated { $0.hub.flush() }
    context.fireChannelReadComplete()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    if let id {
      let isWritable = context.channel.isWritable
      isBlocked = !isWritable
      platform.assumeIsolated { $0.setWritable(id, isWritable) }
      if isWritable, !isPaused {
        consume()
        platform.assumeIsolated { $0.hub.flush() }
      }
      chooseReading()
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
    isClosing = true
    guard let id else { return }
    self.id = nil
    platform.assumeIsolated { $0.closed(id, code) }
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
    guard let context, !isClosing || id != nil else { return }
    isClosing = true
    id = nil
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
    isClosing = true
    unread = nil
    chooseReading()
  }

  func pause(until moment: Instant) {
    guard let context else { return }
    // Both moments are cut to milliseconds.
    let delay = max(0, (moment - Moment.now.instant).milliseconds + 1)
    isPaused = true
    chooseReading()
    let handler = NIOLoopBound(self, eventLoop: context.eventLoop)
    context.eventLoop.scheduleTask(in: .milliseconds(delay)) { handler.value.resume() }
  }

  private func resume() {
    guard isPaused, !isClosing else { return }
    isPaused = false
    if !isBlocked { consume() }
    chooseReading()
    platform.assumeIsolated { $0.hub.flush() }
  }
}

/// A value that stays on the event loop, handed over to code on the same event loop.
struct Unchecked<Value>: @unchecked Sendable {
  let value: Value
  init(_ value: Value) { self.value = value }
}

extension Platform {
  /// Takes a new connection; nil where it is to be closed.
  func open(_ handler: Unchecked<MQTTHandler>, _ peer: Peer) -> ConnectionID? {
    let id = makeConnectionID()
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
