// How sensors are reported, otherwise than as they are read.

import Bytes
import HostInterface

extension SettingsLoader {
  /// How many sensors have something to say about that.
  var reportCount: Int {
    var count = 0
    for section in 0..<sections.count where hasReport(section) { count += 1 }
    return count
  }

  /// Whether a section says how a sensor is reported.
  func hasReport(_ section: Int) -> Bool {
    guard sections[section].kind == .sensor else { return false }
    for index in entries(of: section) where namedEntries[index].key.isOfReport { return true }
    return false
  }

  /// Reads how a sensor with values of `type` is reported.
  mutating func readReport(_ section: Int, _ type: ValueType, _ settings: inout Settings) -> ReportSettings {
    var report = ReportSettings()
    if let entry = winner(.filter, in: section), checkFilter(entry, type) {
      report.filter = settings.keep(bytes(entry.value))
      var reader = FilterReader()
      while let step = reader.nextChecked(in: bytes(entry.value)) {
        if step.kind == .scale || step.kind == .calibrate || step.kind == .rate { report.changesUnit = true }
      }
    }
    if let entry = winner(.unit, in: section) {
      if entry.value.count <= ConfigurationLimits.unitBytesMax, isInformation(bytes(entry.value)) {
        report.unit = settings.keep(bytes(entry.value))
      } else {
        reportFound(.error, entry, "; expected 1 to 16 bytes of text")
      }
    }
    if let entry = winner(.deadband, in: section) {
      if type != .text, Deadband(parsing: bytes(entry.value)) != nil {
        report.deadband = settings.keep(bytes(entry.value))
      } else {
        reportFound(.error, entry, "; expected a number from 0 on, per cent as in 2%, or both, for no text")
      }
    }
    if let entry = winner(.aggregate, in: section) {
      let aggregate = Aggregate.words.index(of: bytes(entry.value)).flatMap { Aggregate(rawValue: UInt8($0)) }
      if let aggregate { report.aggregate = aggregate } else { reportFound(.error, entry, Aggregate.expected) }
      if type != .number { reportForNumbersOnly(.aggregate, section) }
      if report.aggregate == .count { report.changesUnit = true }
    }
    if let entry = winner(.alarm, in: section) {
      if type != .text, AlarmBounds(parsing: bytes(entry.value)) != nil {
        report.alarm = settings.keep(bytes(entry.value))
      } else {
        reportFound(.error, entry, "; expected high NUMBER, low NUMBER below it, hysteresis NUMBER, for no text")
      }
    }
    if let entry = winner(.stale, in: section) {
      var words = FilterWords(rest: 0..<entry.value.count)
      if type == .text || !words.take(&report.stale, in: bytes(entry.value)) || !words.rest.isEmpty {
        reportFound(.error, entry, "; expected a time from 1ms to 1d, in ms, s, m, h or d, for no text")
      }
    }
    return report
  }

  /// Whether a filter can be used, with a complaint if not.
  private mutating func checkFilter(_ entry: Entry, _ type: ValueType) -> Bool {
    var reader = FilterReader()
    do throws(FilterFault) {
      while let step = try reader.next(in: bytes(entry.value)) {
        if type == .number || (type == .boolean && step.kind == .debounce) { continue }
        reportFound(.error, entry, "; expected debounce with type = boolean, and no filter with type = text")
        return false
      }
      return true
    } catch {
      reportFault(error, entry)
      return false
    }
  }

  private mutating func reportFault(_ fault: FilterFault, _ entry: Entry) {
    begin(.error, entry)
    switch fault {
    case .unknown(let range):
      addFound(entry, range)
      diagnostics.add(FilterKind.words)
      if let meant = meant(by: entry, range) {
        diagnostics.add(didYouMean: FilterKind.words.bytes.extracting(meant))
      }
    case .malformed(let kind, let range):
      addFound(entry, range)
      diagnostics.add(plain: FilterKind.forms.word(Int(kind.rawValue)))
    case .tooMany:
      diagnostics.add("found one more filter; expected at most ")
      diagnostics.add(FilterLimits.stepsMax)
    }
    diagnostics.end()
  }

  private mutating func addFound(_ entry: Entry, _ range: Range<Int>) {
    diagnostics.add("found ")
    diagnostics.add(
      quoted: Text(offset: entry.value.offset + UInt32(range.lowerBound), length: UInt32(range.count)), of: text)
    diagnostics.add("; expected ")
  }

  /// The filter whose name the first word of `range` nearly is.
  private func meant(by entry: Entry, _ range: Range<Int>) -> Range<Int>? {
    let words = bytes(entry.value)
    let end = min(words.firstIndex(of: UInt8(ascii: " "), from: range.lowerBound) ?? range.upperBound, range.upperBound)
    return FilterKind.words.nearest(to: words.extracting(range.lowerBound..<end))
  }
}

extension Key {
  /// Whether it says how a sensor is reported.
  fileprivate var isOfReport: Bool { rawValue >= Key.filter.rawValue && rawValue <= Key.unit.rawValue }
}

/// How far a value has to move to be worth an event.
public struct Deadband: BitwiseCopyable, Sendable {
  /// In the sensor's unit; 0 where any change does.
  public private(set) var absolute = Decimal(0)
  /// In hundredths of the value that was reported.
  public private(set) var percent = Decimal(0)

  /// Reads `0.5`, `2%`, or both between blanks; nil for anything else.
  public init?(parsing text: Span<UInt8>) {
    var words = FilterWords(rest: 0..<text.count)
    var wordCount = 0
    var hasPercent = false
    while let range = words.next(in: text) {
      let isPercent = text[range.upperBound - 1] == UInt8(ascii: "%")
      let end = range.upperBound - (isPercent ? 1 : 0)
      wordCount += 1
      guard let value = Decimal(parsing: text.extracting(range.lowerBound..<end)), value.significand >= 0,
        wordCount == 1 || isPercent != hasPercent
      else { return nil }
      if isPercent { percent = value } else { absolute = value }
      hasPercent = isPercent
    }
    guard wordCount == 1 || wordCount == 2 else { return nil }
  }
}

extension Settings {
  /// What a sensor is measured in; empty where that is not known: what it is said to be, or the source's unit where
  /// nothing has made another one of it.
  @_lifetime(borrow self)
  public func unit(ofSensor index: Int) -> Span<UInt8> {
    let report = Int(sensors[index].report)
    if report >= 0, !reports[report].unit.isEmpty { return bytes(reports[report].unit) }
    let isKept = report < 0 || !reports[report].changesUnit
    guard isKept, sensors[index].valueType == .number, sensors[index].scale == Decimal(1) else { return Span() }
    return sensors[index].kind.description.unit(of: bytes(sensors[index].argument))
  }
}

/// What is made of several readings.
public enum Aggregate: UInt8, Sendable, BitwiseCopyable {
  case last, min, max, mean, count, sum

  static var words: WordList { WordList("last|min|max|mean|count|sum") }
  static var expected: StaticString { "; expected last, min, max, mean, count or sum" }
  /// The word of a configuration.
  var name: StaticString {
    switch self {
    case .last: "last"
    case .min: "min"
    case .max: "max"
    case .mean: "mean"
    case .count: "count"
    case .sum: "sum"
    }
  }
}

/// Bounds beyond which there is an alarm.
public struct AlarmBounds: BitwiseCopyable, Sendable {
  /// From here on it is too high.
  public private(set) var high: Decimal?
  /// From here on it is too low.
  public private(set) var low: Decimal?
  /// How far a value has to come back for the alarm to end.
  public private(set) var hysteresis = Decimal(0)

  /// Reads `high 80 low 5 hysteresis 2`, in any order, with at least one of the bounds; nil for anything else.
  public init?(parsing text: Span<UInt8>) {
    var words = FilterWords(rest: 0..<text.count)
    while let range = words.next(in: text) {
      guard let number = words.number(in: text) else { return nil }
      switch WordList("high|low|hysteresis").index(of: text.extracting(range)) {
      case 0 where high == nil: high = number
      case 1 where low == nil: low = number
      case 2 where number.significand >= 0: hysteresis = number
      default: return nil
      }
    }
    guard high != nil || low != nil else { return nil }
    if let high, let low, !low.isLess(than: high) { return nil }
  }
}
