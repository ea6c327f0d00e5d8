// Local programs of every kind, and what they are told.

import Bytes
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import Agent

/// The part alone: each verb is answered with its own name.
private final class Desk {
  var host = ScriptedHost()
  var control: Control

  init() throws {
    var arena = makeArena(byteCount: 1 << 16)
    control = Control(now: host.time, in: &arena)
  }

  var deadline: Instant { control.deadline }

  /// A turn of the loop, as the agent has it; gives how many pieces it took.
  @discardableResult
  func turn() -> Int {
    var pieces = 0
    while pieces < ControlLimits.piecesPerTurnMax, control.next(host.time, &host) {
      pieces += 1
      if !control.isComplete {
        let request = Array(control.request)
        control.answer.append(request.span)
        control.answer.append(UInt8(ascii: "\n"))
        control.finish(control.verb == nil ? .unknownVerb : .ok)
      }
      guard control.send(host.time, &host) else { break }
    }
    return pieces
  }

  /// Turns for as long as the loop would at this moment, and then `span` later.
  func pass(_ span: TimeSpan) {
    host.time = host.time + span
    for _ in 0..<100 where host.hasControlNews || control.isDue(host.time) { turn() }
    let isDue = control.isDue(host.time)
    #expect(!isDue, "it spins")
  }
}

@Suite struct ControlTests {
  @Test func answersALine() throws {
    let desk = try Desk()
    desk.host.arrive(ScriptedClient("status --json\n"))
    desk.turn()
    #expect(desk.host.client?.answer == "status --json\n=0 ok\n")
    #expect(desk.host.departed.isEmpty)
  }

  @Test func answersOneAfterTheOther() throws {
    let desk = try Desk()
    desk.host.arrive(ScriptedClient("status a\r\nnothing\npublish"))
    desk.turn()
    desk.host.changeClient { $0.hasEnded = true }
    desk.turn()
    #expect(
      desk.host.departed.map(\.answer) == [
        "status a\n=0 ok\nnothing\n=64 unknown-verb: docs/control.md has those that there are\npublish\n=0 ok\n"
      ])
  }

  @Test func takesLinesInPieces() throws {
    let desk = try Desk()
    var client = ScriptedClient("status and more\n")
    client.pieceBytes = 1
    desk.host.arrive(client)
    desk.turn()
    #expect(desk.host.client?.answer == "status and more\n=0 ok\n")
  }

  /// Who says nothing holds his place for ten seconds, and for one while others wait.
  @Test func theSilentAreLetGo() throws {
    let desk = try Desk()
    desk.host.arrive(ScriptedClient("sta"))
    desk.turn()
    #expect(desk.deadline == desk.host.time + ControlLimits.requestTimeout)
    desk.pass(.seconds(9))
    #expect(desk.host.client != nil)
    desk.host.arrive(ScriptedClient("status\n"))
    desk.pass(.zero)
    #expect(desk.host.departed.map(\.answer) == [""])
    #expect(desk.host.client?.answer == "status\n=0 ok\n")
    desk.pass(ControlLimits.requestTimeout)
    #expect(desk.host.client == nil)
    #expect(desk.deadline == .never)
  }

  @Test func theSilentAreLetGoSoonWhileOthersWait() throws {
    let desk = try Desk()
    for _ in 0..<3 { desk.host.arrive(ScriptedClient("")) }
    desk.host.arrive(ScriptedClient("status\n"))
    desk.turn()
    for waiting in (0..<3).reversed() {
      #expect(desk.host.arrivals.count == waiting + 1)
      desk.pass(ControlLimits.crowdedTimeout)
    }
    #expect(desk.host.client?.answer == "status\n=0 ok\n")
  }

  /// Who does not take his answer is let go after two seconds.
  @Test func theStuckAreLetGo() throws {
    let desk = try Desk()
    var client = ScriptedClient("status\n")
    client.takes = 3
    desk.host.arrive(client)
    desk.host.arrive(ScriptedClient("publish\n"))
    desk.turn()
    #expect(desk.host.client?.answer == "sta")
    desk.pass(.seconds(1))
    #expect(desk.host.arrivals.count == 1)
    desk.pass(.seconds(1))
    #expect(desk.host.departed.map(\.answer) == ["sta"])
    #expect(desk.host.client?.answer == "publish\n=0 ok\n")
  }

  @Test func theSlowGetAll() throws {
    let desk = try Desk()
    var client = ScriptedClient("status\nstatus\n")
    client.takes = 1
    desk.host.arrive(client)
    desk.turn()
    for _ in 0..<30 {
      desk.host.changeClient { $0.takes = 1 }
      desk.turn()
    }
    #expect(desk.host.client?.answer == "status\n=0 ok\nstatus\n=0 ok\n")
  }

  /// Nobody gets more than his share of a turn, however much he asks.
  @Test func theGreedyDoNotHoldUpTheAgent() throws {
    let desk = try Desk()
    desk.host.arrive(ScriptedClient(String(repeating: "status\n", count: 1000)))
    #expect(desk.turn() == ControlLimits.piecesPerTurnMax)
    for _ in 0..<40 { desk.turn() }
    #expect(desk.host.client?.answer == String(repeating: "status\n=0 ok\n", count: 1000))
  }

  @Test func longLinesAreRefused() throws {
    let desk = try Desk()
    desk.host.arrive(ScriptedClient(String(repeating: "x", count: 5000) + "\nstatus\n"))
    desk.turn()
    let answers = desk.host.departed.map(\.answer)
    #expect(answers == ["=64 too-long: expected a line of at most 1023 bytes\n"])
    desk.host.arrive(ScriptedClient("status" + String(repeating: " ", count: 1017) + "\n"))
    desk.turn()
    #expect(desk.host.client?.answer.hasSuffix("=0 ok\n") == true)
  }

  @Test func rubbishIsAnswered() throws {
    let desk = try Desk()
    var client = ScriptedClient("")
    client.said = Array(0...255) + [10, 10, 0, 10, 0xFF, 0xFE, 9, 9, 10]
    client.hasEnded = true
    desk.host.arrive(client)
    for _ in 0..<3 { desk.turn() }
    #expect(desk.host.departed.first?.answer.components(separatedBy: "=64 unknown-verb").count == 6)
  }

  @Test func theGoneAreForgotten() throws {
    let desk = try Desk()
    var gone = ScriptedClient("status\nstatus\n")
    gone.isGone = true
    desk.host.arrive(gone)
    var mute = ScriptedClient("")
    mute.hasEnded = true
    for _ in 0..<20 { desk.host.arrive(mute) }
    desk.host.arrive(ScriptedClient("publish\n"))
    desk.pass(.zero)
    #expect(desk.host.departed.count == 21)
    #expect(desk.host.client?.answer == "publish\n=0 ok\n")
  }
}

@Suite struct RequestWordsTests {
  private func words(_ line: String) -> [String] {
    let bytes = Array(line.utf8)
    var words = RequestWords(of: bytes.span)
    var found: [String] = []
    while let range = words.next(in: bytes.span) { found.append(Array(bytes[range]).text) }
    return found
  }

  @Test func blanksAreBetweenWords() {
    #expect(words("") == [])
    #expect(words("  a  bc d ") == ["a", "bc", "d"])
  }

  @Test func tabsAreWhereThereAreAny() {
    #expect(words("a\tb c\t\td") == ["a", "b c", "", "d"])
    #expect(words("a\t") == ["a", ""])
  }

  @Test func theRestIsAWord() {
    let line = Array("a {\"b\": 1} ".utf8)
    var words = RequestWords(of: line.span)
    _ = words.next(in: line.span)
    #expect(words.rest(in: line.span).map { Array(line[$0]).text } == "{\"b\": 1} ")
    #expect(words.next(in: line.span) == nil)
  }
}
