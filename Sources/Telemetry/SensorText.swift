// What the kernel and other programs write into files, turned into exact numbers.

import Bytes

/// Finds values in text. Each function reads its text once, front to back.
public enum SensorText {
  /// The first number anywhere in `text`; a sign counts only directly before the digits.
  public static func firstNumber(in text: Span<UInt8>, from start: Int = 0) -> Decimal? {
    number(in: text, from: start, skipping: 0, staysInLine: false)
  }

  /// The number behind `skipping` others between `start` and the end of its line: columns of a table.
  public static func column(_ skipping: Int, in text: Span<UInt8>, from start: Int = 0) -> Decimal? {
    number(in: text, from: start, skipping: skipping, staysInLine: true)
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

  private static func number(
    in text: Span<UInt8>, from start: Int, skipping: Int, staysInLine: Bool
  ) -> Decimal? {
    var index = start
    var toSkip = skipping
    while index < text.count {
      guard startsNumber(in: text, at: index) else {
        if staysInLine, text[index] == UInt8(ascii: "\n") { return nil }
        index += 1
        continue
      }
      // A number too large for a decimal still ends where its digits do.
      guard let parsed = Decimal.parsePrefix(of: text, from: index) else { return nil }
      if toSkip == 0 { return parsed.value }
      toSkip -= 1
      index = parsed.end
    }
    return nil
  }

  /// Whether a number begins here: an optional sign, and digits or, as bc(1) prints it, a point and digits. A point
  /// behind a digit separates levels of a version.
  @inline(__always)
  private static func startsNumber(in text: Span<UInt8>, at start: Int) -> Bool {
    if text[start].isDigit { return true }
    var index = start
    if text[index] == UInt8(ascii: "-") || text[index] == UInt8(ascii: "+") { index += 1 }
    if index < text.count, text[index] == UInt8(ascii: "."), index == 0 || !text[index - 1].isDigit { index += 1 }
    return index < text.count && text[index].isDigit
  }

  private static func isWordByte(_ byte: UInt8) -> Bool {
    byte.isDigit || (byte.lowercased >= UInt8(ascii: "a") && byte.lowercased <= UInt8(ascii: "z"))
      || byte == UInt8(ascii: "_")
  }
}
