import Bytes
import TestSupport
import Testing

@Suite struct IntegerTextTests {
  private func printed(_ write: (inout ByteBuffer) -> Void) -> String {
    var buffer = makeBuffer(capacity: 64)
    write(&buffer)
    return buffer.text
  }

  @Test func printsIntegers() {
    for value in [0, 1, 9, 10, 99, 100, 4_294_967_295, 4_294_967_296, .max - 1, .max] as [UInt64] {
      #expect(printed { $0.append(decimal: value) } == "\(value)")
    }
    for value in [0, -1, 1, 10, -10, .min, .max] as [Int64] {
      #expect(printed { $0.append(decimal: value) } == "\(value)")
      #expect(printed { $0.append(decimal: Int(value)) } == "\(value)")
    }
  }

  @Test func padsWithZeros() {
    #expect(printed { $0.append(decimal: 7 as UInt64, digitsMin: 3) } == "007")
    #expect(printed { $0.append(decimal: 1234 as UInt64, digitsMin: 3) } == "1234")
    #expect(printed { $0.append(decimal: 0 as UInt64, digitsMin: 0) } == "0")
    #expect(printed { $0.append(decimal: 5 as UInt64, digitsMin: -3) } == "5")
    #expect(printed { $0.append(decimal: 5 as UInt64, digitsMin: 99) } == "00000000000000000005")
    #expect(printed { $0.append(decimal: .max as UInt64, digitsMin: 20) } == "18446744073709551615")
  }

  @Test func printsHexadecimal() {
    #expect(
      printed { for byte in [0, 9, 0x0A, 0x9F, 0xFF] as [UInt8] { $0.append(hexadecimal: byte) } } == "00090a9fff")
  }

  @Test func parsesUnsignedIntegers() {
    func parse(_ text: String) -> UInt64? { parseUnsigned([UInt8](text.utf8).span) }
    #expect(parse("0") == 0)
    #expect(parse("007") == 7)
    #expect(parse("18446744073709551615") == .max)
    for text in [
      "", "+1", "-1", " 1", "1 ", "1.0", "18446744073709551616", "18446744073709551620", "99999999999999999999", "1a",
    ] {
      #expect(parse(text) == nil, "\(text)")
    }
    #expect(parse(String(repeating: "0", count: 1000) + "1") == 1)
  }

  @Test func classifiesEveryByte() {
    for byte in UInt8.min...UInt8.max {
      let scalar = Unicode.Scalar(byte)
      #expect(byte.isDigit == ("0"..."9").contains(scalar))
      #expect(byte.isBlank == [" ", "\t", "\n", "\r"].contains(scalar))
      #expect(byte.lowercased == (("A"..."Z").contains(scalar) ? byte + 32 : byte))
      #expect(byte.hexDigitValue == (byte < 0x80 ? Character(scalar).hexDigitValue.map(UInt8.init) : nil))
    }
  }
}

@Suite struct SpanTextTests {
  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test func literalsAreTheirBytes() {
    // A single character may be stored as a scalar instead of a pointer; it must make no difference.
    for (literal, text) in [("", ""), ("x", "x"), ("é", "é"), ("😀", "😀"), ("abc", "abc")] as [(StaticString, String)] {
      #expect(Array(literal.bytes) == bytes(text))
    }
    #expect(("abc" as StaticString).isSameText(as: "abc"))
    #expect(!("abc" as StaticString).isSameText(as: "abd"))
    #expect(!("abc" as StaticString).isSameText(as: "ab"))
    #expect(("" as StaticString).isSameText(as: ""))
  }

  @Test func comparesAndSearches() {
    let text = bytes("key = Value")
    #expect(text.span.equals("key = Value") == true)
    #expect(text.span.equals("key = value") == false)
    #expect(text.span.equalsIgnoringCase(bytes("KEY = vALUE").span) == true)
    #expect(text.span.equalsIgnoringCase(bytes("KEY = vALU").span) == false)
    #expect(bytes("[").span.equalsIgnoringCase(bytes("{").span) == false, "only letters have a case")
    #expect(text.span.starts(with: "key") == true)
    #expect(text.span.starts(with: "") == true)
    #expect(text.span.starts(with: "key = Value2") == false)
    #expect(bytes("").span.starts(with: "a") == false)
    #expect(text.span.firstIndex(of: 0x3D) == 4)
    #expect(text.span.firstIndex(of: 0x3D, from: 4) == 4)
    #expect(text.span.firstIndex(of: 0x3D, from: 5) == nil)
    #expect(text.span.firstIndex(of: 0x3D, from: 99) == nil)
  }

  @Test func trimsBlanksAtBothEnds() {
    let text = bytes(" \t a b \r\n")
    #expect(text.span.trimmed(0..<text.count) == 3..<6)
    #expect(text.span.trimmed(0..<3).isEmpty)
    #expect(text.span.trimmed(4..<4) == 4..<4)
  }

  @Test func readsWords() {
    let text = Array(UInt8(0)...15)
    for index in 0...8 {
      let expected = (0..<8).reduce(UInt64(0)) { $0 | UInt64(text[index + $1]) << UInt64(8 * $1) }
      #expect(text.span.word(at: index) == UInt64(littleEndian: expected))
    }
  }
}

/// RFC 3629, section 4, with the standard library's validator as reference.
@Suite struct UTF8Tests {
  /// The first of `sequences` about which we and the standard library disagree.
  private func disputed(_ sequences: some Sequence<[UInt8]>) -> [UInt8]? {
    sequences.first { bytes in
      (bytes.span.firstInvalidUTF8() == nil) != (String(validating: bytes, as: UTF8.self) != nil)
    }
  }

  @Test func everySequenceOfOneAndTwoBytes() {
    for first in UInt8.min...UInt8.max {
      #expect(disputed([[first]]) == nil)
      #expect(disputed((UInt8.min...UInt8.max).lazy.map { [first, $0] }) == nil)
    }
  }

  @Test func sequencesOfThreeAndFourBytesAtAllBoundaries() {
    let edges: [UInt8] = [0x00, 0x41, 0x7F, 0x80, 0x81, 0x8F, 0x90, 0x91, 0x9F, 0xA0, 0xA1, 0xBF, 0xC0, 0xC2, 0xFF]
    for first in UInt8.min...UInt8.max {
      for second in edges {
        #expect(disputed(edges.lazy.map { [first, second, $0] }) == nil)
        guard first >= 0xE0 else { continue }
        for third in edges { #expect(disputed(edges.lazy.map { [first, second, third, $0] }) == nil) }
      }
    }
  }

  @Test func everyScalarIsValidAndHasItsLength() {
    let wrong = (UInt32(0)...0x10FFFF).lazy.compactMap(Unicode.Scalar.init).first { scalar in
      let bytes = Array(UTF8.encode(scalar) ?? .init())
      return bytes.span.utf8SequenceLength(at: 0) != bytes.count
    }
    #expect(wrong == nil)
  }

  @Test func tellsWhereTheFirstFaultIs() {
    #expect(Array(text: "aé€😀").span.firstInvalidUTF8() == nil)
    #expect((Array(text: "aé€") + [0xFF]).span.firstInvalidUTF8() == 6)
    #expect((Array(text: "aé") + [0xE2, 0x82]).span.firstInvalidUTF8() == 3)
    #expect((Array(text: "a") + [0xED, 0xA0, 0x80, 0x61]).span.firstInvalidUTF8() == 1, "a surrogate")
    #expect(([0xC0, 0x80] as [UInt8]).span.firstInvalidUTF8() == 0, "an overlong NUL")
  }
}
