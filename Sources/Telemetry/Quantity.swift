// Which value of a source's text a sensor wants, decided once from the configuration so that no name is compared at
// each reading.

import Bytes
import Fieldbus
import HostInterface

/// What a sensor takes out of its source's text.
public enum Quantity: Equatable, Sendable, BitwiseCopyable {
  /// The number that is all of the text.
  case onlyNumber
  /// The number behind a name that the configuration gives.
  case namedNumber
  /// The text itself (or what stands behind a name), trimmed.
  case text
  /// The truth value of the text.
  case boolean
  /// A column of the first line, counted from 0.
  case column(Int)
  /// A quantity of /proc/meminfo, in bytes.
  case memory(MemoryQuantity)
  /// A quantity of a file system.
  case disk(DiskQuantity)
  /// The busy part of all processors' time since the last reading, in per cent with one decimal.
  case processorUsage
  /// The temperature of a 1-wire chip.
  case oneWire
  /// A number among values of a Modbus unit.
  case register(RegisterPoint)
}

/// Quantities of /proc/meminfo, in bytes; in the order of the words of `SourceKind.memory`.
public enum MemoryQuantity: UInt8, Equatable, Sendable, BitwiseCopyable {
  case total, free, available, used, buffers, cached, swapTotal, swapFree, swapUsed

  /// Which kernels have from Linux 3.14 on.
  static var availableLine: StaticString { "MemAvailable" }

  /// The line of /proc/meminfo to read, and the one to subtract from it.
  var lines: (value: StaticString, subtrahend: StaticString?) {
    switch self {
    case .total: ("MemTotal", nil)
    case .free: ("MemFree", nil)
    case .available: (MemoryQuantity.availableLine, nil)
    case .used: ("MemTotal", MemoryQuantity.availableLine)
    case .buffers: ("Buffers", nil)
    case .cached: ("Cached", nil)
    case .swapTotal: ("SwapTotal", nil)
    case .swapFree: ("SwapFree", nil)
    case .swapUsed: ("SwapTotal", "SwapFree")
    }
  }
}

/// Quantities of a file system; sizes in bytes; in the order of the words of `SourceKind.disk`.
public enum DiskQuantity: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// What nobody uses.
  case free
  /// What is in use.
  case used
  /// Its size.
  case total
  /// What an ordinary user may still use.
  case available
  /// Used in per cent of used and available together, as `df` counts it.
  case percent
}

extension Quantity {
  /// What a number sensor with this source takes; nil when the argument names nothing known.
  public static func number(of kind: SourceKind, argument: Span<UInt8>, hasField: Bool) -> Quantity? {
    let source = kind.description
    var word = 0
    if !source.words.isEmpty {
      guard let found = source.word(in: argument) else { return nil }
      word = found
    }
    switch source.text {
    case .number, .anything, .fields: return hasField ? .namedNumber : .onlyNumber
    case .columns: return .column(word)
    case .memory: return MemoryQuantity(rawValue: UInt8(word)).map { .memory($0) }
    case .fileSystem: return DiskQuantity(rawValue: UInt8(word)).map { .disk($0) }
    case .processorTimes: return .processorUsage
    case .oneWire: return .oneWire
    case .registers: return ModbusSource(argument).map { .register($0.point) }
    }
  }

  /// Whether a value tells of the time since the reading before it, so that the first one tells of the past.
  public var tellsOfPeriod: Bool {
    if case .processorUsage = self { return true }
    return false
  }
}
