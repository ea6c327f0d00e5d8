// Updates of the firmware, as the server sees them: what it asks for, and what it is told (protocol, sections 4.9 to
// 4.16). What is done about it is in UpdaterCourse.swift.
//
// The job is all that there is to know: its stage says what is to be done, and what is going on (`Step`) is only how
// far this run of the agent has come with it. So whoever starts anew reads the job and goes on.
//
//     idle ─ downloading ─ downloaded ─ installing ┬ begun ┬ restarting ┬ idle
//       └────────┘             └───────────────────┴───────┴────────────┘

import AgentConfiguration
import Bytes
import Firmware
import HostInterface
import IoTPlatform
import JSON
import MQTT

/// The firmware, as device management sees it.
struct Updater: ~Copyable {
  /// What is going on.
  enum Step {
    /// The job is being read.
    case reading
    /// It is being written for the first time, which shows that it can be.
    case proving
    /// The slot record is being read.
    case readingSlots
    /// What is left of an image that nobody wants is being removed.
    case cleaning
    /// The same, in the slot record.
    case emptying
    /// Nothing.
    case resting
    /// That a slot is being written is being written down.
    case marking
    /// The image comes.
    case transferring
    /// That a slot has a whole image is being written down.
    case verifying
    /// It is looked at once more, before it is installed.
    case checking
    /// The server is being told that it will be installed.
    case answering(until: Instant)
    /// It is told that it is being installed.
    case announcing(until: Instant)
    /// How far it has come is being written.
    case recording
    /// It is being installed.
    case running
    /// That another slot is to be tried is being written down.
    case switching
    /// Nothing more is done in this run of the agent, which is about to end.
    case leaving
    /// The slot record cannot be read, and nothing is done until it can.
    case barred(until: Instant)
    /// It is being read once more.
    case readingAgain
    /// This program is on trial.
    case trying
    /// That it has proved itself is being written down.
    case committing
    /// That the new system is started once more is being written down.
    case counting
  }

  /// What an image has come to.
  struct Verdict {
    let status: UpdateStatus
    /// The word for why it came to nothing; nil where it is installed.
    let reason: StaticString?
    /// An exit status or a signal, or 0.
    let number: Int
  }

  private let pinned = Pinned()
  let isSupported: Bool
  var store: JobStore
  var slots: SlotStore
  var intake: Intake
  var notice = FirmwareNotice()
  private var random: RandomSource
  var step = Step.resting {
    didSet { hasMoved = true }
  }
  /// Whether it has come to another step since this was last set: then there may be more to do at once.
  var hasMoved = false
  var installer: InstallerRun
  /// The answer to the request that is being done.
  var answerToken: UInt64 = 0
  /// Whether an earlier run of the agent may not have answered it.
  var isAnswerOwed = false
  /// Whether the server is to be told that the device has another version.
  var hasNewVersion = false
  /// Whether the machine is to restart, which completes the installation.
  var wantsRestart = false
  /// Whether the agent is to end, for the sake of its successor.
  var wantsEnd = false
  /// What the image has come to, until that is recorded.
  var verdict: Verdict?
  /// Why nothing can be installed here.
  var problem: StaticString?
  /// What was wrong with the last request.
  var complaint: StaticString?
  /// From when on the server has known the device on this connection.
  var managedSince: Instant?
  /// Whether the server has been told on this connection what goes on.
  private var hasToldConnection = false
  /// Whether all events that there were so far have arrived.
  var hasPublished = false
  /// When it is looked at again whether a program on trial has proved itself.
  var proofTime = Instant.never
  /// Where the slots are partitions, the one from which the system runs, as soon as that is known, and the one that is
  /// started when nobody says otherwise.
  var booted: FirmwarePlace?
  var standard: FirmwarePlace?
  /// Until when a system on trial has to have proved itself.
  var trialEnd = Instant.never
  /// Whether the slots could not be told, and will be looked at again.
  var isBarred = false
  /// Whether the slot record has changed with the end of a trial.
  var isTrialOver = false

  init(isSupported: Bool, random: RandomSource, in arena: inout Arena) {
    store = JobStore(isSupported: isSupported, in: &arena)
    slots = SlotStore(isUsed: isSupported, in: &arena)
    intake = Intake(isUsed: isSupported, in: &arena)
    installer = InstallerRun(isUsed: isSupported, in: &arena)
    self.isSupported = isSupported
    self.random = random
    if isSupported { step = .reading }
  }

  // MARK: Asking

  /// Whether there may be no session now: it is not known yet how requests are to be answered.
  var keepsOffline: Bool {
    switch step {
    case .reading, .proving, .readingSlots, .counting: true
    case .running: installer.task == .state && booted == nil && !isBarred
    default: false
    }
  }

  /// Whether images can be installed here.
  var isAvailable: Bool { isSupported && problem == nil }

  /// Whether the machine must not be restarted.
  var isInstalling: Bool {
    isSupported && (store.job.stage == .installing || store.job.stage == .begun || slots.record.trial != nil)
  }

  /// Whether something may go on in any turn of the loop.
  var isBusy: Bool {
    switch step {
    case .resting, .answering, .announcing, .leaving, .barred, .trying: store.isBusy
    default: true
    }
  }

  /// When time alone moves it on.
  func deadline(_ now: Instant) -> Instant {
    guard isSupported else { return .never }
    let deadline = min(store.deadline, notice.deadline(now))
    switch step {
    case .answering(let until), .announcing(let until), .barred(let until): return min(deadline, until)
    case .running: return min(deadline, installer.deadline)
    case .transferring: return min(deadline, intake.deadline)
    case .trying: return min(deadline, min(proofTime, trialEnd))
    default: return deadline
    }
  }

  /// Appends the version that was installed last; false where the configuration knows better.
  func appendInstalledVersion(_ settings: borrowing Settings, to payload: inout ByteBuffer) -> Bool {
    guard isSupported, !store.job.text(.installed).isEmpty, store.job.base == settings.firmwareVersion.digest else {
      return false
    }
    payload.appendJSON(string: store.job.text(.installed))
    return true
  }

  // MARK: The attribute

  /// Appends the value of the attribute whose name is at `name` of `text`, still escaped.
  ///
  /// - Returns: false when there is none; nothing was appended then.
  func appendValue(of name: Range<Int>, in text: Span<UInt8>, to payload: inout ByteBuffer) -> Bool {
    isSupported && store.job.appendValue(of: name, in: text, to: &payload)
  }

  /// Whether the attribute at `name` of `text` is the record of the firmware.
  func isRecord(_ name: Range<Int>, in text: Span<UInt8>) -> Bool {
    isSupported && text.jsonString(name, equals: "mgmt.firmware")
  }

  /// The server wants to be told of changes of an attribute, or not any more.
  ///
  /// - Returns: whether the answer has to wait until that is durable.
  mutating func observe(
    _ name: Range<Int>, in text: Span<UInt8>, _ isObserved: Bool, isDuplicate: Bool
  ) -> Bool {
    guard isSupported else { return false }
    let bit = FirmwareJob.observableBit(of: name, in: text)
    // The answer has what there is to be told; that to a request that comes again may have been given long ago.
    if isObserved, bit == 1, !isDuplicate, step.isResting { forgetReport() }
    let observed = isObserved ? store.job.observed | bit : store.job.observed & ~bit
    guard observed != store.job.observed else { return store.isBusy }
    store.job.observed = observed
    if observed == 0 { forgetReport() }
    store.noteChange()
    return true
  }

  mutating func forgetReport() {
    store.job.owesReport = false
    notice.end()
  }

  /// Whether the record may become what is at `value`: the code to answer; `complaint` says why not.
  @inline(never)  // small code
  mutating func check(_ value: Range<Int>?, in text: Span<UInt8>) -> Int {
    complaint = obstacle ?? FirmwareJob.fault(of: value, in: text)
    return complaint == nil ? ManagementCode.changed : ManagementCode.badRequest
  }

  /// What is in the way of another image.
  private var obstacle: StaticString? {
    switch step {
    case .trying, .committing, .leaving: return "an update is on trial"
    case .running where installer.task != .install: return "an update is on trial"
    case .checking: return "an installation is running"
    case .barred, .readingAgain: return problem
    default: break
    }
    switch store.job.stage {
    case .idle, .downloaded: return nil
    case .downloading: return "a download is running"
    case .installing, .begun, .restarting: return "an installation is running"
    }
  }

  /// Replaces the record by what is at `value`, which `check` has allowed; `scratch` is emptied.
  ///
  /// - Returns: whether the answer has to wait until that is durable.
  @inline(never)  // small code
  mutating func change(_ value: Range<Int>, in text: Span<UInt8>, _ scratch: inout ByteBuffer) -> Bool {
    guard store.job.replace(by: text.extracting(value), &scratch) else { return store.isBusy }
    forgetReport()
    store.noteChange()
    return true
  }

  // MARK: Being asked

  /// Takes the request to download the image, or to install it.
  ///
  /// - Parameter isActing: whether something else is about to happen to the machine.
  mutating func initiate<H: Host & ~Copyable>(
    _ request: ManagementRequest, _ identifier: Span<UInt8>, isActing: Bool, _ settings: borrowing Settings,
    _ answers: inout Answers, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard isSupported else {
      return answers.add(ManagementCode.notImplemented, "not supported", identifier, &log, &host)
    }
    if store.job.hasAccepted(identifier.digest) {
      // It has its answer when that is durable; otherwise the server wants to hear it once more.
      guard !store.isBusy || !store.job.text(.identifier).equals(identifier) else { return }
      return answers.add(ManagementCode.accepted, nil, identifier, &log, &host)
    }
    let isUpdate = request == .installFirmware
    let code = judge(isUpdate: isUpdate, identifier, isActing: isActing)
    if let complaint {
      log.begin(.warning, "firmware refused")
      log.add("action", isUpdate ? "update" : "download")
      log.add("reason", text: complaint.bytes)
      log.end(to: &host)
      return answers.add(code, complaint, identifier, &log, &host)
    }
    store.job.set(.identifier, identifier)
    // What is on flash may not be what was written.
    if isUpdate { return step = .checking }
    accept(.downloading, .success, &answers, &log, &host)
  }

  /// What is to be answered; `complaint` says why not.
  private mutating func judge(isUpdate: Bool, _ identifier: Span<UInt8>, isActing: Bool) -> Int {
    complaint = obstacle ?? fault(isUpdate: isUpdate)
    if complaint != nil { return ManagementCode.badRequest }
    if let problem { complaint = problem }
    if identifier.count > FirmwareJob.bytesMax(.identifier) { complaint = "the identifier is too long" }
    if isUpdate, isActing { complaint = "another action is pending" }
    if isUpdate, !step.isResting { complaint = "another step is not finished" }
    return ManagementCode.failed
  }

  /// Promises to do what is asked by the request whose identifier is noted.
  mutating func accept<H: HostPower & HostLog & ~Copyable>(
    _ stage: FirmwareStage, _ status: UpdateStatus, _ answers: inout Answers, _ log: inout LogWriter, _ host: inout H
  ) {
    store.job.accept(in: host.bootIdentifier())
    store.job.stage = stage
    store.job.status = status
    store.noteChange()
    answers.payload.beginManagementAnswer(ManagementCode.accepted, to: store.job.text(.identifier))
    answers.hold(&log, &host)
  }

  /// What the record lacks for what is asked.
  private func fault(isUpdate: Bool) -> StaticString? {
    let isThere = store.job.stage == .downloaded
    if isUpdate { return isThere ? nil : "no image is downloaded" }
    if isThere { return "an image is downloaded already" }
    if store.job.text(.uri).isEmpty { return "no uri" }
    if let fault = Download.fault(of: store.job.text(.uri)) { return fault }
    if ImageVerifier(store.job.text(.verifier)) == .unknown { return "the verifier is not sha256" }
    return nil
  }

  /// The server has a message of ours.
  mutating func noteArrived(_ token: UInt64) {
    guard isSupported, token == answerToken else { return }
    store.job.isAnswered = true
    hasMoved = true
  }

  // MARK: Telling

  /// The server has accepted a connection.
  mutating func beginConnection() {
    managedSince = nil
    hasToldConnection = false
  }

  /// The server knows the device.
  mutating func noteManaged(_ now: Instant) {
    hasNewVersion = false
    guard isSupported else { return }
    if managedSince == nil { managedSince = now }
    // A request that is only repeated for its lifetime is no news.
    guard !hasToldConnection else { return }
    hasToldConnection = true
    // What goes on, and what nobody has said to know. More would look like news to a server that asks for something.
    let stage = store.job.stage
    if store.job.owesReport || (stage != .idle && stage != .downloaded) { tell(now) }
  }

  /// The server is told what is new, where it wants to know.
  @inline(never)  // small code
  mutating func tell(_ now: Instant) {
    if store.job.observed != 0 { notice.begin(now) }
  }

  /// The machine has not restarted although an installation needs that. One that an earlier run of the agent had begun
  /// is tried again.
  mutating func noteRestartFailed() {
    guard isSupported, !wantsRestart, store.job.stage == .restarting else { return }
    verdict = Verdict(status: .unsupportedImage, reason: "not-restarted", number: 0)
  }

  /// The server is about to hear of the new version.
  mutating func takeNewVersion() -> Bool {
    // First it is told what the image has come to.
    guard hasNewVersion, notice.isSettled, store.isSettled else { return false }
    if case .recording = step { return false }
    hasNewVersion = false
    return true
  }

  /// Tells the server what is new, if it is time for that.
  mutating func notify(_ answers: inout Answers, _ outbox: inout Outbox, _ now: Instant) {
    guard isSupported, answers.isEmpty, store.isSettled, notice.isDue(now) else { return }
    guard store.job.observed != 0 else { return notice.end() }
    let identifier = random.next()
    answers.payload.removeAll()
    answers.payload.append("{\"d\":{\"fields\":[")
    store.job.appendObserved(to: &answers.payload)
    answers.payload.append("]},")
    answers.payload.append(requestIdentifier: identifier)
    answers.payload.append(UInt8(ascii: "}"))
    let topic = TopicName(alreadyChecked: Topics.notify.bytes)
    if answers.publish(on: topic, Answers.firstToken, &outbox, now) { notice.noteSent(identifier, now) }
  }

  /// Whether `identifier`, as it stands in an answer, is the one of what was told.
  func waits(for identifier: Span<UInt8>) -> Bool { notice.waits(for: identifier) }

  /// Takes the server's answer to what it was told.
  mutating func takeAnswer(_ code: Int, _ now: Instant) {
    switch code {
    case 200..<300: notice.end()
    // Nobody wants to know.
    case ManagementCode.notFound:
      notice.end()
      if store.job.observed != 0 { store.noteChange() }
      store.job.observed = 0
    case ManagementCode.conflict: return notice.retry(isConflict: true, now)
    // What it does not like, it will not like then.
    case 400..<500: return notice.end()
    default: return notice.retry(now)
    }
    guard store.job.owesReport else { return }
    store.job.owesReport = false
    store.noteChange()
  }
}

extension Settings {
  /// What the configuration says that runs on the device.
  var firmwareVersion: Span<UInt8> { bytes(management.information[ManagementSettings.firmwareVersionPlace]) }
}

extension ManagementSettings {
  /// The place of the version among what is told about the device.
  static var firmwareVersionPlace: Int { 5 }
}

extension Updater.Step {
  fileprivate var isResting: Bool {
    if case .resting = self { return true }
    return false
  }
}
