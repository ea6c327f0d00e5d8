import Bytes
import HostInterface
import Telemetry
import TestSupport
import Testing

/// What a reading came to, with text copied out.
enum Outcome: Equatable {
  case number(String)
  case boolean(Bool)
  case text(String)
  case failed(ReadFailure)
}

func formatted(_ value: Decimal) -> String {
  var buffer = makeBuffer(capacity: 64)
  buffer.append(value)
  return buffer.text
}

extension Channel {
  mutating func outcome(_ text: String, field: String = "", exponent: Int = 0) -> Outcome {
    let text = Array(text.utf8)
    let field = Array(field.utf8)
    switch interpret(text.span, field: field.span, exponent: exponent) {
    case .number(let value): return .number(formatted(value))
    case .counter(let value): return .number("\(value)")
    case .boolean(let value): return .boolean(value)
    case .text(let range, let isCut): return .text(Array(text[range]).text + (isCut ? "…" : ""))
    case .failed(let failure): return .failed(failure)
    }
  }
}

private func channel(
  _ quantity: Quantity, offset: String = "0", scale: String = "1", fractionDigits: Int? = nil
) throws -> Channel {
  Channel(
    quantity: quantity, offset: try #require(decimal(offset)), scale: try #require(decimal(scale)),
    fractionDigits: fractionDigits)
}

@Suite struct ChannelTests {
  @Test func scalesExactly() throws {
    // value = (raw + offset) × scale, as the kernel's sysfs-bus-iio documentation defines it.
    var level = try channel(.onlyNumber, offset: "-12", scale: "0.805664")
    #expect(level.outcome("1012\n") == .number("805.664"))
    var celsius = try channel(.onlyNumber, scale: "0.001")
    #expect(celsius.outcome("45123") == .number("45.123"))
    #expect(celsius.outcome("-50") == .number("-0.05"))
    var exact = try channel(.onlyNumber)
    #expect(exact.outcome("0.1") == .number("0.1"))
  }

  @Test func theHostsPowerOfTenComesBehindTheText() throws {
    var temperature = try channel(.onlyNumber)
    #expect(temperature.outcome("45123\n", exponent: -3) == .number("45.123"))
    #expect(temperature.outcome("-3500", exponent: -3) == .number("-3.5"))
    // None of these is a temperature, whatever power of ten belongs to it.
    for text in ["N/A", "unknown", "", "\n", "45000 mC", "45000\n\0", "45000e"] {
      #expect(temperature.outcome(text, exponent: -3) == .failed(.notUnderstood), "\(text)")
    }
    #expect(temperature.outcome("1e-36", exponent: -3) == .failed(.outOfRange))
    var fahrenheit = try channel(.onlyNumber, offset: "17.7777778", scale: "1.8", fractionDigits: 1)
    #expect(fahrenheit.outcome("100000", exponent: -3) == .number("212"), "offset and scale are of the unit")
    var power = try channel(.onlyNumber)
    #expect(power.outcome("1500000", exponent: -6) == .number("1.5"))
    var text = try channel(.text)
    #expect(text.outcome("38850\n", exponent: -3) == .text("38850"), "the kernel's own text")
  }

  @Test func allNumbersOf64BitsStayWhatTheyAre() throws {
    var plain = try channel(.onlyNumber)
    var field = try channel(.namedNumber)
    var random = RandomSource(seed: 7)
    let extremes: [UInt64] = [
      0, 1, UInt64(Int64.max) - 1, UInt64(Int64.max), 1 << 63, .max - 1, .max, 999_999_999_999_999_999,
    ]
    for value in extremes + (0..<2000).map({ _ in random.next() >> (random.next() % 64) }) {
      #expect(plain.outcome("\(value)\n") == .number("\(value)"))
      let signed = Int64(bitPattern: value)
      #expect(plain.outcome("\(signed)\n") == .number("\(signed)"))
      #expect(field.outcome("n: \(signed)\n", field: "n") == .number("\(signed)"))
    }
  }

  @Test func whatDoesNotFitIsLeftOutUnlessOtherDigitsAreAskedFor() throws {
    var plain = try channel(.onlyNumber)
    for text in ["18446744073709551616", "-9223372036854775809", "9223372036854775807.5", "0.12345678901234567891"] {
      #expect(plain.outcome(text) == .failed(.outOfRange), "\(text)")
    }
    #expect(plain.outcome("18446744073709551615", exponent: -3) == .failed(.outOfRange))
    #expect(plain.outcome("1.000000000000000000000000") == .number("1"), "nothing is lost")
    var field = try channel(.namedNumber)
    #expect(field.outcome("n=18446744073709551615", field: "n") == .failed(.outOfRange))
    var column = try channel(.column(0))
    #expect(column.outcome("18446744073709551616 1") == .failed(.outOfRange))
    var shifted = try channel(.onlyNumber, offset: "0.25")
    #expect(shifted.outcome("9223372036854775807") == .failed(.outOfRange))
    #expect(shifted.outcome("18446744073709551615") == .failed(.outOfRange))
    #expect(shifted.outcome("92233720368547757") == .number("92233720368547757.25"))
    var gigabytes = try channel(.onlyNumber, scale: "1e-9", fractionDigits: 3)
    #expect(gigabytes.outcome("18446744073709551615") == .number("18446744073.71"))
    var rounded = try channel(.onlyNumber, fractionDigits: 2)
    #expect(rounded.outcome("0.12345678901234567891") == .number("0.12"))
    #expect(rounded.outcome("18446744073709551615") == .number("18446744073709551615"), "all of that is in front")
    #expect(rounded.outcome("18446744073709551616") == .failed(.outOfRange))
  }

  /// Every decimal text is the same number again, or refused.
  @Test func decimalTextsRoundTripOrAreRefused() throws {
    var plain = try channel(.onlyNumber)
    var random = RandomSource(seed: 11)
    func digits(_ count: UInt64) -> String {
      (0..<count).map { _ in String(random.next() % 3 == 0 ? 0 : random.next() % 10) }.joined()
    }
    var refusedCount = 0
    for _ in 0..<5000 {
      let whole = digits(1 + random.next() % 21)
      let fraction = random.next() % 2 == 0 ? digits(random.next() % 24) : ""
      let power = random.next() % 4 == 0 ? Int(random.next() % 80) - 40 : 0
      let sign = random.next() % 3 == 0 ? "-" : ""
      let text = sign + whole + (fraction.isEmpty ? "" : "." + fraction) + (power == 0 ? "" : "e\(power)")
      let reading = plain.outcome(text)
      if reading == .failed(.outOfRange) {
        refusedCount += 1
      } else {
        #expect(reading == .number(plainText(sign, whole, fraction, power)), "\(text)")
      }
      if whole.count + fraction.count < 19, power == 0 { #expect(reading != .failed(.outOfRange), "\(text)") }
    }
    #expect(refusedCount > 500 && refusedCount < 4000)
  }

  /// The number without a power of ten, by moving the point in the text.
  private func plainText(_ sign: String, _ whole: String, _ fraction: String, _ power: Int) -> String {
    var digits = Array(whole + fraction)
    var pointPosition = whole.count + power
    if pointPosition < 1 { digits = Array(repeating: "0", count: 1 - pointPosition) + digits }
    pointPosition = max(pointPosition, 1)
    if pointPosition > digits.count { digits += Array(repeating: "0", count: pointPosition - digits.count) }
    let front = String(digits[..<pointPosition].drop { $0 == "0" })
    var back = digits[pointPosition...]
    while back.last == "0" { back.removeLast() }
    let text = (front.isEmpty ? "0" : front) + (back.isEmpty ? "" : "." + String(back))
    return text == "0" ? text : sign + text
  }

  @Test func roundsToTheDigitsAsked() throws {
    var rounded = try channel(.onlyNumber, scale: "0.001", fractionDigits: 1)
    #expect(rounded.outcome("45150") == .number("45.2"))
    #expect(rounded.outcome("-45150") == .number("-45.2"))
    #expect(rounded.outcome("45149") == .number("45.1"))
    var whole = try channel(.onlyNumber, fractionDigits: 0)
    #expect(whole.outcome("2.5") == .number("3"))
  }

  @Test func tellsNoNumberFromANumberOutOfRange() throws {
    var huge = try channel(.onlyNumber, scale: "1e30")
    #expect(huge.outcome("rubbish") == .failed(.notUnderstood))
    #expect(huge.outcome("1e36") == .failed(.outOfRange))
  }

  @Test func takesNamedNumbers() throws {
    var named = try channel(.namedNumber)
    #expect(named.outcome("a=1\nt=23125\n", field: "t") == .number("23125"))
    #expect(named.outcome("a=1\n", field: "t") == .failed(.notUnderstood))
    #expect(named.outcome("t=abc\n5", field: "t") == .failed(.notUnderstood))
  }

  @Test func takesTextAndTruthValues() throws {
    var text = try channel(.text)
    #expect(text.outcome("  up and running \n") == .text("up and running"))
    #expect(text.outcome(" \n") == .failed(.notUnderstood))
    #expect(text.outcome("mode: fast\n", field: "mode") == .text("fast"))
    var boolean = try channel(.boolean)
    #expect(boolean.outcome("on\n") == .boolean(true))
    #expect(boolean.outcome("door=0\n", field: "door") == .boolean(false))
    #expect(boolean.outcome("perhaps") == .failed(.notUnderstood))
  }

  @Test func clipsLongTextBetweenCharacters() throws {
    var text = try channel(.text)
    let max = ChannelLimits.textBytesMax
    // é has two bytes: with one byte before it, the cut would fall into its middle.
    let long = "x" + String(repeating: "é", count: max)
    guard case .text(let clipped) = text.outcome(long) else {
      Issue.record("no text")
      return
    }
    #expect(clipped == "x" + String(repeating: "é", count: (max - 4) / 2) + "…")
    #expect(clipped.utf8.count <= max)
    #expect(text.outcome(String(repeating: "y", count: max)) == .text(String(repeating: "y", count: max)))
    // No character's boundary in reach: nothing is left, and nothing traps.
    let continuations = [UInt8](repeating: 0x80, count: max + 10)
    let reading = text.interpret(continuations.span, field: [UInt8]().span)
    #expect(reading == .text(0..<0, isCut: true))
  }

  static let meminfo = """
    MemTotal:        1000 kB
    MemFree:          200 kB
    MemAvailable:     600 kB
    Buffers:           30 kB
    Cached:           300 kB
    SwapCached:         7 kB
    SwapTotal:        512 kB
    SwapFree:         500 kB
    """

  @Test(arguments: [
    ("total", 1000), ("free", 200), ("available", 600), ("used", 400), ("buffers", 30), ("cached", 300),
    ("swap-total", 512), ("swap-free", 500), ("swap-used", 12),
  ]) func readsMemoryInBytes(word: String, kibibytes: Int) throws {
    let word = Array(word.utf8)
    let quantity = Quantity.number(of: .memory, argument: word.span, hasField: false)
    var memory = try channel(try #require(quantity))
    #expect(memory.outcome(ChannelTests.meminfo) == .number("\(kibibytes * 1024)"))
    #expect(memory.outcome("MemTotal: x") == .failed(.notUnderstood))
  }

  /// Before Linux 3.14 there is no MemAvailable.
  @Test func olderKernelsHaveAvailableMemoryToo() throws {
    var available = try channel(.memory(.available))
    var used = try channel(.memory(.used))
    let text = """
      MemTotal:        1000 kB
      MemFree:          200 kB
      Buffers:           30 kB
      Cached:           300 kB
      SwapCached:         7 kB
      Shmem:             40 kB
      """
    #expect(available.outcome(text) == .number("\(490 * 1024)"))
    #expect(used.outcome(text) == .number("\(510 * 1024)"))
    // Shmem came with Linux 2.6.32.
    let older = text.replacing("Shmem:             40 kB", with: "")
    #expect(available.outcome(older) == .number("\(530 * 1024)"))
    #expect(available.outcome(text.replacing("Shmem:             40", with: "Shmem: 900")) == .number("\(230 * 1024)"))
    #expect(available.outcome("MemTotal: 10 kB\nMemFree: 5 kB\n") == .failed(.notUnderstood))
    #expect(available.outcome(text + "\nMemAvailable: N/A\n") == .failed(.notUnderstood), "what is said is not guessed")
    let most = "9223372036854775807 kB"
    #expect(available.outcome("MemFree: \(most)\nBuffers: \(most)\nCached: \(most)\n") == .failed(.notUnderstood))
  }

  @Test func memoryThatDoesNotAddUpIsNotUnderstood() throws {
    var used = try channel(.memory(.used))
    #expect(used.outcome("MemTotal: 5 kB\nMemAvailable: 6 kB\n") == .failed(.notUnderstood))
    let overflowing = "MemTotal: 9000000000000000000 kB\nMemAvailable: -9000000000000000000 kB\n"
    #expect(used.outcome(overflowing) == .failed(.notUnderstood))
  }

  @Test(arguments: [
    (DiskQuantity.total, "1000"), (.free, "400"), (.available, "350"), (.used, "600"), (.percent, "63.2"),
  ]) func readsDisks(quantity: DiskQuantity, expected: String) throws {
    var disk = try channel(.disk(quantity))
    #expect(disk.outcome("1000 400 350") == .number(expected))
  }

  @Test(arguments: ["1000 1001 3", "1000 400", "", "-1 -2 -3", "9223372036854775807 1 1", "1.5 1 1"])
  func disksThatDoNotAddUpAreNotUnderstood(text: String) throws {
    var disk = try channel(.disk(.percent))
    #expect(disk.outcome(text) == .failed(.notUnderstood))
  }

  @Test func anEmptyDiskIsNoDivisionByZero() throws {
    var disk = try channel(.disk(.percent))
    #expect(disk.outcome("0 0 0") == .failed(.notUnderstood))
  }

  @Test func computesProcessorUsageBetweenReadings() throws {
    var usage = try channel(.processorUsage)
    // user nice system idle iowait irq softirq steal guest guest_nice (proc(5)); guest is part of user.
    #expect(usage.outcome("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3\n") == .number("20"))
    #expect(usage.outcome("cpu  150 0 150 800 100 0 0 0 90 0\n") == .number("50"))
    #expect(usage.outcome("cpu  150 0 150 1800 100 0 0 0 90 0\n") == .number("0"))
    #expect(usage.outcome("cpu  150 0 150 1800 100 0 0 0 90 0\n") == .number("0"), "no progress")
    #expect(usage.outcome("cpu  160 0 150 1790 100 0 0 0 90 0\n") == .number("0"), "idle stepped back")
    #expect(usage.outcome("cpu  161 0 150 1792 100 0 0 0 90 0\n") == .number("33.3"))
  }

  @Test(arguments: ["", "cpu", "cpu  \n5", "intr 5", "cpu  0 0 0 0", "cpu  x y"])
  func textWithoutTicksIsNoUsage(text: String) throws {
    var usage = try channel(.processorUsage)
    #expect(usage.outcome(text) == .failed(.notUnderstood))
  }

  @Test func hugeTicksDoNotOverflow() throws {
    var usage = try channel(.processorUsage)
    let large = "999999999999999999"  // as many digits as a decimal keeps
    #expect(usage.outcome("cpu  \(large) \(large) \(large) \(large) 0 0 0 0") == .number("75"))
  }

  @Test func notesOnlyChanges() throws {
    var sensor = try channel(.onlyNumber)
    let changes = [false, true, true, false].map { sensor.note(isFailing: $0) }
    #expect(changes == [false, true, false, true])
    #expect(!sensor.isFailing)
  }
}

@Suite struct QuantityTests {
  @Test(arguments: [
    (SourceKind.iio, "a/b", Quantity.onlyNumber), (.w1, "28-0c1a2b3c4d5e", .oneWire),
    (SourceKind.loadavg, "1", Quantity.column(0)), (.loadavg, "5", .column(1)), (.loadavg, "15", .column(2)),
    (.uptime, "", .column(0)), (.cpu, "usage", .processorUsage), (.disk, "//free", .disk(.free)),
    (.disk, "/var/log/percent", .disk(.percent)), (.memory, "available", .memory(.available)),
    (.thermal, "cpu", .onlyNumber), (.file, "/x", .onlyNumber), (.network, "eth0/rx-bytes", .onlyNumber),
  ]) func isDecidedByTheArgument(kind: SourceKind, argument: String, expected: Quantity) {
    let argument = Array(argument.utf8)
    let quantity = Quantity.number(of: kind, argument: argument.span, hasField: false)
    #expect(quantity == expected)
  }

  @Test func aFieldAsksForANamedNumber() {
    let argument = Array("/x".utf8)
    let quantity = Quantity.number(of: .file, argument: argument.span, hasField: true)
    #expect(quantity == .namedNumber)
  }

  @Test(arguments: [
    (SourceKind.loadavg, "2"), (.loadavg, ""), (.memory, "frei"), (.memory, ""), (.cpu, "load"), (.disk, "free"),
    (.disk, "/var/frei"), (.disk, ""),
  ]) func unknownArgumentsAreRefused(kind: SourceKind, argument: String) {
    let argument = Array(argument.utf8)
    let quantity = Quantity.number(of: kind, argument: argument.span, hasField: false)
    #expect(quantity == nil)
  }
}

@Suite struct QuantityWordTests {
  /// Words stand in the order of what they mean: that of one table in another module.
  @Test func wordsMeanWhatTheySay() {
    func quantity(_ kind: SourceKind, _ argument: String) -> Quantity? {
      Quantity.number(of: kind, argument: Array(text: argument).span, hasField: false)
    }
    let memory: [(String, MemoryQuantity)] = [
      ("total", .total), ("free", .free), ("available", .available), ("used", .used), ("buffers", .buffers),
      ("cached", .cached), ("swap-total", .swapTotal), ("swap-free", .swapFree), ("swap-used", .swapUsed),
    ]
    for (word, meant) in memory { #expect(quantity(.memory, word) == .memory(meant), "\(word)") }
    #expect(MemoryQuantity(rawValue: UInt8(memory.count)) == nil)
    let disk: [(String, DiskQuantity)] = [
      ("free", .free), ("used", .used), ("total", .total), ("available", .available), ("percent", .percent),
    ]
    for (word, meant) in disk { #expect(quantity(.disk, "/a/\(word)") == .disk(meant), "\(word)") }
    #expect(DiskQuantity(rawValue: UInt8(disk.count)) == nil)
    for (column, word) in ["1", "5", "15"].enumerated() { #expect(quantity(.loadavg, word) == .column(column)) }
    #expect(quantity(.uptime, "") == .column(0))
    #expect(quantity(.memory, "Free") == nil && quantity(.disk, "free/") == nil && quantity(.loadavg, "10") == nil)
  }
}
