import Bytes
import Foundation
import HostInterface
import Telemetry
import TestSupport
import Testing

@testable import AgentConfiguration

/// Values and what a filter makes of them, computed by hand.
private struct FilterCase: CustomTestStringConvertible, Sendable {
  let filter: String
  /// Seconds and value of each reading; readings that fail are not among them, as no filter sees them.
  let readings: [(time: Double, value: String)]
  /// What comes out; nil where nothing does.
  let expected: [String?]

  var testDescription: String { filter }

  /// Readings a second apart.
  init(_ filter: String, _ values: [String], _ expected: [String?]) {
    self.init(filter, at: values.enumerated().map { (Double($0.offset), $0.element) }, expected)
  }

  init(_ filter: String, at readings: [(Double, String)], _ expected: [String?]) {
    self.filter = filter
    self.readings = readings.map { (time: $0.0, value: $0.1) }
    self.expected = expected
  }

  static let all = [
    FilterCase("scale 0.1", ["0", "-5", "12.34"], ["0", "-0.5", "1.234"]),
    FilterCase("offset -2", ["0", "1.5"], ["-2", "-0.5"]),
    // 1 → 10, 3 → 20, 5 → 0: along the lines between, and beyond them along the outer ones.
    FilterCase(
      "calibrate 1 10 3 20 5 0", ["1", "2", "3", "4", "5", "0", "6", "2.5"],
      ["10", "15", "20", "10", "0", "5", "-10", "17.5"]),
    FilterCase("calibrate 0 0 3 1", ["1", "2", "-1"], ["0.333333333", "0.666666667", "-0.333333333"]),
    // Of two and of four values the lower one in the middle; a peak never gets through.
    FilterCase("median 3", ["5", "9", "7", "100", "6"], ["5", "5", "7", "9", "7"]),
    FilterCase("median 5", ["1", "2", "3", "4", "-50", "1e6"], ["1", "1", "2", "2", "2", "3"]),
    FilterCase("median 3", ["2", "2", "1"], ["2", "2", "2"]),
    FilterCase("average 2", ["1", "2", "6", "6"], ["1", "1.5", "4", "6"]),
    FilterCase("average 3", ["1", "0", "0", "-1"], ["1", "0.5", "0.333333333", "-0.333333333"]),
    FilterCase("clamp 0 100", ["-0.1", "0", "55.5", "100", "100.01"], ["0", "0", "55.5", "100", "100"]),
    FilterCase("round 1", ["0.05", "-0.05", "0.149", "12"], ["0.1", "-0.1", "0.1", "12"]),
    FilterCase("delta", ["100", "103", "103", "101.5"], [nil, "3", "0", "-1.5"]),
    // By the real time between two readings, also where one between them failed or came late.
    FilterCase("rate 1s", at: [(0, "10"), (1, "30"), (3, "40"), (3.5, "40")], [nil, "20", "5", "0"]),
    FilterCase("rate 1m", at: [(0, "0"), (10, "1")], [nil, "6"]),
    FilterCase("rate 1s", at: [(0, "0"), (3, "1")], [nil, "0.333333333"]),
    // Two readings at the same moment say nothing.
    FilterCase("rate 1s", at: [(1, "0"), (1, "7"), (2, "9")], [nil, nil, "2"]),
    // Set back to 12: no value, then on from there.
    FilterCase("rate 1s", ["1000000", "12", "15"], [nil, nil, "3"]),
    // Around 16 bits: 65533 → 5 are 8 in 10 s. 32 bits: 1000000 → 12 would be 4293967308, so it was set back.
    FilterCase("rate 1s 16", at: [(0, "65533"), (10, "5")], [nil, "0.8"]),
    FilterCase("rate 1s 32", at: [(0, "1000000"), (10, "12"), (11, "14")], [nil, nil, "2"]),
    FilterCase("rate 1s 32", at: [(0, "4294967295"), (1, "0")], [nil, "1"]),
    // Set back from 3000000000 looks like going around; a highest rate tells them apart.
    FilterCase("rate 1s 32", at: [(0, "3000000000"), (10, "5")], [nil, "129496730.1"]),
    FilterCase("rate 1s 32 1000000", at: [(0, "3000000000"), (10, "5"), (11, "6")], [nil, nil, "1"]),
    FilterCase("rate 1s 32 100", ["0", "100", "201", "202"], [nil, "100", nil, "1"]),
    FilterCase("rate 1s", ["9223372036854775806", "9223372036854775807"], [nil, "1"]),
    FilterCase(
      "debounce 2s", at: [(0, "0"), (1, "1"), (2, "1"), (2.9, "1"), (3, "1"), (4, "0"), (5, "1"), (6, "0"), (8, "0")],
      ["0", "0", "0", "0", "1", "1", "1", "1", "0"]),
    FilterCase("debounce 1s", at: [(0, "5"), (1, "6"), (2, "7"), (3, "7")], ["5", "5", "5", "7"]),
    // One behind the other.
    FilterCase(
      "median 3, scale 2, offset 1 , clamp 0 12,round 0", ["1", "9", "2", "3", "40"], ["3", "3", "5", "7", "7"]),
    FilterCase("delta, average 2", ["1", "2", "5"], [nil, "1", "2"]),
  ]
}

/// Puts the readings of a case through its filter.
private func outcome(_ filterCase: FilterCase) throws -> [String?] {
  var arena = makeArena()
  let text = Array(filterCase.filter.utf8)
  var needs = FilterNeeds()
  needs.add(text.span)
  var filters = Filters(needs, in: &arena)
  filters.append(text.span)
  return try filterCase.readings.map { reading in
    let value = try #require(decimal(reading.value))
    let now = Instant(milliseconds: Int64(reading.time * 1000))
    return try filters.apply(value, from: 0, to: filters.stepCount, at: now).map { formatted($0) }
  }
}

@Suite struct FilterTests {
  @Test(arguments: FilterCase.all)
  private func makesWhatWasComputedByHand(_ filterCase: FilterCase) throws {
    #expect(try outcome(filterCase) == filterCase.expected)
  }

  @Test func filtersOfSeveralSensorsKeepTheirOwnValues() throws {
    var arena = makeArena()
    let texts = ["average 2, delta", "calibrate 0 0 1 10", "average 3"].map { Array($0.utf8) }
    var needs = FilterNeeds()
    for text in texts { needs.add(text.span) }
    var filters = Filters(needs, in: &arena)
    for text in texts { filters.append(text.span) }
    var found: [String] = []
    for value: Int64 in [2, 4, 12] {
      for (first, end) in [(0, 2), (2, 3), (3, 4)] {
        let value = try filters.apply(Decimal(value), from: first, to: end, at: Instant(milliseconds: value))
        found.append(value.map { formatted($0) } ?? "-")
      }
    }
    #expect(found == ["-", "20", "2", "1", "40", "3", "5", "120", "6"])
  }

  @Test func whatHasNoRoomIsAFailure() throws {
    for filter in ["scale 1e36", "calibrate 0 0 1 1e36"] {
      let filterCase = FilterCase(filter, ["1", "1e36"], [])
      #expect(throws: ReadFailure.outOfRange, "\(filter)") { try outcome(filterCase) }
    }
  }

  @Test(arguments: [
    ("5", "100", ["104.9", "95.1"], ["105", "95", "106"]),
    ("0", "1.5", ["1.50"], ["1.51", "-1.5"]),
    ("2%", "200", ["203.99", "196.01"], ["204", "196"]),
    ("2%", "-200", ["-203.99"], ["-204", "200"]),
    // Near 0 a share of the value is nothing: any change is one, unless there is a least distance besides.
    ("2%", "0", ["0"], ["0.001"]),
    ("2% 0.5", "0", ["0.499"], ["0.5", "-0.5"]),
    ("0.5 2%", "100", ["101.99"], ["102"]),
    ("1e30", "1e36", ["1e36"], ["-1e36"]),
  ])
  func movesAsFarAsTheDeadband(text: String, reported: String, near: [String], far: [String]) throws {
    let bytes = Array(text.utf8)
    guard let deadband = Deadband(parsing: bytes.span) else {
      Issue.record("not understood")
      return
    }
    let reported = try #require(decimal(reported))
    for (values, expected) in [(near, false), (far, true)] {
      for value in values {
        let isExceeded = deadband.isExceeded(from: reported, to: try #require(decimal(value)))
        #expect(isExceeded == expected, "\(value)")
      }
    }
  }

  /// The README's table has a row for each filter, as it is written.
  @Test func theReadmeHasEachFilter() throws {
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let readme = try String(contentsOf: package.appendingPathComponent("README.md"), encoding: .utf8)
    let section = try #require(readme.components(separatedBy: "\n### Filters\n").last)
    let rows = section.components(separatedBy: "\n## ")[0].components(separatedBy: "\n")
      .filter { $0.hasPrefix("| `") && $0.components(separatedBy: " | ").count == 5 }
      .map { $0.components(separatedBy: " | ") }
    #expect(rows.map { $0[0].dropFirst(2).replacingOccurrences(of: "`", with: "") } == filterForms)
  }

  private var filterForms: [String] {
    let forms = FilterKind.forms
    return String(decoding: Array(forms.bytes), as: UTF8.self).components(separatedBy: "|")
  }
}
