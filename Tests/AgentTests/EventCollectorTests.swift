import AgentConfiguration
import Bytes
import HostInterface
import MQTT
import TestSupport
import Testing

@testable import Agent

@Suite struct EventCollectorTests {
  private static let configuration = """
    [event status]
    interval = 10s
    qos = 1
    [event other]
    interval = 60s
    qos = 1
    [event loose]
    interval = 10s
    [sensor a]
    event = status
    read = file:/slow
    field = a
    [sensor b]
    event = status
    read = file:/quick
    [sensor elsewhere]
    event = other
    read = file:/third
    field = a
    [sensor c]
    event = status
    read = file:/slow
    field = c
    [sensor d]
    event = other
    read = file:/third
    field = none
    [sensor e]
    event = loose
    read = file:/fifth
    """

  /// A rig whose machine does not know the time, so that payloads have no time stamp, with a connection.
  private func makeRig(isConnected: Bool = true) throws -> Rig {
    let rig = try Rig(EventCollectorTests.configuration, sources: [0, 1, 2, 0, 2, 4])
    rig.host.texts = [0: "a: 1\nc: 3\n", 1: "2\n", 2: "a: 4\n", 4: "5"]
    rig.host.wall = WallTime(milliseconds: 0)
    if isConnected { try rig.connect() }
    return rig
  }

  @Test func readsEachSourceOnceForAnEvent() throws {
    let rig = try makeRig()
    rig.collect()
    #expect(rig.host.reads == [0, 1, 2, 4])
    #expect(
      try rig.published() == [#"{"d":{"a":1,"c":3,"b":2}}"#, #"{"d":{"elsewhere":4}}"#, #"{"d":{"e":5}}"#])
    // The names in the log are those of the configuration, whatever order sources are read in.
    #expect(rig.host.lines == ["warning sensor failed sensor=d reason=not-understood"])
  }

  @Test func scalesWithThePowerOfTenOfTheReading() throws {
    let rig = try makeRig()
    rig.host.texts = [0: "a: 1\nc: 3\n", 1: "45120\n", 2: "a: 4\n", 4: "N/A\n"]
    rig.host.exponents = [1: -3, 4: -3]
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"a":1,"c":3,"b":45.12}}"#, #"{"d":{"elsewhere":4}}"#])
    #expect(rig.host.lines.last == "warning sensor failed sensor=e reason=not-understood")
  }

  @Test func marksTextThatWasCut() throws {
    let rig = try Rig(
      "[event status]\ninterval = 10s\nqos = 1\n[sensor a]\nevent = status\nread = file:/a\ntype = text", sources: [0])
    rig.host.wall = WallTime(milliseconds: 0)
    rig.host.texts = [0: String(repeating: "x", count: 300)]
    try rig.connect()
    rig.collect()
    #expect(try rig.published() == ["{\"d\":{\"a\":\"\(String(repeating: "x", count: 253))…\"}}"])
  }

  @Test func stampsEventsWithATimeThatIsBelieved() throws {
    let rig = try makeRig()
    rig.host.wall = WallTime(milliseconds: 1_800_000_000_000)
    rig.collect()
    #expect(try rig.published().last == #"{"d":{"e":5},"ts":"2027-01-15T08:00:00.000Z"}"#)
  }

  @Test func sleepsUntilTheNextEventThatIsOfUse() throws {
    let rig = try makeRig(isConnected: false)
    rig.collect()
    // Without a connection the event that is not kept has no time, and is not read.
    #expect(rig.eventDeadline == Instant(milliseconds: 10_000))
    #expect(rig.host.reads == [0, 1, 2])
    try rig.connect()
    #expect(rig.eventDeadline <= rig.host.time)
    rig.collect()
    #expect(rig.eventDeadline == Instant(milliseconds: 10_000))
    #expect(rig.host.reads == [0, 1, 2, 4])
  }

  /// Together they are more than the output holds: those that find no room go on as soon as it has been sent.
  @Test func whatFindsNoRoomIsReadAgainWhenThereIsSome() throws {
    let names = ["a", "b", "c", "d", "e"]
    let sections = names.map { "[event \($0)]\ninterval = 10s\n[sensor \($0)]\nevent = \($0)\nread = file:/\($0)\n" }
    let rig = try Rig(sections.joined() + "type = text", sources: Array(names.indices), packetBytes: 256)
    rig.host.wall = WallTime(milliseconds: 0)
    for index in names.indices { rig.host.texts[index] = "1.000000000000000" }
    rig.host.texts[4] = String(repeating: "x", count: 170)
    try rig.connect()
    var rounds: [[String]] = []
    for _ in 0..<4 {
      rig.collect()
      let isWaiting = rig.isCrowded
      // While it waits for room, no time but the next one's wakes it.
      #expect(isWaiting == (rig.eventDeadline == .never), "\(rounds)")
      rounds.append(try rig.published())
      if !isWaiting { break }
      #expect(rig.eventDeadline <= rig.host.time)
    }
    #expect(rounds.count > 1)
    #expect(rounds.flatMap { $0 }.map { $0.dropFirst(7).first } == names.map { $0.first })
    #expect(rig.outboxCounters.messages == 5)
    #expect(rig.outboxCounters.skipped == 0)
    #expect(rig.eventDeadline == Instant(milliseconds: 10_000))
  }

  @Test func waitsForSlowSourcesUntilItsPatienceEnds() throws {
    let rig = try makeRig()
    rig.host.slowSources = [0]
    rig.collect()
    // The others went on without it.
    #expect(try rig.published() == [#"{"d":{"elsewhere":4}}"#, #"{"d":{"e":5}}"#])
    // A quarter of its interval.
    #expect(rig.eventDeadline == rig.host.time + .milliseconds(2500))
    rig.host.time = rig.host.time + .milliseconds(2500)
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"b":2}}"#])
    #expect(!rig.host.lines.contains { $0.hasSuffix("reason=timeout") }, "it has its whole time still")
  }

  private func text(of value: Decimal) -> String {
    var buffer = makeBuffer([], capacity: 32)
    buffer.append(value)
    return Array(buffer.span).text
  }

  @Test func waitsNoLongerThanASourceMayTake() throws {
    let rig = try makeRig()
    rig.host.slowSources = [2]
    rig.collect()
    _ = try rig.published()
    rig.host.time = rig.host.time + .milliseconds(4999)
    rig.collect()
    #expect(!rig.host.lines.contains { $0.hasSuffix("reason=timeout") })
    rig.host.time = rig.host.time + .milliseconds(1)
    rig.collect()
    #expect(rig.host.lines.suffix(2).allSatisfy { $0.hasSuffix("reason=timeout") })
  }

  /// What came too late for one event is for the next one, which says how old it is.
  @Test func aLateValueCarriesItsAge() throws {
    let rig = try makeRig()
    let begin = rig.host.time
    rig.host.slowSources = [0]
    rig.collect()
    rig.host.time = begin + .milliseconds(2500)
    rig.collect()
    // It comes, and nobody asks.
    rig.host.slowSources = []
    rig.host.askedAt = [0: begin]
    _ = try rig.published()
    rig.host.time = rig.eventDeadline
    rig.collect()
    let age = Decimal(significand: (rig.host.time - begin).milliseconds, exponent: -3).map { text(of: $0) } ?? ""
    #expect(try rig.published().first == #"{"d":{"a":1,"a-age":\#(age),"c":3,"c-age":\#(age),"b":2}}"#)
    // What was asked for while this event waited is its own.
    rig.host.askedAt = [:]
    rig.host.time = rig.eventDeadline
    rig.host.slowSources = [0]
    rig.collect()
    rig.host.askedAt = [0: rig.host.time]
    rig.host.time = rig.host.time + .milliseconds(700)
    rig.host.slowSources = []
    rig.collect()
    #expect(try rig.published().last { $0.contains("\"a\"") } == #"{"d":{"a":1,"c":3,"b":2}}"#)
  }

  @Test func takesASlowAnswerAsSoonAsItIsThere() throws {
    let rig = try makeRig()
    rig.host.slowSources = [0]
    rig.collect()
    _ = try rig.published()
    rig.host.time = rig.host.time + .milliseconds(300)
    rig.host.slowSources = []
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"a":1,"c":3,"b":2}}"#])
  }

  /// A rig with an event of many sensors in front of another one that shares the first of them.
  private func makeCrowd(_ count: Int) throws -> Rig {
    var text = "[event many]\ninterval = 10s\nqos = 1\n[event few]\ninterval = 10s\nqos = 1\n"
    for index in 0...count {
      text += "[sensor s\(index)]\nevent = \(index < count ? "many" : "few")\nread = file:/\(index % count)\n"
    }
    let rig = try Rig(text, sources: Array(0..<count) + [0])
    rig.host.wall = WallTime(milliseconds: 0)
    rig.host.texts = Dictionary(uniqueKeysWithValues: (0..<count).map { ($0, "\($0)\n") })
    rig.host.slowSources = Set(0..<count)
    rig.host.readersMax = 4
    try rig.connect()
    return rig
  }

  /// However many wait for the few that the host reads at once, the end of each costs a look at few.
  @Test(arguments: [(0..<200).map { $0 }, (0..<200).map { $0 ^ 1 }, (0..<200).map { $0 ^ 3 }])
  func asksForManySlowSourcesInLinearTime(order: [Int]) throws {
    let rig = try makeCrowd(200)
    rig.collect()
    #expect(rig.host.slowReads == [0, 1, 2, 3])
    for source in order {
      #expect(try rig.published().filter { $0.contains("s199") } == [])
      rig.host.answer(source)
      rig.collect()
    }
    let published = try rig.published()
    #expect(published.count == 1 && published[0].hasSuffix(#""s198":198,"s199":199}}"#))
    #expect(rig.host.prepareCount < 10 * 200, "\(rig.host.prepareCount) questions")
  }

  @Test func asksAgainForAnAnswerThatAnotherEventHasTaken() throws {
    let rig = try makeCrowd(8)
    rig.collect()
    rig.host.answer(0)
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"s8":0}}"#], "the other event has it")
    rig.host.slowSources.insert(0)
    for source in 1..<8 {
      rig.host.answer(source)
      rig.collect()
    }
    #expect(try rig.published() == [])
    #expect(rig.host.slowReads == [0])
    rig.host.answer(0)
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"s0":0,"s1":1,"s2":2,"s3":3,"s4":4,"s5":5,"s6":6,"s7":7}}"#])
    #expect(rig.host.lines == [])
  }

  @Test func collectsAtOnceWhatASourceTells() throws {
    let rig = try makeRig()
    rig.collect()
    _ = try rig.published()
    rig.host.time = rig.host.time + .seconds(1)
    rig.host.tellingSources = [2]
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"elsewhere":4}}"#])
    // And not again, and no other one.
    rig.collect()
    #expect(try rig.published() == [])
  }

  /// At every multiple of its interval and at no other moment, whatever the others do.
  @Test func collectsEachEventAtItsOwnMoments() throws {
    let intervals = (0..<24).map { 1 + $0 * 7 % 10 }
    var text = ""
    for (index, interval) in intervals.enumerated() {
      text += "[event e\(index)]\ninterval = \(interval)s\nqos = \(index % 2)\n"
      text += "[sensor s\(index)]\nevent = e\(index)\nread = file:/\(index)\n"
    }
    let rig = try Rig(text, sources: Array(0..<24))
    try rig.connect()
    for second in 1...60 {
      rig.host.time = Instant(milliseconds: Int64(second) * 1000)
      let readBefore = rig.host.reads.count
      rig.collect()
      rig.sendAll()
      // At first each is due at once.
      let due = (0..<24).filter { second == 1 || second % intervals[$0] == 0 }
      // Those that are kept come first, and otherwise the configuration's order.
      #expect(rig.host.reads.dropFirst(readBefore) == (due.filter { $0 % 2 == 1 } + due.filter { $0 % 2 == 0 })[...])
      #expect(rig.eventDeadline == rig.host.time + .seconds(1))
    }
  }

  @Test func goesOverToAnotherTable() throws {
    let rig = try makeRig()
    rig.collect()
    _ = try rig.published()
    let other = try Rig("[event new]\nqos = 1\n[sensor x]\nevent = new\nread = file:/x\n", sources: [1])
    rig.events.replaceTable(try other.makeTable(now: rig.host.time), rig.settings, other.settings)
    // Its names are those of its own settings.
    rig.events.collect(other.settings, rig.clock, &rig.outbox, rig.host.time, &rig.log, &rig.host)
    #expect(try rig.published() == [#"{"d":{"x":2}}"#])
  }

  /// What a new configuration leaves as it is is not published for that, and keeps the interval that a command gave it.
  @Test func schedulesThatDidNotChangeGoOn() throws {
    let rig = try makeRig()
    rig.collect()
    _ = try rig.published()
    rig.host.time = rig.host.time + .seconds(3)
    let changed = EventCollectorTests.configuration.replacing("60s", with: "30s").replacing("loose", with: "tight")
    let other = try Rig(changed, sources: [0, 1, 2, 0, 2, 4])
    rig.events.replaceTable(try other.makeTable(now: rig.host.time), rig.settings, other.settings)
    rig.events.collect(other.settings, rig.clock, &rig.outbox, rig.host.time, &rig.log, &rig.host)
    #expect(try rig.published() == [#"{"d":{"elsewhere":4}}"#, #"{"d":{"e":5}}"#], "the changed and the renamed one")
    #expect(rig.eventDeadline == Instant(milliseconds: 10_000))
    let readBefore = rig.host.reads.count
    let loose = try Rig(changed, sources: [0, 1, 2, 0, 2, 4], isAligned: false)
    rig.events.replaceTable(try loose.makeTable(now: rig.host.time), other.settings, loose.settings)
    rig.events.collect(loose.settings, rig.clock, &rig.outbox, rig.host.time, &rig.log, &rig.host)
    #expect(rig.host.reads[readBefore...] == [0, 1, 2, 4], "all of them are due at other moments now")
  }

  /// Devices that get their power together must not publish together for ever.
  @Test func eachDeviceHasAPhaseOfItsOwn() throws {
    let configuration = """
      [event a]
      interval = 10s
      [event b]
      interval = 30s
      [sensor a]
      event = a
      read = file:/a
      [sensor b]
      event = b
      read = file:/b
      """
    var counts = [Int](repeating: 0, count: 10)
    for number in 0..<300 {
      let rig = try Rig(configuration, sources: [0, 1], id: "e7-\(1000 + number)", isAligned: false)
      try rig.connect()
      rig.collect()
      let due = rig.eventDeadline
      #expect(due > rig.host.time && due <= rig.host.time + .seconds(10))
      counts[Int(due.milliseconds % 10_000 / 1000)] += 1
      // Constant: the same device at another time.
      let again = try Rig(configuration, sources: [0, 1], id: "e7-\(1000 + number)", isAligned: false)
      try again.connect()
      again.host.time = rig.host.time + .milliseconds(123_456)
      again.collect()
      #expect((again.eventDeadline - due).milliseconds % 10_000 == 0)
      // Together with the other event at each third time.
      var together = 0
      for _ in 0..<3 {
        rig.host.time = rig.eventDeadline
        let readBefore = rig.host.reads.count
        rig.collect()
        together += rig.host.reads.count - readBefore - 1
      }
      #expect(together == 1)
    }
    #expect(counts.allSatisfy { (15...50).contains($0) }, "\(counts)")
  }

  /// Sensors that share a source stand where the first of them does; otherwise the configuration's order is kept. The
  /// expected order is made the slow way: each sensor is followed by all later ones of its source.
  @Test(arguments: [1, 2, 3, 7, 64, 200], [1, 2, 5, 200])
  func groupsSensorsByTheirSourceAndKeepsTheOrder(count: Int, sourceCount: Int) throws {
    let events = ["e", "f"]
    var text = "[event e]\nqos = 1\n[event f]\nqos = 1\n"
    let sensors = (0..<count).map { (event: $0 % 3 == 0 ? 0 : 1, source: $0 * 7 % sourceCount) }
    for (index, sensor) in sensors.enumerated() {
      text += "[sensor s\(index)]\nevent = \(events[sensor.event])\nread = file:/\(sensor.source)\n"
    }
    let rig = try Rig(text, sources: sensors.map(\.source), packetBytes: 16_384)
    for source in 0..<sourceCount { rig.host.texts[source] = "\(source)" }
    rig.host.wall = WallTime(milliseconds: 0)
    try rig.connect()
    rig.collect()
    var expected: [String] = []
    for event in 0..<2 {
      var left = (0..<count).filter { sensors[$0].event == event }
      var members: [String] = []
      while let first = left.first {
        let group = left.filter { sensors[$0].source == sensors[first].source }
        members += group.map { "\"s\($0)\":\(sensors[$0].source)" }
        left.removeAll { group.contains($0) }
      }
      if !members.isEmpty { expected.append("{\"d\":{\(members.joined(separator: ","))}}") }
    }
    #expect(try rig.published() == expected)
    #expect(rig.host.reads.count == Set(sensors.map { $0.event * 1000 + $0.source }).count)
  }
}
