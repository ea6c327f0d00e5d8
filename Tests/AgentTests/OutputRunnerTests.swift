import AgentConfiguration
import Bytes
import HostInterface
import TestSupport
import Testing

@testable import Agent

@Suite struct OutputRunnerTests {
  /// Outputs over a host that a test scripts.
  private final class Bench {
    var host = ScriptedHost()
    let settings: Settings
    var outputs: OutputRunner
    var log: LogWriter
    private var arena: Arena

    init(_ configuration: String) throws {
      var arena = makeArena(byteCount: 1 << 20)
      let settings = try makeSettings(
        "[device]\norg = ab12cd\ntype = edge\nid = e1\nauth-token = secret\n" + configuration, from: &arena)
      outputs = OutputRunner(settings: settings, now: host.time, in: &arena)
      log = try LogWriter(threshold: .debug, isManaged: false, from: &arena)
      self.settings = settings
      self.arena = arena
    }

    /// Lets time pass, and does what becomes due on the way; gives when what was set, counted from the beginning.
    func pass(_ milliseconds: Int64) -> [String] {
      let start = host.time
      let end = start + .milliseconds(milliseconds)
      var story: [String] = []
      while outputs.deadline <= end {
        host.time = max(host.time, outputs.deadline)
        outputs.advance(settings, host.time, &log, &host)
        story += host.takeWrites().map { "\((host.time - start).milliseconds): \($0)" }
      }
      host.time = end
      return story
    }

    func tell(isOnline: Bool) { outputs.tell(isOnline: isOnline, settings, host.time) }

    /// Has a command carried out; gives what came of it and what was set.
    func take(_ payload: String, _ index: Int = 0) -> [String] {
      var written: Int?
      let outcome = outputs.take(
        index, Array(payload.utf8).span, settings, host.time, &log, &host, written: &written)
      return ["\(outcome)\(written.map { " \($0)" } ?? "")"] + host.takeWrites()
    }

    var deadline: Instant { outputs.deadline }
    func index(_ name: String) -> Int? { outputs.index(ofCommand: Array(name.utf8).span, settings) }

    func end() -> [String] {
      outputs.end(settings, &log, &host)
      return host.takeWrites()
    }
  }

  private static let relay = "[output relay]\nwrite = gpio:RELAY\n"

  @Test func nothingIsDueWithoutOutputs() throws {
    let bench = try Bench("")
    #expect(bench.deadline == .never)
  }

  @Test func allAreSafeFromTheStart() throws {
    let bench = try Bench(Self.relay + "[output fan]\nwrite = led:fan\nmax = 255\nsafe = 128\ncommand = cool")
    #expect(bench.pass(0) == ["0: 0=0", "0: 1=128"])
    #expect(bench.deadline == .never)
    #expect(bench.index("relay") == 0 && bench.index("cool") == 1 && bench.index("fan") == nil)
    #expect(bench.take(#"{"d":{"value":255}}"#, 1) == ["ok 255", "1=255"])
    #expect(bench.end() == ["0=0", "1=128"])
    #expect(bench.deadline == .never)
  }

  @Test(arguments: [
    (#"{"d":{"value":1}}"#, ["ok 1", "0=1"]), (#"{"value":true}"#, ["ok 1", "0=1"]),
    (#"{"value":0}"#, ["ok 0", "0=0"]),
    (#"{"d":{"value":false}}"#, ["ok 0", "0=0"]),
    ("", ["refused"]), ("{}", ["refused"]), (#"{"value":2}"#, ["refused"]), (#"{"value":-1}"#, ["refused"]),
    (#"{"value":0.5}"#, ["refused"]), (#"{"value":"1"}"#, ["refused"]), (#"{"value":1,"for":"9ms"}"#, ["refused"]),
    (#"{"value":1,"for":5}"#, ["refused"]), (#"{"value":1,"blink":"25h"}"#, ["refused"]), (#"{"value":1"#, ["refused"]),
  ])
  func takesValues(_ payload: String, _ expected: [String]) throws {
    let bench = try Bench(Self.relay)
    _ = bench.pass(0)
    #expect(bench.take(payload) == expected)
  }

  @Test func aPulseEnds() throws {
    let bench = try Bench(Self.relay)
    _ = bench.pass(0)
    #expect(bench.take(#"{"value":1,"for":"500ms"}"#) == ["ok 1", "0=1"])
    #expect(bench.pass(1000) == ["500: 0=0"])
    #expect(bench.deadline == .never)
  }

  @Test func blinkingChangesAndEnds() throws {
    let bench = try Bench(Self.relay)
    _ = bench.pass(0)
    #expect(bench.take(#"{"value":1,"blink":"200ms","for":"700ms"}"#) == ["ok 1", "0=1"])
    #expect(bench.pass(1000) == ["200: 0=0", "400: 0=1", "600: 0=0", "700: 0=0"])
    #expect(bench.deadline == .never)
  }

  @Test func aNewCommandTakesThePlaceOfAPulse() throws {
    let bench = try Bench(Self.relay + "pause = 0")
    _ = bench.pass(0)
    bench.tell(isOnline: true)
    _ = bench.take(#"{"value":1,"for":"500ms"}"#)
    #expect(bench.take(#"{"value":1}"#) == ["ok 1", "0=1"])
    #expect(bench.pass(100_000) == [])
  }

  @Test func commandsThatComeTooSoonAreRefused() throws {
    let bench = try Bench(Self.relay + "pause = 1s")
    _ = bench.pass(0)
    #expect(bench.take(#"{"value":1}"#) == ["ok 1", "0=1"])
    _ = bench.pass(999)
    #expect(bench.take(#"{"value":0}"#) == ["busy"])
    _ = bench.pass(1)
    #expect(bench.take(#"{"value":0}"#) == ["ok 0", "0=0"])
  }

  @Test func withoutAConnectionTheyBecomeSafe() throws {
    let bench = try Bench(Self.relay + "offline = 30s\n[output held]\nwrite = gpio:HELD\noffline = 0")
    _ = bench.pass(0)
    bench.tell(isOnline: true)
    _ = bench.take(#"{"value":1}"#)
    _ = bench.take(#"{"value":1}"#, 1)
    _ = bench.pass(100_000)
    bench.tell(isOnline: false)
    #expect(bench.pass(29_999) == [])
    bench.tell(isOnline: true)
    // One that was due is looked at, and stays.
    #expect(bench.pass(60_000) == ["1: 0=1"])
    bench.tell(isOnline: false)
    #expect(bench.pass(30_000) == ["30000: 0=0"])
    #expect(bench.deadline == .never)
  }

  @Test func blinkingGoesOnUntilItMustBeSafe() throws {
    let bench = try Bench(Self.relay + "offline = 1s")
    _ = bench.pass(0)
    bench.tell(isOnline: true)
    _ = bench.take(#"{"value":1,"blink":"400ms"}"#)
    bench.tell(isOnline: false)
    #expect(bench.pass(5000) == ["400: 0=0", "800: 0=1", "1000: 0=0"])
  }

  @Test func oneThatCannotBeSetIsTriedAgain() throws {
    let bench = try Bench(Self.relay)
    bench.host.outputAnswer = .busy
    #expect(bench.pass(20_000) == ["0: 0=0", "10000: 0=0", "20000: 0=0"])
    #expect(bench.take(#"{"value":1}"#) == ["failed", "0=1"])
    #expect(bench.host.lines == ["warning output failed output=relay reason=busy"])
    bench.host.outputAnswer = .done
    #expect(bench.pass(10_000) == ["10000: 0=1"])
    #expect(bench.host.lines.last == "info output recovered output=relay")
  }
}
