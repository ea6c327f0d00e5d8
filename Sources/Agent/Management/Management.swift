// Device management: keeping the device managed, and answering what the server asks.
//
// Each request that has an identifier gets one answer. Answers wait here, apart from events, until window and rate have
// room for them; the outbox sends them in front of whatever waits there.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT

/// Device management.
struct Management: ~Copyable {
  /// How far the device is known to the server as a managed one, on the present connection.
  private enum Registration {
    /// There is no connection, or it has no subscription.
    case offline
    /// The subscription has been asked for.
    case subscribing
    /// The server is told from this moment on.
    case due(from: Instant)
    /// It was told, and has to answer until then.
    case asked(until: Instant)
    /// It knows, and is told again from this moment on.
    case managed(until: Instant)
  }

  /// The token of the manage request, and less than those of all answers: beyond all tokens of the outbox's own.
  private static var firstToken: UInt64 { 1 << 63 }

  private let pinned = Pinned()
  /// Whether the configuration asks for it.
  let isManaged: Bool
  private var random: RandomSource
  private var registration = Registration.offline
  private var attempts = 0
  /// The identifier of the last manage request.
  private var identifier: UInt64 = 0
  private var action: PendingAction
  private var attributes: DeviceAttributes
  /// Answers that wait: for each its length in two bytes, and its payload.
  private var answers: ByteBuffer
  private var answerCount: UInt64 = 0
  private var sentCount: UInt64 = 0
  /// The answer that the pending action waits for.
  private var actionToken: UInt64 = 0
  /// The message that is being written.
  private var payload: ByteBuffer
  /// The last requests that were answered, by their digests.
  private var recent = InlineArray<16, UInt64>(repeating: 0)
  private var nextRecent = 0
  /// Whether there may be something to do in any turn of the loop.
  private(set) var isBusy: Bool
  /// When time alone moves it on.
  private(set) var deadline = Instant.never
  /// From when on `advance` is to be called: both in one, as every turn asks.
  private var nextTurn = Instant.never

  /// Takes buffers from `arena` where the device is to be managed.
  init(isManaged: Bool, random: RandomSource, from arena: inout Arena) throws(ArenaExhausted) {
    let byteCount = isManaged ? AgentLimits.managementBytesMax : 0
    let action = try PendingAction(isManaged: isManaged, from: &arena)
    let attributes = try DeviceAttributes(isManaged: isManaged, from: &arena)
    let answers = try ByteBuffer(capacity: byteCount, for: "management", from: &arena)
    let payload = try ByteBuffer(capacity: byteCount, for: "management", from: &arena)
    self.action = action
    self.attributes = attributes
    self.answers = answers
    self.payload = payload
    self.isManaged = isManaged
    self.random = random
    isBusy = isManaged
    noteNextTurn()
  }

  // MARK: Asking

  /// Whether there is something to do now.
  @inline(__always)
  func isDue(_ now: Instant) -> Bool { now >= nextTurn }

  /// Whether there may be no connection now.
  var keepsOffline: Bool { action.keepsOffline }

  /// Whether no answer waits.
  var isDrained: Bool { answers.isEmpty }

  /// Whether a message with this token was published here.
  @inline(__always)
  static func isOwn(_ token: UInt64) -> Bool { token >= firstToken }

  // MARK: What happens

  /// The server has accepted a connection.
  mutating func beginConnection() {
    guard isManaged else { return }
    registration = .subscribing
    attempts = 0
    wake()
  }

  /// The configuration has changed: the server is told what is new.
  mutating func noteSettings(_ now: Instant) {
    guard case .managed = registration else { return }
    registration = .due(from: now)
    wake()
  }

  /// The server has a message of ours.
  mutating func acknowledge(_ token: UInt64, _ now: Instant) {
    guard token == actionToken else { return }
    action.noteAnswered(now)
    wake()
  }

  /// Does what can be done; to be called when it is due.
  mutating func advance<H: HostStorage & HostPower & HostLog & ~Copyable>(
    isEnding: Bool, _ subscription: SubscriptionState, _ settings: borrowing Settings, _ outbox: inout Outbox,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    deadline = .never
    isBusy = false
    if !isEnding {
      let isDrained = !outbox.client.isConnected || (answers.isEmpty && outbox.isDrained)
      take(action.advance(isDrained: isDrained, settings, now, &log, &host), &log, &host)
    }
    sendAnswers(&outbox, now, &log, &host)
    if !isEnding {
      keepRegistered(subscription, settings, &outbox, now, &log, &host)
      isBusy = isBusy || action.isBusy
      deadline = action.hasMoved ? now : min(deadline, action.deadline(now))
      action.hasMoved = false
    }
    noteNextTurn()
  }

  private mutating func noteNextTurn() { nextTurn = isBusy ? Instant(milliseconds: .min) : deadline }

  /// Something has happened: there may be something to do.
  @inline(never)  // small code
  private mutating func wake() {
    isBusy = true
    noteNextTurn()
  }

  /// The server is told what the action has come to.
  private mutating func take<H: HostLog & ~Copyable>(_ news: ActionNews, _ log: inout LogWriter, _ host: inout H) {
    var code = ManagementCode.failed
    var message: StaticString?
    var status = 0
    switch news {
    case .none: return
    case .accepted: code = ManagementCode.accepted
    case .refused(let answer):
      log.write(.warning, "management not-stored", "reason", answer.name, to: &host)
      message = answer.name
    case .failed:
      message = action.failure.reason.name
      status = action.failure.status
    }
    payload.beginManagementAnswer(code, to: action.identifier)
    appendMessage(message, status)
    finishAnswer(&log, &host)
    actionToken = Management.firstToken + answerCount
  }

  @inline(never)  // small code
  private mutating func appendMessage(_ message: StaticString?, _ status: Int = 0) {
    guard let message else { return }
    payload.append(",\"message\":\"")
    payload.append(message)
    if status != 0 {
      payload.append(UInt8(ascii: " "))
      payload.append(decimal: status)
    }
    payload.append(UInt8(ascii: "\""))
  }

  // MARK: Being managed

  private mutating func keepRegistered<H: HostLog & ~Copyable>(
    _ subscription: SubscriptionState, _ settings: borrowing Settings, _ outbox: inout Outbox, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    guard outbox.client.isConnected else {
      registration = .offline
      return
    }
    switch registration {
    case .offline: return
    case .subscribing:
      switch subscription {
      case .granted: registration = .due(from: now)
      // It is asked for again on the next connection.
      case .refused, .unwanted: registration = .offline
      case .wanted, .asked: isBusy = true
      }
    case .asked(let until):
      if now >= until { retry(after: pauseAfterFailure(), code: nil, now, &log, &host) }
    case .managed(let until):
      if now >= until { registration = .due(from: now) }
    case .due: break
    }
    if case .due(let from) = registration, now >= from {
      // The pending action moves on by itself, or its deadline is what comes next.
      guard action.allowsManage else { return }
      if answers.isEmpty { manage(settings, &outbox, now, &log, &host) }
    }
    switch registration {
    case .due(let from) where from > now: deadline = min(deadline, from)
    case .asked(let until), .managed(let until): deadline = min(deadline, until)
    case .due, .offline, .subscribing: break
    }
  }

  /// Asks the server to take the device for managed.
  private mutating func manage<H: HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ outbox: inout Outbox, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    identifier = random.next()
    writeManage(settings)
    let topic = TopicName(alreadyChecked: Topics.manage.bytes)
    guard !payload.hasOverflowed else { return registration = .due(from: .never) }
    if send(on: topic, Management.firstToken, &outbox, now) {
      registration = .asked(until: now + AgentLimits.manageTimeout)
    }
  }

  private mutating func writeManage(_ settings: borrowing Settings) {
    payload.removeAll()
    payload.append("{\"d\":{\"lifetime\":")
    payload.append(decimal: settings.management.lifetime.milliseconds / 1000)
    payload.append(",\"supports\":{\"deviceActions\":")
    payload.append(settings.management.hasActions ? "true" : "false")
    payload.append(",\"firmwareActions\":false}")
    // One that is empty has got no answer from some servers.
    let end = payload.count
    payload.append(",\"deviceInfo\":")
    let start = payload.count
    attributes.appendInformation(settings, to: &payload)
    if payload.count == start + 2 { payload.truncate(to: end) }
    payload.append("},\"reqId\":\"")
    appendIdentifier()
    payload.append("\"}")
  }

  private mutating func appendIdentifier() {
    for index in 0..<8 {
      payload.append(hexadecimal: UInt8(truncatingIfNeeded: identifier >> UInt64(56 - 8 * index)))
    }
  }

  /// Takes an answer of the server.
  mutating func takeAnswer<H: HostLog & ~Copyable>(
    _ text: Span<UInt8>, _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let message = ManagementMessage(parsing: text)
    guard case .asked = registration, let range = message.requestIdentifier, isOurs(text.extracting(range)),
      let code = message.returnCode
    else {
      log.begin(.debug, "management unknown-answer")
      return log.end(to: &host)
    }
    wake()
    guard code / 100 != 2 else { return becomeManaged(settings, now, &log, &host) }
    let pause: TimeSpan?
    switch code {
    case ManagementCode.conflict: pause = random.timeSpan(in: .seconds(1)...(.seconds(10)))
    // It may be registered any time.
    case ManagementCode.notFound: pause = .minutes(60)
    // What it does not like, it will not like then.
    case 400..<500: pause = nil
    default: pause = pauseAfterFailure()
    }
    retry(after: pause, code: code, now, &log, &host)
  }

  private func isOurs(_ text: Span<UInt8>) -> Bool {
    guard text.count == 18 else { return false }
    var number: UInt64 = 0
    for index in 1..<17 {
      guard let digit = text[index].hexDigitValue else { return false }
      number = number << 4 | UInt64(digit)
    }
    return number == identifier
  }

  private mutating func becomeManaged<H: HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let lifetime = settings.management.lifetime
    attempts = 0
    // Devices that came back together go their own ways.
    let part = lifetime.milliseconds * 4 / 5
    let jitter = random.timeSpan(in: .milliseconds(-part / 20)...(.milliseconds(part / 20)))
    registration = .managed(until: lifetime == .zero ? .never : now + .milliseconds(part + jitter.milliseconds))
    action.noteManaged(now)
    log.begin(.info, "management managed")
    log.add("lifetime", lifetime)
    log.end(to: &host)
  }

  /// Without a pause, not before the next connection.
  @inline(never)  // small code
  private mutating func retry<H: HostLog & ~Copyable>(
    after pause: TimeSpan?, code: Int?, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    registration = .due(from: pause.map { now + $0 } ?? .never)
    log.begin(.warning, code == nil ? "management no-answer" : "management refused")
    if let code { log.add("code", code) }
    if let pause { log.add("retry-in", pause) }
    log.end(to: &host)
  }

  private mutating func pauseAfterFailure() -> TimeSpan {
    attempts += 1
    let milliseconds: Int64 = attempts == 1 ? 5000 : attempts == 2 ? 30_000 : attempts == 3 ? 120_000 : 600_000
    return random.timeSpan(in: .milliseconds(milliseconds * 4 / 5)...(.milliseconds(milliseconds)))
  }

  // MARK: Sending

  private mutating func sendAnswers<H: HostLog & ~Copyable>(
    _ outbox: inout Outbox, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let topic = TopicName(alreadyChecked: Topics.managementAnswer.bytes)
    while !answers.isEmpty {
      let byteCount = Int(answers[0]) << 8 | Int(answers[1])
      payload.removeAll()
      append(2..<(2 + byteCount), of: answers, to: &payload)
      guard send(on: topic, Management.firstToken + sentCount + 1, &outbox, now) else { return }
      answers.removeFirst(2 + byteCount)
      sentCount += 1
    }
  }

  /// Publishes `payload`, or finds out when to try again.
  ///
  /// - Returns: false when it has to be tried again.
  @inline(never)  // small code
  private mutating func send(
    on topic: borrowing TopicName, _ token: UInt64, _ outbox: inout Outbox, _ now: Instant
  ) -> Bool {
    do throws(SendRefusal) {
      try outbox.send(payload.span, on: topic, qos: .atLeastOnce, token: token, now)
    } catch {
      switch error {
      // It would block all those behind it for ever.
      case .never: return true
      case .wait(.rate): deadline = min(deadline, outbox.allowedFrom)
      // Whatever makes room wakes the loop.
      case .wait(.window), .wait(.room): isBusy = true
      case .wait(.noConnection): break
      }
      return false
    }
    return true
  }

  // MARK: Answering

  /// Takes a request of the server; `text` is its payload.
  @inline(never)  // small code
  mutating func take<H: HostPower & HostLog & ~Copyable>(
    _ request: ManagementRequest, _ text: Span<UInt8>, isDuplicate: Bool, _ settings: borrowing Settings,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard isManaged else { return }
    wake()
    var message = ManagementMessage(parsing: text)
    let range = message.requestIdentifier ?? 0..<0
    let identifier = text.extracting(range)
    if message.isMalformed {
      log.begin(.warning, "management malformed")
      log.end(to: &host)
    }
    // Its answer is on its way: it is sent again by itself until the server has it.
    if isDuplicate, !range.isEmpty, isRecent(identifier.digest) { return }
    if !range.isEmpty { noteRecent(identifier.digest) }
    guard !message.isMalformed else { return answer(ManagementCode.badRequest, "malformed", identifier, &log, &host) }
    switch request {
    case .update: update(&message, text, identifier, settings, &log, &host)
    case .observe: observe(message, text, identifier, settings, &log, &host)
    case .cancel:
      answer(message.hasFields ? ManagementCode.ok : ManagementCode.badRequest, nil, identifier, &log, &host)
    case .reboot: act(.reboot, identifier, settings, &log, &host)
    case .factoryReset: act(.factoryReset, identifier, settings, &log, &host)
    case .other: answer(ManagementCode.notImplemented, "not supported", identifier, &log, &host)
    }
  }

  private func isRecent(_ digest: UInt64) -> Bool {
    for index in recent.indices where recent[index] == digest { return true }
    return false
  }

  private mutating func noteRecent(_ digest: UInt64) {
    recent[nextRecent] = digest
    nextRecent = (nextRecent + 1) % recent.count
  }

  @inline(never)  // small code
  private mutating func answer<H: HostLog & ~Copyable>(
    _ code: Int, _ message: StaticString?, _ identifier: Span<UInt8>, _ log: inout LogWriter, _ host: inout H
  ) {
    guard !identifier.isEmpty else { return }
    payload.beginManagementAnswer(code, to: identifier)
    appendMessage(message)
    finishAnswer(&log, &host)
  }

  /// Ends the answer that has been begun, and has it wait for its turn.
  @inline(never)  // small code
  private mutating func finishAnswer<H: HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    isBusy = true
    payload.append(UInt8(ascii: "}"))
    guard !payload.hasOverflowed, payload.count + 2 <= answers.freeCount else {
      log.begin(.error, "management answer-dropped")
      log.end(to: &host)
      return
    }
    answers.append(bigEndian: UInt16(truncatingIfNeeded: payload.count))
    answers.append(payload)
    answerCount += 1
  }

  private mutating func act<H: HostPower & HostLog & ~Copyable>(
    _ kind: MachineAction, _ identifier: Span<UInt8>, _ settings: borrowing Settings, _ log: inout LogWriter,
    _ host: inout H
  ) {
    // Without an identifier nobody could tell it from the same request once more.
    guard !identifier.isEmpty else {
      log.write(.warning, "management no-identifier", "action", kind.name, to: &host)
      return
    }
    guard let program = settings.management.program(for: kind) else {
      return answer(ManagementCode.notImplemented, "not supported", identifier, &log, &host)
    }
    switch action.standing(of: identifier) {
    case .unknown: break
    case .undecided: return
    case .accepted: return answer(ManagementCode.accepted, nil, identifier, &log, &host)
    case .failed: return answer(ManagementCode.failed, "it has failed", identifier, &log, &host)
    }
    var obstacle: StaticString?
    if identifier.count > PendingAction.identifierBytesMax {
      obstacle = "the identifier is too long"
    } else if !host.mayStartAction(settings.bytes(program)) {
      obstacle = "not permitted, or not executable"
    } else if !action.begin(kind, for: identifier, &host) {
      obstacle = "another action is pending"
    }
    guard let obstacle else { return }
    log.begin(.warning, "management action-refused")
    log.add("action", kind.name)
    log.add("reason", text: obstacle.bytes)
    log.end(to: &host)
    answer(ManagementCode.failed, obstacle, identifier, &log, &host)
  }

  // MARK: Attributes

  /// Answers with the value of each attribute, or with the names of those that there are not.
  private mutating func observe<H: HostLog & ~Copyable>(
    _ message: ManagementMessage, _ text: Span<UInt8>, _ identifier: Span<UInt8>, _ settings: borrowing Settings,
    _ log: inout LogWriter, _ host: inout H
  ) {
    guard !identifier.isEmpty else { return }
    guard message.hasFields else { return answer(ManagementCode.badRequest, "no fields", identifier, &log, &host) }
    payload.beginManagementAnswer(ManagementCode.ok, to: identifier)
    payload.append(",\"d\":{\"fields\":[")
    var fields = message
    let start = payload.count
    var code = ManagementCode.ok
    reading: while code == ManagementCode.ok {
      switch fields.nextField(in: text) {
      case .end: break reading
      case .wrong: code = ManagementCode.badRequest
      case .field(let name, _):
        beginField(name, in: text, from: start)
        payload.append(",\"value\":")
        let isKnown = attributes.appendValue(of: name, in: text, settings, to: &payload)
        payload.append(UInt8(ascii: "}"))
        if !isKnown { code = ManagementCode.notFound }
      }
    }
    if payload.hasOverflowed { code = ManagementCode.failed }
    guard code == ManagementCode.ok else {
      return answerUnknown(code, message, text, identifier, settings, &log, &host)
    }
    payload.append("]}")
    finishAnswer(&log, &host)
  }

  @inline(never)  // small code
  private mutating func beginField(_ name: Range<Int>, in text: Span<UInt8>, from start: Int) {
    if payload.count > start { payload.append(UInt8(ascii: ",")) }
    payload.append("{\"field\":\"")
    payload.append(text.extracting(name))
    payload.append(UInt8(ascii: "\""))
  }

  /// Answers `code`, and where that is "not found" with the names of what was not.
  @inline(never)  // small code
  private mutating func answerUnknown<H: HostLog & ~Copyable>(
    _ code: Int, _ message: ManagementMessage, _ text: Span<UInt8>, _ identifier: Span<UInt8>,
    _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    guard code == ManagementCode.notFound else { return answer(code, nil, identifier, &log, &host) }
    guard !identifier.isEmpty else { return }
    payload.beginManagementAnswer(code, to: identifier)
    payload.append(",\"d\":{\"fields\":[")
    var fields = message
    let start = payload.count
    while case .field(let name, let value) = fields.nextField(in: text) {
      let before = payload.count
      let isKnown: Bool
      if value == nil {
        isKnown = attributes.appendValue(of: name, in: text, settings, to: &payload)
        payload.truncate(to: before)
      } else {
        isKnown = attributes.check(name, value, in: text) != ManagementCode.notFound
      }
      guard !isKnown else { continue }
      beginField(name, in: text, from: start)
      payload.append(UInt8(ascii: "}"))
    }
    payload.append("]}")
    finishAnswer(&log, &host)
  }

  /// Changes all attributes, or none where one of them cannot be.
  private mutating func update<H: HostLog & ~Copyable>(
    _ message: inout ManagementMessage, _ text: Span<UInt8>, _ identifier: Span<UInt8>,
    _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    var fields = message
    var code = message.hasFields ? ManagementCode.changed : ManagementCode.badRequest
    checking: while code == ManagementCode.changed {
      switch fields.nextField(in: text) {
      case .end: break checking
      case .wrong: code = ManagementCode.badRequest
      case .field(let name, let value): code = attributes.check(name, value, in: text)
      }
    }
    guard code == ManagementCode.changed else {
      return answerUnknown(code, message, text, identifier, settings, &log, &host)
    }
    while case .field(let name, let value) = message.nextField(in: text) {
      guard let value else { continue }
      attributes.change(name, value, in: text, &payload)
      log.begin(.info, "management updated")
      log.add("field", text: text.extracting(name))
      log.end(to: &host)
    }
    answer(code, nil, identifier, &log, &host)
  }
}

// As members of one value the two would overlap.
private func append(_ range: Range<Int>, of buffer: borrowing ByteBuffer, to other: inout ByteBuffer) {
  other.append(buffer.span.extracting(range))
}
