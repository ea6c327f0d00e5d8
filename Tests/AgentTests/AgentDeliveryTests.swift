import Bytes
import Simulator
import TestSupport
import Testing

/// What becomes of events and commands in outages of known length.
@Suite struct AgentDeliveryTests {
  @Test func dropsTheOldestWhenTheQueueIsFull() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.events = [EventSpec("status", every: .seconds(10), qos: 1)]
      scenario.queueBytes = 2048
      scenario.weathers = [.outage]
      scenario.weatherLength = 7_200_000...7_200_000
      scenario.faultTime = .minutes(60)
      try run(seed, scenario, &tally) { simulation in
        simulation.run(for: .minutes(10))
        #expect(simulation.droppedCount == 0)
        simulation.setWeather(.outage)
        simulation.cut(.reset)
        let before = simulation.readTimes(0).count
        simulation.run(for: .minutes(60))
        let waiting = simulation.queuedCount
        simulation.beginCalm()
        simulation.run(for: .minutes(10))
        let missing = simulation.missing(0)
        #expect(missing.count == simulation.droppedCount)
        #expect(waiting > 10, "there is room for some")
        // What is missing is the oldest part of the outage, without gaps; at most the one on its way at the cut is
        // saved.
        #expect(missing.count > 300)
        #expect(missing.first.map { $0 - before } ?? 0 <= 2)
        #expect(missing.last == missing.first.map { $0 + missing.count - 1 })
        #expect(simulation.logCount("queue dropping") == 1)
        #expect(simulation.lastLogLine("queue drained") == "info queue drained dropped=\(missing.count)")
        // The next outage counts from the beginning.
        simulation.setWeather(.outage)
        simulation.cut(.reset)
        simulation.run(for: .minutes(30))
        simulation.beginCalm()
        simulation.run(for: .minutes(10))
        let more = simulation.missing(0).count - missing.count
        #expect(more > 100)
        #expect(simulation.lastLogLine("queue drained") == "info queue drained dropped=\(more)")
      }
    }
  }

  @Test func keepsAnOutageThatFitsTheQueue() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.queueBytes = 65_536
      scenario.cleanSession = seed % 2 == 0
      try run(seed, scenario, &tally) { simulation in
        simulation.run(for: .minutes(10))
        simulation.setWeather(.outage)
        simulation.cut(.halfOpen)
        simulation.run(for: .minutes(240))
        simulation.beginCalm()
        simulation.run(for: .minutes(10))
        #expect(simulation.missing(0).isEmpty && simulation.missing(1).isEmpty)
        #expect(simulation.droppedCount == 0 && simulation.queuedCount == 0)
      }
    }
  }

  /// A message that ends every connection must not keep all others from being delivered.
  @Test(arguments: [(1, true), (1, false), (2, true)] as [(UInt8, Bool)])
  func givesUpAMessageThatEndsEveryConnection(qos: UInt8, cleanSession: Bool) throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.events = [EventSpec("status", every: .seconds(10), qos: qos)]
      scenario.cleanSession = cleanSession
      try run(seed, scenario, &tally) { simulation in
        simulation.beginCalm()
        simulation.run(for: .minutes(10))
        simulation.poisonNextMessage(resetting: seed % 2 == 0)
        simulation.run(for: .minutes(20))
        #expect(simulation.missing(0).count == 1, "all others have arrived")
        #expect(simulation.droppedCount == 1)
        let line = simulation.lastLogLine("event abandoned") ?? ""
        #expect(line.hasPrefix("error event abandoned attempts=7 bytes="), "\(line)")
        #expect(simulation.logCount("server packet-limit") == 0, "others of that size have arrived")
        #expect(simulation.logCount("event abandoned") == 1)
        // The connection on which it was published first had brought answers to others.
        #expect(simulation.logCount("mqtt disconnected") == 8)
      }
    }
    #expect(tally.marks["poison"] ?? 0 > 0)
  }

  /// On a link that is cut at random bytes no message is proved to be the cause, however long that takes.
  @Test(arguments: [1...250, 1...700, 150...400, 1...5000])
  func aNetworkThatCutsIsNotTakenForPoison(linkBytes: ClosedRange<Int>) throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.events = [EventSpec("status", every: .seconds(60), qos: 1)]
      scenario.queueBytes = 65_536
      scenario.cleanSession = seed % 2 == 0
      scenario.weathers = [.frayed(linkBytes)]
      scenario.weatherLength = 14_400_000...14_400_000
      scenario.faultTime = .minutes(240)
      try run(seed, scenario, &tally) { simulation in
        simulation.setWeather(.frayed(linkBytes))
        simulation.run(for: .minutes(240))
        #expect(simulation.connectionCount > 5)
        #expect(simulation.logCount("event abandoned") == 0)
        simulation.beginCalm()
        simulation.run(for: .minutes(15))
        #expect(simulation.missing(0).isEmpty && simulation.droppedCount == 0)
      }
    }
  }

  @Test func keepsQuickstartsRules() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      var scenario = Scenario()
      scenario.isQuickstart = true
      scenario.cleanSession = true
      scenario.messagesPerSecond = 1
      scenario.commands = []
      scenario.events = (1...5).map { EventSpec("e\($0)", every: .seconds(5), qos: 0) }
      scenario.weathers = [.flaky, .revolvingDoor]
      scenario.weatherLength = 60_000...600_000
      scenario.faultTime = .minutes(60)
      try run(seed, scenario, &tally)
      #expect(tally.marks["subscribe"] == nil)
    }
    // All events are due together, and go out one a second: never two on one, never none.
    var scenario = Scenario()
    scenario.isQuickstart = true
    scenario.cleanSession = true
    scenario.messagesPerSecond = 1
    scenario.commands = []
    scenario.events = (1...5).map { EventSpec("e\($0)", every: .seconds(5), qos: 0) }
    try run(1, scenario, &tally) { simulation in
      simulation.run(for: .minutes(10))
      let times = (0..<5).flatMap { simulation.readTimes($0) }.map(\.milliseconds).sorted()
      #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 >= 1000 })
      #expect(times.count > 580)
      for index in 0..<5 { #expect(simulation.arrivedCount(index) >= 100) }
    }
  }

  @Test func endsInAnyWeather() throws {
    var tally = Tally()
    for seed in Seeds.all(100) {
      var scenario = Scenario()
      scenario.weathers = Scenario.allWeathers
      scenario.weatherLength = 60_000...120_000
      scenario.commandPause = 1000...20_000
      try run(seed, scenario, &tally) { simulation in
        simulation.setWeather(scenario.weathers[Int(seed) % scenario.weathers.count])
        simulation.startOperator()
        simulation.run(for: .seconds(60 + Int64(seed) * 7))
        simulation.stop()
      }
    }
    #expect(Seeds.single != nil || tally.unseen(["disconnect"]).isEmpty)
  }

  @Test func changesIntervalsOnCommand() throws {
    var tally = Tally()
    var scenario = Scenario()
    scenario.events = [
      EventSpec("status", every: .seconds(60), qos: 1), EventSpec("other", every: .seconds(60), qos: 1),
      EventSpec("slow", every: .seconds(20), qos: 1, sensors: [.slow]),
    ]
    try run(1, scenario, &tally) { simulation in
      simulation.run(for: .minutes(10))
      simulation.command("interval", payload: Array(#"{"d":{"event":"status","interval":"7s"}}"#.utf8))
      simulation.run(for: .seconds(2))
      let before = simulation.readTimes(0).count
      let others = simulation.readTimes(1).count
      simulation.run(for: .minutes(7))
      let times = simulation.readTimes(0).dropFirst(before).map(\.milliseconds)
      #expect(times.count == 60 && times.allSatisfy { $0 % 7000 == 0 })
      #expect(simulation.readTimes(1).count == others + 7)
      // In the middle of reading slow sensors, too.
      for number in 0..<200 {
        let payload = Array(#"{"d":{"interval":\#(number % 9 + 3)}}"#.utf8)
        simulation.command("interval", payload: payload)
        simulation.run(for: .milliseconds(1700))
      }
      #expect(simulation.outcomeCount == 201)
      for payload in [
        "", "{}", "[]", "{", #"{"d":{"interval":0}}"#, #"{"d":{"interval":"x"}}"#, #"{"d":{"interval":1e99}}"#,
      ] {
        simulation.command("interval", payload: Array(payload.utf8))
      }
      simulation.run(for: .seconds(5))
    }
    #expect(tally.marks["outcome-refused"] == 7)
  }

  @Test func publishesOnCommand() throws {
    var tally = Tally()
    var scenario = Scenario()
    scenario.events = [
      EventSpec("status", every: .minutes(60), qos: 1), EventSpec("other", every: .minutes(60), qos: 1),
    ]
    try run(1, scenario, &tally) { simulation in
      simulation.run(for: .minutes(10))
      #expect(simulation.arrivedCount(0) == 1 && simulation.arrivedCount(1) == 1)
      simulation.command("publish", payload: Array(#"{"d":{"event":"status"}}"#.utf8))
      simulation.run(for: .seconds(2))
      #expect(simulation.arrivedCount(0) == 2 && simulation.arrivedCount(1) == 1)
      simulation.command("publish", payload: [])
      simulation.run(for: .seconds(2))
      #expect(simulation.arrivedCount(0) == 3 && simulation.arrivedCount(1) == 2)
      simulation.command("publish", payload: Array(#"{"d":{"event":"none"}}"#.utf8))
      simulation.run(for: .seconds(2))
      #expect(simulation.arrivedCount(0) == 3 && simulation.arrivedCount(1) == 2)
    }
    #expect(tally.marks["outcome-unknown"] == 1)
  }

  @Test func takesOverANewConfigurationWithoutLosingAnything() throws {
    var tally = Tally()
    for seed in Seeds.all(5) {
      try run(seed, Scenario(), &tally) { simulation in
        simulation.run(for: .minutes(10))
        var faster = Scenario()
        faster.events[0].interval = .seconds(20)
        faster.messagesPerSecond = 1
        #expect(throws: Never.self) { try simulation.reload(faster) }
        let count = simulation.readTimes(0).count
        simulation.run(for: .minutes(10))
        #expect(simulation.connectionCount == 1)
        #expect(simulation.readTimes(0).count - count == 31, "one at once and three a minute")

        // In an outage: what waits goes on waiting.
        simulation.setWeather(.outage)
        simulation.cut(.reset)
        simulation.run(for: .minutes(30))
        let waiting = simulation.queuedCount
        #expect(waiting > 60)
        #expect(throws: Never.self) { try simulation.reload(Scenario()) }
        #expect(simulation.queuedCount == waiting)
        simulation.beginCalm()
        simulation.run(for: .minutes(10))
        #expect(simulation.missing(0).isEmpty && simulation.missing(1).isEmpty)
      }
    }
  }

  /// However often it is asked to read its configuration: nothing is published for that, and no budget is had twice.
  @Test func reloadsAreNoWayAroundSchedulesAndRate() throws {
    var tally = Tally()
    var scenario = Scenario()
    scenario.events = (1...5).map { EventSpec("e\($0)", every: .minutes(60), qos: 0) }
    scenario.messagesPerSecond = 2
    try run(1, scenario, &tally) { simulation in
      simulation.run(for: .minutes(1))
      let before = (0..<5).map { simulation.readTimes($0).count }
      for _ in 0..<50 {
        #expect(throws: Never.self) { try simulation.reload(scenario) }
        simulation.run(for: .milliseconds(100))
      }
      #expect((0..<5).map { simulation.readTimes($0).count } == before)
      // Where each reload changes all of them, the rate holds them back.
      for number in 0..<100 {
        for index in 0..<5 { scenario.events[index].interval = .minutes(Int64(60 + number % 2)) }
        scenario.messagesPerSecond = 2 + number % 2
        #expect(throws: Never.self) { try simulation.reload(scenario) }
        simulation.run(for: .milliseconds(100))
      }
      let count = (0..<5).map { simulation.readTimes($0).count }.reduce(0, +) - before.reduce(0, +)
      #expect((20...36).contains(count), "\(count) in ten seconds")
    }
  }

  @Test func keepsToTheRateOfANewConfiguration() throws {
    var tally = Tally()
    var scenario = Scenario()
    scenario.events = (1...5).map { EventSpec("e\($0)", every: .seconds(10), qos: 0) }
    try run(1, scenario, &tally) { simulation in
      simulation.run(for: .minutes(1))
      scenario.messagesPerSecond = 1
      #expect(throws: Never.self) { try simulation.reload(scenario) }
      let before = (0..<5).map { simulation.readTimes($0).count }
      simulation.run(for: .minutes(5))
      let times = (0..<5).flatMap { simulation.readTimes($0).dropFirst(before[$0]) }.map(\.milliseconds).sorted()
      #expect(zip(times, times.dropFirst()).allSatisfy { $1 - $0 >= 1000 })
    }
  }
}
