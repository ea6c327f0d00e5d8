import AgentConfiguration
import Bytes
import HostInterface
import MQTT
import TestSupport
import Testing

@testable import Agent

@Suite struct SensorReportTests {
  /// A rig whose machine does not know the time, with a connection.
  private func makeRig(_ configuration: String, sources: [Int], texts: [Int: String]) throws -> Rig {
    let rig = try Rig(configuration, sources: sources, inflightMax: 50)
    rig.host.texts = texts
    rig.host.wall = WallTime(milliseconds: 0)
    try rig.connect()
    return rig
  }

  /// Collects what is due next, with these texts; gives what was published.
  private func next(_ rig: Rig, _ texts: [Int: String]) throws -> [String] {
    for (source, text) in texts { rig.host.texts[source] = text }
    rig.host.time = rig.eventDeadline
    rig.collect()
    return try rig.published()
  }

  private static let filters = """
    [event status]
    interval = 10s
    qos = 1
    [sensor rate]
    event = status
    read = file:/a
    filter = rate 1s
    decimals = 1
    [sensor plain]
    event = status
    read = file:/a
    decimals = 1
    [sensor mean]
    event = status
    read = file:/b
    scale = 0.5
    filter = average 2
    [sensor door]
    event = status
    read = file:/c
    type = boolean
    filter = debounce 20s

    """

  @Test func filtersStandBehindTheScaleAndBeforeTheDigits() throws {
    let rig = try makeRig(
      SensorReportTests.filters, sources: [0, 0, 1, 2], texts: [0: "1.26", 1: "3", 2: "no"])
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"plain":1.3,"mean":1.5,"door":false}}"#])
    #expect(try next(rig, [0: "8", 1: "4", 2: "yes"]) == [#"{"d":{"rate":0.7,"plain":8,"mean":1.75,"door":false}}"#])
    #expect(rig.host.lines == [])
  }

  /// What has no value yet is no failure; what was there before a failed reading is what the next one is compared with.
  @Test func aFailedReadingInBetweenIsLeftOutAndNothingElse() throws {
    let rig = try makeRig(
      SensorReportTests.filters, sources: [0, 0, 1, 2], texts: [0: "0", 1: "4", 2: "no"])
    rig.collect()
    _ = try rig.published()
    #expect(try next(rig, [0: "none", 1: "none", 2: "none"]) == [])
    #expect(rig.host.lines.count == 4)
    #expect(try next(rig, [0: "10", 1: "8", 2: "yes"]) == [#"{"d":{"rate":0.5,"plain":10,"mean":3,"door":false}}"#])
    #expect(try next(rig, [2: "none"]) == [#"{"d":{"rate":0,"plain":10,"mean":4}}"#])
    #expect(try next(rig, [2: "yes"]) == [#"{"d":{"rate":0,"plain":10,"mean":4,"door":true}}"#])
    // Set back: no value, and no failure.
    #expect(try next(rig, [0: "3"]) == [#"{"d":{"plain":3,"mean":4,"door":true}}"#])
    #expect(try next(rig, [0: "5"]) == [#"{"d":{"rate":0.2,"plain":5,"mean":4,"door":true}}"#])
  }

  @Test func aStepOfTheTimeOfDayChangesNoRate() throws {
    let rig = try makeRig(SensorReportTests.filters, sources: [0, 0, 1, 2], texts: [0: "0", 1: "4", 2: "no"])
    rig.collect()
    _ = try rig.published()
    rig.host.wall = WallTime(milliseconds: 1_800_000_000_000)
    let found = try next(rig, [0: "10"])
    #expect(found.first?.hasPrefix(#"{"d":{"rate":1.1,"#) == true, "\(found)")
  }

  @Test func aValueWithoutRoomIsAFailureOfItsSensor() throws {
    let rig = try makeRig(
      """
      [event e]
      qos = 1
      [sensor a]
      event = e
      read = file:/a
      filter = scale 1e36
      [sensor b]
      event = e
      read = file:/b
      """,
      sources: [0, 1], texts: [0: "1e20", 1: "2"])
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"b":2}}"#])
    #expect(rig.host.lines == ["warning sensor failed sensor=a reason=out-of-range"])
    #expect(try next(rig, [0: "0"]) == [#"{"d":{"a":0,"b":2}}"#])
  }

  // MARK: By exception

  private static let exception = """
    [event level]
    interval = 1s
    heartbeat = 60s
    min-interval = 3s
    qos = 1
    [sensor level]
    event = level
    read = file:/a
    deadband = 5
    [sensor other]
    event = level
    read = file:/b

    """

  /// A rig that has published its first event.
  private func makeExceptionRig(_ value: String) throws -> Rig {
    let rig = try makeRig(SensorReportTests.exception, sources: [0, 1], texts: [0: value, 1: "1"])
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"level":\#(value),"other":1}}"#])
    return rig
  }

  @Test func isReportedWhenAValueHasMovedFromTheReportedOne() throws {
    let rig = try makeExceptionRig("100")
    var found: [String] = []
    for (index, value) in [103, 103, 103, 105, 106, 104, 101, 109, 110].enumerated() {
      // Others go along, and decide nothing.
      found += try next(rig, [0: "\(value)", 1: "\(index)"])
    }
    #expect(found == [#"{"d":{"level":105,"other":3}}"#, #"{"d":{"level":110,"other":8}}"#])
  }

  /// A slow drift is reported, as what was passed over is not what the next value is compared with.
  @Test func aDriftIsNotMissed() throws {
    let rig = try makeExceptionRig("0")
    var found: [String] = []
    for value in 1...12 { found += try next(rig, [0: "\(value)"]) }
    #expect(found == [#"{"d":{"level":5,"other":1}}"#, #"{"d":{"level":10,"other":1}}"#])
  }

  /// What moves too early is compared again when the shortest time is over, with what it is then.
  @Test func keepsToTheShortestTime() throws {
    let rig = try makeExceptionRig("1")
    let begin = rig.host.time
    #expect(try next(rig, [0: "20"]) == [])
    #expect(try next(rig, [0: "1"]) == [])
    #expect(try next(rig, [0: "1"]) == [], "it is back where it was")
    #expect(try next(rig, [0: "30"]) == [#"{"d":{"level":30,"other":1}}"#])
    #expect(rig.host.time - begin >= .seconds(3))
    let second = rig.host.time
    #expect(try next(rig, [0: "60"]) == [])
    #expect(try next(rig, [0: "61"]) == [])
    #expect(try next(rig, [0: "62"]) == [#"{"d":{"level":62,"other":1}}"#])
    #expect(rig.host.time - second == .seconds(3))
  }

  @Test func theHeartbeatCountsFromTheLastReport() throws {
    let rig = try makeExceptionRig("1")
    var moments: [Int64] = []
    for second in 1...150 {
      if try !next(rig, [0: second >= 30 ? "100" : "1"]).isEmpty { moments.append(rig.host.time.milliseconds / 1000) }
    }
    let first = try #require(moments.first)
    #expect(moments == [first, first + 60, first + 120])
  }

  /// A fault is news, and so is its end, also with the value of before.
  @Test func faultsIgnoreTheDeadband() throws {
    let rig = try makeExceptionRig("7")
    for _ in 0..<3 { #expect(try next(rig, [:]) == []) }
    #expect(try next(rig, [0: "none"]) == [#"{"d":{"other":1}}"#])
    for _ in 0..<3 { #expect(try next(rig, [:]) == []) }
    #expect(try next(rig, [0: "7"]) == [#"{"d":{"level":7,"other":1}}"#])
    #expect(try next(rig, [:]) == [])
  }

  @Test func whoAsksForAnEventGetsIt() throws {
    let rig = try makeExceptionRig("7")
    #expect(try next(rig, [:]) == [])
    try rig.trigger(event: "level")
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"level":7,"other":1}}"#])
    #expect(try next(rig, [:]) == [])
  }

  // MARK: Several readings for an event

  private static let sampled = """
    [event e]
    interval = 4s
    sample = 1s
    qos = 1

    """
    + ["last", "min", "max", "mean", "count", "sum"].map {
      "[sensor \($0)]\nevent = e\nread = file:/a\naggregate = \($0)\n"
    }.joined()

  /// What was read since the event before, failed readings left out; the first event has the first reading alone.
  @Test func makesOneValueOfSeveralReadings() throws {
    let rig = try makeRig(SensorReportTests.sampled, sources: Array(repeating: 0, count: 6), texts: [0: "5"])
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"last":5,"min":5,"max":5,"mean":5,"count":1,"sum":5}}"#])
    var found: [String] = []
    // From 1 s on, where the rig begins, the next whole interval is at 4 s.
    for text in ["1", "2.5", "-3", "x", "4", "x", "6", "x", "x", "x", "x"] { found += try next(rig, [0: text]) }
    #expect(
      found == [
        #"{"d":{"last":-3,"min":-3,"max":2.5,"mean":0.166666667,"count":3,"sum":0.5}}"#,
        #"{"d":{"last":6,"min":4,"max":6,"mean":5,"count":2,"sum":10}}"#,
      ])
  }

  /// Where the last reading fails, what was read before it counts; where all have, there is nothing to tell.
  @Test func aFailedLastReadingLosesNoOther() throws {
    let rig = try makeRig(SensorReportTests.sampled, sources: Array(repeating: 0, count: 6), texts: [0: "5"])
    rig.collect()
    _ = try rig.published()
    var found: [String] = []
    for text in ["1", "3", "x", "x", "x", "x", "x", "8", "x", "x", "x"] { found += try next(rig, [0: text]) }
    #expect(
      found == [
        #"{"d":{"min":1,"max":3,"mean":2,"count":2,"sum":4}}"#,
        #"{"d":{"min":8,"max":8,"mean":8,"count":1,"sum":8}}"#,
      ])
  }

  @Test func whoAsksForASampledEventGetsIt() throws {
    let rig = try makeRig(SensorReportTests.sampled, sources: Array(repeating: 0, count: 6), texts: [0: "5"])
    rig.collect()
    _ = try rig.published()
    #expect(try next(rig, [0: "1"]) == [])
    try rig.trigger(event: "e")
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"last":1,"min":1,"max":1,"mean":1,"count":2,"sum":2}}"#])
  }

  // MARK: Alarms and age

  private static let alarm = """
    [event e]
    interval = 60s
    sample = 1s
    qos = 1
    [sensor level]
    event = e
    read = file:/a
    alarm = high 80 low 10 hysteresis 5

    """

  /// On at its bound, off when it has come back by the hysteresis, and each time an event at once.
  @Test func anAlarmIsToldAtOnce() throws {
    let rig = try makeRig(SensorReportTests.alarm, sources: [0], texts: [0: "79"])
    rig.collect()
    #expect(try rig.published() == [#"{"d":{"level":79,"level-alarm":"none"}}"#])
    var found: [String] = []
    for text in ["79.9", "80", "78", "x", "75.1", "75", "79", "11", "10", "14.9", "15", "100", "3"] {
      found += try next(rig, [0: text])
    }
    let expected = [("80", "high"), ("75", "none"), ("10", "low"), ("15", "none"), ("100", "high"), ("3", "low")]
    #expect(found == expected.map { #"{"d":{"level":\#($0.0),"level-alarm":"\#($0.1)"}}"# })
  }

  @Test func anAlarmWithoutHysteresisEndsBelowItsBound() throws {
    let rig = try makeRig(
      "[event e]\ninterval = 1s\nheartbeat = 0\nqos = 1\n[sensor a]\nevent = e\nread = file:/a\n"
        + "deadband = 1000\nalarm = high 80",
      sources: [0], texts: [0: "1"])
    rig.collect()
    _ = try rig.published()
    var found: [String] = []
    for text in ["80", "80", "79.99", "81"] { found += try next(rig, [0: text]) }
    #expect(
      found
        == [("80", "high"), ("79.99", "none"), ("81", "high")].map {
          #"{"d":{"a":\#($0.0),"a-alarm":"\#($0.1)"}}"#
        })
  }

  /// While none can be read the last value goes out with its age, until it is too old.
  @Test func aValueThatIsTooOldIsStale() throws {
    let rig = try makeRig(
      "[event e]\ninterval = 10s\nqos = 1\n[sensor a]\nevent = e\nread = file:/a\nstale = 25s",
      sources: [0], texts: [0: "x"])
    rig.collect()
    #expect(try rig.published() == [], "nothing was ever read")
    #expect(try next(rig, [0: "7"]) == [#"{"d":{"a":7}}"#])
    var found: [String] = []
    for text in ["x", "x", "x", "8"] { found += try next(rig, [0: text]) }
    #expect(
      found == [
        #"{"d":{"a":7,"a-age":10}}"#, #"{"d":{"a":7,"a-age":20}}"#, #"{"d":{"a-quality":"stale","a-age":30}}"#,
        #"{"d":{"a":8}}"#,
      ])
  }

  /// With a deadband that keeps all else back.
  @Test func staleIsToldAtOnce() throws {
    let rig = try makeRig(
      "[event e]\ninterval = 1s\nmin-interval = 1h\nqos = 1\n[sensor a]\nevent = e\nread = file:/a\n"
        + "stale = 3s\ndeadband = 1",
      sources: [0], texts: [0: "7"])
    rig.collect()
    _ = try rig.published()
    var found: [String] = []
    for text in ["x", "x", "x", "x", "x", "7", "7"] { found += try next(rig, [0: text]) }
    #expect(found == [#"{"d":{"a-quality":"stale","a-age":3}}"#, #"{"d":{"a":7}}"#])
  }

  // MARK: Units

  /// What is said of it, or the source's unit where nothing has made another one of it.
  @Test func unitsAreToldIfAskedFor() throws {
    let rig = try makeRig(
      """
      [event e]
      qos = 1
      units = yes
      [sensor plain]
      event = e
      read = thermal:x
      [sensor steady]
      event = e
      read = thermal:x
      filter = median 3, offset 1
      [sensor flow]
      event = e
      read = thermal:x
      filter = scale 2
      [sensor said]
      event = e
      read = thermal:x
      scale = 2
      unit = "K"
      [sensor file]
      event = e
      read = file:/a

      """, sources: [0, 0, 0, 0, 1], texts: [0: "5", 1: "x"])
    rig.collect()
    let members = [
      #""plain":5,"plain-unit":"°C""#, #""steady":6,"steady-unit":"°C""#, #""flow":10"#,
      #""said":10,"said-unit":"\"K\"""#,
    ]
    #expect(try rig.published() == ["{\"d\":{\(members.joined(separator: ","))}}"])
  }
}
