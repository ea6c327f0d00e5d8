// Signs of life: when they are given, and that nothing is told where nobody wants to know.

import AgentConfiguration
import Bytes
import HostInterface
import TestSupport
import Testing

@testable import Agent

/// The part alone, with a watchdog of the hardware as `section` has it.
private final class Desk {
  var host = ScriptedHost()
  private let settings: Settings
  private var log: LogWriter
  private(set) var watchdogs = Watchdogs(now: Instant(milliseconds: 1000))
  private var arena: Arena

  init(_ section: String = "") throws {
    var arena = makeArena(byteCount: 1 << 20)
    settings = try makeSettings(
      "[device]\norg = ab12cd\ntype = edge\nid = e7\nauth-token = secret\n" + section, from: &arena)
    log = try LogWriter(threshold: .debug, isManaged: false, from: &arena)
    self.arena = arena
  }

  var deadline: Instant { watchdogs.deadline }
  var isArmed: Bool { watchdogs.isArmed }
  var errorCount: UInt32 { watchdogs.errorCount }
  var stateName: String { Array(watchdogs.stateName(settings).bytes).text }

  /// A turn at the moment that it has named, and one a moment earlier, at which there is nothing to be done.
  func turn() {
    let due = max(watchdogs.deadline, host.time)
    for moment in [due + .milliseconds(-1), due] where moment >= watchdogs.deadline {
      host.time = moment
      watchdogs.advance(settings, moment, &log, &host)
    }
  }

  func tell(isOnline: Bool) { watchdogs.tell(isOnline: isOnline, &host) }
  func change() { watchdogs.change(host.time, &host) }

  func end(isHandedOver: Bool? = nil, isGoingDown: Bool = false) -> [String] {
    watchdogs.isHandedOver = isHandedOver
    _ = host.takeWatchdogCalls()
    watchdogs.end(isGoingDown: isGoingDown, settings, &log, &host)
    return host.takeWatchdogCalls()
  }
}

@Suite struct WatchdogsTests {
  @Test func aSignComesAtHalfOfTheManagersPatience() throws {
    let desk = try Desk()
    desk.host.patience = .seconds(30)
    for seconds in [1, 16, 31] {
      desk.turn()
      #expect(desk.host.time == Instant(milliseconds: Int64(seconds) * 1000))
    }
    #expect(desk.host.told == [.alive, .alive, .alive] && desk.host.watchdogCalls.isEmpty)
  }

  @Test func nobodyIsToldWhereNobodyWaits() throws {
    let desk = try Desk()
    desk.turn()
    #expect(desk.host.told.isEmpty && desk.host.watchdogCalls.isEmpty && desk.deadline == .never)
    #expect(desk.stateName == "none" && desk.end().isEmpty)
  }

  @Test func noPatienceMakesABusyLoop() throws {
    let desk = try Desk()
    desk.host.patience = .milliseconds(1)
    desk.turn()
    #expect(desk.deadline == desk.host.time + AgentLimits.signIntervalMin)
  }

  @Test func theConnectionIsToldAsItIs() throws {
    let desk = try Desk()
    desk.tell(isOnline: true)
    #expect(desk.watchdogs.isToldOnline && desk.host.told == [.online])
    desk.tell(isOnline: false)
    #expect(!desk.watchdogs.isToldOnline && desk.host.told == [.online, .offline])
  }

  @Test func theHardwareIsFedAtAThirdOfWhatItGrants() throws {
    let desk = try Desk("[watchdog]\ntimeout = 1m\ndevice = /dev/w")
    for _ in 0..<3 { desk.turn() }
    #expect(desk.host.takeWatchdogCalls() == ["1000 open /dev/w 60", "10990 feed", "20980 feed"])
    #expect(desk.host.lines == ["info watchdog armed seconds=30 asked=60"])
    #expect(desk.isArmed && desk.stateName == "armed" && desk.errorCount == 0)
  }

  @Test func oneThatDoesNotSayIsFedOften() throws {
    let desk = try Desk("[watchdog]")
    desk.host.watchdogAnswer = .armed(seconds: 0)
    desk.turn()
    desk.turn()
    #expect(desk.host.takeWatchdogCalls() == ["1000 open /dev/watchdog 30", "2000 feed"])
  }

  @Test func bothAreToldInTheSameTurns() throws {
    let desk = try Desk("[watchdog]")
    desk.host.patience = .seconds(10)
    for _ in 0..<3 { desk.turn() }
    #expect(desk.host.told.count == 3)
    #expect(desk.host.takeWatchdogCalls() == ["1000 open /dev/watchdog 30", "6000 feed", "11000 feed"])
  }

  @Test(arguments: [
    (WatchdogAnswer.busy, "busy device=/dev/watchdog hint=RuntimeWatchdogSec"),
    (.notFound, "not-found device=/dev/watchdog"), (.notPermitted, "not-permitted device=/dev/watchdog"),
    (.failed, "failed device=/dev/watchdog"),
  ])
  func oneThatCannotBeHadIsTriedAgainAndLoggedOnce(answer: WatchdogAnswer, words: String) throws {
    let desk = try Desk("[watchdog]")
    desk.host.watchdogAnswer = answer
    for _ in 0..<4 { desk.turn() }
    #expect(desk.host.lines == ["warning watchdog not-armed reason=" + words])
    #expect(desk.errorCount == 4 && desk.stateName == "not-armed")
    #expect(desk.host.takeWatchdogCalls().last == "30970 open /dev/watchdog 30")
    #expect(desk.end().isEmpty)
    desk.host.watchdogAnswer = .armed(seconds: 30)
    desk.turn()
    #expect(desk.isArmed && desk.host.lines.count == 2)
  }

  @Test func oneThatTakesNoFoodIsOpenedAnewBeforeItBites() throws {
    let desk = try Desk("[watchdog]")
    desk.turn()
    desk.host.takesFood = false
    for _ in 0..<4 { desk.turn() }
    #expect(
      desk.host.takeWatchdogCalls().dropFirst() == [
        "10990 feed", "10990 close", "20980 open /dev/watchdog 30", "30970 feed", "30970 close",
        "40960 open /dev/watchdog 30",
      ])
    #expect(desk.errorCount == 2)
    #expect(desk.host.lines.filter { $0 == "warning watchdog not-fed reason=failed device=/dev/watchdog" }.count == 2)
  }

  @Test func anotherTimeoutIsTakenOverInTheNextTurn() throws {
    let desk = try Desk("[watchdog]")
    desk.turn()
    desk.host.time = Instant(milliseconds: 5000)
    desk.change()
    desk.turn()
    #expect(desk.host.takeWatchdogCalls().dropFirst() == ["5000 disarm", "5000 open /dev/watchdog 30"])
  }

  /// What an agent leaves behind that ends in this way.
  @Test(
    arguments: [
      // By itself, or by a signal.
      ("", nil, false, [], "warning watchdog left-armed"),
      ("stop-at-end = yes", nil, false, ["1000 disarm"], "info watchdog disarmed"),
      // On the way to a restart of the machine.
      ("stop-at-end = yes", nil, true, [], "warning watchdog left-armed"),
      // For the program of an update, or for another configuration with a watchdog, and for one without.
      ("stop-at-end = yes", true, false, [], nil),
      ("", true, false, [], nil),
      ("", false, false, ["1000 disarm"], "info watchdog disarmed"),
    ] as [(String, Bool?, Bool, [String], String?)])
  func theEndIsAsConfigured(key: String, isHandedOver: Bool?, isGoingDown: Bool, calls: [String], line: String?) throws
  {
    let desk = try Desk("[watchdog]\n" + key)
    desk.turn()
    #expect(desk.end(isHandedOver: isHandedOver, isGoingDown: isGoingDown) == calls)
    #expect(desk.host.lines.dropFirst() == (line.map { [$0] } ?? []))
  }
}
