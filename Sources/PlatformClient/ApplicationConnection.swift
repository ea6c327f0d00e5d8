// One MQTT connection of an application: Mote's client state machine on an event loop.

import Bytes
import Dispatch
import MQTT
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import PlatformProtocol

/// A connection that the platform has accepted, and that is not made again when it ends.
public actor ApplicationConnection {
  private enum Phase {
    case connecting
    case open
    case ended(ClientError)
  }

  /// Messages of all subscriptions; ends with the connection. At most `ApplicationLimits.messagesMax` wait for their
  /// one reader; the oldest go first.
  public nonisolated let messages: AsyncStream<ApplicationMessage>

  private let settings: ApplicationSettings
  private let eventLoop: any EventLoop
  private let memory: ClientMemory
  private var client: MQTT.Client
  private let inbox: AsyncStream<ApplicationMessage>.Continuation
  private var phase = Phase.connecting
  private var channel: (any Channel)?
  private var timer: Scheduled<Void>?
  private var waitsForAnswer: CheckedContinuation<Void, any Error>?
  private var requests: [UInt16: CheckedContinuation<Void, any Error>] = [:]
  private var publishes: [UInt64: CheckedContinuation<Void, any Error>] = [:]
  private var lastToken: UInt64 = 0
  private let missed = NIOLockedValueBox(0)

  /// The event loop that everything here runs on.
  public nonisolated var unownedExecutor: UnownedSerialExecutor { eventLoop.executor.asUnownedSerialExecutor() }

  /// Connects, and waits until the platform has accepted it.
  ///
  /// - Throws: `ClientError` where nobody is there, or we are refused.
  public static func open(_ settings: ApplicationSettings) async throws -> ApplicationConnection {
    let connection = try ApplicationConnection(settings, MultiThreadedEventLoopGroup.singleton.next())
    try await connection.open()
    return connection
  }

  private init(_ settings: ApplicationSettings, _ eventLoop: any EventLoop) throws {
    self.settings = settings
    self.eventLoop = eventLoop
    memory = ClientMemory()
    var arena = Arena(memory.region)
    let options = ClientOptions(
      keepAlive: .seconds(Int64(settings.keepAliveSeconds)), cleanSession: true, connackTimeout: .seconds(90))
    client = try MQTT.Client(options: options, packetBytesMax: ApplicationLimits.packetBytesMax, from: &arena)
    (messages, inbox) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(ApplicationLimits.messagesMax))
  }

  /// Why the connection has ended; nil while it has not.
  public var failure: ClientError? {
    if case .ended(let error) = phase { error } else { nil }
  }

  /// How many messages were lost since the last call because their reader was too slow.
  public nonisolated func takeMissed() -> Int {
    missed.withLockedValue { count in
      defer { count = 0 }
      return count
    }
  }

  // MARK: - Opening and closing

  private func open() async throws {
    let tls = settings.broker.isSecure ? try ClientTLS(settings, verifies: settings.verifiesServer) : nil
    let host = settings.broker.host
    do {
      _ = try await ClientBootstrap(group: eventLoop)
        .connectTimeout(ApplicationLimits.connectTimeout)
        .channelOption(.tcpOption(.tcp_nodelay), value: 1)
        .channelInitializer { channel in
          channel.eventLoop.makeCompletedFuture {
            try tls?.add(to: channel, host: host)
            try channel.pipeline.syncOperations.addHandler(LinkHandler(self))
          }
        }
        .connect(host: host, port: settings.broker.port).get()
    } catch {
      throw ClientError(network: error, at: place)
    }
    // The platform may have answered before we got here.
    switch phase {
    case .open: return
    case .ended(let error): throw error
    case .connecting: try await withCheckedThrowingContinuation { waitsForAnswer = $0 }
    }
  }

  /// Takes leave of the platform. Not an error where the connection has ended already.
  public func close() async {
    guard case .open = phase else { return }
    client.disconnect(now: now)
    let promise = eventLoop.makePromise(of: Void.self)
    flush(promise)
    try? await promise.futureResult.get()
    end(ClientError(.unreachable, place, "the connection was closed"))
  }

  private func end(_ error: ClientError) {
    if case .ended = phase { return }
    phase = .ended(error)
    timer?.cancel()
    client.linkClosed()
    channel?.close(promise: nil)
    waitsForAnswer?.resume(throwing: error)
    waitsForAnswer = nil
    for waiting in requests.values { waiting.resume(throwing: error) }
    for waiting in publishes.values { waiting.resume(throwing: error) }
    requests = [:]
    publishes = [:]
    inbox.finish()
  }

  // MARK: - What the owner asks for

  /// Subscribes with QoS 1, and waits for the answer.
  ///
  /// - Throws: `denied` where the platform refuses it.
  public func subscribe(_ filter: String) async throws {
    try check()
    guard let identifier = client.subscribe(filter: filter.utf8Span.span, qos: .atLeastOnce, now: now) else {
      throw ClientError(.configuration, filter, "expected a topic filter")
    }
    flush()
    do {
      try await withCheckedThrowingContinuation { requests[identifier] = $0 }
    } catch is SubscriptionRefused {
      throw ClientError(.denied, place, "the platform does not grant the subscription to \(filter)")
    }
  }

  /// Publishes with QoS 1, and waits until the platform has the message.
  public func publish(_ topic: String, _ payload: [UInt8]) async throws {
    try check()
    lastToken += 1
    let token = lastToken
    do {
      try client.publish(
        topic: topic.utf8Span.span, payload: payload.span, qos: .atLeastOnce, token: token, now: now)
    } catch {
      throw ClientError(.configuration, topic, "cannot be published: \(error)")
    }
    flush()
    try await withCheckedThrowingContinuation { publishes[token] = $0 }
  }

  private func check() throws {
    switch phase {
    case .open: return
    case .connecting: throw ClientError(.unreachable, place, "not connected yet")
    case .ended(let error): throw error
    }
  }

  // MARK: - The link

  fileprivate func opened(_ channel: any Channel) {
    self.channel = channel
    do {
      let clientID = settings.clientID
      if let credentials = settings.credentials {
        let fields = ConnectFields(
          clientID: clientID.utf8Span.span, userName: credentials.key.utf8Span.span,
          password: credentials.token.utf8Span.span)
        try client.open(fields, now: now)
      } else {
        try client.open(ConnectFields(clientID: clientID.utf8Span.span), now: now)
      }
      flush()
    } catch {
      end(ClientError(.configuration, place, "cannot connect with these settings: \(error)"))
    }
  }

  fileprivate func received(_ bytes: NIOCore.ByteBuffer) {
    var rest = bytes.readableBytesUInt8Span
    // Each turn takes bytes off the rest, or ends.
    while !rest.isEmpty {
      if case .ended = phase { return }
      let count = min(rest.count, client.input.freeCount)
      guard count > 0 else { return end(ClientError(.malformed, place, "sent more than fits one packet")) }
      client.input.append(rest.extracting(0..<count))
      rest = rest.extracting(count..<rest.count)
      handleInput()
    }
  }

  fileprivate func failed(_ error: any Error) { end(ClientError(network: error, at: place)) }

  fileprivate func closed() {
    if case .connecting = phase {
      // Platforms do so where they are full, and where they do not like us.
      end(ClientError(.unreachable, place, "closed the connection without an answer to CONNECT"))
    } else {
      end(ClientError(.unreachable, place, "closed the connection"))
    }
  }

  private func handleInput() {
    do {
      var isBlocked = false
      repeat {
        while let event = try client.nextEvent(now: now) { handle(event) }
        // Answers may have waited for room.
        isBlocked = client.lacksRoomForAnswers
        flush()
      } while isBlocked
    } catch {
      end(fault(error))
    }
  }

  private func handle(_ event: ClientEvent) {
    switch event {
    case .connected:
      phase = .open
      waitsForAnswer?.resume()
      waitsForAnswer = nil
    case .refused(let code): end(refusal(code))
    case .message(let message):
      deliver(
        ApplicationMessage(
          topic: String(decoding: copy(message.topic, of: client.input), as: UTF8.self),
          payload: copy(message.payload, of: client.input), isRetained: message.isRetained,
          isTruncated: message.isTruncated))
    case .acknowledged(let token): publishes.removeValue(forKey: token)?.resume()
    case .subscribed(let identifier, let code):
      let waiting = requests.removeValue(forKey: identifier)
      if code < 0x80 { waiting?.resume() } else { waiting?.resume(throwing: SubscriptionRefused()) }
    case .unsubscribed, .pingResponse, .qosLowered: break
    }
  }

  private func deliver(_ message: ApplicationMessage) {
    if case .dropped = inbox.yield(message) { missed.withLockedValue { $0 += 1 } }
  }

  /// Sends what the client has written, and comes back when it wants to be called again.
  private func flush(_ promise: EventLoopPromise<Void>? = nil) {
    if let channel, !client.output.isEmpty {
      var buffer = channel.allocator.buffer(capacity: client.output.count)
      write(client.output, to: &buffer)
      client.removeSent(client.output.count, now: now)
      channel.writeAndFlush(buffer, promise: promise)
    } else {
      promise?.succeed()
    }
    timer?.cancel()
    let deadline = client.deadline()
    guard deadline != .never else { return }
    let delay = max(0, (deadline - now).milliseconds)
    timer = eventLoop.scheduleTask(in: .milliseconds(delay)) { self.assumeIsolated { $0.tick() } }
  }

  private func tick() {
    do {
      try client.tick(now: now)
      flush()
    } catch {
      end(fault(error))
    }
  }

  // MARK: - Words

  private var place: String { settings.broker.description }

  private var now: Instant { Instant(milliseconds: Int64(DispatchTime.now().uptimeNanoseconds / 1_000_000)) }

  private func fault(_ fault: PeerFault) -> ClientError {
    let kind: ClientError.Kind = fault.kind == .timeout ? .timeout : .malformed
    return ClientError(kind, place, "\(String(copying: fault.what)) [\(String(copying: fault.clause))]")
  }

  private func refusal(_ code: UInt8) -> ClientError {
    let who = settings.credentials.map { "API key '\($0.key)'" } ?? "no credentials"
    switch code {
    case 1: return ClientError(.malformed, place, "does not speak MQTT 3.1.1")
    case 2: return ClientError(.configuration, place, "does not accept the client identifier '\(settings.clientID)'")
    case 3: return ClientError(.unreachable, place, "takes no connections now; try again later")
    default:
      return ClientError(
        .denied, place, "refused \(settings.clientID) with \(who) (code \(code)): expected a known key and its token")
    }
  }
}

private struct SubscriptionRefused: Error {}

private func copy(_ range: Range<Int>, of buffer: borrowing Bytes.ByteBuffer) -> [UInt8] {
  buffer.span.extracting(range).withUnsafeBufferPointer { Array($0) }
}

private func write(_ bytes: borrowing Bytes.ByteBuffer, to buffer: inout NIOCore.ByteBuffer) {
  buffer.writeBytes(bytes.span.bytes)
}

/// The client's memory, which must outlive it.
private final class ClientMemory: Sendable {
  /// Input and output, two packets in flight, and the client's tables.
  private static let byteCount = 4 * ApplicationLimits.packetBytesMax + 65_536

  // DEVIATION(unsafe-pointer): a client lives in memory that its owner provides.
  private nonisolated(unsafe) let start: UnsafeMutableRawPointer

  init() {
    start = .allocate(byteCount: ClientMemory.byteCount, alignment: 16)
    start.initializeMemory(as: UInt8.self, repeating: 0, count: ClientMemory.byteCount)
  }

  deinit { start.deallocate() }

  var region: Region { Region(start: start, count: ClientMemory.byteCount) }
}

/// Hands over what happens on the channel.
private final class LinkHandler: ChannelInboundHandler {
  typealias InboundIn = NIOCore.ByteBuffer

  private let connection: ApplicationConnection

  init(_ connection: ApplicationConnection) { self.connection = connection }

  func channelActive(context: ChannelHandlerContext) {
    let channel = context.channel
    connection.assumeIsolated { $0.opened(channel) }
    context.fireChannelActive()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    let buffer = unwrapInboundIn(data)
    connection.assumeIsolated { $0.received(buffer) }
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    connection.assumeIsolated { $0.failed(error) }
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    connection.assumeIsolated { $0.closed() }
    context.fireChannelInactive()
  }
}
