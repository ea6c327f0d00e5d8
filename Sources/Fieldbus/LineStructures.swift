// The structures of the kernel's GPIO character device, version 2: linux/gpio.h, Linux 5.10 and later. They are the
// same on 32 and 64 bits, in the machine's byte order, which is little-endian wherever this runs.

import Bytes

/// Requests of ioctl(2).
public enum LineRequestNumber {
  /// GPIO_GET_CHIPINFO, of `LineStructure.chipInfoBytes`.
  public static var chipInfo: UInt32 { 0x8044_B401 }
  /// GPIO_V2_GET_LINEINFO, of `LineStructure.lineInfoBytes`.
  public static var lineInfo: UInt32 { 0xC100_B405 }
  /// GPIO_V2_GET_LINE, of `LineStructure.requestBytes`.
  public static var line: UInt32 { 0xC250_B407 }
  /// GPIO_V2_LINE_GET_VALUES, of `LineStructure.valuesBytes`.
  public static var values: UInt32 { 0xC010_B40E }
  /// GPIO_V2_LINE_SET_VALUES, of `LineStructure.valuesBytes`.
  public static var setValues: UInt32 { 0xC010_B40F }
}

/// Sizes and places in them.
public enum LineStructure {
  /// gpiochip_info: name[32], label[32], u32 lines.
  public static var chipInfoBytes: Int { 68 }
  /// gpio_v2_line_info: name[32], consumer[32], u32 offset, u32 num_attrs, u64 flags, and attributes.
  public static var lineInfoBytes: Int { 256 }
  /// gpio_v2_line_request.
  public static var requestBytes: Int { 592 }
  /// gpio_v2_line_values: u64 bits, u64 mask.
  public static var valuesBytes: Int { 16 }
  /// gpio_v2_line_event.
  public static var eventBytes: Int { 48 }
  /// Room for a name, with the zero at its end.
  public static var nameBytes: Int { 32 }
  /// Where the label of gpiochip_info and the consumer of gpio_v2_line_info are.
  public static var secondName: Int { 32 }
  /// Where the number of a chip's lines is, and the number of the line that is asked about.
  public static var number: Int { 64 }
  /// Where the flags of a line are.
  public static var lineFlags: Int { 72 }
  /// Where the kernel puts the descriptor of a request.
  public static var descriptor: Int { 588 }
  /// How many events the kernel keeps for a line at most.
  public static var eventsMax: UInt32 { 1024 }
}

/// Bits of a line's flags.
public enum LineFlag {
  /// Somebody has it.
  public static var used: UInt32 { 1 << 0 }
  /// A low voltage is active.
  public static var activeLow: UInt32 { 1 << 1 }
  /// It is an input.
  public static var input: UInt32 { 1 << 2 }
  /// It is an output.
  public static var output: UInt32 { 1 << 3 }
  /// Its becoming active is told.
  public static var risingEdge: UInt32 { 1 << 4 }
  /// Its becoming inactive is told.
  public static var fallingEdge: UInt32 { 1 << 5 }
  /// What holds its level.
  static var pullUp: UInt32 { 1 << 8 }
  static var pullDown: UInt32 { 1 << 9 }
  static var biasOff: UInt32 { 1 << 10 }
}

extension LineOptions {
  /// The same as flags of a request.
  public var flags: UInt32 {
    var flags = isActiveLow ? LineFlag.activeLow : 0
    switch bias {
    case .unchanged: break
    case .off: flags |= LineFlag.biasOff
    case .pullUp: flags |= LineFlag.pullUp
    case .pullDown: flags |= LineFlag.pullDown
    }
    return flags
  }
}

/// What a request says of its line beside the flags.
public struct LineAttribute: Sendable, BitwiseCopyable {
  /// What it is about, by the kernel's numbers.
  public enum Kind: UInt8, Sendable, BitwiseCopyable {
    /// Nothing.
    case none = 0
    /// The level of an output from the moment on that it is one.
    case outputValue = 2
    /// How long a level must last, in microseconds.
    case debounce = 3
  }

  let kind: Kind
  let value: UInt32

  /// `value` in the unit of its kind.
  public init(kind: Kind, value: UInt32) {
    self.kind = kind
    self.value = value
  }
}

/// A request for one line.
public enum LineRequest {
  /// Who has the line, as others are told.
  public static var consumer: StaticString { "mote" }

  /// Writes gpio_v2_line_request: offsets[64]@0, consumer[32]@256, config@288 {u64 flags, u32 num_attrs@296,
  /// attrs[10]@320 {u32 id, u32 padding, u64 value, u64 mask}}, u32 num_lines@560, u32 event_buffer_size@564. All else
  /// must be zero.
  ///
  /// - Parameters:
  ///   - line: its number on the chip.
  ///   - flags: of `LineFlag`.
  ///   - attribute: what else is said of it.
  public static func encode(
    line: UInt32, flags: UInt32, _ attribute: LineAttribute, into bytes: inout InlineArray<592, UInt8>
  ) {
    bytes = InlineArray(repeating: 0)
    put(line, at: 0, in: &bytes)
    let name = consumer.bytes
    for index in name.indices { bytes[256 + index] = name[index] }
    put(flags, at: 288, in: &bytes)
    if attribute.kind != .none {
      put(1, at: 296, in: &bytes)
      put(UInt32(attribute.kind.rawValue), at: 320, in: &bytes)
      put(attribute.value, at: 328, in: &bytes)
      put(1, at: 336, in: &bytes)  // of the first line
    }
    put(1, at: 560, in: &bytes)
    if flags & (LineFlag.risingEdge | LineFlag.fallingEdge) != 0 {
      put(LineStructure.eventsMax, at: 564, in: &bytes)
    }
  }

  @inline(never)
  private static func put(_ value: UInt32, at index: Int, in bytes: inout InlineArray<592, UInt8>) {
    for byte in 0..<4 { bytes[index + byte] = UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)) }
  }
}

extension Span<UInt8> {
  /// A number of 32 bits of a structure.
  @inline(never)
  public func structureNumber(at index: Int) -> UInt32 {
    var value: UInt32 = 0
    for byte in 0..<4 { value |= UInt32(self[index + byte]) << UInt32(8 * byte) }
    return value
  }

  /// A name of a structure, without its zero; cut where that is missing.
  @inline(never)
  public func structureName(at index: Int) -> Range<Int> {
    var end = index
    while end < index + LineStructure.nameBytes, self[end] != 0 { end += 1 }
    return index..<end
  }
}

/// An edge: gpio_v2_line_event {u64 timestamp_ns, u32 id, u32 offset, u32 seqno, u32 line_seqno, padding}.
public struct LineEdge: Equatable, Sendable, BitwiseCopyable {
  /// When it came, on the monotonic clock, in nanoseconds.
  public let time: UInt64
  /// Whether the line became active.
  public let isRising: Bool
  /// Counts the edges of the request, from 1, and wraps.
  public let sequence: UInt32

  /// The edge at `index` of what was read, where there must be a whole one.
  public init(_ bytes: Span<UInt8>, at index: Int) {
    time = UInt64(bytes.structureNumber(at: index)) | UInt64(bytes.structureNumber(at: index + 4)) << 32
    isRising = bytes.structureNumber(at: index + 8) == 1
    sequence = bytes.structureNumber(at: index + 16)
  }
}
