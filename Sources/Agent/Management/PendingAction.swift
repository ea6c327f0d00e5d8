// Actions upon the whole machine: restarting and resetting it.
//
// What must not be done twice, nor be forgotten once the server was told that it will be done, is on flash before the
// server is told. The record has, besides what is to be done and for which request, the identifier of the machine's run
// in which it was asked for: a restart that really happened makes it another one, and nothing else does.
//
//     idle ─ accepting ─ answering ─ draining ─ starting ─ running ─ restarting ┄ power ┄ idle
//               │           (the session ends here)  │          └───────┴─ concluding ─ reporting ─ clearing ─ idle
//               └─ withdrawing ─ idle                └────────────────────────┘
//
// A restart leaves a proof, the next run of the machine. A reset leaves none: its program has to tell its end by its
// status, and what was begun and not ended when the power failed counts as failed. So it leaves it to the agent to
// restart the machine behind it.

import AgentConfiguration
import Bytes
import HostInterface

/// What can be done to a machine.
enum MachineAction: UInt8 {
  case reboot = 1
  case factoryReset = 2

  var name: StaticString { self == .reboot ? "reboot" : "factory-reset" }
}

/// Why an action that was accepted came to nothing.
enum ActionFailure: UInt8 {
  /// The record could not be written again.
  case notStored = 1
  /// It could not be started.
  case notStarted
  /// The program ended with a status that says so.
  case status
  /// The program did not end in time.
  case timeout
  /// All went well, but the machine runs on.
  case notRestarted
  /// The agent ended while the program ran, and does not know what became of it.
  case interrupted

  var name: StaticString {
    switch self {
    case .notStored: "not-stored"
    case .notStarted: "not-started"
    case .status: "status"
    case .timeout: "timeout"
    case .notRestarted: "not-restarted"
    case .interrupted: "interrupted"
    }
  }
}

/// What others have to do about an action.
enum ActionNews {
  /// Nothing.
  case none
  /// It will be done: the server is to be told.
  case accepted
  /// It cannot be kept, and so will not be done.
  case refused(StorageAnswer)
  /// It was accepted, and came to nothing: the server is to be told.
  case failed
}

/// What is known of a request.
enum Standing {
  /// Nothing.
  case unknown
  /// It has been accepted, and is done or will be.
  case accepted
  /// It was accepted and came to nothing.
  case failed
  /// It will have its answer.
  case undecided
}

/// The action that is pending, if there is one.
struct PendingAction: ~Copyable {
  private enum Phase {
    /// The record is being read.
    case reading
    /// Nothing is going on.
    case idle
    /// The record is being written.
    case accepting
    /// It could not be, and is taken back.
    case withdrawing(StorageAnswer)
    /// The server is being told.
    case answering(until: Instant)
    /// What was published before gets a moment to arrive.
    case draining(until: Instant)
    /// That it is being done is being written; from now on without a session.
    case starting
    /// It is being done.
    case running(until: Instant)
    /// The machine is about to go down.
    case restarting(until: Instant)
    /// What came of it is being written.
    case concluding
    /// The server is being told that it came to nothing.
    case reporting
    /// The record is being emptied, from this moment on.
    case clearing(from: Instant)
  }

  /// How far an action has come, as the record has it.
  private enum Stage: UInt8 {
    /// There is none, or nothing is owed about it any more.
    case none = 0
    /// It is to be done.
    case accepted
    /// It has been begun, and must not be begun again.
    case begun
    /// It is done.
    case done
    /// It came to nothing, which the server does not know.
    case failed
  }

  // The record: version, action, stage, whether the server was told, failure, status, next place in the ring, a zero,
  // 16 bytes of the machine's run, the digests of the last requests as a ring, the identifier of the last one.
  private static var version: UInt8 { 1 }
  private static var runOffset: Int { 8 }
  private static var ringOffset: Int { 24 }
  private static var ringCount: Int { 16 }
  private static var identifierOffset: Int { ringOffset + 8 * ringCount }
  /// The longest identifier of a request, in bytes, quotes included.
  static var identifierBytesMax: Int { 128 }

  private let pinned = Pinned()
  private var phase = Phase.idle {
    didSet { hasMoved = true }
  }
  /// Whether it has come to another phase since this was last set: then there may be more to do at once.
  var hasMoved = false
  private var record: ByteBuffer
  /// A request that came while the record was being emptied.
  private var waiting: ByteBuffer
  private var waitingAction: MachineAction?

  /// `isManaged`: whether there may be something in the record.
  init(isManaged: Bool, in arena: inout Arena) {
    precondition(PendingAction.identifierOffset + PendingAction.identifierBytesMax <= StorageRecord.action.bytesMax)
    record = ByteBuffer(capacity: StorageRecord.action.roomNeeded, for: "management", in: &arena)
    waiting = ByteBuffer(capacity: PendingAction.identifierBytesMax, for: "management", in: &arena)
    if isManaged { phase = .reading }
  }

  // MARK: Asking

  /// Whether there may be no session now: nothing may be told, or received, before this is over.
  var keepsOffline: Bool {
    switch phase {
    case .reading, .starting, .running, .restarting, .concluding: true
    case .idle, .accepting, .withdrawing, .answering, .draining, .reporting, .clearing: false
    }
  }

  /// Whether the server may be told that the device is there: to it that means that the action is done.
  var allowsManage: Bool {
    switch phase {
    case .idle, .reporting, .clearing: true
    default: false
    }
  }

  /// Whether something may go on in any turn of the loop.
  var isBusy: Bool {
    switch phase {
    case .idle, .restarting, .reporting: false
    default: true
    }
  }

  /// When time alone moves it on.
  func deadline(_ now: Instant) -> Instant {
    switch phase {
    case .answering(let until), .draining(let until), .running(let until), .restarting(let until): until
    case .clearing(let from): from > now ? from : .never
    default: .never
    }
  }

  /// The identifier of the request that it is about.
  var identifier: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let span = record.span.extracting(PendingAction.identifierOffset..<record.count)
      return _overrideLifetime(span, borrowing: self)
    }
  }

  /// Why it came to nothing, and the status of its program.
  var failure: (reason: ActionFailure, status: Int) {
    (ActionFailure(rawValue: record[4]) ?? .interrupted, Int(record[5]))
  }

  private var action: MachineAction { MachineAction(rawValue: record[1]) ?? .reboot }

  private var stage: Stage { Stage(rawValue: record[2]) ?? .none }

  /// What is known of a request.
  func standing(of identifier: Span<UInt8>) -> Standing {
    guard !keepsOffline else { return .undecided }
    let wanted = identifier.digest
    if waitingAction != nil, waiting.span.digest == wanted { return .undecided }
    for place in 0..<PendingAction.ringCount where digest(at: place) == wanted {
      guard self.identifier.digest == wanted else { return .accepted }
      if case .accepting = phase { return .undecided }
      return stage == .failed ? .failed : .accepted
    }
    return .unknown
  }

  // MARK: Being asked

  /// Begins to accept `action`.
  ///
  /// - Parameter identifier: the request's, at most `identifierBytesMax` bytes.
  /// - Returns: false when another one is pending.
  mutating func begin<H: HostPower & ~Copyable>(
    _ action: MachineAction, for identifier: Span<UInt8>, _ host: inout H
  ) -> Bool {
    switch phase {
    case .idle:
      prepareRecord(action, host.bootIdentifier())
      record.append(identifier)
      accept()
      return true
    case .clearing:
      // The record must not change while it is being written.
      guard waitingAction == nil else { return false }
      waitingAction = action
      waiting.removeAll()
      waiting.append(identifier)
      return true
    default: return false
    }
  }

  /// Whether nothing is about to happen to the machine.
  var isIdle: Bool {
    switch phase {
    case .idle, .clearing: true
    default: false
    }
  }

  /// Begins a restart that nobody has asked for: one that an update needs.
  ///
  /// - Returns: false when something else is going on, after which it can be tried again.
  mutating func beginRestart<H: HostPower & ~Copyable>(_ now: Instant, _ host: inout H) -> Bool {
    guard case .idle = phase else { return false }
    prepareRecord(.reboot, host.bootIdentifier())
    setStage(.accepted)
    // There is nobody to be told.
    record[3] = 1
    phase = .draining(until: now + AgentLimits.stopTimeout)
    return true
  }

  private mutating func prepareRecord(_ action: MachineAction, _ run: BootIdentifier) {
    record[1] = action.rawValue
    record[3] = 0
    record[4] = 0
    record[5] = 0
    noteRun(run)
    record.truncate(to: PendingAction.identifierOffset)
  }

  private mutating func accept() {
    setStage(.accepted)
    let digest = identifier.digest
    set(digest, at: Int(record[6]))
    turnRing(by: 1)
    phase = .accepting
  }

  /// The server has the answer, that it will be done or that it came to nothing.
  mutating func noteAnswered(_ now: Instant) {
    switch phase {
    case .answering, .draining, .idle: record[3] = 1
    case .reporting: clear(now)
    default: break
    }
  }

  /// The server has accepted that the device is there: what was done is reported.
  mutating func noteManaged(_ now: Instant) {
    if case .idle = phase, stage != .none { clear(now) }
  }

  private mutating func clear(_ now: Instant) {
    setStage(.none)
    phase = .clearing(from: now)
  }

  // MARK: Doing

  /// Does the next step, if there is one.
  ///
  /// - Parameter isDrained: whether nothing is left that was published.
  mutating func advance<H: HostStorage & HostPower & HostLog & ~Copyable>(
    isDrained: Bool, _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> ActionNews {
    switch phase {
    case .idle, .reporting: break
    case .reading: return read(now, &log, &host)
    case .accepting, .withdrawing, .concluding: return store(settings, now, &log, &host)
    case .answering(let until):
      if record[3] != 0 || now >= until { phase = .draining(until: now + AgentLimits.stopTimeout) }
    case .draining(let until):
      guard isDrained || now >= until else { break }
      setStage(.begun)
      noteRun(host.bootIdentifier())
      phase = .starting
    case .starting:
      let answer = host.replaceRecord(.action, record.span)
      if answer == .done { start(action, settings, now, &log, &host) }
      if answer != .done, answer != .pending { fail(.notStored, &log, &host) }
    case .running(let until): poll(until: until, settings, now, &log, &host)
    case .restarting(let until):
      guard now >= until else { break }
      if stage == .done { phase = .idle } else { fail(action == .reboot ? .notRestarted : .interrupted, &log, &host) }
    case .clearing(let from):
      guard now >= from else { break }
      let answer = host.replaceRecord(.action, record.span)
      if answer != .pending { finishClearing(answer, now, &host) }
    }
    return .none
  }

  private mutating func read<H: HostStorage & HostPower & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> ActionNews {
    record.removeAll()
    let answer = host.readRecord(.action, into: &record)
    guard answer != .pending else { return .none }
    if answer == .damaged || answer == .failed {
      log.write(.warning, "management not-read", "reason", answer.name, to: &host)
    }
    phase = .idle
    if answer != .done || !isUsable {
      record.removeAll()
      for _ in 0..<PendingAction.identifierOffset { record.append(0) }
      record[0] = PendingAction.version
    }
    return resume(now, &log, &host)
  }

  private var isUsable: Bool {
    record.count >= PendingAction.identifierOffset && record[0] == PendingAction.version
      && (stage == .none || MachineAction(rawValue: record[1]) != nil)
      && Int(record[6]) < PendingAction.ringCount
  }

  /// Goes on with what the record has.
  private mutating func resume<H: HostPower & HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> ActionNews {
    let hasRestarted = !isOfRun(host.bootIdentifier())
    switch stage {
    case .none: return .none
    case .failed:
      phase = .reporting
      return .failed
    case .begun where !hasRestarted:
      // Whatever ended us may be the end of the machine, which takes its time.
      phase = .restarting(until: now + AgentLimits.restartPatience)
      return .none
    case .begun where action == .factoryReset:
      // What it has come to, nobody knows.
      fail(.interrupted, &log, &host)
      return .none
    case .accepted where !hasRestarted || action == .factoryReset:
      phase = .answering(until: now + AgentLimits.resumedAnswerTimeout)
      return .accepted
    case .accepted, .begun, .done:
      setStage(.done)
      log.begin(.info, "management action-done")
      log.add("action", action.name)
      log.add("last-start", host.lastStart().name)
      log.end(to: &host)
      return record[3] != 0 ? .none : .accepted
    }
  }

  /// Writes the record, and says what that means.
  private mutating func store<H: HostStorage & HostPower & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> ActionNews {
    let answer = host.replaceRecord(.action, record.span)
    guard answer != .pending else { return .none }
    switch phase {
    case .accepting where answer == .done:
      phase = .answering(until: now + AgentLimits.answerTimeout)
      log.write(.info, "management action-accepted", "action", action.name, to: &host)
      return .accepted
    case .accepting:
      // A writing that failed may have had its effect all the same.
      turnRing(by: PendingAction.ringCount - 1)
      set(0, at: Int(record[6]))
      setStage(.none)
      phase = .withdrawing(answer)
      return .none
    case .withdrawing(let reason):
      phase = answer == .done ? .idle : .clearing(from: now + AgentLimits.storageRetryPause)
      return .refused(reason)
    default:
      // Where that failed, it is still known to us.
      guard stage == .done else {
        phase = .reporting
        return .failed
      }
      // A machine that was reset begins anew, if anybody can have it do so.
      phase = .idle
      if settings.management.program(for: .reboot) != nil { start(.reboot, settings, now, &log, &host) }
      return .none
    }
  }

  private mutating func finishClearing<H: HostPower & ~Copyable>(
    _ answer: StorageAnswer, _ now: Instant, _ host: inout H
  ) {
    phase = .idle
    guard let action = waitingAction else {
      if answer != .done { phase = .clearing(from: now + AgentLimits.storageRetryPause) }
      return
    }
    waitingAction = nil
    prepareRecord(action, host.bootIdentifier())
    record.append(waiting)
    accept()
  }

  private mutating func start<H: HostPower & HostLog & ~Copyable>(
    _ action: MachineAction, _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    log.write(.info, "management action-begun", "action", action.name, to: &host)
    guard let program = settings.management.program(for: action), host.startAction(settings.bytes(program)) else {
      return fail(.notStarted, &log, &host)
    }
    phase = .running(until: now + (program.isEmpty ? AgentLimits.syncTimeout : AgentLimits.actionTimeout))
  }

  private mutating func poll<H: HostPower & HostLog & ~Copyable>(
    until: Instant, _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let isReset = stage == .begun && action == .factoryReset
    switch host.pollAction() {
    case .running:
      guard now >= until else { return }
      phase = .running(until: .never)
      record[4] = ActionFailure.timeout.rawValue
      // File systems that cannot be written must not keep the machine from restarting.
      let isBySystem = !isReset && settings.management.program(for: .reboot)?.isEmpty ?? false
      if isBySystem, host.reboot() == .accepted { return awaitRestart(now) }
      host.stopAction()
    case .exited(0) where record[4] == 0:
      guard isReset else { return awaitRestart(now) }
      setStage(.done)
      phase = .concluding
    case .exited(let status): failProgram(status, &log, &host)
    case .signalled(let signal): failProgram(128 + signal, &log, &host)
    case .notStarted: fail(.notStarted, &log, &host)
    }
  }

  private mutating func awaitRestart(_ now: Instant) {
    phase = .restarting(until: now + AgentLimits.restartPatience)
  }

  private mutating func failProgram<H: HostLog & ~Copyable>(
    _ status: Int, _ log: inout LogWriter, _ host: inout H
  ) {
    record[5] = UInt8(truncatingIfNeeded: status)
    fail(record[4] == 0 ? .status : .timeout, &log, &host)
  }

  private mutating func fail<H: HostLog & ~Copyable>(
    _ failure: ActionFailure, _ log: inout LogWriter, _ host: inout H
  ) {
    let isAfterReset = stage == .done
    log.begin(.error, "management action-failed")
    log.add("action", isAfterReset ? MachineAction.reboot.name : action.name)
    log.add("reason", failure.name)
    if record[5] != 0 { log.add("status", Int(record[5])) }
    log.end(to: &host)
    record[4] = failure.rawValue
    // What was asked for has been done, even so.
    phase = isAfterReset ? .idle : .concluding
    if !isAfterReset { setStage(.failed) }
  }

  // MARK: The record

  private mutating func setStage(_ stage: Stage) { record[2] = stage.rawValue }

  private mutating func noteRun(_ run: BootIdentifier) {
    put(run.words.0, at: PendingAction.runOffset)
    put(run.words.1, at: PendingAction.runOffset + 8)
  }

  private func isOfRun(_ run: BootIdentifier) -> Bool {
    word(at: PendingAction.runOffset) == run.words.0 && word(at: PendingAction.runOffset + 8) == run.words.1
  }

  private mutating func turnRing(by places: Int) {
    record[6] = UInt8(truncatingIfNeeded: (Int(record[6]) + places) % PendingAction.ringCount)
  }

  private func digest(at place: Int) -> UInt64 { word(at: PendingAction.ringOffset + 8 * place) }

  private mutating func set(_ digest: UInt64, at place: Int) { put(digest, at: PendingAction.ringOffset + 8 * place) }

  private mutating func put(_ word: UInt64, at offset: Int) { record.overwrite(at: offset, bigEndian: word) }

  private func word(at offset: Int) -> UInt64 { record.bigEndian(at: offset) }
}

extension ManagementSettings {
  /// The program that does `action`; empty where the system does it itself, nil where nobody does.
  func program(for action: MachineAction) -> Text? {
    let program = action == .reboot ? reboot : factoryReset
    return program.isEmpty && !(action == .reboot && rebootsBySystem) ? nil : program
  }
}

extension Span where Element == UInt8 {
  /// FNV-1a. An accident is what it guards against, not an adversary: the server could ask for anything anyway.
  var digest: UInt64 {
    var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    for index in indices { digest = (digest ^ UInt64(self[index])) &* 0x100_0000_01B3 }
    return digest
  }
}
