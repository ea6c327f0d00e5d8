import Bytes
import Simulator
import TestSupport
import Testing

/// When the agent does what it does: schedules, pauses, wake-ups, log lines.
@Suite struct AgentScheduleTests {
  @Test func keepsSchedulesAlignedForADay() throws {
    var tally = Tally()
    for seed in Seeds.all(3) {
      var scenario = Scenario()
      scenario.events = [
        EventSpec("seven", every: .seconds(7), qos: 0), EventSpec("minute", every: .seconds(60), qos: 1),
        EventSpec("odd", every: .seconds(77), qos: 2),
      ]
      scenario.weathers = [.calm, .flaky, .outage]
      scenario.latenessMilliseconds = 15
      try run(seed, scenario, &tally) { simulation in
        simulation.run(for: .minutes(24 * 60))
        let end = 24 * 3600 * 1000 + AgentSimulation.start.milliseconds
        for (index, event) in scenario.events.enumerated() {
          let interval = event.interval.milliseconds
          let times = simulation.readTimes(index).map(\.milliseconds)
          // The first is read as soon as it can be; all others at a multiple of the interval, never early, never twice.
          let late = times.dropFirst().map { $0 % interval }
          #expect(late.allSatisfy { $0 <= 15 }, "\(event.name) drifts")
          #expect(zip(times, times.dropFirst()).allSatisfy { $0 < $1 }, "\(event.name) is read twice")
          if event.qos > 0 {
            #expect(times.count == Int(end / interval - AgentSimulation.start.milliseconds / interval) + 1)
          }
        }
      }
    }
  }

  @Test func relatedEventsShareAWakeUpAndAWrite() throws {
    var tally = Tally()
    var scenario = Scenario()
    scenario.events = [10, 20, 30, 60].map { EventSpec("e\($0)", every: .seconds($0), qos: 0) }
    try run(1, scenario, &tally) { simulation in
      simulation.run(for: .minutes(10))
      let steps = simulation.stepCount
      let sends = simulation.sendCount
      simulation.run(for: .minutes(60))
      // 360 multiples of ten seconds, and a ping with its answer each minute, as nothing else is received; and once an
      // hour the storage answers that it has the time.
      #expect(simulation.stepCount - steps <= 360 + 2 * 61 + 1)
      #expect(simulation.sendCount - sends <= 360 + 61)
    }
  }

  @Test func sleepsWhenThereIsNothingToDo() throws {
    var tally = Tally()
    var scenario = Scenario()
    scenario.events = [EventSpec("daily", every: .minutes(24 * 60), qos: 1)]
    try run(1, scenario, &tally) { simulation in
      simulation.run(for: .minutes(10))
      let steps = simulation.stepCount
      let lines = simulation.logLineCount
      simulation.run(for: .minutes(60))
      // A ping a minute and its answer: budget "1 wake-up a minute" for what we do ourselves. Once an hour the storage
      // answers that it has the time.
      #expect(simulation.stepCount - steps <= 2 * 61 + 1)
      #expect(simulation.logLineCount == lines)
    }
  }

  /// While the storage takes its time with the last it is told, the moment of a new attempt comes that is not made.
  @Test func sleepsWhileItEnds() throws {
    var tally = Tally()
    for seed in Seeds.all(30) {
      var scenario = Scenario()
      scenario.storageDelay = 1500...2000
      try run(seed, scenario, &tally) { simulation in
        simulation.run(for: .minutes(10))
        simulation.setWeather(.outage)
        simulation.cut(.reset)
        simulation.run(for: .milliseconds(500))
        let steps = simulation.stepCount
        simulation.stop()
        #expect(simulation.stepCount - steps <= 10)
      }
    }
  }

  @Test func logsOnceWhatLasts() throws {
    var tally = Tally()
    var scenario = Scenario()
    scenario.events = [
      EventSpec("status", every: .seconds(10), qos: 1),
      EventSpec("broken", every: .seconds(10), qos: 1, sensors: [.broken, .broken]),
    ]
    try run(1, scenario, &tally) { simulation in
      simulation.run(for: .minutes(5))
      let lines = simulation.logLineCount
      simulation.run(for: .minutes(60))
      #expect(simulation.logLineCount == lines)
      #expect(simulation.missing(0).isEmpty)
    }
  }

  @Test(arguments: [
    // Mean pauses: half the cap or less for jitter between the base and three times the last pause.
    (Weather.outage, 288...2000), (.refusing([4, 5]), 24...240), (.refusing([3]), 288...2000),
    (.revolvingDoor, 288...2000), (.rivalry, 288...2000), (.wrongClock, 5000...5760),
  ]) func staysPoliteForADay(weather: Weather, attempts: ClosedRange<Int>) throws {
    var tally = Tally()
    for seed in Seeds.all(3) {
      try run(seed, Scenario(), &tally, test: "staysPoliteForADay") { simulation in
        simulation.setWeather(weather)
        simulation.run(for: .minutes(24 * 60))
        #expect(attempts.contains(simulation.attemptCount), "\(weather.name): \(simulation.attemptCount)")
      }
    }
  }

  @Test func startsFromTheShortestPauseOnlyAfterAStableConnection() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      try run(seed, Scenario(), &tally) { simulation in
        for minutes in [4, 6, 3, 10, 1, 30] {
          simulation.setWeather(.outage)
          simulation.cut(.reset)
          simulation.run(for: .minutes(60))
          simulation.setWeather(.calm)
          simulation.run(for: .minutes(8))
          simulation.run(for: .minutes(Int64(minutes)))
        }
      }
    }
    // The pauses themselves are watched in every simulation.
    #expect(tally.unseen(["pause-after-stable", "pause-long"]).isEmpty)
  }
}
