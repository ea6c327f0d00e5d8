// Serves one file over HTTP to devices that fetch it as an image, and tells how far each is. Every device has a URL of
// its own with a secret in it: that is how it is known who fetches, and why nobody else can.

import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import PlatformImages
import PlatformProtocol

/// Bounds of an image server.
public enum ImageServerLimits {
  /// Connections at a time; further ones are closed.
  public static let connectionsMax = 256
  /// Bytes read and sent at a time.
  public static let chunkBytes = 65_536
  /// How long a connection may be silent.
  public static let idleTimeout = TimeAmount.seconds(60)
}

/// How far a device is with fetching the image.
public struct ImageProgress: Equatable, Sendable {
  /// The device.
  public let device: DeviceKey
  /// How far into the file it is, in bytes.
  public let byteCount: Int64
}

/// A server of one file.
public final class ImageServer: Sendable {
  /// The file's size in bytes.
  public let byteCount: Int64
  /// The file's SHA-256 in hexadecimal digits.
  public let digest: String
  /// The port it listens on.
  public let port: Int
  /// How far devices are.
  public let progress: AsyncStream<ImageProgress>
  private let listener: any Channel
  private let secret: String
  private let fileName: String

  /// Reads the file once for its digest, and serves it.
  ///
  /// - Throws: `ClientError` where the file cannot be read, or nothing can listen there.
  public init(file path: String, address: String, port: Int) async throws {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      throw ClientError(.noInput, path, "cannot be read; expected an image")
    }
    (byteCount, digest) = try measure(handle, path)
    secret = (0..<4).map { _ in String(UInt32.random(in: .min ... .max), radix: 36) }.joined()
    fileName = pathPart((path as NSString).lastPathComponent)
    let (stream, continuation) = AsyncStream.makeStream(of: ImageProgress.self, bufferingPolicy: .bufferingNewest(1024))
    progress = stream
    let image = Image(path: path, byteCount: byteCount, prefix: "/\(secret)/", progress: continuation)
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let connections = NIOLoopBoundBox.makeBoxSendingValue(0, eventLoop: eventLoop)
    do {
      listener = try await ServerBootstrap(group: eventLoop)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .childChannelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(IdleStateHandler(allTimeout: ImageServerLimits.idleTimeout))
            try pipeline.configureHTTPServerPipeline()
            try pipeline.addHandler(ImageHandler(image, connections))
          }
        }
        .bind(host: address, port: port).get()
    } catch {
      throw ClientError(network: error, at: "http://\(address):\(port)")
    }
    self.port = listener.localAddress?.port ?? port
  }

  /// The URL of the image for one device; `host` is this machine as the device knows it.
  public func url(for device: DeviceKey, host: String) -> String {
    let host = host.contains(":") ? "[\(host)]" : host
    return "http://\(host):\(port)/\(secret)/\(pathPart(device.typeID))/\(pathPart(device.deviceID))/\(fileName)"
  }

  /// Stops listening. Downloads that are under way end with the program.
  public func close() async { try? await listener.close() }
}

private func measure(_ handle: FileHandle, _ path: String) throws -> (Int64, String) {
  var digest = SHA256Digest()
  var byteCount: Int64 = 0
  do {
    while let data = try handle.read(upToCount: 1 << 20), !data.isEmpty {
      byteCount += Int64(data.count)
      digest.update(Array(data))
    }
  } catch {
    throw ClientError(.noInput, path, "cannot be read; expected an image")
  }
  guard byteCount > 0 else { throw ClientError(.noInput, path, "is empty; expected an image") }
  return (byteCount, digest.finish())
}

/// What is served.
private final class Image: Sendable {
  let path: String
  let byteCount: Int64
  let prefix: String
  let progress: AsyncStream<ImageProgress>.Continuation

  init(path: String, byteCount: Int64, prefix: String, progress: AsyncStream<ImageProgress>.Continuation) {
    self.path = path
    self.byteCount = byteCount
    self.prefix = prefix
    self.progress = progress
  }

  /// The device whose URL this is; nil for any other.
  func device(_ uri: String) -> DeviceKey? {
    guard uri.hasPrefix(prefix) else { return nil }
    let parts = uri.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 3, let type = String(parts[0]).removingPercentEncoding,
      let id = String(parts[1]).removingPercentEncoding
    else { return nil }
    return DeviceKey(typeID: type, deviceID: id)
  }
}

/// Answers the requests of one connection.
private final class ImageHandler: ChannelInboundHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias OutboundOut = HTTPServerResponsePart

  private let image: Image
  /// How many there are, on the one event loop of the server.
  private let connections: NIOLoopBoundBox<Int>
  private var head: HTTPRequestHead?

  init(_ image: Image, _ connections: NIOLoopBoundBox<Int>) {
    self.image = image
    self.connections = connections
  }

  func channelActive(context: ChannelHandlerContext) {
    connections.value += 1
    if connections.value > ImageServerLimits.connectionsMax { context.close(promise: nil) }
    context.fireChannelActive()
  }

  func channelInactive(context: ChannelHandlerContext) {
    connections.value -= 1
    context.fireChannelInactive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head): self.head = head
    case .body: break
    case .end:
      guard let head else { return }
      self.head = nil
      answer(head, context)
    }
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is IdleStateHandler.IdleStateEvent { context.close(promise: nil) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func answer(_ head: HTTPRequestHead, _ context: ChannelHandlerContext) {
    guard let device = image.device(head.uri) else { return refuse(.notFound, head, context) }
    guard head.method == .GET || head.method == .HEAD else { return refuse(.methodNotAllowed, head, context) }
    var headers: HTTPHeaders = ["Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"]
    let range: Range<Int64>
    var status = HTTPResponseStatus.ok
    switch RequestedRange(head.headers.first(name: "Range"), of: image.byteCount) {
    case .whole: range = 0..<image.byteCount
    case .part(let part):
      range = part
      status = .partialContent
      headers.add(
        name: "Content-Range", value: "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(image.byteCount)")
    case .unsatisfiable:
      headers.add(name: "Content-Range", value: "bytes */\(image.byteCount)")
      return refuse(.rangeNotSatisfiable, head, context, headers)
    }
    headers.add(name: "Content-Length", value: "\(range.count)")
    guard let file = FileHandle(forReadingAtPath: image.path) else {
      return refuse(.internalServerError, head, context)
    }
    context.write(
      wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: status, headers: headers))), promise: nil)
    let isBodyWanted = head.method == .GET
    send(Sending(device: device, file: file, rest: isBodyWanted ? range : 0..<0), context, closes: !head.isKeepAlive)
  }

  private func refuse(
    _ status: HTTPResponseStatus, _ head: HTTPRequestHead, _ context: ChannelHandlerContext,
    _ headers: HTTPHeaders = [:]
  ) {
    var headers = headers
    headers.add(name: "Content-Length", value: "0")
    context.write(
      wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: status, headers: headers))), promise: nil)
    finish(context, closes: !head.isKeepAlive)
  }

  private struct Sending {
    let device: DeviceKey
    let file: FileHandle
    var rest: Range<Int64>
  }

  /// Sends the next piece, and goes on when the connection has taken it.
  private func send(_ sending: Sending, _ context: ChannelHandlerContext, closes: Bool) {
    guard !sending.rest.isEmpty else { return finish(context, closes: closes) }
    let count = min(Int(sending.rest.count), ImageServerLimits.chunkBytes)
    guard (try? sending.file.seek(toOffset: UInt64(sending.rest.lowerBound))) != nil,
      let data = try? sending.file.read(upToCount: count), !data.isEmpty
    else {
      // The file has become shorter: the length that was promised does not come.
      return context.close(promise: nil)
    }
    var next = sending
    next.rest = (sending.rest.lowerBound + Int64(data.count))..<sending.rest.upperBound
    let buffer = context.channel.allocator.buffer(bytes: data)
    let written = context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(buffer))))
    let state = NIOLoopBound((self, context, next), eventLoop: context.eventLoop)
    written.whenSuccess {
      let (handler, context, next) = state.value
      handler.image.progress.yield(ImageProgress(device: next.device, byteCount: next.rest.lowerBound))
      handler.send(next, context, closes: closes)
    }
  }

  private func finish(_ context: ChannelHandlerContext, closes: Bool) {
    let sent = context.writeAndFlush(wrapOutboundOut(.end(nil)))
    guard closes else { return }
    let channel = context.channel
    sent.whenComplete { _ in channel.close(promise: nil) }
  }
}
