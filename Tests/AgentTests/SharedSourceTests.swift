import AgentConfiguration
import Bytes
import HostInterface
import TestSupport
import Testing

@testable import Agent

/// A machine whose sources take time: each answer has to be prepared, and is gone when it has been read.
private struct SlowHost: Host {
  /// Which answers are ready, and what they say.
  var isReady = [false, false, false]
  let texts = ["a: 1\nc: 3\n", "2\n", "a: 4\n"]
  /// The sources in the order in which they were read.
  var reads: [Int] = []
  var lines: [String] = []

  mutating func now() -> Instant { Instant(milliseconds: 1000) }
  mutating func wallTime() -> WallTime? { nil }
  mutating func openLink(deadline: Instant) {}
  mutating func pollLink() -> LinkState { .opening }
  mutating func send(_ bytes: Span<UInt8>) -> LinkTransfer { .wouldBlock }
  mutating func receive(into buffer: inout ByteBuffer) -> LinkTransfer { .wouldBlock }
  mutating func closeLink() {}
  mutating func describeLink(into line: inout ByteBuffer) {}

  mutating func prepareSource(_ index: Int) -> Bool {
    isReady[index] = true
    return true
  }

  mutating func readSource(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead {
    guard isReady[index] else { return .pending }
    isReady[index] = false
    reads.append(index)
    buffer.append(Array(texts[index].utf8).span)
    return .complete
  }

  mutating func startProgram(slot: Int, command: Int, input: Span<UInt8>) -> ProgramStart { .noResources }
  mutating func pollProgram(slot: Int, output: inout ByteBuffer) -> ProgramState { .running }
  mutating func stopProgram(slot: Int, forcibly: Bool) {}
  mutating func writeLog(_ level: LogLevel, _ line: Span<UInt8>) { lines.append(Array(line).text) }
}

/// Sensors that are read at the same place share one reading, wherever they stand in the configuration.
@Suite struct SharedSourceTests {
  private static let configuration = """
    [device]
    org = ab12cd
    type = edge
    id = e7-0042
    auth-token = secret
    [event status]
    qos = 1
    [event other]
    qos = 1
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
    """

  private func makePlan(from arena: inout Arena) throws -> Plan {
    var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
    var loader = try SettingsLoader(scratch: &scratch)
    let text = Array(SharedSourceTests.configuration.utf8)
    loader.load(text.span, name: StaticString("shared.conf").bytes)
    guard let settings = try loader.finish(defaultID: Span(), into: &arena) else {
      throw ConfigurationFault(complaint: Array(loader.diagnostics.text(at: 0)).text)
    }
    var sources = try FixedArray<Int>(capacity: 5, for: "sources", from: &arena)
    for index in [0, 1, 2, 0, 2] { _ = sources.append(index) }
    return try Plan(settings: settings, sources: sources, now: Instant(milliseconds: 0), from: &arena)
  }

  @Test func eachSourceIsReadOnceForAnEvent() throws {
    var arena = makeArena()
    let plan = try makePlan(from: &arena)
    var agent = try Agent(plan: plan, now: Instant(milliseconds: 0), seed: 1, from: &arena)
    var host = SlowHost()
    _ = agent.step(&host)
    #expect(host.reads == [0, 1, 2])
    // The names in the log are those of the configuration, whatever order the agent reads in.
    #expect(host.lines.filter { $0.contains("sensor") } == ["warning sensor failed sensor=d reason=not-understood"])
    var payloads: [String] = []
    while let message = agent.queue.front {
      payloads.append(Array(agent.queue.bytes.extracting(message.payload)).text)
      agent.queue.removeFront()
    }
    #expect(payloads == [#"{"d":{"a":1,"c":3,"b":2}}"#, #"{"d":{"elsewhere":4}}"#])
  }
}

/// A configuration that is wrong.
private struct ConfigurationFault: Error {
  let complaint: String
}
