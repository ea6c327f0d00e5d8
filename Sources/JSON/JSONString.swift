// Strings of JSON: how text is escaped on the way out and unescaped on the way in (RFC 8259, section 7).

import Bytes

extension ByteBuffer {
  /// Appends `string` with quotes around it, escaped as far as JSON asks for; each byte of it that is not part of
  /// well-formed UTF-8 becomes U+FFFD. At most 6 bytes are appended per byte of `string`, and two quotes.
  public mutating func appendJSON(string: Span<UInt8>) {
    append(UInt8(ascii: "\""))
    appendJSON(insideString: string)
    append(UInt8(ascii: "\""))
  }

  /// Appends `string` in the same way but without quotes: for a string that is put together from parts.
  public mutating func appendJSON(insideString string: Span<UInt8>) {
    var index = 0
    var plainStart = 0
    while index < string.count {
      if index &+ 8 <= string.count {
        let special = specialBytes(UInt64(littleEndian: string.word(at: index)))
        index &+= special.trailingZeroBitCount &>> 3
        if special == 0 { continue }
      } else if string[index].isPlainInJSON {
        index &+= 1
        continue
      }
      let length = string.plainLength(at: index)
      if length == 0 {
        append(string.extracting(plainStart..<index))
        appendEscape(string[index])
        plainStart = index + 1
      }
      index += max(length, 1)
    }
    append(string.extracting(plainStart..<index))
  }

  private mutating func appendEscape(_ byte: UInt8) {
    let code: UInt8
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"): code = byte
    case UInt8(ascii: "\n"): code = UInt8(ascii: "n")
    case UInt8(ascii: "\r"): code = UInt8(ascii: "r")
    case UInt8(ascii: "\t"): code = UInt8(ascii: "t")
    case 0..<0x20:
      append("\\u00")
      return append(hexadecimal: byte)
    default: return append("\u{FFFD}")
    }
    append(UInt8(ascii: "\\"), code)
  }

  /// Appends the text that the string or key at `range` of `text` stands for.
  ///
  /// Half a surrogate pair, which the grammar allows but which no UTF-8 can stand for, becomes U+FFFD, and so does an
  /// escape that a `JSONReader` would have refused. At most as many bytes are appended as `range` has, but for the
  /// latter.
  public mutating func appendUnescaped(_ range: Range<Int>, of text: Span<UInt8>) {
    var index = range.lowerBound
    while index < range.upperBound {
      let piece = text.unescapedPiece(at: index, end: range.upperBound)
      index = piece.end
      append(piece.bytes.span.extracting(0..<piece.count))
    }
  }
}

extension Span where Element == UInt8 {
  /// How many bytes `range`, the text of a string, has without its escapes.
  @inline(never)
  public func unescapedCount(of range: Range<Int>) -> Int {
    var (index, count) = (range.lowerBound, 0)
    while index < range.upperBound {
      let piece = unescapedPiece(at: index, end: range.upperBound)
      index = piece.end
      count += piece.count
    }
    return count
  }
}

/// A word of which the lowest bit that is set is the top bit of the first byte of `word` that does not stand for itself
/// in a JSON string, or is not ASCII; 0 if there is none.
///
/// Subtracting 1 from each byte sets the top bit of a byte that was 0, and may change bytes above one that was.
/// Flipping bits makes quotation marks and reverse solidi 0.
@inline(__always)
private func specialBytes(_ word: UInt64) -> UInt64 {
  let ones: UInt64 = 0x0101_0101_0101_0101
  let quotes = (word ^ (ones &* 0x22)) &- ones
  let solidi = (word ^ (ones &* 0x5C)) &- ones
  let controls = word &- (ones &* 0x20)
  return (word | quotes | solidi | controls) & (ones &* 0x80)
}

extension UInt8 {
  /// Whether this is an ASCII character that stands for itself in a JSON string.
  fileprivate var isPlainInJSON: Bool {
    self >= 0x20 && self < 0x80 && self != UInt8(ascii: "\"") && self != UInt8(ascii: "\\")
  }
}

extension Span where Element == UInt8 {
  /// Whether the string or key of a JSON text at `range` stands for `literal`, however it is escaped.
  @inline(never)
  public func jsonString(_ range: Range<Int>, equals literal: StaticString) -> Bool {
    let expected = literal.bytes
    var matched = 0
    var index = range.lowerBound
    while index < range.upperBound {
      let piece = unescapedPiece(at: index, end: range.upperBound)
      index = piece.end
      for position in 0..<piece.count {
        guard matched < expected.count, expected[matched] == piece.bytes[position] else { return false }
        matched += 1
      }
    }
    return matched == expected.count
  }

  /// How many bytes of the character at `index` can stand in a JSON string as they are; 0 if its byte must be replaced.
  fileprivate func plainLength(at index: Int) -> Int {
    switch self[index] {
    case 0..<0x20, UInt8(ascii: "\""), UInt8(ascii: "\\"): 0
    default: utf8SequenceLength(at: index)
    }
  }

  /// What the byte or escape at `index` stands for.
  fileprivate func unescapedPiece(at index: Int, end: Int) -> UnescapedPiece {
    let byte = self[index]
    guard byte == UInt8(ascii: "\\") else { return UnescapedPiece(byte: byte, end: index + 1) }
    guard index + 1 < end else { return UnescapedPiece(scalar: 0xFFFD, end: end) }
    let code = self[index + 1]
    switch code {
    case UInt8(ascii: "b"): return UnescapedPiece(byte: 0x08, end: index + 2)
    case UInt8(ascii: "t"): return UnescapedPiece(byte: 0x09, end: index + 2)
    case UInt8(ascii: "n"): return UnescapedPiece(byte: 0x0A, end: index + 2)
    case UInt8(ascii: "f"): return UnescapedPiece(byte: 0x0C, end: index + 2)
    case UInt8(ascii: "r"): return UnescapedPiece(byte: 0x0D, end: index + 2)
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return UnescapedPiece(byte: code, end: index + 2)
    default: break
    }
    guard let unit = unicodeEscape(at: index, end: end) else { return UnescapedPiece(scalar: 0xFFFD, end: index + 2) }
    // Characters above U+FFFF are written as two escapes, a high and a low surrogate.
    if unit & 0xFC00 == 0xD800, let low = unicodeEscape(at: index + 6, end: end), low & 0xFC00 == 0xDC00 {
      return UnescapedPiece(scalar: 0x10000 + (unit & 0x3FF) << 10 + (low & 0x3FF), end: index + 12)
    }
    return UnescapedPiece(scalar: unit & 0xF800 == 0xD800 ? 0xFFFD : unit, end: index + 6)
  }

  /// The value of `\uXXXX` at `index`; nil if it is something else.
  private func unicodeEscape(at index: Int, end: Int) -> UInt32? {
    guard end - index >= 6, self[index] == UInt8(ascii: "\\"), self[index + 1] == UInt8(ascii: "u") else { return nil }
    var value: UInt32 = 0
    for position in (index + 2)..<(index + 6) {
      guard let digit = self[position].hexDigitValue else { return nil }
      value = value << 4 | UInt32(digit)
    }
    return value
  }
}

/// The UTF-8 bytes that one byte or escape stands for.
private struct UnescapedPiece {
  var bytes: InlineArray<4, UInt8> = [0, 0, 0, 0]
  var count: Int
  /// The position behind it in the escaped text.
  let end: Int

  init(byte: UInt8, end: Int) {
    bytes[0] = byte
    count = 1
    self.end = end
  }

  /// Encodes a scalar, which must not be a surrogate (RFC 3629, section 3).
  init(scalar: UInt32, end: Int) {
    self.end = end
    if scalar < 0x80 {
      count = 1
      bytes[0] = UInt8(truncatingIfNeeded: scalar)
      return
    }
    count = scalar < 0x800 ? 2 : scalar < 0x10000 ? 3 : 4
    var rest = scalar
    for position in stride(from: count - 1, to: 0, by: -1) {
      bytes[position] = 0x80 | UInt8(truncatingIfNeeded: rest & 0x3F)
      rest >>= 6
    }
    let lead: UInt8 = count == 2 ? 0xC0 : count == 3 ? 0xE0 : 0xF0
    bytes[0] = lead | UInt8(truncatingIfNeeded: rest)
  }
}
