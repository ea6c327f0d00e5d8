// The configuration that comes with the program is its reference: it must be right, complete, and tell the true
// defaults.

import Foundation
import TestSupport
import Testing

@testable import AgentConfiguration

@Suite struct BoardTests {
  private let file: String

  init() throws {
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let url = package.appendingPathComponent("Boards/generic/mote.conf")
    file = try String(contentsOf: url, encoding: .utf8)
  }

  /// The lines up to the first event, where those that are switched off show defaults, and those behind.
  private var parts: (defaults: String, examples: String) {
    let lines = file.split(separator: "\n", omittingEmptySubsequences: false)
    let boundary = lines.firstIndex { $0.hasPrefix("[event") } ?? lines.endIndex
    return (lines[..<boundary].joined(separator: "\n") + "\n", lines[boundary...].joined(separator: "\n"))
  }

  /// `text` with its lines of the form `#key = value` and `#[section]` switched on.
  private func switchedOn(_ text: String) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      let isSwitchedOff = line.hasPrefix("#") && line.dropFirst().first.map { $0.isLetter || $0 == "[" } == true
      return String(isSwitchedOff ? line.dropFirst() : line)
    }.joined(separator: "\n")
  }

  private func input(_ text: String) -> Input {
    var input = Input(text)
    input.tokenFile = "t\n"
    return input
  }

  @Test func itIsWithoutComplaints() throws {
    #expect(try complaints(input(file)) == [])
  }

  @Test func itsDefaultsAreTheDefaults() throws {
    let (defaults, examples) = parts
    let plain = try description(input(defaults + examples))
    let explicit = try description(input(switchedOn(defaults) + examples))
    #expect(plain == explicit)
  }

  @Test func itsExamplesCanBeSwitchedOn() throws {
    #expect(try complaints(input(parts.defaults + switchedOn(parts.examples))) == [])
  }

  @Test func everyKeyIsInIt() {
    for index in KeyTable.keys.indices {
      let name = KeyTable.keys[index].name.description
      let isShown = file.split(separator: "\n").contains { line in
        line.hasPrefix("\(name) = ") || line.hasPrefix("#\(name) = ") || line.hasPrefix("# \(name) = ")
      }
      #expect(isShown, "\(name)")
    }
  }
}
