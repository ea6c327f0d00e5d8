// What the kernel says of a 1-wire thermometer: Documentation/w1/slaves/w1_therm.rst.
//
//     72 01 4b 46 7f ff 0e 10 57 : crc=57 YES
//     72 01 4b 46 7f ff 0e 10 57 t=23125

import Bytes
import HostInterface

/// The text of w1_slave.
enum OneWireText {
  /// The bytes of the chip's scratchpad, the last of which is the checksum of the others.
  private static var byteCount: Int { 9 }

  /// The temperature, in thousandths of a degree Celsius.
  ///
  /// It is taken only where all that the text says fits together: drivers give the last good reading behind `NO`, bytes
  /// of a short-circuited bus are all 0 and so is their checksum, and a chip that lost its supply in the middle gives
  /// the value that it starts with.
  static func temperature(in text: Span<UInt8>) throws(ReadFailure) -> Decimal {
    // Five attempts have failed.
    guard !text.isEmpty else { throw .noData }
    guard let lineEnd = text.firstIndex(of: UInt8(ascii: "\n")) else { throw .notUnderstood }
    let verdict = text.extracting(text.trimmed(0..<lineEnd))
    var scratchpad = InlineArray<9, UInt8>(repeating: 0)
    var checksum: UInt8 = 0
    var sum: UInt8 = 0
    for index in 0..<byteCount {
      let start = 3 * index
      guard start + 2 < verdict.count, let high = verdict[start].hexDigitValue,
        let low = verdict[start + 1].hexDigitValue, verdict[start + 2] == UInt8(ascii: " ")
      else { throw .notUnderstood }
      scratchpad[index] = high << 4 | low
      checksum = OneWireText.checksum(checksum, scratchpad[index])
      sum |= scratchpad[index]
    }
    let isGood = verdict.count > 4 && verdict.extracting((verdict.count - 4)..<verdict.count).equals(" YES")
    guard isGood, checksum == 0, sum != 0 else { throw .checksum }
    let second = text.extracting((lineEnd + 1)..<text.count)
    guard let range = SensorText.field(StaticString("t").bytes, in: second) else { throw .notUnderstood }
    let (value, isExact) = try SensorText.leadingNumber(in: second.extracting(range))
    guard isExact else { throw .notUnderstood }
    if scratchpad[6] == startMark, value == Decimal(85_000) || value == Decimal(127_937) { throw .neverRead }
    return value
  }

  /// The byte behind which a chip has 85 °C before its first conversion, and 127.9375 °C where its supply, which comes
  /// from the bus, was too weak for one: a conversion leaves another there (DS18B20's data sheet has it as reserved).
  private static var startMark: UInt8 { 0x0C }

  /// CRC-8 of Dallas and Maxim, with the polynomial x^8 + x^5 + x^4 + 1, its bits reversed: their application note 27.
  private static func checksum(_ state: UInt8, _ byte: UInt8) -> UInt8 {
    var rest = state ^ byte
    for _ in 0..<8 { rest = rest & 1 == 0 ? rest >> 1 : rest >> 1 ^ 0x8C }
    return rest
  }
}
