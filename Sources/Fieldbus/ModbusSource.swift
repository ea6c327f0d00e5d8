// `modbus:PLACE [unit=N] TABLE=ADDRESS [type=…] [order=…] [baud=…] [parity=…]`, taken apart.

import Bytes

/// What a number is made of, among the values of one reading.
public struct RegisterPoint: Equatable, Sendable, BitwiseCopyable {
  /// The address of the first register, or of the bit.
  public var address: UInt16 = 0
  /// What they mean.
  public var type = RegisterType.u16
  /// The order of their bytes.
  public var order = RegisterOrder.abcd

  /// A register of 16 bits.
  public init() {}
}

/// How a serial line speaks. Eight bits; one stop bit with a parity bit, and one without.
public struct SerialSettings: Equatable, Sendable, BitwiseCopyable {
  /// Bits a second.
  public var baud: UInt32 = 9600
  /// 0 none, 1 even, 2 odd.
  public var parity: UInt8 = 0

  /// As most devices have it.
  public init() {}
}

/// What stands behind `modbus:`.
public struct ModbusSource: Sendable, BitwiseCopyable {
  /// Where the place ends in the text; it begins at its start.
  public private(set) var placeEnd = 0
  /// The unit.
  public private(set) var unit: UInt8 = 1
  /// What is read.
  public private(set) var table = ModbusTable.holding
  /// What is made of it.
  public private(set) var point = RegisterPoint()
  /// Of a serial line.
  public private(set) var serial = SerialSettings()
  private var hasAddress = false
  private var hasType = false

  /// The port unless another is given.
  public static var port: UInt16 { 502 }

  /// Nil where `text` is not understood.
  public init?(_ text: Span<UInt8>) {
    var start = 0
    while start < text.count {
      let end = text.firstIndex(of: UInt8(ascii: " "), from: start) ?? text.count
      let word = text.extracting(start..<end)
      if start == 0 { placeEnd = end } else if !word.isEmpty, !take(word) { return nil }
      start = end + 1
    }
    let place = text.extracting(0..<placeEnd)
    let isSerial = place.starts(with: "/dev/")
    guard hasAddress, isSerial || place.starts(with: "tcp://"), placeEnd > (isSerial ? 5 : 6),
      !(table.hasBits && hasType), valueCount <= 0x1_0000 - Int(point.address), !isSerial || unit <= 247
    else { return nil }
  }

  /// How many values of its table the number takes.
  public var valueCount: Int { table.hasBits ? 1 : point.type.registerCount }

  /// Whether both are of the same unit's same table, so that one request can be for both.
  public func canShare(with other: ModbusSource) -> Bool {
    unit == other.unit && table == other.table && serial == other.serial
  }

  private mutating func take(_ word: Span<UInt8>) -> Bool {
    guard let equals = word.firstIndex(of: UInt8(ascii: "=")) else { return false }
    let name = word.extracting(0..<equals)
    let value = word.extracting((equals + 1)..<word.count)
    if name.equals("type"), let index = RegisterType.words.index(of: value) {
      point.type = RegisterType(rawValue: UInt8(index)) ?? .u16
      hasType = true
      return true
    }
    if name.equals("order"), let index = RegisterOrder.words.index(of: value) {
      point.order = RegisterOrder(rawValue: UInt8(index)) ?? .abcd
      return true
    }
    if name.equals("parity"), let index = WordList("none|even|odd").index(of: value) {
      serial.parity = UInt8(index)
      return true
    }
    guard let number = parseUnsigned(value) else { return false }
    if name.equals("unit"), number <= 255 {
      unit = UInt8(number)
      return true
    }
    if name.equals("baud"), number >= 300, number <= 4_000_000 {
      serial.baud = UInt32(number)
      return true
    }
    guard !hasAddress, let index = ModbusTable.words.index(of: name), number <= 0xFFFF,
      let found = ModbusTable(rawValue: UInt8(index + 1))
    else { return false }
    table = found
    point.address = UInt16(number)
    hasAddress = true
    return true
  }
}
