// The course of an update: what is done in which order, so that whatever the power cuts off is found and gone on with.
//
// Two records say how far it has come: the job, and for images of this program the slot record. They are written one
// after the other, and whoever starts anew compares them. An image is in the slot record first, and a report is in the
// job last.

import AgentConfiguration
import Bytes
import Firmware
import HostInterface
import IoTPlatform

extension Updater {
  /// Does the next step, if there is one.
  mutating func advance<H: Host & ~Copyable>(
    isManaged: Bool, _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ answers: inout Answers,
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard isSupported else { return }
    if case .reading = step {
      readJob(settings, now, &log, &host)
      if let verdict { conclude(verdict, settings, &log, &host) }
      return
    }
    let token = answers.lastToken
    if store.advance(&answers, now, &log, &host) == .done, answers.lastToken > token { noteAnswer(answers.lastToken) }
    if isAnswerOwed, isManaged, store.isSettled {
      isAnswerOwed = false
      answers.add(ManagementCode.accepted, nil, store.job.text(.identifier), &log, &host)
      noteAnswer(answers.lastToken)
    }
    if !isManaged { managedSince = nil }
    if case .transferring = step {
      transfer(settings, clock, now, &log, &host)
    } else {
      proceed(settings, &answers, now, &log, &host)
    }
    if let verdict { conclude(verdict, settings, &log, &host) }
  }

  /// The answer with this token, or one in front of it, is that to the request that is being done.
  private mutating func noteAnswer(_ token: UInt64) {
    if !store.job.isAnswered { answerToken = token }
  }

  private mutating func proceed<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ answers: inout Answers, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch step {
    case .reading, .transferring, .leaving: break
    case .proving:
      guard store.isSettled else { break }
      if store.hasFailed { noteProblem("nothing can be kept", &log, &host) }
      beginCourse(settings, now, &host)
    case .readingSlots, .readingAgain: readSlots(settings, now, &log, &host)
    case .barred(let until):
      guard now >= until else { break }
      if settings.firmware.installer == .partition { askState(now, &host) } else { step = .readingAgain }
    case .cleaning: clean(settings, &host)
    case .resting: rest(settings, now, &log, &host)
    case .marking, .emptying, .verifying, .switching, .committing, .counting:
      storeSlots(settings, now, &log, &host)
    case .checking: check(settings, &answers, &log, &host)
    case .answering(let until):
      if store.job.isAnswered || now >= until { step = .announcing(until: now + AgentLimits.answerTimeout) }
    case .announcing(let until):
      if notice.isSettled || now >= until { beginInstallation(settings, &host) }
    case .recording: if store.isSettled { finishRecording(now, &log, &host) }
    case .running: poll(now, &log, &host)
    case .trying: prove(settings, now, &host)
    }
  }

  /// Where an image is written to.
  @inline(never)  // small code
  private func place<H: HostFirmware & ~Copyable>(_ settings: borrowing Settings, _ host: borrowing H) -> FirmwarePlace
  {
    settings.firmware.installer == .command
      ? .file : slots.record.freeSlot(running: booted ?? host.runningSlot())
  }

  /// Another stage has been reached, and is written before anything follows from it.
  @inline(never)  // small code
  mutating func record(_ stage: FirmwareStage, in run: BootIdentifier) {
    store.job.stage = stage
    store.job.run = run
    store.noteEvent()
    step = .recording
  }

  @inline(never)  // small code
  private mutating func begin<H: HostLog & ~Copyable>(
    _ step: Step, _ event: StaticString, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    log.begin(.info, event)
    if !store.job.text(.version).isEmpty { log.add("version", text: store.job.text(.version)) }
    log.end(to: &host)
    self.step = step
    tell(now)
  }

  @inline(never)  // small code
  mutating func noteProblem<H: HostLog & ~Copyable>(
    _ problem: StaticString, _ log: inout LogWriter, _ host: inout H
  ) {
    log.begin(.error, "firmware unavailable")
    log.add("reason", text: problem.bytes)
    log.end(to: &host)
    self.problem = problem
  }

  // MARK: Downloading

  private mutating func rest<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard store.isSettled else { return }
    if store.job.stage == .downloading {
      let place = place(settings, host)
      begin(.transferring, "firmware downloading", now, &log, &host)
      if place != .file, slots.record[place].state != .writing {
        // What there was is gone.
        store.job.set(.checkpoint, Span())
        slots.record.beginWriting(place)
        step = .marking
      } else {
        intake.begin(store.job, at: place, now)
      }
    }
    if store.job.stage == .installing {
      begin(.answering(until: now + AgentLimits.answerTimeout), "firmware installing", now, &log, &host)
    }
  }

  private mutating func transfer<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ clock: borrowing ClockFloor, _ now: Instant, _ log: inout LogWriter,
    _ host: inout H
  ) {
    let answer = intake.advance(
      &store.job, settings, slots.record, certificateTime: clock.certificateTime(&host), now, &log, &host)
    if intake.hasMore { hasMoved = true }
    switch answer {
    case .pending: break
    case .checkpoint: store.noteChange()
    case .failed(let status, let reason): judge(status, reason)
    case .verified:
      store.job.set(.checkpoint, Span())
      store.job.owesReport = store.job.observed != 0
      store.job.reportCount = 0
      let place = place(settings, host)
      guard place != .file else { return record(.downloaded, in: host.bootIdentifier()) }
      intake.note(in: &slots.record, place)
      step = .verifying
    }
  }

  // MARK: Slots

  /// Stores the slot record, and does what follows.
  private mutating func storeSlots<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let answer = slots.store(&host)
    guard answer != .pending else { return }
    switch step {
    case .emptying:
      step = .resting
      if isTrialOver { leaveTrial(now, &log, &host) }
    case .counting: beginTrying(now)
    case .committing where answer != .done:
      // It goes on as one that has not proved itself yet.
      managedSince = now
      step = .trying
    case .committing: judge(.success, nil)
    case _ where answer != .done: judge(.outOfMemory, answer.name)
    case .marking:
      intake.begin(store.job, at: place(settings, host), now)
      step = .transferring
    case .switching where booted != nil: record(.begun, in: host.bootIdentifier())
    case .switching: leave(.slotsChanged, &host)
    default: record(.downloaded, in: host.bootIdentifier())
    }
  }

  /// The agent ends, and its supervisor starts what the slot record says.
  @inline(never)  // small code
  private mutating func leave<H: HostFirmware & ~Copyable>(_ end: SupervisedEnd, _ host: inout H) {
    host.endForSupervisor(end)
    wantsEnd = true
    step = .leaving
  }

  /// Removes what there is of an image that nobody wants.
  private mutating func clean<H: HostFirmware & ~Copyable>(_ settings: borrowing Settings, _ host: inout H) {
    let place = place(settings, host)
    if place != .file {
      switch slots.record[place].state {
      case .writing, .verified, .trial: break
      // One that has proved itself, and one that has not, stay until there is another one.
      case .empty, .good, .bad: return step = .resting
      }
    }
    guard host.discardImage(place) != .pending else { return }
    guard place != .file else { return step = .resting }
    slots.record.empty(place)
    step = .emptying
  }

  // MARK: Installing

  /// Looks at an image once more before it is promised that it will be installed.
  private mutating func check<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ answers: inout Answers, _ log: inout LogWriter, _ host: inout H
  ) {
    guard store.isSettled else { return }
    let place = place(settings, host)
    var digest = InlineArray<32, UInt8>(repeating: 0)
    let answer = host.readBackImage(place, byteCount: store.job.targetByteCount, &digest)
    guard answer != .pending else { return }
    let isInSlot = place == .file || slots.record[place].state == .verified
    guard answer == .done, isInSlot, store.job.isTarget(digest.span) else {
      answers.add(ManagementCode.failed, "the image is damaged", store.job.text(.identifier), &log, &host)
      return judge(.verificationFailed, "damaged")
    }
    step = .resting
    accept(.installing, .inProgress, &answers, &log, &host)
  }

  /// The server has been told: from now on it is done.
  private mutating func beginInstallation<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ host: inout H
  ) {
    let base = settings.firmwareVersion.digest
    // What was installed before that does not count any more.
    if store.job.base != base { store.job.set(.installed, Span()) }
    store.job.base = base
    guard settings.firmware.installer != .command else { return record(.begun, in: host.bootIdentifier()) }
    let place = place(settings, host)
    guard slots.record[place].state == .verified, slots.record.trial == nil else {
      return judge(.unsupportedImage, "slots-changed")
    }
    slots.record.beginTrial(place)
    step = .switching
  }

  private mutating func poll<H: Host & ~Copyable>(_ now: Instant, _ log: inout LogWriter, _ host: inout H) {
    let outcome = installer.advance(now, &host)
    guard installer.task == .install || outcome == .running else { return finishTask(outcome, now, &log, &host) }
    switch outcome {
    case .running: break
    case .done: judge(.success, nil)
    case .wantsRestart: record(.restarting, in: host.bootIdentifier())
    case .failed where !installer.isStarted: judge(.unsupportedImage, "not-started")
    case .failed(let number): judge(.unsupportedImage, "exited", number)
    case .timeout: judge(.unsupportedImage, "timeout")
    }
  }

  /// Commits to the program that is on trial once it has proved itself: it has been in touch with the server for a
  /// while, and what it had to publish has arrived. One that has nothing to publish has to be in touch for longer.
  private mutating func prove<H: Host & ~Copyable>(_ settings: borrowing Settings, _ now: Instant, _ host: inout H) {
    guard now < trialEnd else { return giveUp(.timeout) }
    guard let managedSince, let place = slots.record.trial else {
      proofTime = .never
      return
    }
    proofTime = managedSince + AgentLimits.trialTime
    guard now >= proofTime else { return }
    guard hasPublished || now >= managedSince + AgentLimits.silentTrialTime else {
      proofTime = now + AgentLimits.trialPause
      return
    }
    if booted != nil { return start(.commit, place, now, &host) }
    slots.record.commit(place)
    step = .committing
  }

  // MARK: Ending

  /// What the image has come to: it is recorded when the turn is over.
  @inline(never)  // small code
  mutating func judge(_ status: UpdateStatus, _ reason: StaticString?, _ number: Int = 0) {
    verdict = Verdict(status: status, reason: reason, number: number)
  }

  /// Records what the image has come to.
  @inline(never)  // small code
  private mutating func conclude<H: Host & ~Copyable>(
    _ verdict: Verdict, _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    self.verdict = nil
    if let reason = verdict.reason {
      let isUpdate = store.job.stage.rawValue >= FirmwareStage.installing.rawValue
      log.begin(.error, isUpdate ? "firmware update-failed" : "firmware download-failed")
      log.add("reason", reason)
      if verdict.number != 0 { log.add("number", verdict.number) }
      log.add("status", Int(verdict.status.rawValue))
      if !installer.lastLine.isEmpty { log.add("output", text: installer.lastLine) }
    } else {
      log.begin(.info, "firmware installed")
      log.add("version", text: store.job.text(.version))
      store.job.noteInstalled()
      store.job.base = settings.firmwareVersion.digest
      hasNewVersion = true
    }
    log.end(to: &host)
    intake.stop(&host)
    installer.forget()
    store.job.set(.reason, (verdict.reason ?? "").bytes)
    store.job.set(.checkpoint, Span())
    store.job.status = verdict.status
    store.job.owesReport = store.job.observed != 0
    store.job.reportCount = 0
    record(.idle, in: host.bootIdentifier())
  }

  private mutating func finishRecording<H: Host & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    switch store.job.stage {
    // What could not be kept took back what it stood for.
    case .downloading: step = .transferring
    case .idle:
      tell(now)
      // What cannot be read is not written to either.
      step =
        isTrialOver ? .emptying : problem == nil ? .cleaning : .barred(until: now + AgentLimits.storageRetryPause)
    case .restarting:
      wantsRestart = true
      step = .resting
    case .downloaded where !store.hasFailed: begin(.resting, "firmware downloaded", now, &log, &host)
    case .begun where !store.hasFailed:
      start(booted == nil ? .install : .tryOut, booted?.other ?? .file, now, &host)
    case .downloaded, .installing, .begun: judge(.outOfMemory, "not-stored")
    }
  }

  // MARK: Beginning

  private mutating func readJob<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let answer = store.read(&host)
    guard answer != .pending else { return }
    if answer == .damaged || answer == .failed {
      log.write(.warning, "firmware not-read", "reason", answer.name, to: &host)
    }
    isAnswerOwed = !store.job.isAnswered && !store.job.text(.identifier).isEmpty
    if store.job.owesReport {
      store.job.reportCount += 1
      // Whoever has not heard it by now does not want to.
      if store.job.reportCount > AgentLimits.reportsMax { store.job.owesReport = false }
      store.noteChange()
    }
    if let obstacle = host.firmwareObstacle() { noteProblem(obstacle.name, &log, &host) }
    guard answer == .done else {
      store.noteChange()
      return step = .proving
    }
    beginCourse(settings, now, &host)
  }

  private mutating func beginCourse<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ host: inout H
  ) {
    switch settings.firmware.installer {
    case .agent: return step = .readingSlots
    case .partition: return askState(now, &host)
    case .command: break
    }
    let isAnotherRun = store.job.run != host.bootIdentifier()
    switch store.job.stage {
    case .idle: step = .cleaning
    // Nobody has seen its end.
    case .begun: judgeByVersion("interrupted", settings)
    case .restarting where isAnotherRun: judgeByVersion("not-changed", settings)
    case .restarting:
      wantsRestart = true
      step = .resting
    case .downloading, .downloaded, .installing: step = .resting
    }
  }

  /// What runs tells what an installation has come to.
  private mutating func judgeByVersion(_ reason: StaticString, _ settings: borrowing Settings) {
    let isThere =
      store.job.text(.version).isEmpty
      ? settings.firmwareVersion.digest != store.job.base
      : store.job.text(.version).equals(settings.firmwareVersion)
    judge(isThere ? .success : .unsupportedImage, isThere ? nil : reason)
  }

  private mutating func readSlots<H: Host & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let answer = slots.read(&host)
    guard answer != .pending else { return }
    if answer != .done, answer != .notFound {
      log.write(.warning, "firmware slots-not-read", "reason", answer.name, to: &host)
      guard answer == .damaged else { return bar(now, "the slots cannot be read", &log, &host) }
    }
    if let booted, booted != standard, slots.record.trial != booted { return leaveSlot(booted, now, &log, &host) }
    if case .readingAgain = step {
      isBarred = false
      problem = nil
      // The server learns that images can be installed again.
      hasNewVersion = true
    }
    let running = booted ?? host.runningSlot()
    if let running, slots.record.trial == running {
      guard store.job.stage.rawValue >= FirmwareStage.installing.rawValue, holdsTarget(running) else {
        // Nobody asked for this one, or nobody knows any more.
        log.write(.error, "firmware trial-refused", "reason", "no-job", to: &host)
        return booted == nil ? leave(.trialFailed, &host) : giveUp(.wrong)
      }
      log.begin(.info, "firmware on-trial")
      log.add("version", text: store.job.text(.version))
      log.end(to: &host)
      return booted == nil ? step = .trying : countStart()
    }
    let place = place(settings, host)
    let isWhole = slots.record[place].state == .verified && holdsTarget(place)
    switch store.job.stage {
    case .idle: step = .cleaning
    case .downloading where isWhole: record(.downloaded, in: host.bootIdentifier())
    case .downloading: step = .resting
    case .downloaded where isWhole: step = .resting
    case .downloaded: judge(.verificationFailed, "lost")
    case .installing, .begun, .restarting: resume(running, place, &host)
    }
  }

  /// Does nothing while the slot record cannot be read. That may say that this program is on trial: nobody can commit
  /// to it then, and so the job has come to nothing. Where the record is read again, such a trial is refused.
  @inline(never)  // small code
  mutating func bar<H: HostLog & ~Copyable>(
    _ now: Instant, _ problem: StaticString, _ log: inout LogWriter, _ host: inout H
  ) {
    if self.problem == nil { noteProblem(problem, &log, &host) }
    booted = nil
    isBarred = true
    step = .barred(until: now + AgentLimits.storageRetryPause)
    if store.job.stage != .idle, !wantsRestart { judge(.outOfMemory, "slots-not-read") }
  }

  /// Whether the slot at `place` has the image that the job is about.
  private func holdsTarget(_ place: FirmwarePlace) -> Bool {
    store.job.isTarget(slots.record[place].digest.bytes.span)
  }

  /// Goes on with an installation into a slot.
  private mutating func resume<H: Host & ~Copyable>(
    _ running: FirmwarePlace?, _ place: FirmwarePlace, _ host: inout H
  ) {
    if let running, slots.record[running].state == .good, holdsTarget(running) {
      return judge(.success, nil)
    }
    guard holdsTarget(place) else { return judge(.unsupportedImage, "lost") }
    switch slots.record[place].state {
    case .verified: step = .resting
    // Whoever started this one was not the supervisor, or had not read the record.
    case .trial where booted != nil: resumeSwitch(&host)
    case .trial where host.isSupervised(): leave(.slotsChanged, &host)
    case .bad:
      judge(.unsupportedImage, slots.record.revertReason.name, Int(slots.record.revertDetail))
    default: judge(.unsupportedImage, "lost")
    }
  }
}
