import Bytes
import Simulator
import TestSupport
import Testing

/// The whole agent through long stretches of bad weather, chosen by seed.
@Suite struct AgentSimulationTests {
  /// What must have happened at least once in the default seeds: a check of a branch that is never reached proves
  /// nothing.
  private static let rareThings = [
    "acknowledgement-lost", "broker-restart", "closed-instead-of-connack", "connack-late", "connack-never",
    "cut-closedByPeer", "cut-deafClient", "cut-halfOpen", "cut-inside-a-packet", "cut-muteClient", "cut-reset",
    "duplicate-identity", "event-twice", "keep-alive-expired", "partial-send", "pause-after-stable", "pause-long",
    "pause-slow", "ping-unanswered", "publish-with-dup", "pubrel-again", "queue-overflow", "refused-1", "refused-2",
    "refused-3", "refused-4", "refused-5", "refused-128", "rival", "send-would-block", "session-lost",
    "session-present", "takeover", "window-full",
  ]

  @Test func losesNothingInAnyWeather() throws {
    var tally = Tally()
    for seed in Seeds.all(10) {
      var scenario = Scenario()
      scenario.weathers = Scenario.allWeathers
      scenario.cleanSession = seed % 3 == 0
      scenario.watchdogSeconds = 30
      // Small enough to overflow, and a window small enough to fill.
      scenario.queueBytes = 4096
      scenario.inflightMax = Int(seed % 4) * 3 + 1
      try run(seed, scenario, &tally)
    }
    report(tally, Self.rareThings + ["watchdog-armed", "watchdog-busy", "watchdog-fed", "watchdog-unfed"])
  }

  /// Local programs that are stuck, greedy or talk rubbish cost no event its time, and none that asks its answer.
  @Test func answersLocalProgramsInAnyWeather() throws {
    var tally = Tally()
    for seed in Seeds.all(4) {
      var scenario = Scenario()
      scenario.weathers = Scenario.allWeathers
      try run(seed, scenario, &tally) {
        $0.startLocalPrograms()
        $0.run()
      }
    }
    report(
      tally,
      [
        "local-greedy", "local-leaving", "local-plain", "local-rubbish", "local-silent", "local-slow", "local-stuck",
      ])
  }

  @Test func livesThroughADayOfEverything() throws {
    var tally = Tally()
    for seed in Seeds.all(6) { try run(seed, .dayOfEverything(seed: seed), &tally) }
    report(
      tally,
      Self.rareThings + [
        "broker-queue-overflow", "clock-step", "clock-stored", "delivery-twice", "delivery-with-dup", "outcome-busy",
        "outcome-failed",
        "outcome-not-executable", "outcome-ok", "outcome-refused", "outcome-timeout", "outcome-too-large",
        "outcome-unknown", "program-crash", "program-hang", "program-noisy", "program-slots-full", "program-stubborn",
        "sensor-slow", "sensor-too-slow", "sensor-without-room", "suspend",
      ])
  }

  /// A clock that was once years ahead has left its time behind: events get theirs again, and connections come about.
  @Test func outlivesAWrongTimeThatWasStored() throws {
    var tally = Tally()
    for seed in Seeds.all(6) {
      var scenario = Scenario()
      scenario.weathers = [.calm, .flaky, .outage]
      scenario.faultTime = .minutes(120)
      scenario.storedYearsAhead = 9
      scenario.saysSynchronised = seed % 2 == 0
      try run(seed, scenario, &tally)
    }
    report(tally, ["given-up-by-system", "given-up-by-certificate", "link-failed-tls-expired"])
  }

  @Test func carriesOutCommandsOnceInAnyWeather() throws {
    var tally = Tally()
    for seed in Seeds.all(8) {
      var scenario = Scenario()
      scenario.weathers = Scenario.allWeathers
      scenario.weatherLength = 60_000...1_200_000
      scenario.commandPause = 100...120_000
      scenario.cleanSession = seed % 4 == 0
      scenario.identifiers = IdentifierChoice.allCases[Int(seed % 3)]
      // Without equal commands the books are stricter.
      scenario.equalCommandOdds = seed % 2 == 0 ? 2 : 0
      try run(seed, scenario, &tally)
    }
    report(
      tally,
      [
        "command-equal", "delivery-renumbered", "delivery-twice", "delivery-with-dup", "program-slots-full",
        "outcome-redelivered", "outcome-timeout",
      ])
  }

  @Test func losesNothingWithAServerThatKnowsNoQoS2() throws {
    var tally = Tally()
    for seed in Seeds.all(4) {
      var scenario = Scenario()
      scenario.weathers = Scenario.allWeathers
      scenario.weatherLength = 60_000...1_200_000
      scenario.commandPause = 1000...120_000
      scenario.brokerKnowsQoS2 = false
      scenario.identifiers = .renumbering
      try run(seed, scenario, &tally) { simulation in
        simulation.run()
        #expect(simulation.logCount("mqtt qos-lowered") == 1)
      }
    }
    report(tally, ["qos-2-unknown", "delivery-renumbered", "session-present"])
  }

  @Test func wakesFromSuspend() throws {
    var tally = Tally()
    for seed in Seeds.all(4) {
      var scenario = Scenario()
      scenario.weathers = [.calm, .slow, .holes]
      scenario.faultTime = .minutes(24 * 60)
      scenario.isSuspended = true
      scenario.commandPause = 1000...600_000
      try run(seed, scenario, &tally)
    }
    report(tally, ["suspend"])
  }

  /// Prints what the runs came to, and asks for proof that rare things did happen.
  private func report(_ tally: Tally, _ rareThings: [String]) {
    print("\(tally.runs) runs, \(Int(tally.hours)) simulated hours: \(tally.summary)")
    // One seed alone need not see everything.
    #expect(Seeds.single != nil || tally.unseen(rareThings) == [])
  }
}
