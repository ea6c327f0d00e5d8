import Bytes
import HostInterface
import TestSupport
import Testing

@testable import Agent

@Suite struct LogWriterTests {
  private func lines(
    threshold: LogLevel = .debug, _ body: (inout LogWriter, inout ScriptedHost) -> Void
  ) throws -> [String] {
    try withArena { arena in
      var log = try LogWriter(threshold: threshold, from: &arena)
      var host = ScriptedHost()
      body(&log, &host)
      return host.lines
    }
  }

  @Test func writesLevelComponentEventAndPairs() throws {
    let lines = try lines { log, host in
      log.begin(.warning, "link failed")
      log.add("reason", "timeout")
      log.add("count", -5)
      log.add("retry-in", TimeSpan.milliseconds(1249))
      log.addLink(.message, from: &host)
      log.end(to: &host)
    }
    #expect(lines == ["warning link failed reason=timeout count=-5 retry-in=1.2s tls=TLSv1.3"])
  }

  @Test func quotesWhatCouldForgeALine() throws {
    let lines = try lines { log, host in
      for text in ["plain/text:1.2-3_x", "", "two words", "a=b", "line\nfeed", "quo\"te", "b\\s", "ä", "\u{7F}"] {
        let bytes = Array(text.utf8)
        log.begin(.info, "a b")
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
        log.begin(level, "a b")
        log.add("k", 1)
        log.end(to: &host)
      }
    }
    #expect(lines == ["error a b k=1", "warning a b k=1"])
  }

  @Test func cutsWhatIsTooLong() throws {
    let lines = try lines { log, host in
      let bytes = [UInt8](repeating: UInt8(ascii: "x"), count: 2 * LogWriter.lineBytesMax)
      log.begin(.info, "a b")
      log.add("first", 1)
      log.add("long", text: bytes.span)
      log.end(to: &host)
    }
    #expect(lines.count == 1)
    #expect(lines[0].utf8.count <= LogWriter.lineBytesMax)
    #expect(lines[0].hasPrefix("info a b first=1"))
  }

  // MARK: How often

  /// The largest flood that was seen had 1.76 million lines in five seconds.
  @Test func aFloodOfOneKindIsABurstAndACount() throws {
    let lines = try lines { log, host in
      for millisecond in 0..<5000 {
        _ = log.beginTurn(Instant(milliseconds: Int64(millisecond)), &host)
        for _ in 0..<20 { log.write(.info, "command finished", "outcome", "unknown", to: &host) }
      }
      _ = log.beginTurn(Instant(milliseconds: 15_000), &host)
    }
    #expect(lines.count == LogWriter.burstMax + 1)
    #expect(lines[0] == "info command finished outcome=unknown")
    let leftOut = 100_000 - LogWriter.burstMax
    #expect(lines.last == "warning log lines-left-out line=\"command finished\" count=\(leftOut)")
  }

  @Test func aLastingFloodIsAnIntervalsWorth() throws {
    let hours = 24
    let lines = try lines { log, host in
      for second in 0..<(hours * 3600) {
        _ = log.beginTurn(Instant(milliseconds: Int64(second) * 1000), &host)
        for _ in 0..<3 { log.write(.debug, "mqtt message-ignored", "a", "b", to: &host) }
      }
      log.tellLeftOut(&host)
    }
    let written = lines.filter { $0.hasPrefix("debug") }.count
    let told = lines.compactMap { Int($0.split(separator: "=").last ?? "") }.reduce(0, +)
    #expect(written <= LogWriter.burstMax + hours * 360)
    #expect(lines.count <= 2 * written)
    #expect(written + told == hours * 3600 * 3, "each line was written or counted")
  }

  @Test func noKindIsSilencedByAnother() throws {
    let lines = try lines { log, host in
      for _ in 0..<1000 { log.write(.warning, "command finished", "outcome", "refused", to: &host) }
      log.write(.info, "agent stopping", "reason", "SIGTERM", to: &host)
      // A kind that has been quiet gets its burst again.
      _ = log.beginTurn(Instant(milliseconds: 3_600_000), &host)
      for _ in 0..<1000 { log.write(.warning, "command finished", "outcome", "refused", to: &host) }
    }
    #expect(lines[LogWriter.burstMax] == "info agent stopping reason=SIGTERM")
    #expect(lines.count == 2 * LogWriter.burstMax + 2)
  }

  @Test(arguments: [
    (0, "0.0s"), (49, "0.0s"), (50, "0.1s"), (999, "1.0s"), (1234, "1.2s"), (3_600_000, "3600.0s"),
  ]) func writesTimesInTenthsOfASecond(milliseconds: Int64, expected: String) throws {
    let lines = try lines { log, host in
      log.begin(.info, "a b")
      log.add("t", TimeSpan.milliseconds(milliseconds))
      log.end(to: &host)
    }
    #expect(lines == ["info a b t=\(expected)"])
  }
}
