// What device management has to tell the server and waits for its turn: answers to requests.
//
// Answers wait here, apart from events, until window and rate have room for them; the outbox sends them in front of
// whatever waits there. Those that promise something are held until it is durable: then they are released, or refused.

import Bytes
import HostInterface
import IoTPlatform
import MQTT

/// Messages of device management that are written and sent.
struct Answers: ~Copyable {
  /// The token of a request of ours, and less than those of all answers: beyond all tokens of the outbox's own.
  static var firstToken: UInt64 { 1 << 63 }

  private let pinned = Pinned()
  /// The message that is being written.
  var payload: ByteBuffer
  /// Answers that wait: for each its length in two bytes, and its payload.
  private var waiting: ByteBuffer
  /// The same, of answers that are held.
  private var held: ByteBuffer
  private var count: UInt64 = 0
  private var sentCount: UInt64 = 0
  /// Whether something waits for what wakes the loop by itself.
  var isBusy = false
  /// When time alone moves something on.
  var deadline = Instant.never

  /// - Parameter holds: whether there may be answers that are held.
  init(isManaged: Bool, holds: Bool, in arena: inout Arena) {
    let byteCount = !isManaged ? 0 : holds ? AgentLimits.firmwareBytesMax : AgentLimits.managementBytesMax
    waiting = ByteBuffer(capacity: byteCount, for: "management", in: &arena)
    payload = ByteBuffer(capacity: byteCount, for: "management", in: &arena)
    held = ByteBuffer(capacity: holds ? byteCount : 0, for: "management", in: &arena)
  }

  /// Whether none waits, and none is held.
  var isEmpty: Bool { waiting.isEmpty && held.isEmpty }

  /// How many bytes are held: those that are now will be in front of others.
  var heldCount: Int { held.count }

  /// The token of the answer that was finished last.
  var lastToken: UInt64 { Answers.firstToken + count }

  /// Time alone moves something on at `moment`.
  mutating func noteDeadline(_ moment: Instant) { deadline = min(deadline, moment) }

  // MARK: Writing

  /// Adds the answer `code` to the request with this identifier; none is owed where that is empty.
  @inline(never)  // small code
  mutating func add<H: HostLog & ~Copyable>(
    _ code: Int, _ message: StaticString?, _ identifier: Span<UInt8>, _ log: inout LogWriter, _ host: inout H
  ) {
    guard !identifier.isEmpty else { return }
    payload.beginManagementAnswer(code, to: identifier)
    appendMessage(message)
    finish(&log, &host)
  }

  /// Adds an answer that others have written, but for what closes it.
  mutating func add<H: HostLog & ~Copyable>(
    _ answer: borrowing ByteBuffer, _ log: inout LogWriter, _ host: inout H
  ) {
    payload.removeAll()
    payload.append(answer)
    finish(&log, &host)
  }

  /// Ends the answer that has been begun, and has it wait for its turn.
  @inline(never)  // small code
  mutating func finish<H: HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    payload.append(UInt8(ascii: "}"))
    enqueue(&log, &host)
  }

  private mutating func enqueue<H: HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    isBusy = true
    guard append(payload, to: &waiting) else { return noteDropped(&log, &host) }
    count += 1
  }

  @inline(never)  // small code
  private func noteDropped<H: HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    log.begin(.error, "management answer-dropped")
    log.end(to: &host)
  }

  // MARK: Holding

  /// Ends the answer that has been begun, and holds it.
  mutating func hold<H: HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    payload.append(UInt8(ascii: "}"))
    guard append(payload, to: &held) else { return noteDropped(&log, &host) }
  }

  /// What the first `byteCount` bytes promise that are held is durable. With `refusal`, it cannot be: that is what the
  /// server is told instead.
  mutating func release<H: HostLog & ~Copyable>(
    _ byteCount: Int, refusal: StaticString? = nil, _ log: inout LogWriter, _ host: inout H
  ) {
    let rest = held.count - byteCount
    while held.count > rest {
      let end = messageEnd(held)
      payload.removeAll()
      append(2..<end, of: held, to: &payload)
      if let refusal {
        let range = ManagementMessage(parsing: payload.span).requestIdentifier ?? 0..<0
        begin(ManagementCode.failed, to: (range.lowerBound + 2)..<(range.upperBound + 2), of: held, &payload)
        appendMessage(refusal)
        payload.append(UInt8(ascii: "}"))
      }
      enqueue(&log, &host)
      held.removeFirst(end)
    }
  }

  /// Says in the answer what is the matter.
  @inline(never)  // small code
  mutating func appendMessage(_ message: StaticString?, _ status: Int = 0) {
    guard let message else { return }
    payload.append(",\"message\":\"")
    payload.append(message)
    if status != 0 {
      payload.append(UInt8(ascii: " "))
      payload.append(decimal: status)
    }
    payload.append(UInt8(ascii: "\""))
  }

  // MARK: Sending

  /// Sends what there is room for.
  mutating func send(_ outbox: inout Outbox, _ now: Instant) {
    let topic = TopicName(alreadyChecked: Topics.managementAnswer.bytes)
    while !waiting.isEmpty {
      let end = messageEnd(waiting)
      payload.removeAll()
      append(2..<end, of: waiting, to: &payload)
      guard publish(on: topic, Answers.firstToken + sentCount + 1, &outbox, now) else { return }
      waiting.removeFirst(end)
      sentCount += 1
    }
  }

  /// Publishes `payload`, or finds out when to try again.
  ///
  /// - Returns: false when it has to be tried again.
  @inline(never)  // small code
  mutating func publish(
    on topic: borrowing TopicName, _ token: UInt64, _ outbox: inout Outbox, _ now: Instant
  ) -> Bool {
    do throws(SendRefusal) {
      try outbox.send(payload.span, on: topic, qos: .atLeastOnce, token: token, now)
    } catch {
      switch error {
      // It would block all those behind it for ever.
      case .never: return true
      case .wait(.rate): noteDeadline(outbox.allowedFrom)
      // Whatever makes room wakes the loop.
      case .wait(.window), .wait(.room): isBusy = true
      case .wait(.noConnection): break
      }
      return false
    }
    return true
  }
}

/// Where the first of the messages of `buffer` ends: each has its length in front, in two bytes.
private func messageEnd(_ buffer: borrowing ByteBuffer) -> Int { (Int(buffer[0]) << 8 | Int(buffer[1])) + 2 }

/// Appends a message with its length; false where there is no room, or it has not become whole.
@inline(never)  // small code
private func append(_ payload: borrowing ByteBuffer, to buffer: inout ByteBuffer) -> Bool {
  guard !payload.hasOverflowed, payload.count + 2 <= buffer.freeCount else { return false }
  buffer.append(bigEndian: UInt16(truncatingIfNeeded: payload.count))
  buffer.append(payload)
  return true
}

private func begin(
  _ code: Int, to range: Range<Int>, of buffer: borrowing ByteBuffer, _ payload: inout ByteBuffer
) {
  payload.beginManagementAnswer(code, to: buffer.span.extracting(range))
}

// As members of one value the two would overlap.
private func append(_ range: Range<Int>, of buffer: borrowing ByteBuffer, to other: inout ByteBuffer) {
  other.append(buffer.span.extracting(range))
}
