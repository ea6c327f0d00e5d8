import Agent
import Bytes
import HostInterface
import IoTPlatform
import TestSupport
import Testing

@Suite struct ReconnectTests {
  @Test func pausesGrowWithinTheirBounds() {
    for seed in UInt64(0)..<200 {
      var reconnect = Reconnect(random: RandomSource(seed: seed))
      var last = TimeSpan.zero
      for _ in 0..<50 {
        let pause = reconnect.delay(after: ReconnectClass.ordinary)
        #expect(pause >= .seconds(1) && pause <= .seconds(300))
        #expect(pause.milliseconds <= max(2000, 3 * last.milliseconds))
        last = pause
      }
    }
  }

  @Test func pausesOfManyDevicesSpreadOut() {
    // A thousand devices that lost their server in the same second must not come back in the same one.
    var perSecond: [Int64: Int] = [:]
    for seed in UInt64(0)..<1000 {
      var reconnect = Reconnect(random: RandomSource(seed: seed))
      var time = TimeSpan.zero
      for _ in 0..<6 {
        time = .milliseconds(time.milliseconds + reconnect.delay(after: ReconnectClass.ordinary).milliseconds)
      }
      perSecond[time.milliseconds / 1000, default: 0] += 1
    }
    #expect(perSecond.values.max() ?? 0 < 60)
  }

  @Test func badCredentialsAreTriedSlowly() {
    var reconnect = Reconnect(random: RandomSource(seed: 1))
    for _ in 0..<50 {
      let pause = reconnect.delay(after: ReconnectClass.slow)
      #expect(pause >= .seconds(60) && pause <= .seconds(3600))
    }
    // Whoever mends them does not wait an hour for the next ordinary failure.
    #expect(reconnect.delay(after: ReconnectClass.ordinary) <= .seconds(2))
  }

  @Test func aClockBeingSetIsWaitedForAtItsOwnPace() {
    var reconnect = Reconnect(random: RandomSource(seed: 1))
    for _ in 0..<10 { #expect(reconnect.delay(after: LinkFailure.tlsNotYetValid) == .seconds(15)) }
    #expect(reconnect.delay(after: LinkFailure.connectionRefused) <= .seconds(2))
  }

  @Test func onlyAStableConnectionStartsAfresh() {
    for seed in UInt64(0)..<100 {
      var reconnect = Reconnect(random: RandomSource(seed: seed))
      for _ in 0..<20 {
        reconnect.noteAttempt()
        _ = reconnect.delay(after: ReconnectClass.ordinary)
      }
      _ = reconnect.delay(afterConnectionOf: .milliseconds(299_999))
      #expect(reconnect.attempts == 20)
      let pause = reconnect.delay(afterConnectionOf: .seconds(300))
      #expect(pause <= .seconds(2))
      #expect(reconnect.attempts == 0)
    }
    // Without a reset the pauses stay long on average.
    var reconnect = Reconnect(random: RandomSource(seed: 7))
    for _ in 0..<20 { _ = reconnect.delay(after: ReconnectClass.ordinary) }
    var sum: Int64 = 0
    for _ in 0..<100 { sum += reconnect.delay(afterConnectionOf: .seconds(30)).milliseconds }
    #expect(sum / 100 > 30_000)
  }

  @Test func shortConnectionsInARowSuggestARival() {
    var reconnect = Reconnect(random: RandomSource(seed: 3))
    _ = reconnect.delay(afterConnectionOf: .seconds(9))
    _ = reconnect.delay(afterConnectionOf: .seconds(9))
    #expect(!reconnect.suspectsDuplicate)
    #expect(reconnect.delay(afterConnectionOf: .seconds(9)) >= .seconds(20))
    #expect(reconnect.suspectsDuplicate)
    _ = reconnect.delay(afterConnectionOf: .seconds(10))
    #expect(!reconnect.suspectsDuplicate)
  }

  @Test func theFirstAttemptIsDelayedAtRandom() {
    var delays: Set<Int64> = []
    for seed in UInt64(0)..<100 {
      var reconnect = Reconnect(random: RandomSource(seed: seed))
      let delay = reconnect.firstDelay(upTo: .seconds(10))
      #expect(delay >= .zero && delay <= .seconds(10))
      delays.insert(delay.milliseconds)
    }
    #expect(delays.count > 90)
    var reconnect = Reconnect(random: RandomSource(seed: 0))
    #expect(reconnect.firstDelay(upTo: .zero) == .zero)
  }
}

/// A host that keeps what is logged and can do nothing else.
private struct LogHost: Host {
  var lines: [String] = []

  mutating func now() -> Instant { Instant(milliseconds: 0) }
  mutating func wallTime() -> WallTime? { nil }
  mutating func openLink(deadline: Instant) {}
  mutating func pollLink() -> LinkState { .closed }
  mutating func send(_ bytes: Span<UInt8>) -> LinkTransfer { .wouldBlock }
  mutating func receive(into buffer: inout ByteBuffer) -> LinkTransfer { .wouldBlock }
  mutating func closeLink() {}
  mutating func describeLink(into line: inout ByteBuffer) { line.append(" tls=TLSv1.3") }
  mutating func readSource(_ index: Int, into buffer: inout ByteBuffer) -> SourceRead { .pending }
  mutating func startProgram(slot: Int, command: Int, input: Span<UInt8>) -> ProgramStart { .noResources }
  mutating func pollProgram(slot: Int, output: inout ByteBuffer) -> ProgramState { .running }
  mutating func stopProgram(slot: Int, forcibly: Bool) {}
  mutating func writeLog(_ level: LogLevel, _ line: Span<UInt8>) { lines.append(Array(line).text) }
}

@Suite struct LogWriterTests {
  private func lines(
    threshold: LogLevel = .debug, _ body: (inout LogWriter, inout LogHost) -> Void
  ) throws -> [String] {
    try withArena { arena in
      var log = try LogWriter(threshold: threshold, from: &arena)
      var host = LogHost()
      body(&log, &host)
      return host.lines
    }
  }

  @Test func writesLevelComponentEventAndPairs() throws {
    let lines = try lines { log, host in
      log.begin(.warning, "link", "failed")
      log.add("reason", "timeout")
      log.add("count", -5)
      log.add("retry-in", TimeSpan.milliseconds(1249))
      log.addLink(from: &host)
      log.end(to: &host)
    }
    #expect(lines == ["warning link failed reason=timeout count=-5 retry-in=1.2s tls=TLSv1.3"])
  }

  @Test func quotesWhatCouldForgeALine() throws {
    let lines = try lines { log, host in
      for text in ["plain/text:1.2-3_x", "", "two words", "a=b", "line\nfeed", "quo\"te", "b\\s", "ä", "\u{7F}"] {
        let bytes = Array(text.utf8)
        log.begin(.info, "a", "b")
        log.add("k", text: bytes.span)
        log.end(to: &host)
      }
    }
    #expect(
      lines.map { String($0.dropFirst("info a b k=".count)) } == [
        "plain/text:1.2-3_x", "\"\"", "\"two words\"", "\"a=b\"", "\"line\\nfeed\"", "\"quo\\\"te\"", "\"b\\\\s\"",
        "\"ä\"", "\"\u{7F}\"",
      ])
  }

  @Test func writesNothingBelowItsThreshold() throws {
    let lines = try lines(threshold: .warning) { log, host in
      for level in [LogLevel.error, .warning, .info, .debug] {
        log.begin(level, "a", "b")
        log.add("k", 1)
        log.end(to: &host)
      }
    }
    #expect(lines == ["error a b k=1", "warning a b k=1"])
  }

  @Test func cutsWhatIsTooLong() throws {
    let lines = try lines { log, host in
      let bytes = [UInt8](repeating: UInt8(ascii: "x"), count: 2 * LogWriter.lineBytesMax)
      log.begin(.info, "a", "b")
      log.add("first", 1)
      log.add("long", text: bytes.span)
      log.end(to: &host)
    }
    #expect(lines.count == 1)
    #expect(lines[0].utf8.count <= LogWriter.lineBytesMax)
    #expect(lines[0].hasPrefix("info a b first=1"))
  }

  @Test(arguments: [
    (0, "0.0s"), (49, "0.0s"), (50, "0.1s"), (999, "1.0s"), (1234, "1.2s"), (3_600_000, "3600.0s"),
  ]) func writesTimesInTenthsOfASecond(milliseconds: Int64, expected: String) throws {
    let lines = try lines { log, host in
      log.begin(.info, "a", "b")
      log.add("t", TimeSpan.milliseconds(milliseconds))
      log.end(to: &host)
    }
    #expect(lines == ["info a b t=\(expected)"])
  }
}
