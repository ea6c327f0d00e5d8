// Device management: keeping the device managed, and answering what the server asks.
//
// Each request that has an identifier gets one answer. This file routes: what is owed to the server waits in `Answers`,
// `Registration` keeps the device managed, and `PendingAction` does what is done to the machine.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import JSON
import MQTT

/// What is left to do about a request of the server.
enum RequestTurn {
  /// Nothing but to acknowledge it.
  case taken
  /// It is acknowledged when it is certain that it will not be forgotten.
  case pending
  /// It is for a custom action, which others carry out and acknowledge.
  case customAction
}

/// Device management.
struct Management: ~Copyable {
  private let pinned = Pinned()
  /// Whether the configuration asks for it.
  let isManaged: Bool
  private var registration: Registration
  private var action: PendingAction
  var attributes: DeviceAttributes
  var answers: Answers
  private var updater: Updater
  private var requests: DeviceRequests
  var locationFile = LocationFile()
  /// From when on the next diagnosis may be told.
  private var nextDiagnosis = Instant(milliseconds: 0)
  /// The packet of the request for the pending action, while it is not acknowledged; 0 where none waits for that.
  private var heldPacket: UInt16 = 0
  /// The answer that the pending action waits for.
  private var actionToken: UInt64 = 0
  /// The last requests that were answered, by their digests.
  private var recent = InlineArray<16, UInt64>(repeating: 0)
  private var nextRecent = 0
  /// Whether there may be something to do in any turn of the loop.
  var isBusy: Bool { answers.isBusy }
  /// When time alone moves it on.
  var deadline: Instant { answers.deadline }
  /// From when on `advance` is to be called: both in one, as every turn asks.
  private var nextTurn = Instant.never

  /// Takes buffers from `arena` where the device is to be managed.
  init(isManaged: Bool, updates: Bool, random: RandomSource, in arena: inout Arena) {
    var random = random
    action = PendingAction(isManaged: isManaged, in: &arena)
    attributes = DeviceAttributes(isManaged: isManaged, in: &arena)
    updater = Updater(isSupported: updates, random: RandomSource(seed: random.next()), in: &arena)
    answers = Answers(isManaged: isManaged, holds: updates, in: &arena)
    requests = DeviceRequests(
      isManaged: isManaged, random: RandomSource(seed: random.next()), in: &arena)
    self.isManaged = isManaged
    registration = Registration(random: random)
    answers.isBusy = isManaged
    noteNextTurn()
  }

  // MARK: Asking

  /// Whether there is something to do now.
  @inline(__always)
  func isDue(_ now: Instant) -> Bool { now >= nextTurn }

  /// Whether there may be no connection now.
  var keepsOffline: Bool { action.keepsOffline || updater.keepsOffline }

  /// Whether the agent is to end, for its supervisor to start another one.
  var wantsEnd: Bool { updater.wantsEnd }

  /// The word for how far the device is known as a managed one.
  var stateName: StaticString { isManaged ? registration.stateName : "no" }

  /// Whether no answer waits.
  var isDrained: Bool { answers.isEmpty }

  /// Whether a message with this token was published here.
  @inline(__always)
  static func isOwn(_ token: UInt64) -> Bool { token >= Answers.firstToken }

  // MARK: What happens

  /// The server has accepted a connection.
  mutating func beginConnection() {
    guard isManaged else { return }
    registration.beginConnection()
    updater.beginConnection()
    // The server delivers it again.
    heldPacket = 0
    wake()
  }

  /// The configuration has changed: the server is told what is new.
  mutating func noteSettings(_ now: Instant) {
    guard registration.isManaged else { return }
    registration.repeatManage(now)
    wake()
  }

  /// The server has a message of ours.
  mutating func acknowledge(_ token: UInt64, _ now: Instant) {
    updater.noteArrived(token)
    if token == actionToken { action.noteAnswered(now) }
    wake()
  }

  /// Does what can be done; to be called when it is due.
  mutating func advance<H: Host & ~Copyable>(
    isEnding: Bool, _ subscription: SubscriptionState, _ settings: borrowing Settings, _ clock: borrowing ClockFloor,
    _ outbox: inout Outbox, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    answers.deadline = .never
    answers.isBusy = false
    if !isEnding {
      let isDrained = !outbox.client.isConnected || (answers.isEmpty && outbox.isDrained)
      if take(action.advance(isDrained: isDrained, settings, now, &log, &host), now, &log, &host), heldPacket != 0 {
        outbox.client.acknowledge(heldPacket, now: now)
        heldPacket = 0
      }
      updater.hasPublished = outbox.counters.messages > 0 && outbox.isDrained
      update(settings, clock, now, &log, &host)
    }
    answers.send(&outbox, now)
    if !isEnding {
      registration.advance(
        isAllowed: action.allowsManage, subscription, settings, attributes, updater, &answers, &outbox, now, &log,
        &host)
      if log.diagnosis.kinds != 0 { tellDiagnosis(now, &log, &host) }
      if registration.isManaged {
        if !settings.management.locationFile.isEmpty { watchLocation(settings, now, &log, &host) }
        updater.notify(&answers, &outbox, now)
        requests.advance(at: clock.wallTime(&host), &answers, &outbox, now, &log, &host)
      }
      answers.isBusy = answers.isBusy || action.isBusy || updater.isBusy
      answers.noteDeadline(action.hasMoved || updater.hasMoved ? now : min(action.deadline(now), updater.deadline(now)))
      action.hasMoved = false
      updater.hasMoved = false
    }
    noteNextTurn()
  }

  /// Moves the update of the firmware forward.
  private mutating func update<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    updater.advance(isManaged: registration.isManaged, settings, clock, &answers, now, &log, &host)
    if registration.isManaged, updater.takeNewVersion() { registration.repeatManage(now) }
    if updater.wantsRestart, settings.management.program(for: .reboot) == nil || action.beginRestart(now, &host) {
      updater.wantsRestart = false
    }
  }

  private mutating func noteNextTurn() { nextTurn = isBusy ? Instant(milliseconds: .min) : deadline }

  /// Something has happened: there may be something to do.
  @inline(never)  // small code
  mutating func wake() {
    answers.isBusy = true
    noteNextTurn()
  }

  /// The request for the pending action came in this packet, and is acknowledged when the action is on flash, or is not
  /// to be.
  mutating func hold(_ packetIdentifier: UInt16) { heldPacket = packetIdentifier }

  /// The server is told what the action has come to, if it has.
  private mutating func take<H: HostLog & ~Copyable>(
    _ news: ActionNews, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    var code = ManagementCode.failed
    var message: StaticString?
    var status = 0
    switch news {
    case .none: return false
    case .accepted: code = ManagementCode.accepted
    case .refused(let answer):
      log.write(.warning, "management not-stored", "reason", answer.name, to: &host)
      message = answer.name
    case .failed:
      message = action.failure.reason.name
      status = action.failure.status
    }
    // A restart that an update needs nobody has asked for, and nobody is told what it has come to.
    guard !action.identifier.isEmpty else {
      if code == ManagementCode.failed { updater.noteRestartFailed() }
      action.noteAnswered(now)
      return true
    }
    answers.payload.beginManagementAnswer(code, to: action.identifier)
    answers.appendMessage(message, status)
    answers.finish(&log, &host)
    actionToken = answers.lastToken
    return true
  }

  /// Has the server told of the device's own faults: an error code for each kind, and one log entry.
  @inline(never)  // small code
  private mutating func tellDiagnosis<H: HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard now >= nextDiagnosis else { return answers.noteDeadline(nextDiagnosis) }
    nextDiagnosis = now + AgentLimits.diagnosisInterval
    for kind in 0..<Diagnosis.kindCount where log.diagnosis.kinds >> UInt8(kind) & 1 != 0 {
      answers.payload.removeAll()
      answers.payload.append(errorCode: Diagnosis.firstCode + kind)
      requests.add(.addErrorCode, answers.payload, now, &log, &host)
    }
    answers.payload.removeAll()
    answers.payload.append("\"message\":\"")
    answers.payload.appendJSON(insideString: log.diagnosis.text.span)
    if log.diagnosis.otherCount > 0 {
      answers.payload.append(", and others: ")
      answers.payload.append(decimal: log.diagnosis.otherCount)
    }
    answers.payload.append(severity: log.diagnosis.severity)
    requests.add(.addLog, answers.payload, now, &log, &host)
    log.clearDiagnosis()
  }

  /// Has the server asked what `answers.payload` has the data of; nil is to be managed again.
  ///
  /// - Returns: false for what there is never room for.
  @discardableResult
  mutating func ask<H: HostLog & ~Copyable>(
    _ kind: DeviceRequest?, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> Bool {
    if let kind {
      guard requests.add(kind, answers.payload, now, &log, &host) else { return false }
    } else {
      registration.rejoin(now)
    }
    // The turn may be over as far as this part is concerned.
    answers.noteDeadline(now)
    noteNextTurn()
    return true
  }

  /// Takes an answer of the server.
  mutating func takeAnswer<H: HostLog & ~Copyable>(
    _ text: Span<UInt8>, _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let message = ManagementMessage(parsing: text)
    let identifier = text.extracting(message.requestIdentifier ?? 0..<0)
    if let code = message.returnCode, requests.waits(for: identifier) {
      wake()
      guard requests.takeAnswer(code, now, &log, &host) else { return }
      registration.leave()
      log.begin(.info, "management left")
      return log.end(to: &host)
    }
    guard let code = message.returnCode, registration.waits(for: identifier) || updater.waits(for: identifier) else {
      log.begin(.debug, "management unknown-answer")
      return log.end(to: &host)
    }
    wake()
    guard registration.waits(for: identifier) else { return updater.takeAnswer(code, now) }
    if registration.takeAnswer(code, settings, now, &log, &host) {
      action.noteManaged(now)
      updater.noteManaged(now)
    }
  }

  // MARK: Answering

  /// Adds the answer to a request for a custom action; `answer` has all of it but what closes it.
  mutating func answer<H: HostLog & ~Copyable>(
    _ answer: borrowing ByteBuffer, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    answers.add(answer, &log, &host)
    // The turn may be over as far as this part is concerned.
    answers.noteDeadline(now)
    noteNextTurn()
  }

  /// Takes a request of the server; `text` is its payload.
  @inline(never)  // small code
  mutating func take<H: Host & ~Copyable>(
    _ request: ManagementRequest, _ text: Span<UInt8>, isDuplicate: Bool, _ settings: borrowing Settings,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> RequestTurn {
    guard isManaged else { return .taken }
    wake()
    var message = ManagementMessage(parsing: text)
    let range = message.requestIdentifier ?? 0..<0
    let identifier = text.extracting(range)
    if message.isMalformed {
      log.begin(.warning, "management malformed")
      log.end(to: &host)
    }
    if request == .customAction, !message.isMalformed, range.count <= PendingAction.identifierBytesMax {
      return .customAction
    }
    // Its answer is on its way: it is sent again by itself until the server has it.
    if isDuplicate, !range.isEmpty, isRecent(identifier.digest) {
      return action.standing(of: identifier) == .undecided ? .pending : .taken
    }
    if !range.isEmpty { noteRecent(identifier.digest) }
    guard !message.isMalformed else {
      answers.add(ManagementCode.badRequest, "malformed", identifier, &log, &host)
      return .taken
    }
    switch request {
    case .update: update(&message, text, identifier, settings, &log, &host)
    case .observe: observe(message, text, identifier, isDuplicate: isDuplicate, settings, &log, &host)
    case .cancel: cancel(message, text, identifier, &log, &host)
    case .reboot: return act(.reboot, identifier, settings, &log, &host)
    case .factoryReset: return act(.factoryReset, identifier, settings, &log, &host)
    case .downloadFirmware, .installFirmware: initiate(request, identifier, settings, now, &log, &host)
    case .customAction:
      answers.add(ManagementCode.badRequest, "the identifier is too long", identifier, &log, &host)
    case .other: answers.add(ManagementCode.notImplemented, "not supported", identifier, &log, &host)
    }
    return .taken
  }

  private func isRecent(_ digest: UInt64) -> Bool {
    for index in recent.indices where recent[index] == digest { return true }
    return false
  }

  private mutating func noteRecent(_ digest: UInt64) {
    recent[nextRecent] = digest
    nextRecent = (nextRecent + 1) % recent.count
  }

  private mutating func act<H: HostPower & HostLog & ~Copyable>(
    _ kind: MachineAction, _ identifier: Span<UInt8>, _ settings: borrowing Settings, _ log: inout LogWriter,
    _ host: inout H
  ) -> RequestTurn {
    // Without an identifier nobody could tell it from the same request once more.
    guard !identifier.isEmpty else {
      log.write(.warning, "management no-identifier", "action", kind.name, to: &host)
      return .taken
    }
    guard let program = settings.management.program(for: kind) else {
      answers.add(ManagementCode.notImplemented, "not supported", identifier, &log, &host)
      return .taken
    }
    switch action.standing(of: identifier) {
    case .unknown: break
    case .undecided: return .pending
    case .accepted:
      answers.add(ManagementCode.accepted, nil, identifier, &log, &host)
      return .taken
    case .failed:
      answers.add(ManagementCode.failed, "it has failed", identifier, &log, &host)
      return .taken
    }
    var obstacle: StaticString?
    if identifier.count > PendingAction.identifierBytesMax {
      obstacle = "the identifier is too long"
    } else if !host.mayStartAction(settings.bytes(program)) {
      obstacle = "not permitted, or not executable"
    } else if updater.isInstalling {
      obstacle = "an update is being installed"
    } else if !action.begin(kind, for: identifier, &host) {
      obstacle = "another action is pending"
    }
    guard let obstacle else { return .pending }
    log.begin(.warning, "management action-refused")
    log.add("action", kind.name)
    log.add("reason", text: obstacle.bytes)
    log.end(to: &host)
    answers.add(ManagementCode.failed, obstacle, identifier, &log, &host)
    return .taken
  }

  private mutating func initiate<H: Host & ~Copyable>(
    _ request: ManagementRequest, _ identifier: Span<UInt8>, _ settings: borrowing Settings, _ now: Instant,
    _ log: inout LogWriter, _ host: inout H
  ) {
    // As above.
    guard !identifier.isEmpty else {
      let name: StaticString = request == .installFirmware ? "update" : "download"
      return log.write(.warning, "management no-identifier", "action", name, to: &host)
    }
    updater.initiate(
      request, identifier, isActing: !action.isIdle, settings, &answers, now, &log, &host)
  }

  // MARK: Attributes

  /// Ends an answer, and holds it where what it says has to become durable first.
  @inline(never)  // small code
  private mutating func finish<H: HostLog & ~Copyable>(isHeld: Bool, _ log: inout LogWriter, _ host: inout H) {
    if isHeld { answers.hold(&log, &host) } else { answers.finish(&log, &host) }
  }

  /// Notes whether the server wants to be told of changes of the attributes.
  ///
  /// - Returns: whether the answer is to be held.
  private mutating func observe(
    _ message: ManagementMessage, _ text: Span<UInt8>, _ isObserved: Bool, isDuplicate: Bool
  ) -> Bool {
    var fields = message
    var isHeld = false
    while case .field(let name, _) = fields.nextField(in: text) {
      if updater.observe(name, in: text, isObserved, isDuplicate: isDuplicate) { isHeld = true }
    }
    return isHeld
  }

  private mutating func cancel<H: HostLog & ~Copyable>(
    _ message: ManagementMessage, _ text: Span<UInt8>, _ identifier: Span<UInt8>, _ log: inout LogWriter,
    _ host: inout H
  ) {
    guard message.hasFields else { return answers.add(ManagementCode.badRequest, nil, identifier, &log, &host) }
    // A server that is told once more will say so.
    _ = observe(message, text, false, isDuplicate: false)
    answers.add(ManagementCode.ok, nil, identifier, &log, &host)
  }

  /// Answers with the value of each attribute, or with the names of those that there are not.
  private mutating func observe<H: HostLog & ~Copyable>(
    _ message: ManagementMessage, _ text: Span<UInt8>, _ identifier: Span<UInt8>, isDuplicate: Bool,
    _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    guard !identifier.isEmpty else { return }
    guard message.hasFields else { return answers.add(ManagementCode.badRequest, "no fields", identifier, &log, &host) }
    answers.payload.beginManagementAnswer(ManagementCode.ok, to: identifier)
    answers.payload.append(",\"d\":{\"fields\":[")
    var fields = message
    let start = answers.payload.count
    var code = ManagementCode.ok
    reading: while code == ManagementCode.ok {
      switch fields.nextField(in: text) {
      case .end: break reading
      case .wrong: code = ManagementCode.badRequest
      case .field(let name, _):
        beginField(name, in: text, from: start)
        answers.payload.append(",\"value\":")
        let isKnown = attributes.appendValue(of: name, in: text, settings, updater, to: &answers.payload)
        answers.payload.append(UInt8(ascii: "}"))
        if !isKnown { code = ManagementCode.notFound }
      }
    }
    if answers.payload.hasOverflowed { code = ManagementCode.failed }
    guard code == ManagementCode.ok else {
      return answerUnknown(code, nil, message, text, identifier, settings, &log, &host)
    }
    answers.payload.append("]}")
    finish(isHeld: observe(message, text, true, isDuplicate: isDuplicate), &log, &host)
  }

  @inline(never)  // small code
  private mutating func beginField(_ name: Range<Int>, in text: Span<UInt8>, from start: Int) {
    if answers.payload.count > start { answers.payload.append(UInt8(ascii: ",")) }
    answers.payload.append("{\"field\":\"")
    answers.payload.append(text.extracting(name))
    answers.payload.append(UInt8(ascii: "\""))
  }

  /// Answers `code`, and where that is "not found" with the names of what was not.
  @inline(never)  // small code
  private mutating func answerUnknown<H: HostLog & ~Copyable>(
    _ code: Int, _ complaint: StaticString?, _ message: ManagementMessage, _ text: Span<UInt8>,
    _ identifier: Span<UInt8>,
    _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    guard code == ManagementCode.notFound else { return answers.add(code, complaint, identifier, &log, &host) }
    guard !identifier.isEmpty else { return }
    answers.payload.beginManagementAnswer(code, to: identifier)
    answers.payload.append(",\"d\":{\"fields\":[")
    var fields = message
    let start = answers.payload.count
    while case .field(let name, let value) = fields.nextField(in: text) {
      let before = answers.payload.count
      let isKnown: Bool
      if value == nil {
        isKnown = attributes.appendValue(of: name, in: text, settings, updater, to: &answers.payload)
        answers.payload.truncate(to: before)
      } else {
        isKnown = check(name, value, in: text) != ManagementCode.notFound
      }
      guard !isKnown else { continue }
      beginField(name, in: text, from: start)
      answers.payload.append(UInt8(ascii: "}"))
    }
    answers.payload.append("]}")
    answers.finish(&log, &host)
  }

  /// Changes all attributes, or none where one of them cannot be.
  private mutating func update<H: HostLog & ~Copyable>(
    _ message: inout ManagementMessage, _ text: Span<UInt8>, _ identifier: Span<UInt8>,
    _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    var fields = message
    updater.complaint = nil
    var code = message.hasFields ? ManagementCode.changed : ManagementCode.badRequest
    checking: while code == ManagementCode.changed {
      switch fields.nextField(in: text) {
      case .end: break checking
      case .wrong: code = ManagementCode.badRequest
      case .field(let name, let value): code = check(name, value, in: text)
      }
    }
    guard code == ManagementCode.changed else {
      return answerUnknown(code, updater.complaint, message, text, identifier, settings, &log, &host)
    }
    var isHeld = false
    while case .field(let name, let value) = message.nextField(in: text) {
      guard let value else { continue }
      if updater.isRecord(name, in: text) {
        if updater.change(value, in: text, &answers.payload) { isHeld = true }
      } else {
        attributes.change(name, value, in: text, &answers.payload)
      }
      log.begin(.info, "management updated")
      log.add("field", text: text.extracting(name))
      log.end(to: &host)
    }
    guard !identifier.isEmpty else { return }
    answers.payload.beginManagementAnswer(code, to: identifier)
    finish(isHeld: isHeld, &log, &host)
  }

  /// Whether an attribute may get a value: the code to answer.
  private mutating func check(_ name: Range<Int>, _ value: Range<Int>?, in text: Span<UInt8>) -> Int {
    updater.isRecord(name, in: text)
      ? updater.check(value, in: text) : attributes.check(name, value, in: text)
  }
}
