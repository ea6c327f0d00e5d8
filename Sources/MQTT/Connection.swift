// What does not survive a connection: where it stands, what is awaited, and until when.

import Bytes

/// An answer that the peer owes us.
///
/// Its time runs only once the question has left our output buffer (behind a large packet on a slow line that takes a
/// while), and not while a packet from the peer arrives piece by piece (the answer is behind it). What bounds those
/// times are the deadline for output, and `patience`: a peer that keeps talking and never answers is not waited for.
struct AnswerWait: BitwiseCopyable {
  /// How many timeouts an answer may take at most, however much comes in before it.
  static var patience: Int64 { 10 }

  private(set) var isActive = false
  /// What of our output has to be sent before the peer can know the question.
  private var bytesAhead = 0
  private var since = Instant(milliseconds: 0)
  /// When the question went out.
  private var asked = Instant(milliseconds: 0)

  mutating func begin(behind outputCount: Int, now: Instant) {
    isActive = true
    bytesAhead = outputCount
    since = now
    asked = now
  }

  mutating func end() { isActive = false }

  mutating func noteSent(_ byteCount: Int, now: Instant) {
    guard bytesAhead > 0 else { return }
    bytesAhead -= min(bytesAhead, byteCount)
    since = now
    asked = now
  }

  mutating func noteIncoming(now: Instant) {
    if now > since { since = now }
  }

  /// Whether the question went out whole, and not before `moment`.
  func isOut(since moment: Instant) -> Bool { isActive && bytesAhead == 0 && asked >= moment }

  @inline(__always)
  func deadline(after timeout: TimeSpan) -> Instant { isActive && bytesAhead == 0 ? end(after: timeout) : .never }

  @inline(never)  // small code: this is called from several places
  private func end(after timeout: TimeSpan) -> Instant {
    guard timeout.milliseconds < Int64.max / AnswerWait.patience else { return since + timeout }
    return min(since + timeout, asked + .milliseconds(timeout.milliseconds &* AnswerWait.patience))
  }
}

/// SUBSCRIBE and UNSUBSCRIBE packets that wait for their answers, in the order in which they were sent.
struct PendingRequests: BitwiseCopyable {
  struct Request: BitwiseCopyable {
    let packetIdentifier: UInt16
    let isSubscribe: Bool
  }

  private var requests = InlineArray<8, Request>(repeating: Request(packetIdentifier: 0, isSubscribe: false))
  private(set) var count = 0

  var isFull: Bool { count == requests.count }

  @inline(__always)
  func contains(_ packetIdentifier: UInt16) -> Bool { count > 0 && index(of: packetIdentifier) != nil }

  mutating func append(packetIdentifier: UInt16, isSubscribe: Bool) {
    requests[count] = Request(packetIdentifier: packetIdentifier, isSubscribe: isSubscribe)
    count += 1
  }

  /// Takes out the request that a SUBACK or UNSUBACK answers; gives its place in the order.
  mutating func remove(packetIdentifier: UInt16, isSubscribe: Bool) -> Int? {
    guard let found = index(of: packetIdentifier), requests[found].isSubscribe == isSubscribe else { return nil }
    count -= 1
    for index in found..<count { requests[index] = requests[index + 1] }
    return found
  }

  private func index(of packetIdentifier: UInt16) -> Int? {
    for index in 0..<count where requests[index].packetIdentifier == packetIdentifier { return index }
    return nil
  }
}

/// A PUBLISH packet that is larger than the input buffer. Its topic and identifier are kept where they fit, its payload
/// is thrown away as it comes: refusing it would have the server send it again at every reconnect.
struct OversizePublish {
  var header: PublishHeader
  /// Bytes of the header that stay at the front of the input.
  let keptCount: Int
  /// Bytes of a topic that does not fit, still to come.
  var topicLeft: Int
  /// Bytes of payload still to come.
  var payloadLeft: Int
  /// Whether the packet identifier is still to come; it follows a topic that does not fit.
  var wantsIdentifier: Bool
}

/// A message of QoS 1 from the server that has not been acknowledged.
struct Unacknowledged: BitwiseCopyable {
  let packetIdentifier: UInt16
  /// Whether it may be, as soon as those before it are.
  var isReady = false
}

/// One network connection's state.
struct Connection {
  enum Phase: UInt8, Equatable, BitwiseCopyable {
    /// There is no connection.
    case closed
    /// CONNECT is written; nothing else may be until CONNACK.
    case awaitingConnack
    /// DISCONNECT is written, or a refusal or a fault was seen. Nothing is read or written any more [MQTT-3.14.4-2].
    case ending
    /// The session runs, but its oldest message may be what ends all connections: it goes out alone, and only once the
    /// server has answered a ping.
    case onTrial
    /// The session runs.
    case open
  }

  var phase = Phase.closed
  /// When we last wrote a packet, and when bytes last came in.
  var lastWritten: Instant
  var lastReceived: Instant
  /// Since when the peer has not taken a byte of a non-empty output.
  var outputSince: Instant
  var connack = AnswerWait()
  var ping = AnswerWait()
  /// The oldest message in flight.
  var publish = AnswerWait()
  /// The oldest SUBSCRIBE or UNSUBSCRIBE.
  var request = AnswerWait()
  var requests = PendingRequests()
  /// Messages in flight before this one have been written on this connection.
  var resendIndex = 0
  /// Whether the server has answered the ping in front of the message on trial.
  var isTrialReady = false
  /// Whether an answer has moved on a message in flight.
  var hasAnswered = false
  /// Whether the server had the session.
  var isSessionPresent = false
  /// The largest packet that the server takes, as far as is known.
  var packetBytesMax = Int.max
  var oversize: OversizePublish?
  /// Bytes of input that the last event refers to; they go with the next call.
  var handledCount = 0
  /// Bytes of input that an earlier call has seen.
  var seenCount = 0

  init(now: Instant) {
    lastWritten = now
    lastReceived = now
    outputSince = now
  }

  /// Whether the server has accepted the connection and nothing has ended it.
  @inline(__always)
  var isAccepted: Bool { phase.rawValue >= Phase.onTrial.rawValue }

  /// Whether the message on trial is proved to be what the peer closed at: it alone was in flight, on a connection that
  /// had worked, it was out as a whole, and the end came right behind it.
  func hasConvicted(at now: Instant) -> Bool {
    phase == .onTrial && resendIndex == 1 && publish.isOut(since: now + .milliseconds(-trialMilliseconds))
  }

  private var trialMilliseconds: Int64 { 30_000 }

  @inline(__always)
  mutating func noteSent(_ byteCount: Int, now: Instant) {
    outputSince = now
    connack.noteSent(byteCount, now: now)
    ping.noteSent(byteCount, now: now)
    publish.noteSent(byteCount, now: now)
    request.noteSent(byteCount, now: now)
  }

  /// Part of a packet came in: what we wait for is behind it.
  mutating func notePartialPacket(now: Instant) {
    connack.noteIncoming(now: now)
    ping.noteIncoming(now: now)
    publish.noteIncoming(now: now)
    request.noteIncoming(now: now)
  }
}
