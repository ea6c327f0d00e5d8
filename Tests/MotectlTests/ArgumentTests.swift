import ArgumentParser
import Foundation
import PlatformProtocol
import PlatformService
import Testing

@testable import motectl

/// The command that `line` stands for.
private func parse<Command>(_ line: [String], as _: Command.Type = Command.self) throws -> Command {
  try #require(try Motectl.parseAsRoot(line) as? Command)
}

@Suite struct ArgumentTests {
  @Test func firmwarePushTakesDevicesAndAtLastTheFile() throws {
    let push: FirmwareCommand.Push = try parse(
      ["firmware", "push", "edge", "e1", "--override", "e2", "image-1.5.0.bin", "--parallel", "4"])
    #expect(push.type == "edge")
    #expect(push.names == ["e1", "e2", "image-1.5.0.bin"])
    #expect(push.override && push.parallel == 4)
  }

  @Test(arguments: [
    ["firmware", "push", "edge", "image.bin"], ["firmware", "push", "edge", "e1", "e1", "image.bin"],
    ["firmware", "push", "ed/ge", "e1", "image.bin"], ["firmware", "push", "edge", "e1", "f", "--parallel", "0"],
    ["command", "edge", "e1", "na me"], ["command", "edge", "e1", "ping", "no json"], ["command", "edge", "e1"],
    ["command", "edge", "e1", "ping", "--format", "a/b"], ["command", "edge", "e1", "ping", "--timeout", "0s"],
    ["events", "--type", "+"], ["events", "--count", "0"], ["events", "--for", "soon"], ["events", "extra"],
    ["device", "add", "edge", "e1", "--info", "colour=red"], ["device", "add", "edge", "e1", "--info", "model"],
    ["device", "show", "edge", "#"], ["logs", "edge", "e1", "--follow", "--clear"], ["reboot", "edge"],
    ["events", "--token", "secret"], ["monitor", "--auth-token", "secret"], ["device", "token", "edge"],
  ])
  func wrongUsage(_ line: [String]) {
    do {
      _ = try Motectl.parseAsRoot(line)
      Issue.record("accepted: \(line)")
    } catch {
      #expect(Motectl.exitCode(for: error).rawValue == 64)
    }
  }

  @Test(arguments: [
    ("evnts", "'motectl events'"), ("devics", "'motectl devices'"), ("dev", "'motectl devices' or 'motectl device'"),
    ("device ad edge e1", "'motectl device add'"), ("help device shw", "'motectl device show'"),
    ("firmware psuh edge", "'motectl firmware push'"), ("xyzzy", "'motectl --help'"),
    ("--verson", "'motectl --version'"),
    ("device --hlep", "'motectl device --help'"),
  ])
  func misspelled(_ line: String, _ suggestion: String) throws {
    let words = line.split(separator: " ").map(String.init)
    #expect(try #require(misspelledCommand(words, of: Motectl.self)).contains(suggestion))
  }

  @Test(arguments: [
    "events --tpye x", "device add edge evnts", "help", "help device", "--version", "command edge e1 xyzzy", "",
    "--help",
    "--generate-completion-script=zsh", "device help add", "options",
  ])
  func spelledWell(_ line: String) {
    #expect(misspelledCommand(line.split(separator: " ").map(String.init), of: Motectl.self) == nil)
  }

  /// One project, one version.
  @Test func versionIsTheAgents() throws {
    let header = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: "Sources/CLinux/include/mote_build.h")
    #expect(try String(contentsOf: header, encoding: .utf8).contains("\"\(Motectl.version)\""))
  }

  /// The options of all commands are in one topic; each command's own help fits a screen of 80 by 50.
  @Test func helpIsShort() {
    let commands: [any ParsableCommand.Type] = [
      DevicesCommand.self, EventsCommand.self, CommandCommand.self, RebootCommand.self, MonitorCommand.self,
      LogsCommand.self, DeviceCommand.Show.self, KeyCommand.Add.self, FirmwareCommand.Push.self,
    ]
    for command in commands {
      let help = Motectl.helpMessage(for: command, columns: 80)
      #expect(help.contains("motectl help options") && !help.contains("--allow-plaintext-token"))
      #expect(help.split(separator: "\n", omittingEmptySubsequences: false).count <= 50)
    }
    let topic = Motectl.helpMessage(for: OptionsTopic.self, columns: 80)
    for word in ["--profile", "WIOTP_AUTH_KEY", "130 interrupted"] { #expect(topic.contains(word)) }
  }

  @Test func payloads() throws {
    let json: CommandCommand = try parse(["command", "edge", "e1", "blink", #"{"d":{"times":3}}"#, "--wait"])
    #expect(json.wait && json.format == "json")
    let text: CommandCommand = try parse(["command", "edge", "e1", "say", "hello there", "--format", "text"])
    #expect(text.payload == "hello there")
    let input: CommandCommand = try parse(["command", "edge", "e1", "say", "-"])
    #expect(input.payload == "-")
  }

  @Test(arguments: [("30s", 30.0), ("500ms", 0.5), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("1.5", 1.5)])
  func times(_ text: String, _ seconds: Double) { #expect(TimeLimit(argument: text)?.seconds == seconds) }

  @Test(arguments: ["", "s", "-1s", "0", "1w", "inf", "nan", "1e9d", "1 s"])
  func wrongTimes(_ text: String) { #expect(TimeLimit(argument: text) == nil) }

  @Test(arguments: [
    ("e7-1.5.0.img", "1.5.0"), ("edge-os_2.0.bin", "2.0"), ("image.bin", nil), ("v3.bin", nil), ("a1.2b3.4", "1.2"),
    ("7.", nil), ("fw-1.2.tar.gz", "1.2"), ("", nil),
  ])
  func versionsInNames(_ name: String, _ expected: String?) { #expect(version(inName: name) == expected) }

  @Test(arguments: [(999, "999 B"), (1000, "1 kB"), (2_750_000, "2.7 MB")])
  func sizes(_ count: Int64, _ expected: String) { #expect(size(count) == expected) }

  @Test func everyCommandHasHelpWithExamples() {
    func walk(_ command: any ParsableCommand.Type) {
      let help = Motectl.helpMessage(for: command, columns: 100)
      #expect(!help.isEmpty)
      #expect(help.contains("Example"), "\(command)")
      for part in command.configuration.subcommands { walk(part) }
    }
    walk(Motectl.self)
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func completions(_ shell: String) throws {
    let script = Motectl.completionScript(for: try #require(CompletionShell(rawValue: shell)))
    for word in ["firmware", "factory-reset", "token-file"] { #expect(script.contains(word)) }
  }
}

@Suite struct BarTests {
  private func row(_ state: PushState, _ byteCount: Int64, _ message: String = "") -> String {
    PushRow(device: DeviceKey(typeID: "edge", deviceID: "e1"), state: state, byteCount: byteCount, message: message)
      .bar(of: 2_000_000, nameWidth: 4, width: 60)
  }

  @Test func bars() {
    #expect(row(.waiting, 0) == "e1   ░░░░░░░░░░░░░░░░ 0%   waiting")
    #expect(row(.downloading, 1_000_000, "hm") == "e1   ████████░░░░░░░░ 50%  downloading 1.0 MB of 2.0 MB")
    #expect(row(.installed, 2_000_000) == "e1   ████████████████ 100% installed")
    #expect(row(.failed, 500_000, "no\u{1B}") == #"e1   ████░░░░░░░░░░░░ 25%  failed: no\x1b"#)
    #expect(columns(row(.failed, 1, String(repeating: "x", count: 200))) == 60)
  }
}
