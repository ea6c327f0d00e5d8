// What watches the agent is told that its loop turns, by the loop itself and by nothing else.

import AgentConfiguration
import Bytes
import HostInterface

/// Signs of life to the service manager and to the hardware's watchdog, and when the next one is due.
///
/// A sign is given at the beginning of a turn: the turn before has come to its end, and so has its wait.
struct Watchdogs: BitwiseCopyable {
  /// When `advance` has something to do.
  private(set) var deadline: Instant
  /// What the service manager knows.
  private(set) var isToldOnline = false
  /// Whether the hardware's watchdog is open, and runs.
  private(set) var isArmed = false
  /// How often it could not be opened or fed.
  private(set) var errorCount: UInt32 = 0
  /// Whether that has been logged since it was armed last.
  private var hasLogged = false
  /// The time between two signs to the hardware, or two attempts to open it.
  private var interval = TimeSpan.zero
  /// What becomes of the hardware's watchdog at the end: it waits for the next agent, or has nothing to wait for; nil
  /// for what the configuration says.
  var isHandedOver: Bool?

  init(now: Instant) { deadline = now }

  /// The word for a status.
  func stateName(_ settings: borrowing Settings) -> StaticString {
    isArmed ? "armed" : settings.watchdog.device.isEmpty ? "none" : "not-armed"
  }

  /// Gives signs of life.
  @inline(never)  // beside the turns in which none is due
  mutating func advance<H: HostWatchdogs & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    deadline = .never
    let patience = host.managerPatience()
    if patience > .zero {
      host.tellManager(.alive)
      deadline = now + max(.milliseconds(patience.milliseconds >> 1), AgentLimits.signIntervalMin)
    }
    guard !settings.watchdog.device.isEmpty else { return }
    if !isArmed {
      arm(settings, &log, &host)
    } else if !host.feedWatchdog() {
      // It runs on, and may be had anew.
      host.closeWatchdog(isDisarmed: false)
      isArmed = false
      noteError("watchdog not-fed", .failed, settings, &log, &host)
    }
    deadline = min(deadline, now + interval)
  }

  private mutating func arm<H: HostWatchdogs & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    var seconds = settings.watchdog.seconds
    let answer = host.openWatchdog(settings.bytes(settings.watchdog.device), seconds: seconds)
    if case .armed(let granted) = answer {
      isArmed = true
      hasLogged = false
      seconds = granted
      log.begin(.info, "watchdog armed")
      log.add("seconds", granted)
      log.add("asked", settings.watchdog.seconds)
      log.end(to: &host)
    } else {
      noteError("watchdog not-armed", answer, settings, &log, &host)
    }
    // One that does not say is fed as often as can be reasonable.
    interval = seconds > 0 ? .milliseconds(Int64(seconds) * 333) : AgentLimits.feedIntervalMin
  }

  private mutating func noteError<H: HostLog & ~Copyable>(
    _ event: StaticString, _ reason: WatchdogAnswer, _ settings: borrowing Settings, _ log: inout LogWriter,
    _ host: inout H
  ) {
    errorCount &+= 1
    guard !hasLogged else { return }
    hasLogged = true
    log.begin(.warning, event)
    log.add("reason", reason.name)
    log.add("device", text: settings.bytes(settings.watchdog.device))
    if reason == .busy { log.add("hint", "RuntimeWatchdogSec") }
    log.end(to: &host)
  }

  /// Goes over to another watchdog, or to another timeout of the same, in the next turn.
  mutating func change<H: HostWatchdogs & ~Copyable>(_ now: Instant, _ host: inout H) {
    host.closeWatchdog(isDisarmed: true)
    isArmed = false
    hasLogged = false
    deadline = now
  }

  /// Ends, as `isHandedOver` says; where it does not, the watchdog is asked to stop where that is configured. Not while
  /// the machine `isGoingDown`: what hangs on its way down should be restarted.
  @inline(never)
  mutating func end<H: HostWatchdogs & HostLog & ~Copyable>(
    isGoingDown: Bool, _ settings: borrowing Settings, _ log: inout LogWriter, _ host: inout H
  ) {
    guard isArmed, isHandedOver != true else { return }
    let isDisarmed = isHandedOver == false || (settings.watchdog.stopsAtEnd && !isGoingDown)
    if isDisarmed {
      host.closeWatchdog(isDisarmed: true)
      log.begin(.info, "watchdog disarmed")
    } else {
      log.begin(.warning, "watchdog left-armed")
    }
    log.end(to: &host)
  }

  /// Tells whether there is a connection, which is not what was told last.
  @inline(never)  // beside the turns of events
  mutating func tell<H: HostWatchdogs & ~Copyable>(isOnline: Bool, _ host: inout H) {
    isToldOnline = isOnline
    host.tellManager(isOnline ? .online : .offline)
  }
}
