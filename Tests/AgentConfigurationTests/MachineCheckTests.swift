// What a machine lacks of what a configuration names: told at the place where it is named.

import Bytes
import TestSupport
import Testing

@testable import AgentConfiguration

@Suite struct MachineCheckTests {
  /// The complaints about `text` where `things` are missing, and whether there are settings.
  private func complaints(
    _ text: String, about things: [NamedThing], isStrict: Bool = false
  ) throws -> (lines: [String], areSettings: Bool) {
    var scratch = makeArena(byteCount: SettingsLoader.scratchByteCount)
    var loader = try SettingsLoader(scratch: &scratch)
    loader.diagnostics.isStrict = isStrict
    loader.load(Array(text: text).span, name: "f".bytesOfLiteral.span)
    var arena = makeArena(byteCount: loader.settingsByteCount)
    let settings = try loader.finish(defaultID: "b827eb123456".bytesOfLiteral.span, into: &arena) { _, loader in
      for thing in things {
        loader.report(thing, "which is so", StaticString("a-word").bytes, StaticString("do this").bytes)
      }
    }
    let lines = (0..<loader.diagnostics.count).map { Array(loader.diagnostics.text(at: $0)).text }
    return (lines, settings != nil)
  }

  private let named = """
    [sensor first]
    event = status
    read = file:/a
    [command one]
    run = /b
    [sensor second]
    event = status
    read = file:/c
    [command two]
    timeout = 1s
    run = /d
    """

  @Test func eachIsToldAtItsPlace() throws {
    // The sensor of `base` is the first.
    let found = try complaints(base + named, about: [.command(1), .sensor(2), .command(0), .sensor(1)])
    #expect(
      found.lines == [
        #"f:14:8: warning: read: found "file:/a", which is so (a-word); do this"#,
        #"f:16:7: warning: run: found "/b", which is so (a-word); do this"#,
        #"f:19:8: warning: read: found "file:/c", which is so (a-word); do this"#,
        #"f:22:7: warning: run: found "/d", which is so (a-word); do this"#,
      ])
    #expect(found.areSettings)
  }

  @Test(arguments: ["ca-file", "rootCACertPath", "serverCertPath"])
  func certificatesAreToldByTheKeyThatNamesThem(key: String) throws {
    let section = key == "ca-file" ? "[server]\n" : ""
    let text = section.isEmpty ? "\(key) = /x\n" + base : base + section + "\(key) = /x\n"
    let found = try complaints(text, about: [.trust])
    #expect(found.lines.filter { $0.contains("which is so") }.count == 1)
    #expect(found.lines.contains { $0.hasSuffix(#": warning: \#(key): found "/x", which is so (a-word); do this"#) })
  }

  @Test func theSystemsCertificatesHaveNoLine() throws {
    let found = try complaints(base, about: [.trust])
    #expect(found.lines == [#"f: warning: ca-file: found "system", which is so (a-word); do this"#])
  }

  @Test func mistakesHideNothing() throws {
    let found = try complaints(base + "[mqtt]\nkeep-alive = 1 parsec\n", about: [.sensor(0)])
    #expect(found.lines.count == 2 && found.lines[0].contains("warning: read: ") && !found.areSettings)
  }

  @Test func strictnessMakesErrorsOfWarnings() throws {
    #expect(try complaints(base, about: [], isStrict: true).areSettings)
    for (text, things) in [(base, [NamedThing.sensor(0)]), (base + "[mqtt]\nkeep-alive = 2h\n", [])] {
      #expect(try complaints(text, about: things).areSettings)
      let found = try complaints(text, about: things, isStrict: true)
      #expect(found.lines.count == 1 && found.lines[0].contains(": error: ") && !found.areSettings)
    }
  }
}
