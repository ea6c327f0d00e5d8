// What the device asks of the server by itself: where it is, what is wrong with it, and to be left alone.
//
// Requests wait here, the oldest in front, and one at a time is with the server until that has answered. What it does
// not answer is asked again a few times; what it does not want is given up. Where there is no room for one more, the
// oldest goes.

import Bytes
import HostInterface
import IoTPlatform
import MQTT

/// A request of the device.
enum DeviceRequest: UInt8 {
  case location, addErrorCode, clearErrorCodes, addLog, clearLog, unmanage

  private static var topics: WordList {
    WordList(
      """
      iotdevice-1/device/update/location|iotdevice-1/add/diag/errorCodes|iotdevice-1/clear/diag/errorCodes\
      |iotdevice-1/add/diag/log|iotdevice-1/clear/diag/log|iotdevice-1/mgmt/unmanage
      """)
  }

  /// Where it is published.
  var topic: Span<UInt8> {
    @_lifetime(immortal)
    get { DeviceRequest.topics.word(Int(rawValue)) }
  }

  /// The name of the member that tells when it came up.
  var timeMember: StaticString? {
    switch self {
    case .location: "measuredDateTime"
    case .addLog: "timestamp"
    case .addErrorCode, .clearErrorCodes, .clearLog, .unmanage: nil
    }
  }
}

/// Requests of the device that wait for their turn, or for an answer.
struct DeviceRequests: ~Copyable {
  private enum Phase {
    /// The first may be sent from this moment on.
    case due(from: Instant)
    /// The server has it, and has to answer until then.
    case asked(until: Instant)
  }

  /// In front of each request's data: its kind, when it came up in seconds of four bytes, its length in two.
  private static var headBytes: Int { 7 }

  private let pinned = Pinned()
  private var waiting: ByteBuffer
  private var phase = Phase.due(from: Instant(milliseconds: 0))
  private var attempts = 0
  private var identifier: UInt64 = 0
  private var random: RandomSource

  init(isManaged: Bool, random: RandomSource, in arena: inout Arena) {
    waiting = ByteBuffer(
      capacity: isManaged ? AgentLimits.deviceRequestBytesMax : 0, for: "management", in: &arena)
    self.random = random
  }

  /// Adds a request; `data` has the members of its `d`, and may be empty.
  ///
  /// - Returns: false for one that there is never room for.
  @inline(never)  // small code
  @discardableResult
  mutating func add<H: HostLog & ~Copyable>(
    _ kind: DeviceRequest, _ data: borrowing ByteBuffer, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    let byteCount = DeviceRequests.headBytes + data.count
    guard !data.hasOverflowed, byteCount <= waiting.capacity else { return false }
    while waiting.freeCount < byteCount { drop("full", &log, &host) }
    let seconds = UInt32(truncatingIfNeeded: now.milliseconds / 1000)
    waiting.append(kind.rawValue)
    waiting.append(bigEndian: UInt16(truncatingIfNeeded: seconds >> 16))
    waiting.append(bigEndian: UInt16(truncatingIfNeeded: seconds))
    waiting.append(bigEndian: UInt16(truncatingIfNeeded: data.count))
    waiting.append(data)
    return true
  }

  private var kind: DeviceRequest { DeviceRequest(rawValue: waiting[0]) ?? .clearLog }

  private func number(at index: Int) -> Int { Int(waiting[index]) << 8 | Int(waiting[index + 1]) }

  private mutating func removeFirst() {
    waiting.removeFirst(DeviceRequests.headBytes + number(at: 5))
    phase = .due(from: Instant(milliseconds: 0))
    attempts = 0
  }

  @inline(never)  // small code
  private mutating func drop<H: HostLog & ~Copyable>(
    _ reason: StaticString, code: Int = 0, _ log: inout LogWriter, _ host: inout H
  ) {
    log.begin(.warning, "management request-dropped")
    log.add("request", text: kind.topic)
    log.add("reason", reason)
    if code != 0 { log.add("code", code) }
    log.end(to: &host)
    removeFirst()
  }

  // MARK: Asking

  /// Sends the first, if its turn has come; to be called while the device is managed. `time` is nil where nobody knows
  /// it: log entries have to wait for it.
  mutating func advance<H: HostLog & ~Copyable>(
    at time: WallTime?, _ answers: inout Answers, _ outbox: inout Outbox, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    guard !waiting.isEmpty else { return }
    if case .asked(let until) = phase {
      guard now >= until else { return answers.noteDeadline(until) }
      retry(after: nil, now, &log, &host)
    }
    guard !waiting.isEmpty, case .due(let from) = phase, answers.isEmpty else { return }
    guard now >= from else { return answers.noteDeadline(from) }
    if kind == .addLog, time == nil { return answers.noteDeadline(now + AgentLimits.clockPause) }
    identifier = random.next()
    write(at: time, now, to: &answers.payload)
    let topic = TopicName(alreadyChecked: kind.topic)
    guard answers.publish(on: topic, Answers.firstToken, &outbox, now) else { return }
    phase = .asked(until: now + AgentLimits.manageTimeout)
    answers.noteDeadline(now + AgentLimits.manageTimeout)
  }

  private func write(at time: WallTime?, _ now: Instant, to payload: inout ByteBuffer) {
    payload.removeAll()
    payload.append(UInt8(ascii: "{"))
    let byteCount = number(at: 5)
    if byteCount > 0 {
      payload.append("\"d\":{")
      append((DeviceRequests.headBytes)..<(DeviceRequests.headBytes + byteCount), of: waiting, to: &payload)
      if let member = kind.timeMember, let time {
        let age = UInt32(truncatingIfNeeded: now.milliseconds / 1000) &- UInt32(number(at: 1) << 16 | number(at: 3))
        payload.append(",\"")
        payload.append(member)
        payload.append("\":\"")
        payload.append(WallTime(milliseconds: time.milliseconds - Int64(age) * 1000))
        payload.append(UInt8(ascii: "\""))
      }
      payload.append("},")
    }
    payload.append(requestIdentifier: identifier)
    payload.append(UInt8(ascii: "}"))
  }

  // MARK: Being answered

  /// Whether `identifier`, as it stands in an answer, is the one of the request that waits for it.
  func waits(for identifier: Span<UInt8>) -> Bool {
    guard case .asked = phase else { return false }
    return identifier.isRequestIdentifier(self.identifier)
  }

  /// Takes the server's answer.
  ///
  /// - Returns: whether the device is no longer managed.
  mutating func takeAnswer<H: HostLog & ~Copyable>(
    _ code: Int, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    switch code {
    case 200..<300:
      let hasLeft = kind == .unmanage
      removeFirst()
      return hasLeft
    case ManagementCode.conflict:
      retry(after: random.timeSpan(in: .seconds(1)...(.seconds(10))), code: code, now, &log, &host)
    // What it does not like, it will not like then.
    case 400..<500: drop("refused", code: code, &log, &host)
    default: retry(after: nil, code: code, now, &log, &host)
    }
    return false
  }

  @inline(never)  // small code: this is called from several places
  private mutating func retry<H: HostLog & ~Copyable>(
    after pause: TimeSpan?, code: Int = 0, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    attempts += 1
    guard attempts <= AgentLimits.deviceRequestRetriesMax else { return drop("no-answer", code: code, &log, &host) }
    let usual: TimeSpan = .seconds(attempts == 1 ? 5 : attempts == 2 ? 30 : 120)
    phase = .due(from: now + (pause ?? usual))
  }
}

// As members of one value the two would overlap.
private func append(_ range: Range<Int>, of buffer: borrowing ByteBuffer, to other: inout ByteBuffer) {
  other.append(buffer.span.extracting(range))
}
