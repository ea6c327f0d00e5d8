// MQTT in WebSocket frames (MQTT 3.1.1, section 6): binary frames, whose borders mean nothing.

import NIOCore
import NIOWebSocket

/// A peer that breaks the rules for MQTT over WebSocket.
enum WebSocketFault: Error {
  /// A frame that is not binary [MQTT-6.0.0-1].
  case notBinary
}

/// Takes bytes out of frames, and puts bytes into them.
final class WebSocketFrames: ChannelDuplexHandler {
  typealias InboundIn = WebSocketFrame
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = WebSocketFrame

  private var isClosing = false

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var frame = unwrapInboundIn(data)
    if let key = frame.maskKey { frame.data.webSocketUnmask(key) }
    switch frame.opcode {
    case .binary, .continuation:
      if frame.data.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(frame.data)) }
    case .ping:
      let pong = WebSocketFrame(fin: true, opcode: .pong, data: frame.data)
      context.writeAndFlush(wrapOutboundOut(pong), promise: nil)
    case .connectionClose:
      sendClose(context, frame.data)
      context.close(promise: nil)
    case .pong: break
    default: context.fireErrorCaught(WebSocketFault.notBinary)
    }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let bytes = unwrapOutboundIn(data)
    guard bytes.readableBytes > 0 else {
      promise?.succeed()
      return
    }
    context.write(wrapOutboundOut(WebSocketFrame(fin: true, opcode: .binary, data: bytes)), promise: promise)
  }

  private func sendClose(_ context: ChannelHandlerContext, _ data: ByteBuffer) {
    guard !isClosing else { return }
    isClosing = true
    context.writeAndFlush(
      wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, data: data)), promise: nil)
  }

  func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
    // 1000: closed on purpose (RFC 6455, section 7.4.1).
    sendClose(context, ByteBuffer(integer: UInt16(1000)))
    context.close(mode: mode, promise: promise)
  }
}
