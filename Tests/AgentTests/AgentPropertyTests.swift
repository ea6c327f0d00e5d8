import Bytes
import Simulator
import TestSupport
import Testing

/// Single properties of the agent, each in a world made for it.
@Suite struct AgentPropertyTests {
  @Test func answersAFloodOfWaitingCommands() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.packetBytes = 1024
      scenario.brokerWindow = 50
      scenario.messagesPerSecond = 0
      try run(seed, scenario, &tally) { simulation in
        simulation.run(for: .minutes(2))
        simulation.cut(.closedByPeer)
        simulation.run(for: .milliseconds(500))
        // Outcomes of unknown commands with long names fill the output soonest.
        let name = String(repeating: "x", count: 36)
        for number in 1...50 { simulation.command(name, payload: Array("{\"n\":\(number)}".utf8)) }
        // The pause before the connection is two seconds at most.
        simulation.run(for: .seconds(12))
        #expect(simulation.outcomeCount == 50)
      }
    }
  }

  @Test func carriesOutRedeliveredCommandsOnceEvenInFullWindows() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.brokerWindow = 20
      try run(seed, scenario, &tally) { simulation in
        simulation.run(for: .minutes(2))
        simulation.cut(.muteClient)
        for number in 1...20 { simulation.command("ping", payload: Array("{\"n\":\(number)}".utf8)) }
        simulation.run(for: .minutes(10))
        #expect(simulation.connectionCount == 2)
        #expect(simulation.logCount("command finished") == 20)
        // That they came again is told as well: each could have been a new one.
        #expect(simulation.logCount("command redelivered") == 20)
        #expect(simulation.outcomeCount == 40)
      }
      #expect(tally.marks["delivery-with-dup"] ?? 0 >= 20)
    }
  }

  @Test func doesNotBlameTheServerForItsOwnSleep() throws {
    var tally = Tally()
    for seed in Seeds.all(3) {
      var scenario = Scenario()
      scenario.events = [EventSpec("status", every: .minutes(60), qos: 1)]
      try run(seed, scenario, &tally) { simulation in
        simulation.suspendAtPings(for: .seconds(25))
        simulation.run(for: .minutes(60))
        #expect(simulation.connectionCount == 1)
      }
    }
  }

  @Test func hearsCommandsAgainHoweverMuchIsInFlight() throws {
    var tally = Tally()
    for seed in Seeds.all(30) {
      var scenario = Scenario()
      scenario.packetBytes = 1024 + Int(seed) * 12
      scenario.cleanSession = true
      scenario.events = [EventSpec("status", every: .seconds(5), qos: 1, sensors: [.wordy, .wordy])]
      scenario.weathers = [.holes, .forgetfulBroker, .flaky]
      scenario.weatherLength = 20_000...300_000
      scenario.faultTime = .minutes(30)
      scenario.queueBytes = 65_536
      try run(seed, scenario, &tally)
    }
  }

  @Test func publishesAtOnceWhatASensorTells() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.events = [
        EventSpec("door", every: .minutes(60), qos: 1, sensors: [.telling]),
        EventSpec("status", every: .minutes(60), qos: 1),
      ]
      try run(seed, scenario, &tally) { simulation in
        simulation.run(for: .minutes(2))
        let arrived = (simulation.arrivedCount(0), simulation.arrivedCount(1))
        for _ in 1...5 {
          simulation.tell(1)
          simulation.run(for: .seconds(5))
        }
        #expect(simulation.arrivedCount(0) == arrived.0 + 5)
        #expect(simulation.arrivedCount(1) == arrived.1, "nobody has told anything about the other event")
      }
    }
  }

  @Test func startsWithoutAnAnswerOfTheStorage() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.storageHangOdds = 1
      try run(seed, scenario, &tally) { simulation in
        simulation.run(for: .minutes(2))
        #expect(simulation.isOnline)
        #expect(simulation.arrivedCount(0) > 0)
      }
      #expect(tally.marks["storage-hangs"] ?? 0 > 0)
    }
  }

  @Test func closesTheConnectionOnWhateverIsMalformed() throws {
    var tally = Tally()
    for seed in Seeds.all(4) {
      var scenario = Scenario()
      scenario.weathers = [.rudeBroker]
      scenario.faultTime = .minutes(12 * 60)
      scenario.commandPause = 1000...60_000
      try run(seed, scenario, &tally)
    }
    #expect(Seeds.single != nil || tally.unseen(Scenario.malformedMarks) == [])
  }
}
