// Which value of a source's text a sensor wants, decided once from the configuration so that no name is compared at
// each reading.

import Bytes
import HostInterface

/// What a sensor takes out of its source's text.
public enum Quantity: Equatable, Sendable, BitwiseCopyable {
  /// The first number.
  case firstNumber
  /// The first number behind a name that the configuration gives.
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
}

/// Quantities of /proc/meminfo, in bytes.
public enum MemoryQuantity: UInt8, Equatable, Sendable, BitwiseCopyable {
  case total, free, available, used, buffers, cached, swapTotal, swapFree, swapUsed

  /// The word in a configuration, and the line of /proc/meminfo; for what is a difference, that of its minuend and
  /// subtrahend.
  static func lookUp(_ word: Span<UInt8>) -> MemoryQuantity? {
    if word.equals("total") { return .total }
    if word.equals("free") { return .free }
    if word.equals("available") { return .available }
    if word.equals("used") { return .used }
    if word.equals("buffers") { return .buffers }
    if word.equals("cached") { return .cached }
    if word.equals("swap-total") { return .swapTotal }
    if word.equals("swap-free") { return .swapFree }
    if word.equals("swap-used") { return .swapUsed }
    return nil
  }

  /// The line of /proc/meminfo to read, and the one to subtract from it.
  var lines: (value: StaticString, subtrahend: StaticString?) {
    switch self {
    case .total: ("MemTotal", nil)
    case .free: ("MemFree", nil)
    case .available: ("MemAvailable", nil)
    case .used: ("MemTotal", "MemAvailable")
    case .buffers: ("Buffers", nil)
    case .cached: ("Cached", nil)
    case .swapTotal: ("SwapTotal", nil)
    case .swapFree: ("SwapFree", nil)
    case .swapUsed: ("SwapTotal", "SwapFree")
    }
  }
}

/// Quantities of a file system; sizes in bytes.
public enum DiskQuantity: UInt8, Equatable, Sendable, BitwiseCopyable {
  /// Its size.
  case total
  /// What nobody uses.
  case free
  /// What an ordinary user may still use.
  case available
  /// What is in use.
  case used
  /// Used in per cent of used and available together, as `df` counts it.
  case percent

  static func lookUp(_ word: Span<UInt8>) -> DiskQuantity? {
    if word.equals("total") { return .total }
    if word.equals("free") { return .free }
    if word.equals("available") { return .available }
    if word.equals("used") { return .used }
    if word.equals("percent") { return .percent }
    return nil
  }
}

extension Quantity {
  /// What a number sensor with this source takes; nil when the argument names nothing known.
  public static func number(of kind: SourceKind, argument: Span<UInt8>, hasField: Bool) -> Quantity? {
    switch kind {
    case .loadavg:
      if argument.equals("1") { return .column(0) }
      if argument.equals("5") { return .column(1) }
      if argument.equals("15") { return .column(2) }
      return nil
    case .memory:
      guard let quantity = MemoryQuantity.lookUp(argument) else { return nil }
      return .memory(quantity)
    case .disk:
      var slash = argument.count - 1
      while slash >= 0, argument[slash] != UInt8(ascii: "/") { slash -= 1 }
      guard slash >= 0, let quantity = DiskQuantity.lookUp(argument.extracting((slash + 1)..<argument.count)) else {
        return nil
      }
      return .disk(quantity)
    case .cpu:
      return argument.equals("usage") ? .processorUsage : nil
    case .uptime:
      return .column(0)
    case .thermal, .hwmon, .network, .file, .constant:
      return hasField ? .namedNumber : .firstNumber
    }
  }
}
