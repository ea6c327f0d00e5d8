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
