// Numbers in registers of 16 bits.

import Bytes

/// What registers mean.
public enum RegisterType: UInt8, Sendable, BitwiseCopyable {
  case u16, s16, u32, s32, f32, u64, s64

  /// In the order of the cases.
  public static var words: WordList { WordList("u16|s16|u32|s32|f32|u64|s64") }
  /// How many registers it takes.
  public var registerCount: Int { self == .u16 || self == .s16 ? 1 : rawValue >= RegisterType.u64.rawValue ? 4 : 2 }
}

/// The order of a number's bytes on the wire, of which A is the most significant; of eight bytes alike.
public enum RegisterOrder: UInt8, Sendable, BitwiseCopyable {
  case abcd, cdab, badc, dcba

  /// In the order of the cases.
  public static var words: WordList { WordList("abcd|cdab|badc|dcba") }
  var swapsWords: Bool { self == .cdab || self == .dcba }
  var swapsBytes: Bool { self == .badc || self == .dcba }
}

extension RegisterType {
  /// The number in as many registers as it takes, the first on the wire first; nil where there is none to tell: an
  /// infinity, no number at all, or more than 63 bits.
  public func number(_ registers: InlineArray<4, UInt16>, _ order: RegisterOrder) -> Decimal? {
    var bits: UInt64 = 0
    for index in 0..<registerCount {
      let register = registers[order.swapsWords ? registerCount - 1 - index : index]
      bits = bits << 16 | UInt64(order.swapsBytes ? register.byteSwapped : register)
    }
    switch self {
    case .u16, .u32: return Decimal(Int64(bits))
    case .s16: return Decimal(Int64(Int16(truncatingIfNeeded: bits)))
    case .s32: return Decimal(Int64(Int32(truncatingIfNeeded: bits)))
    case .u64: return bits >> 63 == 0 ? Decimal(Int64(bits)) : nil
    case .s64: return Decimal(Int64(bitPattern: bits))
    case .f32: return shortest(UInt32(bits))
    }
  }
}

/// The shortest decimal number that is nearer to a float (IEEE 754, 32 bits) than to any other: 123.456, and not
/// 123.45600128. Without floating point. What is smaller than 1e-26 is 0.
private func shortest(_ bits: UInt32) -> Decimal? {
  let field = Int(bits >> 23 & 0xFF)
  guard field < 255 else { return nil }
  let fraction = UInt64(bits & 0x7F_FFFF)
  let whole = field > 0 ? fraction | 0x80_0000 : fraction
  guard field > 40, whole > 0 else { return Decimal(0) }
  // The value is value × 2^exponent × 10^tens; the highest bit of `value` is always set.
  var value = whole << 40
  var exponent = field - 150 - 40
  var tens = 0
  // Until what is left of the point has 57 to 60 bits.
  while exponent > -4 {
    value /= 10
    tens += 1
    normalize(&value, &exponent)
  }
  while exponent < -7 {
    value = (value >> 4) * 10
    exponent += 4
    tens -= 1
    normalize(&value, &exponent)
  }
  let digits = value >> UInt64(-exponent)
  // Half of the way to the next float; below a power of two the next one is nearer.
  let above = digits / (2 * whole)
  let below = fraction == 0 ? above / 2 : above
  var unit: UInt64 = 1_000_000_000_000_000_000
  while unit > 1 {
    let rounded = (digits + unit / 2) / unit * unit
    if rounded < digits + above, rounded + below > digits {
      let magnitude = Int64(rounded)
      return Decimal(significand: bits >> 31 == 1 ? -magnitude : magnitude, exponent: tens)
    }
    unit /= 10
  }
  return nil
}

private func normalize(_ value: inout UInt64, _ exponent: inout Int) {
  let shift = value.leadingZeroBitCount
  value <<= UInt64(shift)
  exponent -= shift
}
