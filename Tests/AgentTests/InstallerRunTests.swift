import Bytes
import HostInterface
import Simulator
import TestSupport
import Testing

@testable import Agent

@Suite struct InstallerRunTests {
  private func run(
    _ end: ProgramState?, output: String = "", at seconds: Int64 = 1
  ) throws -> (outcome: InstallerOutcome, line: String, versions: [String]) {
    var arena = makeArena(byteCount: 4096)
    var run = InstallerRun(isUsed: true, in: &arena)
    var host = SimulatedFirmware(disk: SimulatedDisk())
    let version = Array("1.5.0".utf8)
    run.begin(.install, .file, version: version.span, until: Instant(milliseconds: 60_000), &host)
    guard run.isStarted else { return (.failed(-1), "", []) }
    host.installerOutput = Array(output.utf8)
    host.installerEnd = end
    var outcome = run.advance(Instant(milliseconds: seconds * 1000), &host)
    if outcome == .running { outcome = run.advance(Instant(milliseconds: seconds * 1000), &host) }
    return (outcome, run.line, host.installed)
  }

  @Test func statusesHaveTheirMeaning() throws {
    #expect(try run(.exited(0)).outcome == .done)
    #expect(try run(.exited(10)).outcome == .wantsRestart)
    #expect(try run(.exited(1)).outcome == .failed(1))
    #expect(try run(.signalled(11)).outcome == .failed(139))
    #expect(try run(nil).outcome == .running)
    #expect(try run(.exited(0)).versions == ["1.5.0"])
  }

  @Test func oneThatHangsIsKilled() throws {
    #expect(try run(nil, at: 59).outcome == .running)
    #expect(try run(nil, at: 60).outcome == .timeout)
  }

  @Test func theLastLineIsTold() throws {
    #expect(try run(.exited(1), output: "one\ntwo: \"x\"\u{7}\n \n").line == "two: \"x\"\u{7}")
    #expect(try run(.exited(1)).line == "")
    #expect(try run(.exited(1), output: "one").line == "one")
    let long = String(repeating: "x", count: 400)
    #expect(try run(.exited(1), output: long).line == String(long.prefix(160)))
  }
}

extension InstallerRun {
  fileprivate var line: String {
    let line = lastLine
    return line.indices.reduce(into: "") { $0.unicodeScalars.append(Unicode.Scalar(line[$1])) }
  }
}
