// What local programs publish.

import Bytes
import HostInterface
import TestSupport
import Testing

@testable import Agent

extension Rig {
  fileprivate func push(_ request: String) -> ControlOutcome {
    let line = Array(request.utf8)
    do throws(ControlOutcome) {
      return try events.push(line.span, settings, clock, &outbox, host.time, &log, &host)
    } catch {
      return error
    }
  }
}

@Suite struct PushedEventTests {
  private func connected(_ configuration: String = "", messagesPerSecond: Int = 0) throws -> Rig {
    let rig = try Rig(configuration, messagesPerSecond: messagesPerSecond)
    try rig.connect()
    // Nobody knows what time it is.
    rig.host.wall = WallTime(milliseconds: 0)
    return rig
  }

  /// What is published of the members, without the time.
  private func members(_ words: String) throws -> String? {
    let rig = try connected()
    #expect(rig.push("publish door " + words) == .sent)
    let packets = try rig.sentPackets()
    #expect(packets.map(\.topic) == ["iot-2/evt/door/fmt/json"])
    return packets.first?.payload
  }

  @Test func valuesAreNumbersTruthAndText() throws {
    #expect(try members("a=1 b=-2.50e3 c=true d=false") == #"{"d":{"a":1,"b":-2.50e3,"c":true,"d":false}}"#)
    #expect(
      try members("a=on b=05 c=+1 d=1. e= f=null") == #"{"d":{"a":"on","b":"05","c":"+1","d":"1.","e":"","f":"null"}}"#)
    #expect(try members(#"a="42" b="x\n" c="x"#) == #"{"d":{"a":"42","b":"x\n","c":"\"x"}}"#)
    #expect(try members("a=x=y") == #"{"d":{"a":"x=y"}}"#)
  }

  @Test func textMayHaveBlanksBehindTabs() throws {
    let rig = try connected()
    #expect(rig.push("publish\tdoor\ttext=a b\tempty=\tn= 1") == .sent)
    #expect(try rig.published() == [#"{"d":{"text":"a b","empty":"","n":" 1"}}"#])
  }

  @Test func objectsGoOutAsTheyAre() throws {
    #expect(try members(#"--json {"a":[1,{"b":null}]}"#) == #"{"d":{"a":[1,{"b":null}]}}"#)
    #expect(try members(#"--json  { "a": "b c" } "#) == #"{"d":{ "a": "b c" }}"#)
    #expect(try members("--json {}") == #"{"d":{}}"#)
  }

  @Test func theTimeIsThatOfTheClockFloor() throws {
    let rig = try connected()
    rig.host.wall = WallTime(milliseconds: 1_777_630_530_250)
    rig.advanceClock()
    rig.advanceClock()
    #expect(rig.push("publish door a=1") == .sent)
    #expect(try rig.published() == [#"{"d":{"a":1},"ts":"2026-05-01T10:15:30.250Z"}"#])
  }

  @Test(arguments: [
    ("", ControlOutcome.eventName), ("a/b x=1", .eventName), ("command x=1", .eventName), ("# x=1", .eventName),
    (String(repeating: "e", count: 37) + " x=1", .eventName), ("e", .noMember), ("e x", .memberName),
    ("e =1", .memberName), ("e a/b=1", .memberName), ("e x=1 y", .memberName), ("e x=1 --qos", .qos),
    ("e x=1 --qos 3", .qos), ("e x=1 --qos 11", .qos), ("e --qos 1", .noMember), ("e --json", .notJSON),
    ("e --json [1]", .notJSON), ("e --json {\"a\":1", .notJSON), ("e --json {\"a\":1} x", .notJSON),
    ("e x=1 --json {}", .memberName), ("e\t--json\t{}\tx=1", .unexpectedWord),
    ("e x=" + String(repeating: "y", count: 2048), .tooLarge),
  ])
  func mistakesHaveTheirWords(_ words: String, _ outcome: ControlOutcome) throws {
    let rig = try connected()
    #expect(rig.push((words.contains("\t") ? "publish\t" : "publish ") + words) == outcome)
    #expect(try rig.published() == [])
  }

  @Test func theQoSIsThatOfTheConfigurationOrTheRequest() throws {
    let rig = try connected("[event status]\nqos = 1\n")
    for words in ["status a=1", "status --qos 0 a=1", "other a=1", "other a=1 --qos 2"] {
      #expect(rig.push("publish " + words) == .sent)
    }
    #expect(try rig.sentPackets().map { $0.bytes[0] >> 1 & 3 } == [1, 0, 0, 2])
  }

  @Test func theAnswerSaysWhatBecomesOfIt() throws {
    let rig = try Rig()
    #expect(rig.push("publish e a=1") == .notConnected)
    #expect(rig.push("publish e a=1 --qos 1") == .queued)
    try rig.connect()
    // Nothing overtakes what waits.
    #expect(rig.push("publish e a=2 --qos 1") == .queued)
    rig.sendQueued()
    #expect(try rig.published().count == 2)

    let slow = try connected(messagesPerSecond: 1)
    #expect(slow.push("publish e a=1") == .sent)
    #expect(slow.push("publish e a=1") == .rate)
    #expect(slow.push("publish e a=1 --qos 1") == .queued)
  }
}
