import Bytes
import HostInterface
import Telemetry
import TestSupport
import Testing

func decimal(_ text: String) -> Decimal? {
  let bytes = Array(text.utf8)
  return Decimal(parsing: bytes.span)
}

@Suite struct SensorTextTests {
  private func onlyNumber(_ text: String) -> String {
    let bytes = Array(text.utf8)
    do throws(ReadFailure) { return formatted(try SensorText.onlyNumber(in: bytes.span).value) } catch {
      return "\(error)"
    }
  }

  private func leadingNumber(_ text: String) -> String {
    let bytes = Array(text.utf8)
    do throws(ReadFailure) { return formatted(try SensorText.leadingNumber(in: bytes.span).value) } catch {
      return "\(error)"
    }
  }

  private func column(_ index: Int, _ text: String) -> String {
    let bytes = Array(text.utf8)
    do throws(ReadFailure) { return formatted(try SensorText.column(index, in: bytes.span).value) } catch {
      return "\(error)"
    }
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
    ("45123\n", "45123"), ("-12\n", "-12"), ("+7", "7"), (" \t3.14\r\n\n", "3.14"), ("1e3", "1000"), ("0001", "1"),
    ("0.1", "0.1"), ("0.1000", "0.1"), (".5", "0.5"), ("-.5\n", "-0.5"), ("0", "0"),
  ]) func takesTextThatIsANumber(text: String, expected: String) {
    #expect(onlyNumber(text) == expected)
  }

  /// What drivers, programs and file systems have been seen to say where there is no number.
  @Test(arguments: [
    "", "\n", "-", "+", ".", "nan", "inf", "N/A", "unknown", "no digits here", "\0\0\0", "٣", "45000 mC", "45000\n\0",
    "\045000", "45000\0", "0x2a", "2a", "12,5", "1 2", "1\n2", "12abc", "5.", "--5", "a-5", "t=23125", "1.2.3", "1e",
    "45000e", "45000 e-3", "12 %", "\u{FEFF}12", "12:30", "1_000",
  ]) func takesNothingOutOfOtherText(text: String) {
    #expect(onlyNumber(text) == "notUnderstood")
  }

  @Test func aNumberOutOfRangeSaysSo() {
    #expect(onlyNumber("1e400") == "outOfRange")
    #expect(onlyNumber("1" + String(repeating: "0", count: 4095)) == "outOfRange")
    #expect(onlyNumber(String(repeating: "0", count: 4096)) == "0")
    #expect(leadingNumber("1e400 V") == "outOfRange")
    #expect(column(0, "1e400 1") == "outOfRange")
  }

  @Test(arguments: [
    ("23125", "23125"), ("123 kB", "123"), ("21.5}", "21.5"), ("\"21.5\"}", "21.5"), ("-0.05C", "-0.05"),
    ("21.5 °C", "21.5"), ("12, \"b\": 3", "12"), ("12,", "12"), ("5V", "5"), ("99%", "99"), ("7. ", "7"),
  ]) func takesTheNumberOfAField(text: String, expected: String) {
    #expect(leadingNumber(text) == expected)
  }

  @Test(arguments: [
    "", "\"", "N/A (max 85)", "unknown 5", "0x2a", "0X2A", "12,5", "1.2.3", "12:30", "1_000", "2026-01-01", "1/467",
    "=5",
    "1'000", "x5",
  ]) func takesNoNumberOutOfAFieldOfAnotherKind(text: String) {
    #expect(leadingNumber(text) == "notUnderstood")
  }

  @Test func columnsStandBetweenBlanksOfTheFirstLine() {
    let loadavg = "0.52 0.58  0.59\t1/467 12345\n99 98"
    #expect(column(0, loadavg) == "0.52")
    #expect(column(1, loadavg) == "0.58")
    #expect(column(2, loadavg) == "0.59")
    #expect(column(3, loadavg) == "notUnderstood")
    #expect(column(4, loadavg) == "12345")
    #expect(column(5, loadavg) == "notUnderstood")
    #expect(column(6, loadavg) == "notUnderstood")
    #expect(column(0, "N/A 0.58") == "notUnderstood")
    #expect(column(0, "") == "notUnderstood")
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
      _ = try? SensorText.onlyNumber(in: bytes.span)
      _ = try? SensorText.leadingNumber(in: bytes.span)
      _ = SensorText.boolean(in: bytes.span)
      _ = try? SensorText.column(Int(random.next() % 5), in: bytes.span)
      let name = Array("temp".utf8.prefix(Int(random.next() % 5)))
      if let range = SensorText.field(name.span, in: bytes.span) {
        #expect(range.lowerBound >= 0 && range.upperBound <= bytes.count)
      }
    }
  }
}
