// The table of kinds of sources against what the loader takes, and against all that is written about them.

import Bytes
import Foundation
import HostInterface
import TestSupport
import Testing

@testable import AgentConfiguration

extension SourceKind {
  fileprivate static var all: [SourceKind] { (0..<count).compactMap { SourceKind(rawValue: UInt8($0)) } }
}

extension WordList {
  fileprivate var all: [String] { isEmpty ? [] : Array(bytes).text.components(separatedBy: "|") }
}

@Suite struct SourceKindTests {
  /// What cannot be seen from one line of the table.
  @Test func theTableHasEachKindAtItsNumber() {
    for kind in SourceKind.all {
      #expect(kind.description.kind == kind)
      #expect(SourceKind.named(Array(text: "\(kind.name)").span) == kind)
      // One unit for all words, or one for each up to the last that has any.
      #expect(kind.description.words.isEmpty || kind.description.units.all.count <= kind.description.words.all.count)
    }
    #expect(SourceKind.all.count == SourceKind.count)
    #expect(SourceKind(rawValue: UInt8(SourceKind.count)) == nil)
  }

  @Test(arguments: [
    ("thermal:cpu", "°C"), ("hwmon:chip/temp1", "°C"), ("hwmon:chip/in0", "V"), ("hwmon:chip@a/fan12", "rpm"),
    ("hwmon:chip/Core 0", ""), ("hwmon:chip/temperature", ""), ("cpu:usage", "%"), ("loadavg:1", ""),
    ("iio:adc/voltage0", "V"), ("iio:adc/voltage0-voltage1", "V"), ("iio:imu/accel_x", "m/s²"), ("iio:a/temp", "°C"),
    ("iio:air/concentration_co2", "%"), ("iio:air/Inlet", ""), ("w1:28-0c1a2b3c4d5e", "°C"),
    ("memory:swap-used", "B"), ("uptime:", "s"), ("network:eth0/tx-bytes", "B"), ("network:eth0/rx-packets", ""),
    ("disk:/a/percent", "%"), ("disk:/a/free", "B"), ("file:/a", ""),
    ("gpio:DOOR", ""), ("gpio:DOOR count", ""), ("gpio:DOOR bias=off frequency", "Hz"), ("constant:temp1", ""),
  ])
  func theUnitBelongsToWhatIsRead(_ read: String, _ unit: String) {
    let parts = read.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let (name, argument) = (Array(parts[0].utf8), Array(parts[1].utf8))
    guard let kind = SourceKind.named(name.span) else {
      Issue.record("no such kind")
      return
    }
    let found = Array(kind.description.unit(of: argument.span)).text
    #expect(found == unit)
  }

  /// An argument as each grammar wants it, and the place that it names.
  private func example(_ source: SourceDescription, word: String) -> (argument: String, place: String) {
    switch source.argument {
    case .none: ("", "")
    case .name: ("cpu", "cpu")
    case .nameAndName: ("chip/a/b", "chip/a/b")
    case .word: (word, "")
    case .interfaceAndWord: ("eth0/\(word)", "eth0/\(word)")
    case .pathAndWord: ("/a/b/\(word)", "/a/b")
    case .path: ("/a/b", "/a/b")
    case .line: ("DOOR \(word)", "DOOR \(word)")
    case .register: ("tcp://192.0.2.1 input=1", "tcp://192.0.2.1 input=1")
    case .text: ("1", "1")
    }
  }

  @Test(arguments: SourceKind.all)
  func everyWordIsTakenAndNoOther(_ kind: SourceKind) throws {
    let source = kind.description
    for (index, word) in (source.words.isEmpty ? [""] : source.words.all).enumerated() {
      let (argument, place) = example(source, word: word)
      let text = "\(kind.name)" + (source.argument == .none ? "" : ":\(argument)")
      #expect(try complaints(base + "[sensor x]\nevent = status\nread = \(text)") == [])
      let bytes = Array(text: argument)
      #expect(source.words.isEmpty || source.word(in: bytes.span) == index)
      #expect(Array(bytes.span.extracting(source.place(in: bytes.span))).text == place)
    }
    guard !source.words.isEmpty else { return }
    for word in ["nothing", "", source.words.all[0] + "x"] where source.argument != .line || !word.isEmpty {
      let text = "\(kind.name):\(example(source, word: word).argument)"
      let found = try complaints(base + "[sensor x]\nevent = status\nread = \(text)")
      #expect(found.count == 1 && found[0].contains("; expected \(kind.name):"), "\(found)")
      // What is expected are its words.
      for known in source.words.all { #expect(found.first?.contains(known) == true) }
    }
  }

  // MARK: What is written about them

  private func file(_ path: String) throws -> String {
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return try String(contentsOf: package.appendingPathComponent(path), encoding: .utf8)
  }

  /// A unit as the README writes it.
  private func written(_ unit: String) -> String { unit == "B" ? "bytes" : unit }

  /// The README's row has the form or all words, and all units and no other.
  @Test(arguments: SourceKind.all)
  func theReadmeHasIt(_ kind: SourceKind) throws {
    let source = kind.description
    let lines = try file("README.md").components(separatedBy: "\n")
    let start = try #require(lines.firstIndex { $0.hasPrefix("| `read =` | value | unit |") })
    let rows = lines[(start + 2)...].prefix { $0.hasPrefix("|") }
    #expect(rows.count == SourceKind.count)
    let begin = "| `\(kind.name)" + (source.argument == .none ? "`" : ":")
    let row = try #require(rows.first { $0.hasPrefix(begin) }, "no row that begins with \(begin)")
    let cells = row.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
      .map { $0.trimmingCharacters(in: .whitespaces) }
    try #require(cells.count == 3)
    // `a:B/first`, `second`, `third`: what stands behind the last slash or the colon of each.
    let forms = cells[0].components(separatedBy: "`").enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
    if source.words.isEmpty {
      #expect(forms.first == "\(kind.name)" + (source.argument == .none ? "" : ":\(source.form)"))
    } else {
      let words = forms.map { $0.components(separatedBy: CharacterSet(charactersIn: ":/ ")).last ?? "" }
      #expect(Set(words) == Set(source.words.all) && words.count == Set(words).count)
    }
    let units = cells[2].components(separatedBy: ", ").filter { !$0.isEmpty }
    #expect(Set(units) == Set(source.units.all.map(written).filter { !$0.isEmpty }), "units")
  }

  /// The README says of each reason of a failure what it means.
  @Test func theReadmeHasEachReason() throws {
    let lines = try file("README.md").components(separatedBy: "\n")
    let start = try #require(lines.firstIndex { $0.hasPrefix("| `reason=` |") })
    let words = lines[(start + 2)...].prefix { $0.hasPrefix("|") }.map { $0.components(separatedBy: "`")[1] }
    var reasons: [String] = []
    while let reason = ReadFailure(rawValue: UInt8(reasons.count)) { reasons.append(reason.name.description) }
    #expect(words == reasons)
  }

  /// The comment above `read` in the reference configuration has a line for each form, with all words.
  @Test(arguments: SourceKind.all)
  func theReferenceHasIt(_ kind: SourceKind) throws {
    let source = kind.description
    let form = source.form.description
    var begin = "#   \(kind.name)"
    if source.argument != .none { begin += ":" + (form.isEmpty ? source.words.all[0] : form) }
    let lines = try file("Boards/generic/mote.conf").components(separatedBy: "\n")
    let start = try #require(
      lines.firstIndex { $0 == begin || $0.hasPrefix(begin + " ") }, "no line that begins with \(begin)")
    let rest = lines[(start + 1)...].prefix { $0.hasPrefix("#    ") }
    let text = ([lines[start]] + rest).joined(separator: " ")
    for word in source.words.all { #expect(text.contains(word), "\(word)") }
  }
}
