import Bytes
import JSON
import TestSupport
import Testing

/// The tokens of `text` in one line: punctuation as it is, `key:`, `'string'`, numbers and words as written; an error
/// ends it as `!kind@offset`.
func trace(_ text: String) -> String { trace([UInt8](text.utf8)) }

func trace(_ bytes: [UInt8]) -> String {
  var reader = JSONReader()
  var pieces: [String] = []
  func raw(_ range: Range<Int>) -> String { Array(bytes[range]).text }
  do throws(JSONError) {
    while let token = try reader.next(in: bytes.span) {
      switch token {
      case .beginObject: pieces.append("{")
      case .endObject: pieces.append("}")
      case .beginArray: pieces.append("[")
      case .endArray: pieces.append("]")
      case .key(let range): pieces.append(raw(range) + ":")
      case .string(let range): pieces.append("'" + raw(range) + "'")
      case .number(let range): pieces.append(raw(range))
      case .boolean(let value): pieces.append(value ? "true" : "false")
      case .null: pieces.append("null")
      }
    }
  } catch {
    pieces.append("!\(error.kind)@\(error.offset)")
  }
  return pieces.joined(separator: " ")
}

@Suite struct JSONReaderTests {
  @Test func readsTheExamplesOfRFC8259Section13() {
    #expect(
      trace(#"{"Image":{"Width":800,"Title":"View from 15th Floor","Animated":false,"IDs":[116,943,234,38793]}}"#)
        == "{ Image: { Width: 800 Title: 'View from 15th Floor' Animated: false IDs: [ 116 943 234 38793 ] } }")
    #expect(
      trace(#"[{"Latitude":37.7668,"Longitude":-122.3959},{}]"#)
        == "[ { Latitude: 37.7668 Longitude: -122.3959 } { } ]")
    #expect(trace(#""Hello world!""#) == "'Hello world!'")
    #expect(trace("42") == "42")
    #expect(trace("true") == "true")
    #expect(trace("null") == "null")
  }

  // Section 2: blanks are space, tab, line feed, carriage return, and allowed around the six structural characters.
  @Test func allowsTheFourBlanksAndNoOther() {
    #expect(trace(" \t\r\n[ 1 \t,\n2\r] \n") == "[ 1 2 ]")
    #expect(trace("\n{ \"a\" : \t1 , \"b\" : { } }\r") == "{ a: 1 b: { } }")
    #expect(trace("[\u{0B}1]") == "[ !unexpectedByte@1")
    #expect(trace("[1\u{0C}]") == "[ 1 !unexpectedByte@2")
    #expect(trace("[1\u{A0}]") == "[ 1 !unexpectedByte@2")
    // Section 8.1: a byte order mark may be refused.
    #expect(trace("\u{FEFF}1") == "!unexpectedByte@0")
  }

  @Test(arguments: [
    "", " ", "[", "{", "[1", "[1,", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "\"", "\"a", "\"\\", "\"\\u",
    "\"\\u00e", "t", "tru", "fals", "nul", "-", "1.", "1e", "1e+", "[[", "[{",
  ])
  func reportsTheEndAtTheLengthOfTheText(_ text: String) {
    #expect(trace(text).hasSuffix("!unexpectedEnd@\(text.utf8.count)"), "\(trace(text))")
  }

  @Test(arguments: [
    ("]", 0), ("}", 0), (",", 0), (":", 0), ("[,1]", 1), ("[1,]", 3), ("[1,,2]", 3), ("[1 2]", 3), ("[1:2]", 2),
    ("{,}", 1), ("{1:2}", 1), ("{\"a\",1}", 4), ("{\"a\" 1}", 5), ("{\"a\":}", 5), ("{\"a\":1,}", 7), ("{a:1}", 1),
    ("{\"a\":1 \"b\":2}", 7), ("[1}", 2), ("{\"a\":1]", 6), ("[{]", 2), ("{\"a\":[}", 6), ("1 2", 2), ("[]]", 2),
    ("{}{}", 2), ("truE", 3), ("True", 0), ("nulL", 3), ("truex", 4), ("NaN", 0), ("Infinity", 0), ("-Infinity", 1),
    ("'a'", 0), ("[1]//", 3), ("/**/1", 0), ("[1]\0", 3), ("\0", 0),
  ])
  func pointsAtTheByteAtFault(_ text: String, _ offset: Int) {
    #expect(trace(text).hasSuffix("!unexpectedByte@\(offset)"), "\(trace(text))")
  }

  // Section 6.
  @Test(arguments: [
    "0", "-0", "1", "10", "-1", "0.0", "0.10", "1.5e3", "1E3", "1e+3", "1e-3", "0e0", "-0.0E-0", "1e999",
    "123456789012345678901234567890",
  ])
  func takesNumbersAsWritten(_ text: String) {
    #expect(trace(text) == text)
    #expect(trace("[\(text)]") == "[ \(text) ]")
  }

  @Test(arguments: [
    ("01", 1), ("-01", 2), ("00", 1), ("+1", 0), (".5", 0), ("-.5", 1), ("1.x", 2), ("1.e1", 2), ("0x1", 1),
    ("--1", 1), ("1ee1", 2), ("1e1.5", 3), ("1e+-1", 3), ("1_0", 1), ("-a", 1),
  ])
  func refusesOtherNumbers(_ text: String, _ offset: Int) {
    #expect(trace(text).hasSuffix("!unexpectedByte@\(offset)"), "\(trace(text))")
  }

  // Section 7.
  @Test func leavesEscapesAsTheyAre() {
    #expect(trace(#""\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00\u0000""#) == #"'\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00\u0000'"#)
    #expect(trace(#"{"\u0061":"grün 😀"}"#) == #"{ \u0061: 'grün 😀' }"#)
    #expect(trace("\"\u{7F}\"") == "'\u{7F}'")
  }

  @Test(arguments: [
    (#""\a""#, 2), (#""\x41""#, 2), (#""\'""#, 2), (#""\u00g0""#, 5), (#""\U0041""#, 2), (#""\u+123""#, 3),
    (#""\u""#, 3), (#""\0""#, 2),
  ])
  func refusesOtherEscapes(_ text: String, _ offset: Int) {
    #expect(trace(text) == "!badEscape@\(offset)")
  }

  @Test func refusesControlCharactersInStrings() {
    for byte in UInt8(0)..<0x20 {
      #expect(trace([0x22, 0x61, byte, 0x22]) == "!controlCharacter@2")
      #expect(trace([0x7B, 0x22, byte, 0x22]) == "{ !controlCharacter@2")
    }
  }

  // Section 8.1 asks for UTF-8; RFC 3629, section 4, says what that is.
  @Test(
    arguments: [
      [0x80], [0xC0, 0x80], [0xC3], [0xE2, 0x82], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xFF],
    ] as [[UInt8]])
  func refusesWhatIsNotUTF8(_ bytes: [UInt8]) {
    #expect(trace([0x22, 0x61] + bytes + [0x22]) == "!invalidUTF8@2")
  }

  @Test func boundsTheDepth() {
    let depthMax = JSONReader.depthMax
    let fits = String(repeating: "[", count: depthMax) + String(repeating: "]", count: depthMax)
    #expect(!trace(fits).contains("!"))
    #expect(trace(String(repeating: "[", count: 100_000)).hasSuffix("!tooDeep@\(depthMax)"))
    #expect(trace(String(repeating: #"{"a":"#, count: depthMax + 1)).hasSuffix("!tooDeep@\(depthMax * 5)"))
    // What is closed again does not count, and levels forget what they were.
    let mixed = "[" + String(repeating: #"[{"a":[]}],{"b":{"c":[{}]}},"#, count: 50) + "0]"
    #expect(trace(mixed).hasSuffix("0 ]"))
  }

  @Test func everyTruncationIsAnError() {
    let text = [UInt8](#"{"d":{"event":"st\u00e4tus","list":[1.5e-3,true,false,null,{}],"n":-0}}"#.utf8)
    #expect(!trace(text).contains("!"))
    for count in 0..<text.count {
      #expect(trace(Array(text[..<count])).hasSuffix("!unexpectedEnd@\(count)"))
    }
  }

  @Test func everyCorruptedByteIsHandled() {
    let text = [UInt8](#"{"d":{"e":"s\u00e4ü","l":[1.5e-3,true,null,{}]}}"#.utf8)
    for index in text.indices {
      for byte in UInt8.min...UInt8.max {
        var corrupted = text
        corrupted[index] = byte
        // Not trapping is the point; and an error is never behind the text.
        var reader = JSONReader()
        do throws(JSONError) {
          while try reader.next(in: corrupted.span) != nil {}
          #expect(reader.position == corrupted.count)
        } catch {
          #expect(error.offset <= corrupted.count)
        }
      }
    }
  }
}

@Suite struct JSONMemberTests {
  private func find(_ text: String, _ names: StaticString...) -> String {
    let bytes = [UInt8](text.utf8)
    do throws(JSONError) {
      let token =
        names.count == 1
        ? try bytes.span.findMember(names[0]) : try bytes.span.findMember(names[0], names[1])
      switch token {
      case .string(let range)?, .number(let range)?: return Array(bytes[range]).text
      case let token?: return "\(token)"
      case nil: return "nil"
      }
    } catch {
      return "!\(error.kind)@\(error.offset)"
    }
  }

  @Test func findsMembersAtBothDepths() {
    #expect(find(#"{"d":{"event":"status"}}"#, "d", "event") == "status")
    #expect(
      find(#"{"ts":"x","d":{"a":[{"event":1}],"event":"status","b":{"event":2}},"e":3}"#, "d", "event") == "status")
    #expect(find(#"{"a":{"b":1},"b":2}"#, "b") == "2")
    #expect(find(#"{"d":{"interval":30}}"#, "d", "interval") == "30")
    #expect(find(#"{"d":{"on":true}}"#, "d", "on") == "boolean(true)")
    #expect(find(#"{"d":{"o":{"p":1}}}"#, "d", "o") == "beginObject")
    #expect(find(#"{"d":{"o":{"o":1}}}"#, "d", "p") == "nil")
  }

  @Test func findsNothingElsewhere() {
    #expect(find(#"{"event":"status"}"#, "d", "event") == "nil")
    #expect(find(#"{"e":{"event":"status"}}"#, "d", "event") == "nil")
    #expect(find(#"{"d":[{"event":"status"}]}"#, "d", "event") == "nil")
    #expect(find(#"{"x":{"d":{"event":"status"}}}"#, "d", "event") == "nil")
    #expect(find(#"{"d":"event"}"#, "d", "event") == "nil")
    #expect(find(#"[{"d":{"event":1}}]"#, "d", "event") == "nil")
    #expect(find(#""d""#, "d", "event") == "nil")
    #expect(find("{}", "d") == "nil")
  }

  @Test func comparesNamesAsText() {
    #expect(find(#"{"\u0064":{"\u0065v\u0065nt":"x"}}"#, "d", "event") == "x")
    #expect(find(#"{"d":{"Event":1,"event ":2,"even":3,"events":4,"":5}}"#, "d", "event") == "nil")
    #expect(find(#"{"gr\u00fcn":1}"#, "grün") == "1")
    #expect(find(#"{"\ud83d\ude00":1}"#, "😀") == "1")
  }

  @Test func takesTheLastOfEqualNames() {
    #expect(find(#"{"d":{"event":1,"event":2}}"#, "d", "event") == "2")
    #expect(find(#"{"d":{"event":1},"d":{}}"#, "d", "event") == "nil")
  }

  @Test func refusesMalformedTextAnywhere() {
    #expect(find(#"{"d":{"event":1}} x"#, "d", "event") == "!unexpectedByte@18")
    #expect(find(#"{"d":{"event":1}"#, "d", "event") == "!unexpectedEnd@16")
    #expect(find("", "d", "event") == "!unexpectedEnd@0")
    #expect(find("[1,]", "d", "event") == "!unexpectedByte@3")
  }
}
