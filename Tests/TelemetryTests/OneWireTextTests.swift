import Bytes
import HostInterface
import Telemetry
import TestSupport
import Testing

/// What w1_therm says of a thermometer's scratchpad and its temperature.
private func text(_ scratchpad: String, _ temperature: Int, verdict: String = "YES") -> String {
  "\(scratchpad) : crc=\(scratchpad.suffix(2)) \(verdict)\n\(scratchpad) t=\(temperature)\n"
}

private func reading(_ text: String) -> String {
  var channel = Channel(quantity: .oneWire, offset: Decimal(0), scale: Decimal(1), fractionDigits: nil)
  let bytes = Array(text.utf8)
  switch channel.interpret(bytes.span, field: Span(), exponent: -3) {
  case .number(let value): return formatted(value)
  case .failed(let failure): return failure.name.description
  default: return "?"
  }
}

@Suite struct OneWireTextTests {
  @Test(arguments: [
    ("72 01 4b 46 7f ff 0e 10 57", 23_125, "23.125"), ("5e ff 4b 46 7f ff 02 10 b6", -10_125, "-10.125"),
    ("f8 ff 4b 46 7f ff 08 10 f8", -500, "-0.5"), ("ff ff 4b 46 7f ff 01 10 9a", -62, "-0.062"),
    ("00 00 4b 46 7f ff 10 10 69", 0, "0"), ("91 01 4b 46 7f ff 0f 10 25", 25_062, "25.062"),
    ("d0 07 4b 46 7f ff 10 10 55", 125_000, "125"), ("90 fc 4b 46 7f ff 10 10 ee", -55_000, "-55"),
    ("50 05 4b 46 7f ff 10 10 bd", 85_000, "85"),
    // What a chip starts with, and what it has where its supply is too weak to measure.
    ("50 05 4b 46 7f ff 0c 10 1c", 85_000, "never-read"), ("ff 07 4b 46 7f ff 0c 10 a6", 127_937, "never-read"),
    // A checksum that does not fit, though the driver says so; an open bus, and a short-circuited one.
    ("73 01 4b 46 7f ff 0e 10 57", 23_187, "checksum"), ("ff ff ff ff ff ff ff ff ff", -62, "checksum"),
    ("00 00 00 00 00 00 00 00 00", 0, "checksum"),
  ]) func isWhatAllOfTheTextSays(_ scratchpad: String, _ temperature: Int, _ expected: String) {
    #expect(reading(text(scratchpad, temperature)) == expected)
  }

  @Test func aBadVerdictComesBeforeWhatStandsBehindIt() {
    let good = "72 01 4b 46 7f ff 0e 10 57"
    #expect(reading(text(good, 23_125, verdict: "NO")) == "checksum")
    #expect(reading(text(good, 23_125, verdict: "")) == "checksum")
  }

  @Test(arguments: [
    ("", "no-data"), ("\n", "not-understood"), ("72 01 4b 46 7f ff 0e 10 57 : crc=57 YES", "not-understood"),
    ("72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n", "not-understood"),
    ("72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57\n", "not-understood"),
    ("72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=\n", "not-understood"),
    ("72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=x\n", "not-understood"),
    ("72 01 4b 46 7f ff 0e 10 : crc=57 YES\nt=23125\n", "not-understood"), ("23125\n", "not-understood"),
    ("72,01,4b,46,7f,ff,0e,10,57 : crc=57 YES\nt=23125\n", "not-understood"),
  ]) func textOfAnotherFormIsRefused(_ text: String, _ expected: String) { #expect(reading(text) == expected) }

  @Test func noTextThatIsCutIsTaken() {
    let whole = text("72 01 4b 46 7f ff 0e 10 57", 23_125)
    let start = whole.count - "23125\n".count
    for count in 0...start { #expect(Int(reading(String(whole.prefix(count)))) == nil, "\(count) bytes") }
  }
}
