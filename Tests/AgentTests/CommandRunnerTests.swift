import Bytes
import HostInterface
import IoTPlatform
import MQTT
import TestSupport
import Testing

@testable import Agent

@Suite struct CommandRunnerTests {
  private static let configuration = """
    [event status]
    [command blink]
    run = /usr/libexec/blink
    timeout = 10s
    """

  private func makeRig() throws -> Rig {
    let rig = try Rig(CommandRunnerTests.configuration, packetBytes: 8192)
    rig.host.wall = WallTime(milliseconds: 0)
    try rig.connect()
    return rig
  }

  /// Delivers a command as the server does, and has it taken; identifier 0 is QoS 0.
  @discardableResult
  private func deliver(
    _ name: String, _ payload: String = "", to rig: Rig, identifier: UInt8 = 1, isDuplicate: Bool = false,
    isRetained: Bool = false
  ) throws -> CommandRequest {
    let topic = Array("iot-2/cmd/\(name)/fmt/json".utf8)
    let number = identifier > 0 ? [0, identifier] : []
    let body = [0, UInt8(topic.count)] + topic + number + Array(payload.utf8)
    let flags: UInt8 = (isDuplicate ? 8 : 0) | (identifier > 0 ? 2 : 0) | (isRetained ? 1 : 0)
    let message = try rig.receive([0x30 | flags] + remainingLength(body.count) + body)
    let received = try #require(message)
    guard case .command(let command) = Topics.classify(rig.outbox.input.extracting(received.topic)) else {
      Issue.record("a command was expected")
      return .none
    }
    return rig.commands.take(
      received, command, isAction: false, rig.settings, rig.clock, &rig.outbox, &rig.management, rig.host.time,
      &rig.log, &rig.host)
  }

  private func remainingLength(_ count: Int) -> [UInt8] {
    count < 128 ? [UInt8(count)] : [UInt8(count % 128) | 0x80, UInt8(count / 128)]
  }

  private func outcome(_ text: String) -> [String] { ["{\"d\":{\(text)}}"] }

  @Test func answersPing() throws {
    let rig = try makeRig()
    try deliver("ping", to: rig)
    #expect(try rig.published() == outcome(#""command":"ping","outcome":"ok""#))
    #expect(rig.host.lines == ["info command finished command=ping outcome=ok"])
    #expect(rig.commandCount == 1)
  }

  @Test func startsNothingThatIsNotConfigured() throws {
    let rig = try makeRig()
    try deliver("rm", to: rig)
    #expect(try rig.published() == outcome(#""command":"rm","outcome":"unknown""#))
    // The first 36 bytes of a longer name are not that name.
    let long = String(repeating: "x", count: 37)
    try deliver(long, to: rig, identifier: 2)
    #expect(try rig.published() == outcome(#""command":"\#(long.dropLast())","outcome":"unknown""#))
    #expect(rig.host.started.isEmpty)
  }

  @Test func handsEventsOverToWhomTheyBelong() throws {
    let rig = try makeRig()
    guard case .trigger(let all) = try deliver("publish", to: rig) else {
      Issue.record("publish concerns events")
      return
    }
    #expect(all.event == nil)
    let request = try deliver("interval", #"{"d":{"event":"status","interval":"5s"}}"#, to: rig, identifier: 2)
    guard case .setInterval(_, let interval) = request else {
      Issue.record("interval concerns events")
      return
    }
    #expect(interval == .seconds(5))
    // Nothing is published before it is done.
    #expect(try rig.published() == [])
    rig.commands.finish(.ok, rig.clock, &rig.outbox, &rig.management, rig.host.time, &rig.log, &rig.host)
    #expect(try rig.published() == outcome(#""command":"interval","outcome":"ok""#))
    for (number, payload) in ["rubbish", "{}", #"{"interval":"x"}"#].enumerated() {
      try deliver("interval", payload, to: rig, identifier: UInt8(3 + number))
      #expect(try rig.published() == outcome(#""command":"interval","outcome":"refused""#))
    }
  }

  @Test func runsAProgramAndReportsItsEnd() throws {
    let rig = try makeRig()
    try deliver("blink", "three times", to: rig)
    #expect(rig.host.started == [ScriptedHost.StartedProgram(slot: 0, command: 0, input: "three times")])
    #expect(rig.commandDeadline == rig.host.time + .seconds(10))
    rig.advanceCommands()
    #expect(try rig.published() == [])
    rig.host.programStates = [0: .exited(0)]
    rig.host.programOutput = Array("done".utf8)
    rig.advanceCommands()
    #expect(try rig.published() == outcome(#""command":"blink","outcome":"ok","status":0,"output":"done""#))
    #expect(rig.commandDeadline == .never)
    // The slot is free again.
    try deliver("blink", "again", to: rig, identifier: 2)
    #expect(rig.host.started.last?.slot == 0)
  }

  @Test func marksOutputThatIsCut() throws {
    let rig = try makeRig()
    let max = AgentLimits.outcomeOutputBytesMax
    for (count, mark) in [(max, ""), (max + 1, #","truncated":true"#)] {
      try deliver("blink", to: rig)
      rig.host.programStates = [0: .exited(0)]
      rig.host.programOutput = [UInt8](repeating: UInt8(ascii: "x"), count: count)
      rig.advanceCommands()
      let text = String(repeating: "x", count: max)
      #expect(
        try rig.published() == outcome(#""command":"blink","outcome":"ok","status":0,"output":"\#(text)"\#(mark)"#))
    }
  }

  /// The smallest packet that can be configured has no room for the largest output.
  @Test(arguments: ["x", "\u{1}", "\"", "ä", "€", "🙂"])
  func cutsOutputToWhatFitsAPacket(character: String) throws {
    let rig = try Rig(CommandRunnerTests.configuration, packetBytes: 1024)
    rig.host.wall = WallTime(milliseconds: 1_800_000_000_000)
    try rig.connect()
    try deliver("blink", to: rig)
    rig.sendAll()
    rig.host.programStates = [0: .exited(0)]
    rig.host.programOutput = Array(String(repeating: character, count: 1024).utf8.prefix(1025))
    rig.advanceCommands()
    let sent = try #require(try rig.sentPackets().last { $0.payload != nil })
    let escapedMax = 6 * AgentLimits.outcomeCutBytes + 6
    #expect((1024 - escapedMax...1024).contains(sent.bytes.count))
    let payload = try #require(sent.payload)
    #expect(payload.contains(#"","truncated":true},"ts":""#))
    #expect(!payload.contains("\u{FFFD}"))
    #expect(rig.outboxCounters.setAside == 0)
  }

  @Test(arguments: [(ProgramState.exited(3), 3), (.signalled(11), 139)])
  func tellsHowAProgramFailed(state: ProgramState, status: Int) throws {
    let rig = try makeRig()
    try deliver("blink", to: rig)
    rig.host.programStates = [0: state]
    rig.advanceCommands()
    #expect(
      try rig.published() == outcome(#""command":"blink","outcome":"failed","status":\#(status),"output":"""#))
  }

  @Test func stopsAProgramPolitelyThenForcibly() throws {
    let rig = try makeRig()
    try deliver("blink", to: rig)
    rig.host.time = rig.host.time + .seconds(10)
    rig.advanceCommands()
    #expect(rig.host.stops == [ScriptedHost.StoppedProgram(slot: 0, forcibly: false)])
    rig.host.time = rig.host.time + AgentLimits.programGrace
    rig.advanceCommands()
    #expect(rig.host.stops.last == ScriptedHost.StoppedProgram(slot: 0, forcibly: true))
    // Its end is the system's to tell, however long that takes.
    #expect(rig.commandDeadline == .never)
    rig.advanceCommands()
    #expect(rig.host.stops.count == 2)
    rig.host.programStates = [0: .signalled(9)]
    rig.advanceCommands()
    #expect(try rig.published() == outcome(#""command":"blink","outcome":"timeout","status":137,"output":"""#))
  }

  @Test(arguments: [(ProgramStart.notExecutable, "not-executable"), (.noResources, "busy")])
  func tellsWhyAProgramCannotStart(start: ProgramStart, word: String) throws {
    let rig = try makeRig()
    rig.host.programStart = start
    try deliver("blink", to: rig)
    #expect(try rig.published() == outcome(#""command":"blink","outcome":"\#(word)""#))
    #expect(rig.commandDeadline == .never)
    // That the system says so later makes no difference.
    rig.host.programStart = .started
    try deliver("blink", "2", to: rig, identifier: 2)
    rig.host.programStates = [0: .notStarted(start)]
    rig.advanceCommands()
    #expect(try rig.published() == outcome(#""command":"blink","outcome":"\#(word)""#))
    #expect(rig.commandDeadline == .never)
  }

  @Test func endsWhatItStarted() throws {
    let rig = try makeRig()
    try deliver("blink", to: rig)
    try deliver("blink", "2", to: rig, identifier: 2)
    rig.commands.stopAll(&rig.host)
    #expect(rig.host.stops.map(\.forcibly) == [true, true])
    rig.advanceCommands()
    #expect(try rig.published() == [])
  }
}
