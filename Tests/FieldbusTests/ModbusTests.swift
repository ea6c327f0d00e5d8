import Bytes
import Fieldbus
import TestSupport
import Testing

/// `11 03 00` as bytes.
private func hex(_ text: String) -> [UInt8] { text.split(separator: " ").compactMap { UInt8($0, radix: 16) } }

@Suite struct ModbusFrameTests {
  private func request(
    _ unit: UInt8, _ table: ModbusTable, _ first: UInt16, _ count: UInt16, transaction: UInt16? = nil
  ) -> ModbusRequest {
    ModbusRequest(unit: unit, table: table, first: first, count: count, transaction: transaction)
  }

  private func wire(_ request: ModbusRequest) -> [UInt8] {
    var buffer = makeBuffer()
    request.append(to: &buffer)
    return Array(buffer.span)
  }

  /// What has come of a request, in words.
  private func find(_ request: ModbusRequest, _ bytes: [UInt8]) -> String {
    switch request.findReply(in: bytes.span) {
    case .incomplete: return "incomplete"
    case .broken: return "broken"
    case .refused(let code): return "refused \(code)"
    case .values(let values):
      return (0..<Int(request.count)).map { "\(values.value($0, of: request.table, in: bytes.span))" }
        .joined(separator: " ")
    }
  }

  @Test func theChecksumIsThatOfTheSpecification() {
    #expect(ModbusChecksum.of(Array("123456789".utf8).span) == 0x4B37)
    #expect(ModbusChecksum.of(hex("02 07 41 12").span) == 0)
  }

  @Test func requestsAreThoseOfOthers() {
    #expect(wire(request(0x11, .holding, 0x6B, 3)) == hex("11 03 00 6B 00 03 76 87"))
    #expect(wire(request(0x11, .coil, 0x13, 0x25)) == hex("11 01 00 13 00 25 0E 84"))
    #expect(wire(request(1, .input, 0, 2)) == hex("01 04 00 00 00 02 71 CB"))
    #expect(wire(request(1, .holding, 0, 10)) == hex("01 03 00 00 00 0A C5 CD"))
    #expect(wire(request(0x0A, .holding, 0x1004, 2)) == hex("0A 03 10 04 00 02 80 71"))
    #expect(
      wire(request(0x11, .holding, 0x6B, 3, transaction: 0x1501)) == hex("15 01 00 00 00 06 11 03 00 6B 00 03"))
  }

  @Test func repliesOfSerialLines() {
    let three = request(0x11, .holding, 0x6B, 3)
    let reply = hex("11 03 06 02 2B 00 00 00 64 C8 BA")
    #expect(find(three, reply) == "555 0 100")
    for count in 0..<reply.count { #expect(find(three, Array(reply[..<count])) == "incomplete") }
    // Zeros behind it, noise or its own echo before it.
    #expect(find(three, reply + [0, 0]) == "555 0 100")
    #expect(find(three, hex("11 03 00 6B 00 03 76 87") + reply) == "555 0 100")
    #expect(find(three, hex("00 FF 11 03 06 01") + reply) == "555 0 100")
    // Another unit's, another's count, a wrong checksum.
    #expect(find(request(0x12, .holding, 0x6B, 3), reply) == "incomplete")
    #expect(find(request(0x11, .holding, 0x6B, 2), reply) == "incomplete")
    #expect(find(three, Array(reply.dropLast()) + [0xBB]) == "incomplete")
    #expect(find(request(1, .input, 0, 2), hex("1D 01 04 04 43 6C 3E E8 3E 33")) == "17260 16104")
    #expect(find(request(0x9C, .input, 0, 2), hex("FF 00 9C 04 04 00 ED 18 AA AC B0 00")) == "incomplete")
    #expect(find(request(0x9C, .holding, 0, 2), hex("FF 00 9C 03 04 00 ED 18 AA AC B0 00")) == "237 6314")
    #expect(
      find(request(0x11, .coil, 0x13, 0x25), hex("11 01 05 CD 6B B2 0E 1B 45 E6"))
        == "1 0 1 1 0 0 1 1 1 1 0 1 0 1 1 0 0 1 0 0 1 1 0 1 0 1 1 1 0 0 0 0 1 1 0 1 1")
  }

  @Test func refusals() {
    #expect(find(request(1, .holding, 0, 1), hex("01 83 02 C0 F1")) == "refused 2")
    #expect(find(request(1, .holding, 0, 1), hex("01 83 0B 00 F7")) == "refused 11")
    #expect(find(request(1, .holding, 0, 1, transaction: 7), hex("00 07 00 00 00 03 01 83 02")) == "refused 2")
  }

  @Test func repliesOverTCP() {
    let three = request(0x11, .holding, 0x6B, 3, transaction: 0x1501)
    let reply = hex("15 01 00 00 00 09 11 03 06 02 2B 00 00 00 64")
    #expect(find(three, reply) == "555 0 100")
    for count in 0..<reply.count { #expect(find(three, Array(reply[..<count])) == "incomplete") }
    // One that came too late is another's.
    let stale = hex("15 00 00 00 00 09 11 03 06 02 2B 00 00 00 65")
    #expect(find(three, stale) == "incomplete")
    #expect(find(three, stale + reply) == "555 0 100")
    #expect(find(three, hex("15 01 00 01 00 09 11 03 06 02 2B 00 00 00 64")) == "broken")
    #expect(find(three, hex("15 01 00 00 00 02 11 03 06 02")) == "broken")
    #expect(find(three, hex("15 01 00 00 01 09 11 03 06 02 2B 00 00 00 64")) == "broken")
    #expect(find(three, hex("15 01 00 00 00 07 11 03 04 02 2B 00 00")) == "broken")
  }
}

@Suite struct RegisterValueTests {
  private func number(_ type: RegisterType, _ text: String, _ order: RegisterOrder = .abcd) -> String? {
    let bytes = hex(text)
    var registers = InlineArray<4, UInt16>(repeating: 0)
    for index in 0..<(bytes.count / 2) {
      registers[index] = UInt16(bytes[2 * index]) << 8 | UInt16(bytes[2 * index + 1])
    }
    guard let found = type.number(registers, order) else { return nil }
    var buffer = makeBuffer()
    buffer.append(found)
    return buffer.text
  }

  @Test func wholeNumbers() {
    #expect(number(.u16, "FF FF") == "65535" && number(.s16, "FF FF") == "-1" && number(.u16, "01 02", .badc) == "513")
    #expect(number(.s32, "FF FE 1D C0") == "-123456" && number(.s32, "1D C0 FF FE", .cdab) == "-123456")
    #expect(number(.u32, "FF FF FF FF") == "4294967295")
    #expect(number(.u64, "00 00 01 1F 71 FB 04 CB") == "1234567890123")
    #expect(number(.u64, "04 CB 71 FB 01 1F 00 00", .cdab) == "1234567890123")
    #expect(number(.u64, "80 00 00 00 00 00 00 00") == nil)
    #expect(number(.s64, "FF FF FF FF FF FF FF FF") == "-1")
  }

  @Test func floats() {
    #expect(number(.f32, "42 F6 E9 79") == "123.456")
    #expect(number(.f32, "E9 79 42 F6", .cdab) == "123.456" && number(.f32, "F6 42 79 E9", .badc) == "123.456")
    #expect(number(.f32, "79 E9 F6 42", .dcba) == "123.456")
    #expect(number(.f32, "43 6C 3E E8") == "236.24573" && number(.f32, "41 20 00 00") == "10")
    #expect(number(.f32, "C0 49 0F DB") == "-3.1415927" && number(.f32, "4B 18 96 7F") == "9999999")
    #expect(number(.f32, "00 00 00 00") == "0" && number(.f32, "80 00 00 00") == "0")
    #expect(number(.f32, "00 00 00 01") == "0" && number(.f32, "3F 80 00 00") == "1")
    #expect(number(.f32, "7F C0 00 00") == nil && number(.f32, "7F 80 00 00") == nil)
    #expect(number(.f32, "FF 80 00 00") == nil)
  }

  /// Every float comes back from its text, which is as short as the standard library's.
  @Test func floatsComeBack() throws {
    var random = RandomSource(seed: 1)
    for _ in 0..<20_000 {
      let bits = UInt32(truncatingIfNeeded: random.next())
      let value = Float(bitPattern: bits)
      guard value.isFinite, abs(value) > 1e-25, abs(value) < 1e34 else { continue }
      let text = try #require(
        number(
          .f32,
          (0..<4).map { String(UInt8(truncatingIfNeeded: bits >> (24 - 8 * $0)), radix: 16) }.joined(separator: " ")))
      #expect(Float(text) == value, "\(bits)")
      let digits = text.filter(\.isNumber).drop { $0 == "0" }
      let others = "\(value)".split(separator: "e")[0].filter(\.isNumber).drop { $0 == "0" }
      func significant(_ text: Substring) -> Int { String(text.reversed()).drop { $0 == "0" }.count }
      // Larger ones may lie in the middle between two floats, which is nobody's.
      guard abs(value) < 16_777_216 else { continue }
      #expect(significant(Substring(digits)) <= significant(Substring(others)), "\(text) \(value)")
    }
  }
}

@Suite struct ModbusSourceTests {
  private func take(_ text: String) -> String? {
    let bytes = Array(text.utf8)
    guard let source = ModbusSource(bytes.span) else { return nil }
    return "\(Array(bytes[0..<source.placeEnd]).text) \(source.unit) \(source.table) \(source.point.address) "
      + "\(source.point.type) \(source.point.order) \(source.serial.baud) \(source.serial.parity)"
  }

  @Test(arguments: [
    ("tcp://192.0.2.1 holding=0", "tcp://192.0.2.1 1 holding 0 u16 abcd 9600 0"),
    ("tcp://[::1]:1502 unit=255 input=65534 type=f32", "tcp://[::1]:1502 255 input 65534 f32 abcd 9600 0"),
    ("/dev/ttyS1 unit=0 coil=65535", "/dev/ttyS1 0 coil 65535 u16 abcd 9600 0"),
    ("/dev/a discrete=1 baud=115200 parity=even", "/dev/a 1 discrete 1 u16 abcd 115200 1"),
    ("/dev/a holding=1 type=s64 order=dcba parity=odd", "/dev/a 1 holding 1 s64 dcba 9600 2"),
  ])
  func takesASourceApart(_ text: String, _ expected: String) {
    #expect(take(text) == expected)
  }

  @Test(arguments: [
    "", "tcp://", "tcp://a", "a holding=1", "/dev/ holding=1", "/dev/a holding=65536", "/dev/a holding=65535 type=u32",
    "/dev/a holding=1 input=1", "/dev/a holding=-1", "/dev/a holding=1 type=f16", "/dev/a holding=1 order=bcda",
    "/dev/a unit=248 holding=1", "tcp://a unit=256 holding=1", "/dev/a coil=1 type=u16", "/dev/a holding=1 baud=1",
    "/dev/a holding=1 parity=mark", "/dev/a holding=1 fast", "/dev/a =1",
  ])
  func refusesMistakes(_ text: String) {
    #expect(take(text) == nil)
  }
}
