// What is wrong with a configuration, in words for the person who wrote it. All of it is collected in one run, in
// memory of fixed size; what does not fit is counted.

import Bytes

/// How bad it is.
public enum Severity: UInt8, Sendable, BitwiseCopyable {
  /// The configuration cannot be used.
  case error
  /// It can be used, but is probably not what was meant.
  case warning
}

/// Where something was said: a line and column of a text, an environment variable or a flag.
struct Place: Equatable, BitwiseCopyable {
  /// An index of the table of origins.
  let origin: UInt8
  /// In characters from 1; 0 without a line.
  let column: UInt16
  /// From 1; 0 for an origin as a whole.
  let line: UInt32

  func isBefore(_ other: Place) -> Bool {
    if origin != other.origin { return origin < other.origin }
    if line != other.line { return line < other.line }
    return column < other.column
  }
}

/// Complaints about a configuration, ordered by place once it is finished.
///
/// Each is one line without a line feed: `FILE:LINE:COLUMN: error: port: found "x"; expected …`, with the name of the
/// environment variable or flag in place of file, line and column where the value came from there. Secrets are never
/// part of it.
public struct Diagnostics: ~Copyable {
  private struct Line: BitwiseCopyable {
    let place: Place
    let severity: Severity
    let text: Text
  }

  private var text: ByteBuffer
  private var lines: FixedArray<Line>
  private var originNames: ByteBuffer
  private var origins: FixedArray<Text>
  /// The line being written: its place, severity and start; nil when it has no room.
  private var open: Line?

  /// All errors, kept or not.
  public private(set) var errorCount = 0
  /// All warnings, kept or not.
  public private(set) var warningCount = 0
  /// The errors whose place is a flag of the command line.
  private var flagErrorCount = 0
  /// Whether what is merely doubtful counts as an error. To be said before anything else.
  public var isStrict = false

  static var byteCount: Int {
    ConfigurationLimits.diagnosticBytesMax + 4096
      + ConfigurationLimits.diagnosticsMax * MemoryLayout<Line>.stride
      + ConfigurationLimits.originsMax * MemoryLayout<Text>.stride
  }

  init(in arena: inout Arena) {
    text = ByteBuffer(
      capacity: ConfigurationLimits.diagnosticBytesMax, for: "configuration", in: &arena)
    lines = FixedArray<Line>(
      capacity: ConfigurationLimits.diagnosticsMax, for: "configuration", in: &arena)
    originNames = ByteBuffer(capacity: 4096, for: "configuration", in: &arena)
    origins = FixedArray<Text>(
      capacity: ConfigurationLimits.originsMax, for: "configuration", in: &arena)
  }

  /// How many complaints are kept.
  public var count: Int { lines.count }
  /// How many more there were.
  public var surplusCount: Int { errorCount + warningCount - lines.count }
  /// Whether there are errors, and all of them are the command line's.
  public var blameCommandLine: Bool { errorCount > 0 && flagErrorCount == errorCount }
  /// How bad the complaint at `index` is.
  public func severity(at index: Int) -> Severity { lines[index].severity }

  /// The complaint at `index`, one line without a line feed.
  @_lifetime(borrow self)
  public func text(at index: Int) -> Span<UInt8> {
    let span = text.span.extracting(lines[index].text.range)
    return _overrideLifetime(span, borrowing: self)
  }

  /// Appends the sum: `2 errors, 1 warning`, and how many of them are not shown.
  public func appendSummary(into buffer: inout ByteBuffer) {
    buffer.append(decimal: errorCount)
    buffer.append(errorCount == 1 ? " error, " : " errors, ")
    buffer.append(decimal: warningCount)
    buffer.append(warningCount == 1 ? " warning" : " warnings")
    guard surplusCount > 0 else { return }
    buffer.append(" (")
    buffer.append(decimal: surplusCount)
    buffer.append(" more not shown)")
  }

  /// The index of an origin's name, which is remembered. When the table is full, that of the last one.
  mutating func origin(named name: Span<UInt8>) -> UInt8 {
    for index in 0..<origins.count where originNames.bytes(of: origins[index]).equals(name) {
      return UInt8(index)
    }
    let shown = name.extracting(0..<min(name.count, 255))
    let kept = Text(offset: UInt32(originNames.count), length: UInt32(shown.count))
    guard shown.count <= originNames.freeCount, origins.append(kept) else { return UInt8(max(origins.count - 1, 0)) }
    originNames.append(shown)
    return UInt8(origins.count - 1)
  }

  private func isFlag(_ origin: UInt8) -> Bool {
    Int(origin) < origins.count && originNames.bytes(of: origins[Int(origin)]).starts(with: "--")
  }

  // MARK: Writing one

  @inline(never)
  mutating func begin(_ least: Severity, at place: Place) {
    let severity = isStrict ? .error : least
    switch severity {
    case .error:
      errorCount += 1
      if isFlag(place.origin) { flagErrorCount += 1 }
    case .warning: warningCount += 1
    }
    guard lines.count < lines.capacity else { return }
    open = Line(place: place, severity: severity, text: Text(offset: UInt32(text.count), length: 0))
    add(place: place)
    add(severity == .error ? ": error: " : ": warning: ")
  }

  @inline(never)
  mutating func add(_ literal: StaticString) {
    guard open != nil else { return }
    text.append(literal)
  }

  @inline(never)
  mutating func add(_ number: Int) {
    guard open != nil else { return }
    text.append(decimal: number)
  }

  @inline(never)
  mutating func add(_ span: TimeSpan) {
    guard open != nil else { return }
    text.append(duration: span)
  }

  @inline(never)
  mutating func add(size: Int) {
    guard open != nil else { return }
    text.append(size: size)
  }

  @inline(never)
  mutating func add(place: Place) {
    guard open != nil else { return }
    if Int(place.origin) < origins.count {
      text.append(origins[Int(place.origin)], of: originNames)
    }
    guard place.line > 0 else { return }
    text.append(UInt8(ascii: ":"))
    text.append(decimal: Int(place.line))
    text.append(UInt8(ascii: ":"))
    text.append(decimal: Int(place.column))
  }

  /// Adds a valid name as it is.
  @inline(never)
  mutating func add(plain name: Text, of text: borrowing ByteBuffer) {
    add(plain: text.bytes(of: name))
  }

  /// Adds a value, quoted and cut.
  @inline(never)
  mutating func add(quoted value: Text, of text: borrowing ByteBuffer) {
    add(quoted: text.bytes(of: value))
  }

  /// Adds known words as they are.
  @inline(never)
  mutating func add(plain bytes: Span<UInt8>) {
    guard open != nil else { return }
    text.append(bytes)
  }

  /// Adds the words of a list, as in `a, b or c`, or with a prefix `x:a, x:b or x:c`.
  @inline(never)
  mutating func add(_ words: WordList, prefix: StaticString = "") {
    var start = 0
    while let range = words.range(from: start) {
      let isLast = range.upperBound == words.bytes.count
      if start > 0 { add(isLast ? " or " : ", ") }
      if prefix.utf8CodeUnitCount > 0 {
        add(prefix)
        add(":")
      }
      add(plain: words.bytes.extracting(range))
      start = range.upperBound + 1
    }
  }

  /// Adds text from outside, quoted, without control characters, and cut when it is long.
  @inline(never)
  mutating func add(quoted bytes: Span<UInt8>) {
    guard open != nil else { return }
    text.append(UInt8(ascii: "\""))
    var index = 0
    while index < bytes.count {
      let length = max(bytes.utf8SequenceLength(at: index), 1)
      guard index + length <= ConfigurationLimits.quotedBytesMax else {
        text.append("…")
        break
      }
      appendVisible(bytes.extracting(index..<(index + length)))
      index += length
    }
    text.append(UInt8(ascii: "\""))
  }

  /// One character: itself, or `\xNN` when it cannot be shown.
  private mutating func appendVisible(_ character: Span<UInt8>) {
    let first = character[0]
    if character.count == 1, first < 0x20 || first >= 0x7F || first == UInt8(ascii: "\"") {
      text.append("\\x")
      text.append(hexadecimal: first)
    } else {
      text.append(character)
    }
  }

  @inline(never)
  mutating func end() {
    guard let line = open else { return }
    open = nil
    let start = Int(line.text.offset)
    guard !text.hasOverflowed else {
      text.truncate(to: start)
      return
    }
    let kept = Text(offset: line.text.offset, length: UInt32(text.count - start))
    _ = lines.append(Line(place: line.place, severity: line.severity, text: kept))
  }

  /// Orders the complaints by place; those of one place stay in the order in which they were found.
  mutating func sort() {
    for index in lines.span.indices.dropFirst() {
      let line = lines[index]
      var position = index
      while position > 0, line.place.isBefore(lines[position - 1].place) {
        lines[position] = lines[position - 1]
        position -= 1
      }
      lines[position] = line
    }
  }
}
