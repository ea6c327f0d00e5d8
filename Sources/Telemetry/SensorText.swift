// What the kernel and other programs write into files, turned into exact numbers.

import Bytes
import HostInterface

/// Finds values in text. Each function reads its text once, front to back; numbers say whether they are exact as they
/// stand there, or were rounded as their digits did not fit.
public enum SensorText {
  /// The number that `text` is, with nothing but blanks and line ends around it.
  ///
  /// `N/A`, `0x2a`, `12,5` and `45000 mC` are no numbers: who took what looks like one out of them would have a value
  /// that nobody has measured.
  public static func onlyNumber(in text: Span<UInt8>) throws(ReadFailure) -> (value: Decimal, isExact: Bool) {
    var start = 0
    while start < text.count, text[start].isBlank { start &+= 1 }
    let found = try number(in: text, at: start)
    var end = found.end
    while end < text.count, text[end].isBlank { end &+= 1 }
    guard end == text.count else { throw .notUnderstood }
    return (found.value, found.isExact)
  }

  /// The number with which the value of a field begins, behind a quote perhaps. A unit, a bracket or more fields may
  /// follow, but nothing that could make another number of it: `0x2a`, `12,5`, `1.2.3`, `12:30`.
  public static func leadingNumber(in text: Span<UInt8>) throws(ReadFailure) -> (value: Decimal, isExact: Bool) {
    let start = !text.isEmpty && text[0] == UInt8(ascii: "\"") ? 1 : 0
    let (value, end, isExact) = try number(in: text, at: start)
    guard end < text.count, !text[end].isBlank else { return (value, isExact) }
    if text[end].lowercased == UInt8(ascii: "x") { throw .notUnderstood }
    guard end &+ 1 < text.count, text[end &+ 1].isDigit else { return (value, isExact) }
    switch text[end] {
    case UInt8(ascii: "'")...UInt8(ascii: "/"), UInt8(ascii: ":"), UInt8(ascii: "_"): throw .notUnderstood
    default: break
    }
    return (value, isExact)
  }

  private static func number(
    in text: Span<UInt8>, at start: Int
  ) throws(ReadFailure) -> (value: Decimal, end: Int, isExact: Bool) {
    guard start < text.count, startsNumber(in: text, at: start) else { throw .notUnderstood }
    guard let found = Decimal.parsePrefix(of: text, from: start) else { throw .outOfRange }
    return found
  }

  /// The number in column `index` of the first line, counted from 0. Columns stand between blanks.
  public static func column(_ index: Int, in text: Span<UInt8>) throws(ReadFailure) -> (value: Decimal, isExact: Bool) {
    var start = skippingBlanks(of: text, from: 0)
    for _ in 0..<index {
      while start < text.count, !text[start].isBlank { start &+= 1 }
      start = skippingBlanks(of: text, from: start)
    }
    let (value, end, isExact) = try number(in: text, at: start)
    guard end == text.count || text[end].isBlank else { throw .notUnderstood }
    return (value, isExact)
  }

  /// Where the next column begins, or the line ends.
  @inline(__always)
  private static func skippingBlanks(of text: Span<UInt8>, from start: Int) -> Int {
    var index = start
    while index < text.count, text[index] == 0x20 || text[index] == 0x09 { index &+= 1 }
    return index
  }

  /// The value of a named field: `MemFree:  123 kB`, `t=23125`, `"temp": 21.5`, `temp 21.5`.
  ///
  /// The name must stand alone: not be part of a longer word. Gives the range from the value to the end of its line.
  public static func field(_ name: Span<UInt8>, in text: Span<UInt8>) -> Range<Int>? {
    guard !name.isEmpty, name.count <= text.count else { return nil }
    for start in 0...(text.count - name.count) {
      guard text[start] == name[0], start == 0 || !isWordByte(text[start - 1]) else { continue }
      let nameEnd = start + name.count
      guard text.extracting(start..<nameEnd).equals(name) else { continue }
      if let value = fieldValueStart(in: text, from: nameEnd) {
        let end = text.firstIndex(of: UInt8(ascii: "\n"), from: value) ?? text.count
        return text.trimmed(value..<end)
      }
    }
    return nil
  }

  /// Skips a closing quote, blanks and one `:` or `=`; nil when what follows the name is more of a word.
  private static func fieldValueStart(in text: Span<UInt8>, from nameEnd: Int) -> Int? {
    var index = nameEnd
    if index < text.count, text[index] == UInt8(ascii: "\"") { index += 1 }
    let separatorStart = index
    while index < text.count, text[index] == 0x20 || text[index] == 0x09 { index += 1 }
    if index < text.count, text[index] == UInt8(ascii: ":") || text[index] == UInt8(ascii: "=") {
      index += 1
      while index < text.count, text[index] == 0x20 || text[index] == 0x09 { index += 1 }
    } else if index == separatorStart {
      return nil
    }
    return index < text.count && text[index] != UInt8(ascii: "\n") ? index : nil
  }

  /// A truth value: a number (0 is false), or one of the usual words in any case.
  public static func boolean(in text: Span<UInt8>) -> Bool? {
    let word = text.extracting(text.trimmed(0..<text.count))
    if let value = Decimal(parsing: word) { return value.significand != 0 }
    if isOne(of: ("true", "yes", "on", "high"), word) { return true }
    if isOne(of: ("false", "no", "off", "low"), word) { return false }
    return nil
  }

  private static func isOne(
    of words: (StaticString, StaticString, StaticString, StaticString), _ text: Span<UInt8>
  ) -> Bool {
    text.equalsIgnoringCase(words.0.bytes) || text.equalsIgnoringCase(words.1.bytes)
      || text.equalsIgnoringCase(words.2.bytes) || text.equalsIgnoringCase(words.3.bytes)
  }

  /// Whether a number begins here: an optional sign, and digits or, as bc(1) prints it, a point and digits.
  @inline(__always)
  private static func startsNumber(in text: Span<UInt8>, at start: Int) -> Bool {
    if text[start].isDigit { return true }
    var index = start
    if text[index] == UInt8(ascii: "-") || text[index] == UInt8(ascii: "+") { index &+= 1 }
    if index < text.count, text[index] == UInt8(ascii: ".") { index &+= 1 }
    return index < text.count && text[index].isDigit
  }

  private static func isWordByte(_ byte: UInt8) -> Bool {
    byte.isDigit || (byte.lowercased >= UInt8(ascii: "a") && byte.lowercased <= UInt8(ascii: "z"))
      || byte == UInt8(ascii: "_")
  }
}
