// Local programs that ask the running agent: whose turn it is, and how long it may take.
//
// One client is served at a time, and its requests in their order; an answer is written piece by piece as the client
// takes it. Whoever takes too long is let go, so that others come to their turn, and none of it holds up the agent.

import Bytes
import HostInterface

/// The client of the control socket.
struct Control: ~Copyable {
  /// What is waited for.
  private enum Phase: UInt8 {
    /// A client.
    case free
    /// A whole line of it.
    case reading
    /// That it takes its answer.
    case answering
  }

  private let pinned = Pinned()
  private var phase = Phase.free
  /// Whether others may wait.
  private var hasOthers = false
  /// Whether the client says nothing more.
  private var hasEnded = false
  /// When it began to say nothing, or its answer.
  private var begun = Instant(milliseconds: 0)
  /// When it is let go.
  private(set) var deadline = Instant.never
  /// What it has said and was not answered.
  var line: ByteBuffer
  /// The length of the request that is answered.
  private var requestCount = 0
  /// What is to be sent of the answer.
  var answer: ByteBuffer
  /// How far the answer is written, for whoever writes it in pieces; 0 at the beginning.
  var piece = 0
  /// Whether the answer is to be JSON, where its verb knows that.
  var isJSON = false
  /// Whether all of the answer is written.
  private(set) var isComplete = true
  /// When the agent was started.
  let startedAt: Instant

  /// Takes room for a line and for a piece of an answer from `arena`.
  init(now: Instant, in arena: inout Arena) {
    line = ByteBuffer(capacity: ControlLimits.lineBytesMax, for: "control", in: &arena)
    answer = ByteBuffer(capacity: ControlLimits.pieceBytesMax, for: "control", in: &arena)
    startedAt = now
  }

  // MARK: Turns

  /// Whether the client has to be let go.
  @inline(__always)
  func isDue(_ now: Instant) -> Bool { now >= deadline }

  /// Brings on a request that is to be answered, or to be answered further; false where there is none.
  mutating func next<H: HostControl & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    if host.hasControlNews, host.takeControlNews() { hasOthers = true }
    // Whoever leaves makes room for the next one; more than wait at a time come in the next turn.
    for _ in 0...HostLimits.controlClientsMax {
      if phase == .free {
        deadline = .never
        guard hasOthers, host.acceptControlClient() else {
          hasOthers = false
          return false
        }
        // If there are, the host tells.
        hasOthers = false
        line.removeAll()
        hasEnded = false
        awaitLine(now)
      }
      if phase == .answering || read(now, &host) { break }
      guard phase == .free || now >= deadline else { return false }
      letGo(&host)
    }
    if phase == .answering, now >= deadline { letGo(&host) }
    // Others wait for their turn.
    if phase == .free { deadline = now }
    return phase == .answering
  }

  private mutating func awaitLine(_ now: Instant) {
    phase = .reading
    begun = now
  }

  /// Reads what has come; true when a request is whole.
  private mutating func read<H: HostControl & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    // Each turn takes at least a byte.
    while !hasEnded, line.freeCount > 0, lineEnd == nil {
      switch host.receiveControl(into: &line) {
      case .moved: continue
      case .wouldBlock:
        deadline = begun + (hasOthers ? ControlLimits.crowdedTimeout : ControlLimits.requestTimeout)
        return false
      case .ended: hasEnded = true
      }
    }
    // The last line needs no line feed.
    guard !line.isEmpty else {
      phase = .free
      return false
    }
    phase = .answering
    deadline = now + ControlLimits.answerTimeout
    requestCount = lineEnd ?? line.count
    if requestCount > 0, line[requestCount - 1] == UInt8(ascii: "\r") { requestCount -= 1 }
    piece = 0
    isJSON = false
    isComplete = false
    answer.removeAll()
    if lineEnd == nil, line.freeCount == 0 {
      // Where the next one begins, nobody knows.
      hasEnded = true
      finish(.tooLong)
    }
    return true
  }

  private var lineEnd: Int? { line.span.firstIndex(of: UInt8(ascii: "\n")) }

  /// The request that is answered.
  var request: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let request = line.span.extracting(0..<requestCount)
      return _overrideLifetime(request, borrowing: self)
    }
  }

  /// What is asked; nil for no verb that there is.
  var verb: ControlVerb? {
    var words = RequestWords(of: request)
    return words.next(in: request).flatMap { ControlVerb(named: request.extracting($0)) }
  }

  /// The end of the answer.
  mutating func finish(_ outcome: ControlOutcome) {
    answer.append(UInt8(ascii: "="))
    answer.append(outcome.text)
    answer.append(UInt8(ascii: "\n"))
    isComplete = true
  }

  /// Sends what is written; false where the client takes no more now.
  mutating func send<H: HostControl & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    while !answer.isEmpty {
      switch host.sendControl(answer.span) {
      case .moved(let byteCount): answer.removeFirst(byteCount)
      case .wouldBlock: return false
      case .ended:
        letGo(&host)
        return true
      }
    }
    guard isComplete else { return true }
    // What stands behind the request is the next one.
    line.removeFirst(min((lineEnd ?? line.count) + 1, line.count))
    awaitLine(now)
    return true
  }

  private mutating func letGo<H: HostControl & ~Copyable>(_ host: inout H) {
    host.closeControl()
    phase = .free
    deadline = .never
  }
}
