import Bytes
import Foundation
import JSON
import TestSupport
import Testing

@Suite struct JSONStringTests {
  private func escaped(_ bytes: [UInt8]) -> String {
    var buffer = makeBuffer(capacity: 6 * bytes.count + 2)
    buffer.appendJSON(string: bytes.span)
    let hasOverflowed = buffer.hasOverflowed
    #expect(!hasOverflowed)
    return buffer.text
  }

  private func unescaped(_ text: String) -> String {
    var buffer = makeBuffer()
    let bytes = [UInt8](text.utf8)
    buffer.appendUnescaped(0..<bytes.count, of: bytes.span)
    return buffer.text
  }

  // RFC 8259, section 7: quotation mark, reverse solidus and U+0000...U+001F must be escaped, and nothing else is.
  @Test func escapesWhatMustBeEscaped() {
    #expect(escaped([]) == "\"\"")
    #expect(escaped(Array(#"a"b\c/d"#.utf8)) == #""a\"b\\c/d""#)
    #expect(escaped(Array("\n\r\t".utf8)) == #""\n\r\t""#)
    #expect(escaped([0, 1, 8, 12, 0x1F]) == #""\u0000\u0001\u0008\u000c\u001f""#)
    #expect(escaped(Array("\u{7F}é€😀".utf8)) == "\"\u{7F}é€😀\"")
  }

  @Test func replacesWhatIsNotUTF8() {
    #expect(escaped([0x61, 0xFF, 0x62]) == "\"a\u{FFFD}b\"")
    #expect(escaped([0xE2, 0x82]) == "\"\u{FFFD}\u{FFFD}\"")
    #expect(escaped([0xC3, 0x22]) == "\"\u{FFFD}\\\"\"")
  }

  @Test func unescapesEveryForm() {
    #expect(unescaped(#"\"\\\/\b\f\n\r\t"#) == "\"\\/\u{08}\u{0C}\n\r\t")
    #expect(unescaped(#"\u0041\u00e9\u20AC\uD83D\uDE00"#) == "Aé€😀")
    #expect(unescaped(#"a\u0000b"#) == "a\0b")
    #expect(unescaped(#"\uFFFF\uFfFe"#) == "\u{FFFF}\u{FFFE}")
  }

  // Section 8.2: the grammar allows half a surrogate pair; no UTF-8 stands for it.
  @Test func replacesHalvesOfSurrogatePairs() {
    #expect(unescaped(#"\uD83D"#) == "\u{FFFD}")
    #expect(unescaped(#"\uDE00x"#) == "\u{FFFD}x")
    #expect(unescaped(#"\uD83D\u0041"#) == "\u{FFFD}A")
    #expect(unescaped(#"\uD83D\uD83D\uDE00"#) == "\u{FFFD}😀")
    #expect(unescaped(#"\uD83D\n"#) == "\u{FFFD}\n")
  }

  @Test func survivesWhatAReaderWouldRefuse() {
    #expect(unescaped(#"\"#) == "\u{FFFD}")
    #expect(unescaped(#"a\u12"#) == "a\u{FFFD}12")
    #expect(unescaped(#"\u12G4"#) == "\u{FFFD}12G4")
    #expect(unescaped(#"\q"#) == "\u{FFFD}")
  }

  @Test func everyCharacterMakesTheRoundTrip() throws {
    for value in UInt32(0)...0x10FFFF {
      guard let scalar = Unicode.Scalar(value) else { continue }
      // All of the first planes' edges; the rest in steps, for speed.
      guard value < 0x900 || value % 61 == 0 || value & 0xFFF > 0xFF0 || value & 0xFFF < 0x10 else { continue }
      let text = Array(String(Character(scalar)).utf8)
      var buffer = makeBuffer(capacity: 32)
      buffer.appendJSON(string: text.span)
      var reader = JSONReader()
      guard case .string(let range)? = try reader.next(in: buffer.span) else {
        Issue.record("U+\(String(value, radix: 16)) is not read back as a string")
        continue
      }
      var back = makeBuffer(capacity: 32)
      back.appendUnescaped(range, of: buffer.span)
      let bytes = Array(back.span)
      #expect(bytes == text, "U+\(String(value, radix: 16))")
    }
  }

  /// Escaped forms of every unit of the Basic Multilingual Plane against the standard library's UTF-16 decoder.
  @Test func unicodeEscapesAreWhatUTF16Says() {
    for unit in UInt16.min...UInt16.max {
      let hex = String(unit, radix: 16)
      let text = "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
      let expected = String(decoding: [unit], as: UTF16.self)
      guard Array(unescaped(text).utf8) == Array(expected.utf8) else {
        Issue.record("\(text)")
        return
      }
    }
  }

  @Test func agreesWithFoundationOnStrings() throws {
    var random = RandomSource(seed: 7)
    let alphabet = Array("\"\\/\u{0}\u{1F}\n\tabcé€😀\u{7F}\u{2028}".unicodeScalars)
    for _ in 0..<300 {
      var text = String.UnicodeScalarView()
      for _ in 0..<Int(random.next() % 20) { text.append(alphabet[Int(random.next() % UInt64(alphabet.count))]) }
      let original = String(text)
      let ours = escaped(Array(original.utf8))
      let theirs = try JSONSerialization.jsonObject(with: Data(ours.utf8), options: .fragmentsAllowed)
      #expect(theirs as? String == original)
    }
  }

  @Test func aFullBufferIsAnOverflowAndNothingWorse() {
    let text = [UInt8](repeating: 0x22, count: 100)
    for capacity in 0...202 {
      var buffer = makeBuffer(capacity: capacity)
      buffer.appendJSON(string: text.span)
      let hasOverflowed = buffer.hasOverflowed
      #expect(hasOverflowed == (capacity < 202))
    }
  }

  /// Byte by byte: what eight at a time are compared with.
  private func plainlyEscaped(_ bytes: [UInt8]) -> [UInt8] {
    var escaped: [UInt8] = [0x22]
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      index += 1
      switch byte {
      case 0x22, 0x5C: escaped += [0x5C, byte]
      case 0x0A: escaped += Array("\\n".utf8)
      case 0x0D: escaped += Array("\\r".utf8)
      case 0x09: escaped += Array("\\t".utf8)
      case 0..<0x20: escaped += Array("\\u00\(byte < 16 ? "0" : "")\(String(byte, radix: 16))".utf8)
      case 0x20..<0x80: escaped.append(byte)
      default:
        let length = bytes.span.utf8SequenceLength(at: index - 1)
        if length == 0 {
          escaped += Array("\u{FFFD}".utf8)
        } else {
          escaped += bytes[(index - 1)..<(index - 1 + length)]
          index += length - 1
        }
      }
    }
    return escaped + [0x22]
  }

  @Test func everyByteIsFoundAtEveryPlaceOfAWord() {
    for byte in UInt8.min...UInt8.max {
      for length in 1...17 {
        for place in 0..<length {
          var bytes = [UInt8](repeating: 0x61, count: length)
          bytes[place] = byte
          guard Array(escaped(bytes).utf8) == Array(plainlyEscaped(bytes).text.utf8) else {
            Issue.record("\(byte) at \(place) of \(length)")
            return
          }
        }
      }
    }
  }

  @Test func escapesEightBytesAtATimeAsOneByOne() {
    var random = RandomSource(seed: 41)
    let usual = Array("abc \"\\\n\u{1}\u{7F}\u{80}é€😀~!#[]{}".utf8)
    for _ in 0..<20_000 {
      let bytes = (0..<(random.next() % 40)).map { _ in
        random.next() % 8 == 0
          ? UInt8(truncatingIfNeeded: random.next())
          : random.next() % 3 == 0 ? usual[Int(random.next() % UInt64(usual.count))] : 0x61
      }
      var buffer = makeBuffer(capacity: 256)
      buffer.appendJSON(string: bytes.span)
      guard Array(buffer.span) == plainlyEscaped(bytes) else {
        Issue.record("\(bytes)")
        return
      }
    }
  }
}
