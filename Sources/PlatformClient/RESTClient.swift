// HTTP calls to a platform. Each has a connection of its own: an operator makes few, seconds apart.

import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import PlatformProtocol

/// An answer over HTTP.
public struct RESTAnswer: Equatable, Sendable {
  /// The status code.
  public let status: Int
  /// What came with it.
  public let body: [UInt8]
  /// Our address on the connection: where the platform's side of the network can reach us.
  public let localAddress: String?

  /// The body as JSON; nil where it is none.
  public var json: JSONValue? { try? JSONValue(body.span) }
}

/// Calls of a platform's REST interface.
public struct RESTClient: Sendable {
  /// Who calls, and where.
  public let settings: ApplicationSettings
  private let tls: ClientTLS?
  private let pace = CallPace()

  /// A caller.
  ///
  /// - Throws: where the CA file cannot be used.
  public init(_ settings: ApplicationSettings) throws(ClientError) {
    self.settings = settings
    tls =
      settings.api.isSecure ? try ClientTLS(settings, verifies: settings.verifiesServer && settings.verifiesAPI) : nil
  }

  /// Makes a call. `path` begins behind `/api/v0002`; its parts are percent-encoded already.
  ///
  /// - Throws: where nobody answers, or the status is not 2xx.
  public func call(_ method: HTTPMethod, _ path: String, body: JSONValue? = nil) async throws(ClientError) -> RESTAnswer
  {
    let uri = "/api/v0002\(path)"
    let place = "\(method.rawValue) \(settings.api)\(uri)"
    let answer: RESTAnswer
    await pace.turn()
    do {
      answer = try await send(method, uri, body)
    } catch {
      throw ClientError(network: error, at: place)
    }
    guard (200...299).contains(answer.status) else { throw refusal(answer, place) }
    return answer
  }

  private func send(_ method: HTTPMethod, _ uri: String, _ body: JSONValue?) async throws -> RESTAnswer {
    let host = settings.api.host
    let tls = tls
    let eventLoop = MultiThreadedEventLoopGroup.singleton.next()
    let promise = eventLoop.makePromise(of: RESTAnswer.self)
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: eventLoop)
        .connectTimeout(ApplicationLimits.connectTimeout)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try tls?.add(to: channel, host: host)
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHTTPClientHandlers(leftOverBytesStrategy: .dropBytes)
            try pipeline.addHandler(NIOHTTPClientResponseAggregator(maxContentLength: ApplicationLimits.answerBytesMax))
            try pipeline.addHandler(AnswerHandler(promise))
          }
        }
        .connect(host: host, port: settings.api.port).get()
    } catch {
      promise.fail(error)
      throw error
    }
    let timeout = eventLoop.scheduleTask(in: ApplicationLimits.answerTimeout) {
      promise.fail(ClientError(.timeout, "\(method.rawValue) \(uri)", "no answer in time"))
    }
    defer {
      timeout.cancel()
      channel.close(promise: nil)
    }
    var head = HTTPRequestHead(version: .http1_1, method: method, uri: uri, headers: headers)
    let bytes = body?.bytes ?? []
    if body != nil { head.headers.add(name: "Content-Type", value: "application/json") }
    if body != nil || method == .POST || method == .PUT {
      head.headers.add(name: "Content-Length", value: "\(bytes.count)")
    }
    channel.write(HTTPClientRequestPart.head(head), promise: nil)
    if !bytes.isEmpty {
      channel.write(HTTPClientRequestPart.body(.byteBuffer(NIOCore.ByteBuffer(bytes: bytes))), promise: nil)
    }
    channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    return try await promise.futureResult.get()
  }

  private var headers: HTTPHeaders {
    var headers: HTTPHeaders = [
      "Host": "\(settings.api.urlHost):\(settings.api.port)", "Accept": "application/json", "Connection": "close",
      "User-Agent": "motectl",
    ]
    if let credentials = settings.credentials {
      headers.add(name: "Authorization", value: "Basic \(base64("\(credentials.key):\(credentials.token)"))")
    }
    return headers
  }

  private func refusal(_ answer: RESTAnswer, _ place: String) -> ClientError {
    let text = answer.json?["message"]?.string ?? answer.json?["error"]?["message"]?.string
    let kind: ClientError.Kind =
      switch answer.status {
      case 401, 403: .denied
      case 404: .notFound
      case 429, 502...504: .unreachable
      case 400...499: .refused
      default: .malformed
      }
    var message = "HTTP \(answer.status)"
    if let text { message += ": \(text)" }
    if kind == .denied, settings.credentials == nil { message += "; expected an API key and its token" }
    return ClientError(kind, place, message)
  }
}

/// Keeps calls apart: an organisation has ten a second, and is not ours alone.
private actor CallPace {
  private static let interval = Duration.milliseconds(125)
  private var next = ContinuousClock.now

  /// Waits until a call may be made.
  func turn() async {
    let mine = max(next, .now)
    next = mine + CallPace.interval
    try? await Task.sleep(until: mine)
  }
}

/// Waits for the one answer of a connection.
private final class AnswerHandler: ChannelInboundHandler {
  typealias InboundIn = NIOHTTPClientResponseFull

  private let promise: EventLoopPromise<RESTAnswer>

  init(_ promise: EventLoopPromise<RESTAnswer>) { self.promise = promise }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let response = unwrapInboundIn(data)
    let body = response.body.map { Array($0.readableBytesView) } ?? []
    promise.succeed(
      RESTAnswer(status: Int(response.head.status.code), body: body, localAddress: context.localAddress?.ipAddress))
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    promise.fail(error)
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    promise.fail(ChannelError.eof)
    context.fireChannelInactive()
  }
}

/// Base64 with padding (RFC 4648, section 4).
public func base64(_ text: String) -> String { base64(Array(text.utf8)) }

/// Base64 with padding (RFC 4648, section 4).
public func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

/// `text` as one part of a URL's path (RFC 3986, section 3.3).
public func pathPart(_ text: String) -> String {
  text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? ""
}

// RFC 3986, section 2.3.
private let unreserved = CharacterSet(
  charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
