// What goes to the server: the client with its window, the messages that wait for it, and how often one may go out.
// This is the only place that publishes.

import Bytes
import HostInterface
import IoTPlatform
import MQTT
import Spool
import Telemetry

/// Why a message does not go out.
enum SendRefusal: Error {
  /// It can go out later.
  case wait(Obstacle)
  /// It never can.
  case never(Defect)

  /// What a message waits for.
  enum Obstacle {
    /// The server's acknowledgements: the window is full.
    case window
    /// The configured rate.
    case rate
    /// Room in the output.
    case room
    /// A connection.
    case noConnection
  }

  /// What is wrong with a message.
  enum Defect {
    /// No packet of this connection can hold it.
    case tooLarge
    /// It may not be published at all.
    case notAllowed
  }

  init(_ refusal: PublishRefusal) {
    self =
      switch refusal {
      case .notConnected: .wait(.noConnection)
      case .windowFull: .wait(.window)
      case .outputFull: .wait(.room)
      case .tooLarge: .never(.tooLarge)
      case .topicInvalid: .never(.notAllowed)
      }
  }
}

/// What the outbox counts.
struct OutboxCounters {
  /// Messages published or queued.
  var messages: UInt64 = 0
  /// QoS 0 messages that could not be sent.
  var skipped: UInt64 = 0
  /// Messages that could never be sent.
  var setAside: UInt64 = 0
}

/// How a stretch of time ends in which messages are dropped.
private enum Dropping {
  /// Nothing is dropped.
  case none
  /// Its first drop has been logged; so many had been dropped before it.
  case sinceLogged(before: UInt64)
}

/// What goes to the server.
struct Outbox: ~Copyable {
  private let pinned = Pinned()
  /// The MQTT session. Its connection is the uplink's to drive; publishing through it is done here and nowhere else.
  var client: Client
  /// QoS 1 and 2 messages that wait for the network.
  private(set) var queue: MessageQueue
  /// Those that wait on flash.
  var flash: FlashQueue
  var rate: RateLimit
  var drain = FlashDrain()
  private var dropping = Dropping.none
  /// What has happened so far.
  var counters = OutboxCounters()

  /// Takes `queueBytes` for messages that wait from `arena`.
  init(
    client: consuming Client, queueBytes: Int, messagesPerSecondMax: Int, from arena: inout Arena
  ) throws(ArenaExhausted) {
    self.init(client: client, queueBytes: queueBytes, messagesPerSecondMax: messagesPerSecondMax, in: &arena)
    try arena.check()
  }

  /// The same; see `Arena.check`.
  init(
    client: consuming Client, queueBytes: Int, messagesPerSecondMax: Int, flash: FlashOptions = FlashOptions(),
    in arena: inout Arena
  ) {
    self.flash = FlashQueue(flash, in: &arena)
    queue = MessageQueue(byteCapacity: queueBytes, messageBytesMax: client.packetBytesMax, in: &arena)
    self.client = client
    rate = RateLimit(messagesPerSecond: messagesPerSecondMax)
    drain.limit(messagesPerSecond: messagesPerSecondMax)
  }

  /// What came in and is being handled: the ranges of an `IncomingMessage` are of it.
  var input: Span<UInt8> {
    @_lifetime(borrow self)
    @inline(__always)
    get {
      let span = client.input.span
      return _overrideLifetime(span, borrowing: self)
    }
  }

  /// Whether a QoS 0 message could go out now.
  @inline(__always)
  func isReady(at now: Instant) -> Bool { client.isConnected && rate.allows(at: now) }

  /// The earliest moment at which the rate lets another message go out.
  var allowedFrom: Instant { rate.allowedFrom }

  /// The token of the next message of QoS 1 or 2, whose answer proves that the server has all acknowledgements; nil
  /// while some are still to be written.
  var provingToken: UInt64? { client.hasUnacknowledged ? nil : queue.nextToken }

  /// Whether nothing waits, is in flight, or is being sent.
  var isDrained: Bool { queue.count == 0 && client.inflightCount == 0 && client.output.isEmpty }

  /// Whether all that waits on flash is there, as far as can be.
  var isStored: Bool { !flash.isActive || flash.isReadyToEnd }

  /// Messages that wait for the network.
  var waitingCount: Int { queue.count + flash.waitingCount }

  /// Messages that were dropped, for whatever reason.
  var droppedCount: UInt64 { queue.droppedCount + flash.lostCount }

  /// Messages whose fate is open.
  var pendingCount: Int { waitingCount + client.inflightCount }

  /// When waiting messages can go on; `never` while it is not the rate that they wait for.
  @inline(__always)
  func deadline(_ now: Instant) -> Instant {
    queue.count > 0 && client.isConnected && !rate.allows(at: now) ? rate.allowedFrom : .never
  }

  /// Whether a waiting message could go out but for room in the output or the window.
  @inline(__always)
  func lacksRoom(_ now: Instant) -> Bool { queue.count > 0 && isReady(at: now) }

  /// Changes the rate.
  mutating func limitRate(messagesPerSecond: Int) {
    rate.change(messagesPerSecond: messagesPerSecond)
    drain.limit(messagesPerSecond: messagesPerSecond)
  }

  // MARK: Publishing

  /// Publishes `payload` on `topic`, now or through the queue. What can never be sent is counted and logged.
  ///
  /// - Parameters:
  ///   - place: where it waits, if it has to.
  ///   - time: when it was taken, where that is known.
  /// - Returns: false where a message of QoS 0 found no room among what is being sent: it fits once that has gone out.
  @discardableResult
  mutating func publish<H: HostLog & ~Copyable>(
    _ payload: borrowing ByteBuffer, on topic: borrowing TopicName, qos: QoS, in place: WaitingPlace = .memory,
    at time: WallTime? = nil, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    guard !payload.hasOverflowed, payload.count <= PayloadLimits.bytesMax,
      client.fits(byteCount: topic.bytes.count + payload.count, qos: qos)
    else {
      setAside(.tooLarge, topic.bytes, &log, &host)
      return true
    }
    counters.messages += 1
    if qos == .atMostOnce {
      do throws(SendRefusal) {
        try send(payload.span, on: topic, qos: qos, token: 0, now)
        return true
      } catch { return noteRefusal(error) }
    }
    guard case .memory = place.keeping else {
      publishElsewhere(payload.span, on: topic, qos: qos, in: place, at: time, now)
      return true
    }
    // Nothing may overtake what waits already.
    if client.isConnected, let token = queue.tokenForDirectMessage() {
      do throws(SendRefusal) {
        try send(payload.span, on: topic, qos: qos, token: token, now)
        return true
      } catch {}
    }
    let dropped = queue.append(topic: topic.bytes, payload: payload.span, qos: qos.rawValue)
    if dropped > 0 { noteDropping(dropped, &log, &host) }
    return true
  }

  /// A QoS 0 message could not be sent; whether that is for good.
  @inline(never)  // beside what can be sent
  private mutating func noteRefusal(_ refusal: SendRefusal) -> Bool {
    guard case .wait(.room) = refusal, !client.output.isEmpty else {
      counters.skipped += 1
      return true
    }
    counters.messages -= 1
    return false
  }

  /// Hands a message to the client now, or says what is in the way. Its owner keeps it until then, and has tokens of
  /// his own, with the highest bit set.
  mutating func send(
    _ payload: Span<UInt8>, on topic: borrowing TopicName, qos: QoS, token: UInt64, _ now: Instant
  ) throws(SendRefusal) {
    guard rate.allows(at: now) else { throw .wait(.rate) }
    do throws(PublishRefusal) {
      try client.publish(topic: topic, payload: payload, qos: qos, token: token, now: now)
    } catch { throw SendRefusal(error) }
    rate.spend(at: now)
  }

  /// Hands waiting messages to the client while it, the window and the rate have room; at most all that wait.
  @inline(__always)
  mutating func sendQueued<H: HostLog & ~Copyable>(_ now: Instant, _ log: inout LogWriter, _ host: inout H) {
    guard client.isConnected, queue.count > 0 || isDropping else { return }
    sendAll(now, &log, &host)
  }

  private var isDropping: Bool {
    @inline(__always) get {
      if case .sinceLogged = dropping { return true }
      return false
    }
  }

  @inline(never)  // beside the turns in which nothing waits
  private mutating func sendAll<H: HostLog & ~Copyable>(_ now: Instant, _ log: inout LogWriter, _ host: inout H) {
    while let message = queue.front {
      do throws(SendRefusal) {
        guard rate.allows(at: now) else { throw .wait(.rate) }
        try forward(message, of: queue, through: &client, now)
        rate.spend(at: now)
      } catch {
        guard case .never(let defect) = error else { return }
        // It would block all those behind it.
        setAsideFront(message, defect, &log, &host)
      }
      queue.removeFront()
    }
    if case .sinceLogged(let before) = dropping {
      dropping = .none
      log.begin(.info, "queue drained")
      log.add("dropped", Int(truncatingIfNeeded: queue.droppedCount - before))
      log.end(to: &host)
    }
  }

  // MARK: What becomes of messages

  /// The server has the message.
  @inline(__always)
  mutating func acknowledge(_ token: UInt64, _ now: Instant) {
    if token & FlashQueue.tokenBit == 0 { queue.acknowledge(token) } else { flash.acknowledge(token, now) }
  }

  private mutating func abandon(_ token: UInt64) {
    if token & FlashQueue.tokenBit == 0 { queue.abandon(token) } else { flash.abandon(token) }
  }

  /// Gives up a message that the server answers by closing the connection, again and again: it would keep all others
  /// from being delivered for ever. To be called between two connections.
  mutating func abandonPoison<H: HostLog & ~Copyable>(_ now: Instant, _ log: inout LogWriter, _ host: inout H) {
    let attempts = client.oldestInflightAttempts
    let limit = client.publishBytesMax
    guard attempts >= AgentLimits.messageAttemptsMax, let poison = client.abandonOldestInflight(now: now) else {
      return
    }
    abandon(poison.token)
    log.begin(.error, "event abandoned")
    log.add("attempts", attempts)
    log.add("bytes", poison.byteCount)
    log.end(to: &host)
    guard client.publishBytesMax < limit else { return }
    log.begin(.warning, "server packet-limit")
    log.add("bytes", client.publishBytesMax)
    log.end(to: &host)
    while let other = client.abandonTooLarge() {
      abandon(other.token)
      counters.setAside += 1
    }
  }

  private mutating func setAside<H: HostLog & ~Copyable>(
    _ defect: SendRefusal.Defect, _ topic: Span<UInt8>, _ log: inout LogWriter, _ host: inout H
  ) {
    counters.setAside += 1
    logDefect(defect, topic, packetBytesMax: client.publishBytesMax, &log, &host)
  }

  private mutating func setAsideFront<H: HostLog & ~Copyable>(
    _ message: QueuedMessage, _ defect: SendRefusal.Defect, _ log: inout LogWriter, _ host: inout H
  ) {
    queue.abandon(message.token)
    counters.setAside += 1
    logDefect(
      defect, queue.bytes.extracting(message.topic), packetBytesMax: client.publishBytesMax, &log, &host)
  }

  private mutating func noteDropping<H: HostLog & ~Copyable>(
    _ dropped: Int, _ log: inout LogWriter, _ host: inout H
  ) {
    guard case .none = dropping else { return }
    dropping = .sinceLogged(before: queue.droppedCount - UInt64(dropped))
    log.begin(.warning, "queue dropping")
    log.add("policy", "oldest")
    log.add("waiting", queue.count)
    log.end(to: &host)
  }
}

func logDefect<H: HostLog & ~Copyable>(
  _ defect: SendRefusal.Defect, _ topic: Span<UInt8>, packetBytesMax: Int, _ log: inout LogWriter, _ host: inout H
) {
  switch defect {
  case .tooLarge:
    log.begin(.error, "event too-large")
    log.add("topic", text: topic)
    log.add("packet-size", packetBytesMax)
  case .notAllowed:
    log.begin(.error, "event not-allowed")
    log.add("topic", text: topic)
  }
  log.end(to: &host)
}

// The queue's bytes are borrowed while the client changes: as members of one value they would overlap.
private func forward(
  _ message: QueuedMessage, of queue: borrowing MessageQueue, through client: inout Client, _ now: Instant
) throws(SendRefusal) {
  let bytes = queue.bytes
  do throws(PublishRefusal) {
    try client.publish(
      topic: TopicName(alreadyChecked: bytes.extracting(message.topic)), payload: bytes.extracting(message.payload),
      qos: QoS(rawValue: message.qos) ?? .atLeastOnce, token: message.token, now: now)
  } catch { throw SendRefusal(error) }
}
