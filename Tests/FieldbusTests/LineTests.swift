import Bytes
import Fieldbus
import TestSupport
import Testing

@Suite struct LineSourceTests {
  /// What a source comes to, in words; nil where it is a mistake.
  private func take(_ text: String) -> String? {
    let bytes = Array(text.utf8)
    guard let source = LineSource(bytes.span) else { return nil }
    var words = ["'\(Array(bytes[0..<source.placeEnd]).text)'", "\(source.quantity)"]
    if source.options.isActiveLow { words.append("low") }
    if source.options.bias != .unchanged { words.append("\(source.options.bias)") }
    if source.options.debounceMicroseconds > 0 { words.append("\(source.options.debounceMicroseconds)us") }
    return words.joined(separator: " ")
  }

  @Test(arguments: [
    ("DOOR", "'DOOR' level"),
    ("DOOR level", "'DOOR' level"),
    ("gpiochip0/17 count", "'gpiochip0/17' count"),
    ("44e07000.gpio/3 Frequency", "'44e07000.gpio/3' frequency"),
    ("FLOW lost", "'FLOW' lost"),
    ("DOOR active-low bias=pull-up debounce=20ms", "'DOOR' level low pullUp 20000us"),
    ("DOOR debounce=500us  bias=off count", "'DOOR' count off 500us"),
    ("DOOR bias=pull-down", "'DOOR' level pullDown"),
    ("DOOR debounce=1000ms", "'DOOR' level 1000000us"),
    ("count", "'count' level"),
    ("count count", "'count' count"),
  ])
  func takesASourceApart(_ text: String, _ expected: String) {
    #expect(take(text) == expected)
  }

  @Test(arguments: [
    "", " ", "DOOR bias=up", "DOOR debounce=0ms", "DOOR debounce=1001ms", "DOOR debounce=1s", "DOOR debounce=5",
    "DOOR debounce=ms", "DOOR pull=up count", "DOOR activelow", "P8_25 [mmc1_dat0]", " DOOR",
    "DOOR debounce=18446744073709551615us",
  ])
  func refusesMistakes(_ text: String) {
    #expect(take(text) == nil)
  }
}

@Suite struct LineStructureTests {
  private func encode(line: UInt32, flags: UInt32, debounce: UInt32 = 0) -> [UInt8] {
    var bytes = InlineArray<592, UInt8>(repeating: 0xFF)
    LineRequest.encode(
      line: line, flags: flags, LineAttribute(kind: debounce > 0 ? .debounce : .none, value: debounce), into: &bytes)
    return (0..<592).map { bytes[$0] }
  }

  /// Where a structure is not zero.
  private func parts(_ bytes: [UInt8]) -> [Int: UInt8] {
    Dictionary(uniqueKeysWithValues: bytes.enumerated().filter { $0.element != 0 }.map { ($0.offset, $0.element) })
  }

  @Test func asksForALineWithEdges() {
    var options = LineOptions()
    options.isActiveLow = true
    options.bias = .pullUp
    let flags = options.flags | LineFlag.input | LineFlag.risingEdge | LineFlag.fallingEdge
    #expect(
      parts(encode(line: 0x0111, flags: flags, debounce: 20_000)) == [
        0: 0x11, 1: 0x01, 256: 0x6D, 257: 0x6F, 258: 0x74, 259: 0x65,  // mote
        288: 0x36, 289: 0x01,  // active low, input, both edges, pull-up
        296: 1, 320: 3, 328: 0x20, 329: 0x4E, 336: 1, 560: 1, 565: 4,
      ])
  }

  /// An output has its level from the moment on that it is one.
  @Test func asksForAnOutput() {
    var bytes = InlineArray<592, UInt8>(repeating: 0)
    LineRequest.encode(
      line: 5, flags: LineFlag.output, LineAttribute(kind: .outputValue, value: 1), into: &bytes)
    let expected: [Int: UInt8] = [
      0: 5, 256: 0x6D, 257: 0x6F, 258: 0x74, 259: 0x65, 288: 8, 296: 1, 320: 2, 328: 1, 336: 1, 560: 1,
    ]
    #expect(parts((0..<592).map { bytes[$0] }) == expected)
  }

  @Test func asksForALevelAlone() {
    #expect(
      parts(encode(line: 0, flags: LineFlag.input)) == [256: 0x6D, 257: 0x6F, 258: 0x74, 259: 0x65, 288: 4, 560: 1])
  }

  /// Vectors of a kernel's events.
  @Test func takesEdges() {
    let first: [UInt8] = [
      0xCB, 0x04, 0xFB, 0x71, 0x1F, 0x01, 0, 0, 1, 0, 0, 0, 0x11, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
    ]
    let second: [UInt8] = [
      0x0B, 0x47, 0x0A, 0x72, 0x1F, 0x01, 0, 0, 2, 0, 0, 0, 0x11, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0,
    ]
    let zeros = [UInt8](repeating: 0, count: 24)
    let bytes = first + zeros + second + zeros
    let rising = LineEdge(bytes.span, at: 0)
    #expect(rising.time == 1_234_567_890_123 && rising.isRising && rising.sequence == 1)
    let falling = LineEdge(bytes.span, at: 48)
    #expect(!falling.isRising && falling.sequence == 4)
    var counter = EdgeCounter(isActive: false, hasFallingEdges: true)
    counter.note(rising)
    counter.note(falling)
    // Lost: falling, rising.
    #expect(counter.lost == 2 && counter.rises == 2)
  }

  @Test func takesNamesWithoutTheirZero() {
    let bytes = Array("DOOR".utf8) + [UInt8](repeating: 0, count: 28) + [UInt8](repeating: 0x61, count: 32)
    #expect(bytes.span.structureName(at: 0) == 0..<4)
    #expect(bytes.span.structureName(at: 32) == 32..<64)
  }
}

@Suite struct EdgeCounterTests {
  /// Notes edges as they are written: `r1` is a rising one with the number 1, `f2` a falling one.
  private func count(_ edges: String, isActive: Bool = false, hasFallingEdges: Bool = true) -> String {
    var counter = EdgeCounter(isActive: isActive, hasFallingEdges: hasFallingEdges)
    for word in edges.split(separator: " ") {
      counter.note(makeEdge(isRising: word.first == "r", sequence: UInt32(word.dropFirst()) ?? 0, milliseconds: 0))
    }
    return "\(counter.rises) \(counter.lost)"
  }

  private func makeEdge(isRising: Bool, sequence: UInt32, milliseconds: UInt64) -> LineEdge {
    var bytes = [UInt8](repeating: 0, count: 48)
    for byte in 0..<8 { bytes[byte] = UInt8(truncatingIfNeeded: (milliseconds * 1_000_000) >> UInt64(8 * byte)) }
    bytes[8] = isRising ? 1 : 2
    for byte in 0..<4 { bytes[16 + byte] = UInt8(truncatingIfNeeded: sequence >> UInt32(8 * byte)) }
    return LineEdge(bytes.span, at: 0)
  }

  @Test(arguments: [
    ("", "0 0"), ("r1", "1 0"), ("r1 f2 r3 f4", "2 0"), ("f1 r2", "1 0"),
    // Gaps: what is lost takes turns.
    ("r1 r3", "2 1"), ("r1 f4", "2 2"), ("f1 f3", "1 1"), ("f1 r4", "2 2"), ("r1 r5 f6", "3 3"), ("f1 f7", "3 5"),
    // Merged edges have no numbers.
    ("r1 r2", "2 1"), ("f1 f2", "1 1"), ("r1 r2 f3", "2 1"),
  ])
  func countsBothEdges(_ edges: String, _ expected: String) {
    #expect(count(edges) == expected)
  }

  /// The first edge knows the level better than who has read it.
  @Test func believesTheFirstEdge() {
    #expect(count("r1", isActive: true) == "1 0")
    #expect(count("f1", isActive: false) == "0 0")
  }

  @Test(arguments: [("r1 r2 r3", "3 0"), ("r1 r5", "5 3"), ("r4294967295 r0", "4294967296 4294967294")])
  func countsRisingEdgesAlone(_ edges: String, _ expected: String) {
    #expect(count(edges, hasFallingEdges: false) == expected)
  }

  @Test func tellsFrequencyOfTheEdgesThemselves() {
    var counter = EdgeCounter(isActive: false, hasFallingEdges: false)
    var sequence: UInt32 = 0
    func frequency(_ counter: inout EdgeCounter) -> String {
      var text = makeBuffer()
      text.append(counter.takeFrequency())
      return text.text
    }
    func pulse(_ counter: inout EdgeCounter, at times: [UInt64]) {
      for time in times {
        sequence += 1
        counter.note(makeEdge(isRising: true, sequence: sequence, milliseconds: time))
      }
    }
    #expect(frequency(&counter) == "0")
    pulse(&counter, at: [1000])
    // One edge is no period.
    #expect(frequency(&counter) == "0")
    pulse(&counter, at: [1001, 1002, 1003])
    #expect(frequency(&counter) == "1000")
    #expect(frequency(&counter) == "0")
    pulse(&counter, at: [1303])
    #expect(frequency(&counter) == "3.333")
    // Those that were lost count.
    sequence += 9
    pulse(&counter, at: [2303])
    #expect(frequency(&counter) == "10")
  }
}
