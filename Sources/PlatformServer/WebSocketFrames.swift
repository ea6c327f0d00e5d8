// MQTT in WebSocket frames (MQTT 3.1.1, section 6): binary frames, whose borders mean nothing.

import NIOCore
import NIOWebSocket

/// A peer that breaks the rules for MQTT over WebSocket.
enum WebSocketFault: Error {
  /// A frame that is not binary [MQTT-6.0.0-1].
  case notBinary
  /// Not as RFC 6455 has it: without a mask, with reserved bits, or a continuation of nothing.
  case malformed

  /// The code that the peer is told (RFC 6455, section 7.4.1).
  var code: UInt16 {
    switch self {
    case .notBinary: 1003
    case .malformed: 1002
    }
  }
}

/// Takes bytes out of frames, and puts bytes into them.
final class WebSocketFrames: ChannelDuplexHandler {
  typealias InboundIn = WebSocketFrame
  typealias InboundOut = ByteBuffer
  typealias OutboundIn = ByteBuffer
  typealias OutboundOut = WebSocketFrame

  private var isClosing = false
  /// Whether frames of the current message are still to come.
  private var isInMessage = false

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isClosing else { return }
    var frame = unwrapInboundIn(data)
    if let fault = fault(frame) {
      sendClose(context, ByteBuffer(integer: fault.code))
      return context.fireErrorCaught(fault)
    }
    if let key = frame.maskKey { frame.data.webSocketUnmask(key) }
    switch frame.opcode {
    case .binary, .continuation:
      isInMessage = !frame.fin
      if frame.data.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(frame.data)) }
    case .ping:
      let pong = WebSocketFrame(fin: true, opcode: .pong, data: frame.data)
      context.writeAndFlush(wrapOutboundOut(pong), promise: nil)
    case .connectionClose:
      sendClose(context, frame.data)
      context.close(promise: nil)
    default: break
    }
  }

  /// What is wrong with a frame (RFC 6455, sections 5.1, 5.2, 5.4 and 5.5).
  private func fault(_ frame: WebSocketFrame) -> WebSocketFault? {
    guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else { return .malformed }
    switch frame.opcode {
    case .binary: return isInMessage ? .malformed : nil
    case .continuation: return isInMessage ? nil : .malformed
    case .ping, .pong, .connectionClose: return frame.fin && frame.length <= 125 ? nil : .malformed
    case .text: return .notBinary
    default: return .malformed
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
