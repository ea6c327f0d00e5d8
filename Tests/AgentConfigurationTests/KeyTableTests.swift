// The table of keys against all that is written about them, and against what the loader makes of them.

import Bytes
import Foundation
import TestSupport
import Testing

@testable import AgentConfiguration

/// One of our own keys in words.
private struct KeyCase: CustomTestStringConvertible, Sendable {
  let key: Key
  let facts: KeyDescription

  static var all: [KeyCase] {
    KeyTable.keys.indices.map { KeyCase(key: KeyTable.keys[$0].key, facts: KeyTable.keys[$0]) }
  }

  var name: String { facts.name.description }
  var section: String { Array(facts.section.name).text }
  var testDescription: String { "\(section) \(name)" }

  /// The least and the largest value, as a person writes them; nil where there is no order.
  var bounds: (low: String, high: String)? {
    switch facts.type {
    case .count: (String(facts.range.lowerBound), String(facts.range.upperBound))
    case .size: (size(facts.range.lowerBound), size(facts.range.upperBound))
    case .time, .timeOrZero: (time(facts.times.lowerBound), time(facts.times.upperBound))
    case .text, .boolean, .decimal, .logLevel, .valueType, .installer, .fullPolicy, .priority, .keeping: nil
    }
  }

  /// Values just outside of the bounds.
  var surpluses: [String] {
    switch facts.type {
    case .count: [String(facts.range.lowerBound - 1), String(facts.range.upperBound + 1)]
    case .size: [size(facts.range.lowerBound - 1), size(facts.range.upperBound + 1)]
    case .time, .timeOrZero:
      [facts.times.lowerBound.milliseconds - 1, facts.times.upperBound.milliseconds + 1].filter { $0 > 0 }
        .map { "\($0)ms" }
    case .text, .boolean, .decimal, .logLevel, .valueType, .installer, .fullPolicy, .priority, .keeping: []
    }
  }

  /// Two values that differ.
  var values: [String] {
    if let bounds { return [bounds.low, bounds.high] }
    switch key {
    case .organization: return ["ab12cd", "ef34gh"]
    case .authMethod: return ["token", "TOKEN"]
    case .caFile, .tokenFile, .run, .reboot, .factoryReset, .installerRun, .slotA, .slotB, .keyFile, .firmwareCAFile,
      .controlSocket,
      .locationFile, .watchdogDevice:
      return ["/a/b", "/a/c"]
    case .event: return ["status", "other"]
    case .read: return ["file:/a", "constant:1"]
    case .write: return ["led:a", "file:/sys/b"]
    case .decimals, .scale, .offset: return ["2", "-3.5"]
    case .unit: return ["°C", "l/min"]
    case .aggregate: return ["mean", "sum"]
    case .alarm: return ["high 80", "low 5 hysteresis 2 high 80"]
    case .stale: return ["1m", "30s"]
    case .deadband: return ["0.5", "2% 1"]
    case .filter: return ["delta", "average 2, round 1"]
    case .flashFlush: return ["each", "100"]
    default: break
    }
    if let words = facts.words { return [Array(words.word(0)).text, Array(words.word(1)).text] }
    return facts.type == .boolean ? ["yes", "no"] : ["one", "two"]
  }
}

private func time(_ span: TimeSpan) -> String {
  var buffer = makeBuffer()
  buffer.append(duration: span)
  return buffer.text
}

private func size(_ byteCount: Int) -> String {
  var buffer = makeBuffer()
  buffer.append(size: byteCount)
  return buffer.text
}

/// A configuration without a mistake in which `key` has `value`.
private func configuration(_ key: KeyCase, _ value: String) -> Input {
  var sections: [(name: String, lines: [(key: String, value: String)])] = [
    ("device", [("org", "ab12cd"), ("type", "edge"), ("auth-token", "x")]), ("server", [("host", "h")]),
    ("mqtt", [("messages-per-second", "0")]), ("agent", []), ("management", []),
    ("firmware", [("run", "/i"), ("key-file", "/k"), ("compatible", "c")]), ("watchdog", []), ("queue", []),
    ("event status", [("interval", "7d")]),
    ("event other", []),
    ("sensor s", [("event", "status"), ("read", "file:/x")]),
    ("sensor o", [("event", "other"), ("read", "file:/x")]),
    ("sensor d", [("event", "status"), ("read", "file:/x"), ("deadband", "1")]),
    ("output o", [("write", "led:x"), ("max", "1000000")]), ("command c", [("run", "/x")]),
  ]
  if let section = sections.firstIndex(where: { $0.name.split(separator: " ")[0] == key.section }) {
    sections[section].lines.removeAll { $0.key == key.name || (key.key == .tokenFile && $0.key == "auth-token") }
    sections[section].lines.append((key.name, value))
  }
  var input = Input(
    sections.map { "[\($0.name)]\n" + $0.lines.map { "\($0.key) = \($0.value)\n" }.joined() }.joined())
  input.tokenFile = "t"
  return input
}

private func file(_ path: String) throws -> String {
  let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  return try String(contentsOf: package.appendingPathComponent(path), encoding: .utf8)
}

@Suite struct KeyTableTests {
  // MARK: What the loader makes of it

  @Test(arguments: KeyCase.all)
  private func boundsAreTakenAndNothingBeyond(_ key: KeyCase) throws {
    guard let bounds = key.bounds else { return }
    for value in [bounds.low, bounds.high] {
      #expect(try complaints(configuration(key, value)).filter { $0.contains("error: \(key.name)") } == [])
    }
    for value in key.surpluses {
      let found = try complaints(configuration(key, value)).filter { $0.contains("error: \(key.name)") }
      #expect(found.count == 1 && found[0].contains(" \(bounds.low) to \(bounds.high)"), "\(value): \(found)")
    }
  }

  /// `mote check` shows what a key has done, and what holds without it.
  @Test(arguments: KeyCase.all)
  private func theValueIsAtWork(_ key: KeyCase) throws {
    // Said by other keys: nothing, the token's file, the host, and (as TLS is used here) a line for unsafe choices.
    let isSaidOtherwise: [Key] = [.authMethod, .token, .domain, .allowPlaintextToken, .tls]
    guard !isSaidOtherwise.contains(key.key) else { return }
    for value in key.values {
      let shown = try description(configuration(key, value))
      let isLeftOut = key.facts.type == .boolean && value == "no" && !shown.contains("\n\(key.name) = ")
      let isStandard = (key.key == .valueType && value == "number") || (key.key == .sample && value == "0s")
      #expect(isLeftOut || isStandard || shown.contains("\n\(key.name) = \(value)\n"), "\(value)")
    }
    let standard: String
    switch key.facts.type {
    case .count where key.key != .decimals && key.key != .messagesPerSecond: standard = "\(key.facts.standardCount)"
    case .size: standard = size(key.facts.standardCount)
    case .time, .timeOrZero:
      guard key.key != .sample else { return }
      standard = time(key.facts.standardTime)
    case .logLevel: standard = "info"
    default: return
    }
    let shown = try description(configuration(key, key.values[0]).without(key))
    #expect(shown.contains("\n\(key.name) = \(standard)\n"), "\(standard)")
  }

  @Test(arguments: KeyCase.all.filter { !$0.facts.section.isNamed })
  private func aChangeReconnectsWhereTheTableSaysSo(_ key: KeyCase) throws {
    func input(_ value: String) -> Input {
      var input = configuration(key, value)
      // Not without TLS, which needs another key besides.
      if key.key == .tls {
        input.text = Array(
          text: input.text.text.replacingOccurrences(of: "host", with: "allow-plaintext-token = yes\nhost"))
      }
      return input
    }
    let isNeeded = try settings(input(key.values[0])) { old in
      try settings(input(key.values[1])) { new in new.needsNewConnection(comparedTo: old) }
    }
    #expect(isNeeded == (key.facts.change == .reconnects))
  }

  // MARK: What is written about it

  /// The README's row: section, key, default and what it is.
  @Test(arguments: KeyCase.all)
  private func theReadmeHasIt(_ key: KeyCase) throws {
    var section = ""
    var found: [String]?
    for line in try file("README.md").components(separatedBy: "\n") where line.hasPrefix("| ") {
      let cells = line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
        .map { $0.trimmingCharacters(in: .whitespaces) }
      guard cells.count == 4 else { continue }
      if cells[0].hasPrefix("`[") { section = cells[0] }
      let heading = key.facts.section.isNamed ? "`[\(key.section) NAME]`" : "`[\(key.section)]`"
      if section == heading, cells[1] == "`\(key.name)`" { found = cells }
    }
    let row = try #require(found, "no row")
    #expect(row[3] == key.facts.help.description)
    #expect(key.bounds.map { states(row[3], $0) } ?? true, "the range is missing")
    let otherwise = key.facts.otherwise.description
    if !otherwise.isEmpty {
      #expect(row[2] == otherwise)
    } else {
      #expect(isStandard(row[2].replacingOccurrences(of: "`", with: ""), key))
    }
    // What holds in some cases only begins with what holds in the others.
    if key.facts.type == .boolean || (key.facts.type == .count && otherwise.contains(";")) {
      let first = row[2].split(separator: ";")[0].replacingOccurrences(of: "`", with: "")
      #expect(isStandard(first, key))
    }
  }

  /// Each line of the reference configuration has its range above it; that its defaults are true, `BoardTests` shows.
  @Test(arguments: KeyCase.all)
  private func theReferenceStatesTheRange(_ key: KeyCase) throws {
    var section = ""
    var comment = ""
    var isFound = false
    for line in try file("Boards/generic/mote.conf").components(separatedBy: "\n") {
      let active = line.hasPrefix("#") && !line.hasPrefix("# ") ? String(line.dropFirst()) : line
      if line.hasPrefix("# "), !line.hasPrefix("# \(key.name) = ") {
        comment = (comment.hasSuffix("\n") ? "" : comment) + line + " "
      } else if active.hasPrefix("[") {
        section = String(active.dropFirst().prefix { $0.isLetter })
        comment = ""
      } else if section == key.section, active.hasPrefix("\(key.name) = ") || line.hasPrefix("# \(key.name) = ") {
        isFound = true
        if let bounds = key.bounds { #expect(states(comment, bounds), "\(comment)") }
        if isFound { break }
      } else if !active.isEmpty {
        // Several keys may share the comment above them.
        if !comment.hasSuffix("\n") { comment += "\n" }
      }
    }
    #expect(isFound)
  }

  /// Whether `text` has `low to high`, or each of a few values.
  private func states(_ text: String, _ bounds: (low: String, high: String)) -> Bool {
    let low = bounds.low == "0s" ? "0" : bounds.low
    if text.contains("\(low) to \(bounds.high)") { return true }
    guard let first = Int(low), let last = Int(bounds.high), last - first < 4 else { return false }
    return (first...last).allSatisfy { text.contains("\($0) ") }
  }

  /// Whether `text` is the default, however it is written.
  private func isStandard(_ text: String, _ key: KeyCase) -> Bool {
    let bytes = Array(text: text)
    switch key.facts.type {
    case .text: return text.isEmpty
    case .boolean: return text == (key.facts.standardBoolean ? "yes" : "no")
    case .count: return text == "\(key.facts.standardCount)"
    case .size: return Values.size(bytes.span) == .amount(Int64(key.facts.standardCount))
    case .time, .timeOrZero: return parseDuration(bytes.span) == key.facts.standardTime
    case .decimal: return Decimal(parsing: bytes.span) == key.facts.standardDecimal
    case .logLevel, .valueType, .installer, .fullPolicy, .priority, .keeping:
      guard let words = key.facts.words else { return false }
      return text == Array(words.word(key.facts.standardCount)).text
    }
  }
}

extension Input {
  /// Without the lines that name `key`.
  fileprivate func without(_ key: KeyCase) -> Input {
    var input = self
    input.text = Array(
      text: text.text.components(separatedBy: "\n").filter { !$0.hasPrefix("\(key.name) = ") }.joined(separator: "\n"))
    return input
  }
}
