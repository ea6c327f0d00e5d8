import Bytes
import Telemetry
import TestSupport
import Testing

func decimal(_ text: String) -> Decimal? {
  let bytes = Array(text.utf8)
  return Decimal(parsing: bytes.span)
}

@Suite struct SensorTextTests {
  private func firstNumber(_ text: String) -> Decimal? {
    let bytes = Array(text.utf8)
    return SensorText.firstNumber(in: bytes.span)
  }

  private func column(_ index: Int, _ text: String) -> Decimal? {
    let bytes = Array(text.utf8)
    return SensorText.column(index, in: bytes.span)
  }

  private func field(_ name: String, _ text: String) -> String? {
    let name = Array(name.utf8)
    let bytes = Array(text.utf8)
    guard let range = SensorText.field(name.span, in: bytes.span) else { return nil }
    return Array(bytes[range]).text
  }

  private func boolean(_ text: String) -> Bool? {
    let bytes = Array(text.utf8)
    return SensorText.boolean(in: bytes.span)
  }

  @Test(arguments: [
    ("45123\n", "45123"), ("-12\n", "-12"), ("+7", "7"), ("  3.14 V", "3.14"), ("t=23125", "23125"),
    ("temp: -0.05C", "-0.05"), ("1e3", "1000"), ("12abc", "12"), ("5.", "5"), ("--5", "-5"), ("a-5", "-5"),
    ("0001", "1"), ("0.1", "0.1"), ("0.1000", "0.1"), (".5", "0.5"), ("-.5\n", "-0.5"), ("x.25", "0.25"),
  ]) func findsTheFirstNumber(text: String, expected: String) {
    #expect(firstNumber(text) == decimal(expected))
    #expect(firstNumber(text) != nil)
  }

  @Test(arguments: ["", "-", "+", ".", "nan", "inf", "no digits here", "\0\0\0", "٣"]) func findsNoNumber(text: String)
  {
    #expect(firstNumber(text) == nil)
  }

  @Test func aNumberOutOfRangeIsNoNumber() {
    #expect(firstNumber("1e400") == nil)
    #expect(firstNumber("1" + String(repeating: "0", count: 4095)) == nil)
    #expect(firstNumber(String(repeating: "0", count: 4096)) == decimal("0"))
  }

  @Test func columnsCountNumbersOfTheFirstLineOnly() {
    let loadavg = "0.52 0.58 0.59 1/467 12345\n99 98"
    #expect(column(0, loadavg) == decimal("0.52"))
    #expect(column(2, loadavg) == decimal("0.59"))
    #expect(column(3, loadavg) == decimal("1"))
    #expect(column(4, loadavg) == decimal("467"))
    #expect(column(6, loadavg) == nil)
  }

  @Test(arguments: [
    ("MemFree", "MemTotal: 10 kB\nMemFree:  123 kB\nMemFreeX: 9\n", "123 kB"),
    ("t", "a=1 t=23125\n", "23125"),
    ("temp", #"{"temp": 21.5}"#, "21.5}"),
    ("temp", "temp 21.5", "21.5"),
    ("temp", "xtemp=1\ntemp_2=3\ntemp=4\r\n", "4"),
    ("temp", "temp\ntemp = 9", "9"),
    ("state", "state\t:\ton line  ", "on line"),
  ]) func findsNamedFields(name: String, text: String, expected: String) {
    #expect(field(name, text) == expected)
  }

  @Test(arguments: [
    ("", "a=1"), ("temp", ""), ("temp", "temp"), ("temp", "temp="), ("temp", "temp=\n5"), ("temp", "temperature=5"),
    ("temp", "mytemp=5"), ("longer than the text", "t=1"), ("temp", "temp:   "),
  ]) func findsNoField(name: String, text: String) {
    #expect(field(name, text) == nil)
  }

  @Test(arguments: [
    ("1", true), ("0", false), ("0.0", false), ("-3", true), ("TRUE\n", true), (" off ", false), ("High", true),
    ("no", false), ("yes", true), ("low", false), ("on", true), ("false", false),
  ]) func knowsTruthValues(text: String, expected: Bool) {
    #expect(boolean(text) == expected)
  }

  @Test(arguments: ["", " ", "maybe", "1 0", "onn", "tru"]) func othersAreNoTruthValues(text: String) {
    #expect(boolean(text) == nil)
  }

  @Test func survivesRandomBytes() {
    var random = RandomSource(seed: 42)
    // Digits, signs, separators and letters more often than anything else, so that numbers do occur.
    let alphabet = Array("0123456789+-.eE:= \t\n\"temp,\u{FF}".utf8)
    for _ in 0..<20_000 {
      var bytes: [UInt8] = []
      for _ in 0..<(random.next() % 40) {
        let pick = random.next()
        bytes.append(pick % 8 == 0 ? UInt8(truncatingIfNeeded: pick >> 8) : alphabet[Int(pick >> 8) % alphabet.count])
      }
      _ = SensorText.firstNumber(in: bytes.span)
      _ = SensorText.boolean(in: bytes.span)
      _ = SensorText.column(Int(random.next() % 5), in: bytes.span)
      let name = Array("temp".utf8.prefix(Int(random.next() % 5)))
      if let range = SensorText.field(name.span, in: bytes.span) {
        #expect(range.lowerBound >= 0 && range.upperBound <= bytes.count)
      }
    }
  }
}
