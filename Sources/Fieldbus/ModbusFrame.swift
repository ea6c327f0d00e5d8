// Requests and replies of Modbus (MODBUS Application Protocol 1.1b3), over serial lines (RTU) and TCP. Only reading.

import Bytes

/// What is read. The raw value is the function's code.
public enum ModbusTable: UInt8, Sendable, BitwiseCopyable {
  /// Bits.
  case coil = 1
  case discrete = 2
  /// Registers of 16 bits.
  case holding = 3
  case input = 4

  /// In the order of the codes.
  public static var words: WordList { WordList("coil|discrete|holding|input") }
  /// Whether its values are single bits.
  public var hasBits: Bool { rawValue <= 2 }
  /// How many values a request may ask for (6.1 to 6.4: 2000 and 125; of bits as many as our answers have room for).
  public var countMax: Int { hasBits ? 512 : 125 }
}

/// A request for values that stand behind one another.
public struct ModbusRequest: Equatable, Sendable, BitwiseCopyable {
  /// The unit: 1 to 247 on a serial line, any behind TCP.
  public let unit: UInt8
  /// What is read.
  public let table: ModbusTable
  /// The address of the first value, from 0, as it is in the request.
  public let first: UInt16
  /// How many, at most `ModbusTable.countMax`.
  public let count: UInt16
  /// Of a request over TCP: what its reply must repeat. Nil on a serial line.
  public let transaction: UInt16?

  /// All of it.
  public init(unit: UInt8, table: ModbusTable, first: UInt16, count: UInt16, transaction: UInt16?) {
    self.unit = unit
    self.table = table
    self.first = first
    self.count = count
    self.transaction = transaction
  }

  /// Appends it as it goes over the wire.
  public func append(to buffer: inout ByteBuffer) {
    if let transaction {
      buffer.append(bigEndian: transaction)
      buffer.append(bigEndian: 0 as UInt16)
      buffer.append(bigEndian: 6 as UInt16)
    }
    let start = buffer.count
    buffer.append(unit)
    buffer.append(table.rawValue)
    buffer.append(bigEndian: first)
    buffer.append(bigEndian: count)
    guard transaction == nil else { return }
    let sum = ModbusChecksum.of(buffer.span.extracting(start..<buffer.count))
    buffer.append(UInt8(truncatingIfNeeded: sum))
    buffer.append(UInt8(truncatingIfNeeded: sum >> 8))
  }

  /// How many bytes its values take.
  private var byteCount: Int { table.hasBits ? (Int(count) + 7) / 8 : 2 * Int(count) }

  /// Looks for its reply in all that has come since it was sent.
  public func findReply(in bytes: Span<UInt8>) -> ModbusReply {
    if let transaction { return findMessage(transaction, in: bytes) }
    // Noise, echoes and replies to others come before it: what begins a reply is only believed with its checksum.
    var start = 0
    while start + 5 <= bytes.count {
      defer { start += 1 }
      guard bytes[start] == unit else { continue }
      let isException = bytes[start + 1] == table.rawValue | 0x80
      guard isException || (bytes[start + 1] == table.rawValue && Int(bytes[start + 2]) == byteCount) else { continue }
      let end = start + (isException ? 5 : 5 + byteCount)
      guard end <= bytes.count, ModbusChecksum.of(bytes.extracting(start..<end)) == 0 else { continue }
      return isException ? .refused(bytes[start + 2]) : .values(ModbusValues(start + 3, byteCount))
    }
    return .incomplete
  }

  /// The same over TCP: transaction, protocol (0), length of what follows, unit. A reply to an earlier request that
  /// came too late is passed over.
  private func findMessage(_ transaction: UInt16, in bytes: Span<UInt8>) -> ModbusReply {
    var start = 0
    while start + 9 <= bytes.count {
      let length = bytes.bigEndian16(at: start + 4)
      guard bytes.bigEndian16(at: start + 2) == 0, length >= 3, length <= 254 else { return .broken }
      let end = start + 6 + Int(length)
      guard end <= bytes.count else { return .incomplete }
      let function = bytes[start + 7]
      if bytes.bigEndian16(at: start) == transaction, bytes[start + 6] == unit {
        if function == table.rawValue | 0x80 { return .refused(bytes[start + 8]) }
        guard function == table.rawValue, Int(bytes[start + 8]) == byteCount, start + 9 + byteCount == end else {
          return .broken
        }
        return .values(ModbusValues(start + 9, byteCount))
      }
      start = end
    }
    return .incomplete
  }
}

/// Where values are in what has come.
public struct ModbusValues: Equatable, Sendable, BitwiseCopyable {
  private let start: Int
  private let count: Int

  init(_ start: Int, _ count: Int) {
    self.start = start
    self.count = count
  }

  /// Their bytes.
  public var range: Range<Int> { start..<(start + count) }

  /// The value at `index` of them.
  public func value(_ index: Int, of table: ModbusTable, in bytes: Span<UInt8>) -> UInt16 {
    table.hasBits
      ? UInt16(bytes[start + index / 8] >> UInt8(index & 7) & 1) : bytes.bigEndian16(at: start + 2 * index)
  }
}

/// What has come of a request.
public enum ModbusReply: Equatable, Sendable {
  /// Not all of it yet.
  case incomplete
  /// Its values.
  case values(ModbusValues)
  /// The unit, or a gateway to it, says why not (7: exception codes).
  case refused(UInt8)
  /// What comes is no Modbus: the connection is of no more use.
  case broken
}

/// The checksum of serial lines: polynomial 0xA001, begun with ones, low byte first. Over a frame with it it is 0.
public enum ModbusChecksum {
  /// That of `bytes`.
  public static func of(_ bytes: Span<UInt8>) -> UInt16 {
    var sum: UInt16 = 0xFFFF
    for index in bytes.indices {
      sum ^= UInt16(bytes[index])
      for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0xA001 : sum >> 1 }
    }
    return sum
  }
}

extension Span<UInt8> {
  @inline(never)
  fileprivate func bigEndian16(at index: Int) -> UInt16 { UInt16(self[index]) << 8 | UInt16(self[index + 1]) }
}
