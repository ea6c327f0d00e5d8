// The course of an update whose slots are partitions: what the boot loader is asked and told, by a configured program.
//
// Nobody supervises a system. So the boot loader goes back by itself where the new one never starts its agent, and
// where it does, that agent counts its starts in the slot record and goes back where it does not prove itself.
//
//     state ┬ on trial ─ counting ─ trying ─ commit ─ state ┬ committed
//           │                                └──────────────┴ given up ─ restart
//           └ not ┬ the slots are as they should be: the job says what is to be done, at last `try` ─ restart
//                 └ a trial came to nothing

import AgentConfiguration
import Bytes
import Firmware
import HostInterface

extension Updater {
  /// Starts the configured program. Where it cannot be started, its end says so.
  @inline(never)  // small code
  mutating func start<H: HostFirmware & ~Copyable>(
    _ task: InstallerTask, _ place: FirmwarePlace, _ now: Instant, _ host: inout H
  ) {
    step = .running
    let timeout = task == .install ? AgentLimits.installTimeout : AgentLimits.slotsTimeout
    installer.begin(task, place, version: store.job.text(.version), until: now + timeout, &host)
  }

  /// Asks which slot runs.
  mutating func askState<H: HostFirmware & ~Copyable>(_ now: Instant, _ host: inout H) {
    start(.state, .file, now, &host)
  }

  /// Goes on behind the end of what was started.
  @inline(never)  // small code
  mutating func finishTask<H: Host & ~Copyable>(
    _ outcome: InstallerOutcome, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let isDone = outcome == .done
    switch installer.task {
    case .install: break
    case .state: takeState(isDone, now, &log, &host)
    case .tryOut:
      if isDone { return record(.restarting, in: host.bootIdentifier()) }
      // That is not the image's fault, which may come again.
      if let trial = slots.record.trial { slots.record.empty(trial) }
      endTrial("not-switched")
    case .commit where isDone: askState(now, &host)
    case .commit: giveUp(.exited, "not-committed")
    }
  }

  private mutating func takeState<H: Host & ~Copyable>(
    _ isDone: Bool, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    let running = isDone ? slot(at: 0) : nil
    let started = isDone ? slot(at: 2) : nil
    if booted == nil {
      guard running != nil, started != nil else { return bar(now, "the slot that runs is not known", &log, &host) }
      booted = running
      standard = started
      return step = isBarred ? .readingAgain : .readingSlots
    }
    guard let running, running == booted, running == started else { return giveUp(.exited, "not-committed") }
    standard = started
    slots.record.commit(running)
    step = .committing
  }

  /// The slot that is named at `index` of what the program has written: `a b`.
  private func slot(at index: Int) -> FirmwarePlace? {
    let line = installer.lastLine
    guard line.count == 3, line[1] == UInt8(ascii: " ") else { return nil }
    return line[index] == UInt8(ascii: "a") ? .slotA : line[index] == UInt8(ascii: "b") ? .slotB : nil
  }

  /// A system is on trial: this start of it is counted.
  mutating func countStart() {
    if case .trial = slots.record.prepareStart().start { return step = .counting }
    isTrialOver = true
    step = .emptying
  }

  mutating func beginTrying(_ now: Instant) {
    trialEnd = now + .seconds(Int64(slots.record.trialSeconds))
    step = .trying
  }

  /// The system that was to be tried will not be, any more. Where there is a `word`, that is what the server is told;
  /// else the system to which the machine goes back finds the reason in the slot record.
  @inline(never)  // small code
  mutating func giveUp(_ reason: RevertReason, _ word: StaticString? = nil) {
    slots.record.noteFailure(reason, isFinal: true)
    if let word { return endTrial(word) }
    isTrialOver = true
    step = .emptying
  }

  @inline(never)  // small code
  private mutating func endTrial(_ word: StaticString) {
    isTrialOver = true
    judge(.unsupportedImage, word)
  }

  /// The slot record knows that the trial is over. Out of a system that has not proved itself the machine restarts.
  mutating func leaveTrial<H: HostLog & ~Copyable>(_ now: Instant, _ log: inout LogWriter, _ host: inout H) {
    isTrialOver = false
    guard booted != standard else { return }
    wantsRestart = true
    barOther(now, &log, &host)
  }

  /// What runs is not on trial, and not what is started otherwise.
  mutating func leaveSlot<H: HostLog & ~Copyable>(
    _ running: FirmwarePlace, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard slots.record[running].state == .bad else { return barOther(now, &log, &host) }
    // It was given up, and ended before the machine restarted. That is tried once more, and not for ever.
    slots.record.empty(running)
    isTrialOver = true
    step = .emptying
  }

  /// The other slot must not be written: it is the one that will be started.
  private mutating func barOther<H: HostLog & ~Copyable>(
    _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    bar(now, "the slot that runs is not the one that is started", &log, &host)
  }

  /// Another system was to be tried, and this one runs.
  mutating func resumeSwitch<H: HostPower & ~Copyable>(_ host: inout H) {
    let isSameRun = store.job.run == host.bootIdentifier()
    switch store.job.stage {
    // The boot loader does not know of it.
    case .installing: record(.begun, in: host.bootIdentifier())
    // It may know: to be told again does no harm.
    case .begun where isSameRun: record(.begun, in: host.bootIdentifier())
    case .restarting where isSameRun:
      wantsRestart = true
      step = .resting
    default:
      let wasStarted = slots.record.tries < SlotLimits.triesMax
      giveUp(.interrupted, wasStarted ? RevertReason.interrupted.name : "not-started")
    }
  }
}
