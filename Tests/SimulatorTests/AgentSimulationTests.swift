import Bytes
import Simulator
import TestSupport
import Testing

@Suite struct AgentSimulationTests {
  @Test func losesNothingInAnyWeather() throws {
    var tally = Tally()
    for seed in Seeds.all(10) {
      var scenario = Scenario()
      scenario.weathers = Scenario.allWeathers
      scenario.cleanSession = seed % 3 == 0
      try run(seed, scenario, &tally)
    }
    print(tally.runs, "runs,", tally.hours, "hours:", tally.summary)
  }

  @Test func carriesOutCommandsOnceInAnyWeather() throws {
    var tally = Tally()
    for seed in Seeds.all(10) {
      var scenario = Scenario()
      scenario.weathers = Scenario.allWeathers
      scenario.weatherLength = 60_000...1_200_000
      scenario.commandPause = 100...120_000
      scenario.hasClockFaults = true
      scenario.asksForEvents = true
      scenario.cleanSession = seed % 4 == 0
      scenario.latenessMilliseconds = 20
      scenario.events[0].sensors = [.faulty, .wordy]
      scenario.events[2].sensors = [.slow, .faulty]
      try run(seed, scenario, &tally)
    }
    print(tally.runs, "runs,", tally.hours, "hours:", tally.summary)
  }

  @Test func wakesFromSuspend() throws {
    var tally = Tally()
    for seed in Seeds.all(10) {
      var scenario = Scenario()
      scenario.weathers = [.calm, .slow, .holes]
      scenario.faultTime = .minutes(24 * 60)
      scenario.isSuspended = true
      scenario.commandPause = 1000...600_000
      try run(seed, scenario, &tally)
    }
    print(tally.runs, "runs,", tally.hours, "hours:", tally.summary)
  }
}
