// Lines of an INI text. What they mean is not decided here.

import Bytes

/// What a line is. Ranges and offsets are of the whole text.
enum INILine: Equatable {
  /// A comment, or nothing.
  case empty
  /// `[kind name]`; the name may be empty. `surplus` is where text begins behind it, which there must not be.
  case heading(kind: Range<Int>, name: Range<Int>, surplus: Int?)
  /// `key = value`, both without blanks at their ends; the value may be empty.
  case entry(key: Range<Int>, value: Range<Int>)
  /// None of these, and where that shows.
  case fault(INIFault, at: Int)
}

/// Why a line is not understood.
enum INIFault: Equatable {
  case noSeparator
  case noKey
  case headingUnclosed
  case headingEmpty
  case lineTooLong
  case notUTF8
  /// The whole text is in UTF-16: nothing else is read of it.
  case isUTF16
  case controlByte
  /// Bytes that are no text, in a comment.
  case commentNotText
}

/// Reads an INI text line by line. Lines end in LF or CRLF; a byte order mark in front is skipped.
///
/// Only the first `=` separates, and there are no comments behind values: tokens contain `=`, `#` and `;`. Certificates
/// between their lines of hyphens (RFC 7468) may stand anywhere: `ca-file` may name the configuration itself.
struct INIReader {
  /// The number of the line read last, from 1.
  private(set) var lineNumber: UInt32 = 0
  private var lineStart = 0
  private var nextStart = 0
  private var isInCertificate = false

  /// Reads one line; nil behind the last.
  mutating func next(in text: Span<UInt8>) -> INILine? {
    if lineNumber == 0 {
      if text.starts(with: "\u{FEFF}") { nextStart = 3 }
      if text.isUTF16 {
        lineNumber = 1
        nextStart = text.count
        return .fault(.isUTF16, at: 0)
      }
    }
    guard nextStart < text.count else {
      guard isInCertificate else { return nil }
      // Without its last line it has swallowed the rest.
      isInCertificate = false
      return .fault(.noSeparator, at: lineStart)
    }
    lineStart = nextStart
    lineNumber += 1
    var end = text.firstIndex(of: UInt8(ascii: "\n"), from: lineStart) ?? text.count
    nextStart = end + 1
    if end > lineStart, text[end - 1] == UInt8(ascii: "\r") { end -= 1 }
    guard end - lineStart <= ConfigurationLimits.lineBytesMax else {
      return .fault(.lineTooLong, at: lineStart + ConfigurationLimits.lineBytesMax)
    }
    let line = text.trimmed(lineStart..<end)
    let isEdge = text.extracting(line).starts(with: "-----")
    if isEdge || isInCertificate {
      isInCertificate = isInCertificate != isEdge
      return .empty
    }
    return classify(line, in: text)
  }

  /// The column of the byte at `offset` of the line read last, in characters from 1.
  func column(of offset: Int, in text: Span<UInt8>) -> UInt16 {
    var column: UInt16 = 1
    var index = lineStart
    while index < min(offset, text.count) {
      if text[index] & 0xC0 != 0x80 { column += 1 }
      index += 1
    }
    return column
  }

  private func classify(_ line: Range<Int>, in text: Span<UInt8>) -> INILine {
    guard let first = line.first else { return .empty }
    let isComment = text[first] == UInt8(ascii: "#") || text[first] == UInt8(ascii: ";")
    if let offset = firstNonText(line, in: text) {
      if isComment { return .fault(.commentNotText, at: offset) }
      return .fault(text[offset] < 0x80 ? .controlByte : .notUTF8, at: offset)
    }
    if isComment { return .empty }
    if text[first] == UInt8(ascii: "[") { return heading(line, in: text) }
    let content = text.extracting(0..<line.upperBound)
    guard let separator = content.firstIndex(of: UInt8(ascii: "="), from: first) else {
      return .fault(.noSeparator, at: first)
    }
    let key = text.trimmed(first..<separator)
    guard !key.isEmpty else { return .fault(.noKey, at: first) }
    return .entry(key: key, value: text.trimmed((separator + 1)..<line.upperBound))
  }

  private func heading(_ line: Range<Int>, in text: Span<UInt8>) -> INILine {
    let content = text.extracting(0..<line.upperBound)
    guard let bracket = content.firstIndex(of: UInt8(ascii: "]"), from: line.lowerBound) else {
      return .fault(.headingUnclosed, at: line.lowerBound)
    }
    let inside = text.trimmed((line.lowerBound + 1)..<bracket)
    guard !inside.isEmpty else { return .fault(.headingEmpty, at: line.lowerBound) }
    var kindEnd = inside.lowerBound
    while kindEnd < inside.upperBound, !text[kindEnd].isBlank { kindEnd += 1 }
    let surplus = text.trimmed((bracket + 1)..<line.upperBound)
    return .heading(
      kind: inside.lowerBound..<kindEnd, name: text.trimmed(kindEnd..<inside.upperBound),
      surplus: surplus.isEmpty ? nil : surplus.lowerBound)
  }

  /// Where `line` first has a control character other than a tab, or a byte that is no UTF-8.
  private func firstNonText(_ line: Range<Int>, in text: Span<UInt8>) -> Int? {
    let content = text.extracting(0..<line.upperBound)
    var index = line.lowerBound
    while index < content.count {
      // Mostly there are eight letters at once.
      while index + 8 <= content.count, content.word(at: index).isVisibleASCII { index += 8 }
      guard index < content.count else { return nil }
      // The last ones with some of those before them.
      let last = content.count - 8
      if last >= line.lowerBound, last < index, content.word(at: last).isVisibleASCII { return nil }
      let byte = content[index]
      let length = content.utf8SequenceLength(at: index)
      if length == 0 || byte == 0x7F || (byte < 0x20 && byte != 0x09) { return index }
      index += length
    }
    return nil
  }
}

extension UInt64 {
  /// Whether each of its bytes is an ASCII character from blank to `~`.
  fileprivate var isVisibleASCII: Bool {
    let ones: UInt64 = 0x0101_0101_0101_0101
    // The top bit of a byte remains where it was set, where the byte is below a blank, or where it is 0x7F. Borrows and
    // carries reach other bytes only from such ones.
    return (self | (self &- ones * 0x20) | (self &+ ones)) & (ones << 7) == 0
  }
}

extension Span where Element == UInt8 {
  /// Whether this is text in UTF-16: a byte order mark of that form, or ASCII with zeros in between.
  fileprivate var isUTF16: Bool {
    guard count > 1 else { return false }
    let mark = UInt16(self[0]) << 8 | UInt16(self[1])
    return mark == 0xFEFF || mark == 0xFFFE || (mark & 0xFF == 0) != (mark >> 8 == 0)
  }
}
