// Numbers as people write them. Sensors report decimal text; a binary fraction in between would turn 0.1 into
// 0.1000000000000000055, so readings are kept as an integer and a power of ten from end to end.

/// A decimal number: `significand` × 10^`exponent`.
public struct Decimal: Equatable, Sendable, BitwiseCopyable {
  /// The digits, with sign.
  public private(set) var significand: Int64
  /// The power of ten, from -`exponentMax` to `exponentMax`.
  public private(set) var exponent: Int

  /// The largest power of ten either way.
  public static var exponentMax: Int { 36 }

  /// A whole number.
  public init(_ value: Int64) {
    significand = value
    exponent = 0
  }

  /// `significand` × 10^`exponent`; nil when the exponent is out of range.
  public init?(significand: Int64, exponent: Int) {
    self.significand = significand
    self.exponent = exponent
    normalize()
    guard self.exponent >= -Decimal.exponentMax, self.exponent <= Decimal.exponentMax else { return nil }
  }

  /// Parses all of `text`: a sign, digits, a fraction and a power of ten as in JSON, leading zeros and `+` allowed.
  ///
  /// Digits behind the eighteenth significant one are rounded. Returns nil for anything else, NaN and infinities too.
  public init?(parsing text: Span<UInt8>) {
    guard let (value, length) = Decimal.parsePrefix(of: text, from: 0), length == text.count else { return nil }
    self = value
  }

  /// Parses the longest number that starts at `from`; gives the position behind it. Handles at most `text.count` bytes.
  public static func parsePrefix(of text: Span<UInt8>, from: Int) -> (value: Decimal, end: Int)? {
    var index = from
    var isNegative = false
    if index < text.count, text[index] == UInt8(ascii: "-") || text[index] == UInt8(ascii: "+") {
      isNegative = text[index] == UInt8(ascii: "-")
      index += 1
    }
    var digits = DigitCollector()
    let digitsStart = index
    while index < text.count, text[index].isDigit {
      digits.add(text[index], isFraction: false)
      index += 1
    }
    var digitCount = index - digitsStart
    if index + 1 < text.count, text[index] == UInt8(ascii: "."), text[index + 1].isDigit {
      index += 1
      while index < text.count, text[index].isDigit {
        digits.add(text[index], isFraction: true)
        digitCount += 1
        index += 1
      }
    }
    guard digitCount > 0 else { return nil }
    let (power, end) = parsePower(of: text, from: index)
    let magnitude = digits.rounded
    guard
      let value = Decimal(
        significand: isNegative ? -magnitude : magnitude, exponent: digits.exponent + power)
    else { return nil }
    return (value, end)
  }

  /// Parses `e-3` and the like; a power without digits is not part of the number.
  private static func parsePower(of text: Span<UInt8>, from: Int) -> (power: Int, end: Int) {
    var index = from
    guard index < text.count, text[index].lowercased == UInt8(ascii: "e") else { return (0, from) }
    index += 1
    var isNegative = false
    if index < text.count, text[index] == UInt8(ascii: "-") || text[index] == UInt8(ascii: "+") {
      isNegative = text[index] == UInt8(ascii: "-")
      index += 1
    }
    let digitsStart = index
    var power = 0
    while index < text.count, text[index].isDigit {
      power = min(power * 10 + Int(text[index] - UInt8(ascii: "0")), 10_000)
      index += 1
    }
    guard index > digitsStart else { return (0, from) }
    return (isNegative ? -power : power, index)
  }

  /// The product, rounded where it has more digits than fit; nil when it is out of range.
  public func multiplied(by other: Decimal) -> Decimal? {
    var left = self
    var right = other
    // Each turn drops one digit of the longer factor: at most 38 turns.
    while true {
      let (product, overflow) = left.significand.multipliedReportingOverflow(by: right.significand)
      if !overflow { return Decimal(significand: product, exponent: left.exponent + right.exponent) }
      if left.significand.magnitude > right.significand.magnitude { left.dropDigit() } else { right.dropDigit() }
    }
  }

  /// The sum, rounded where it has more digits than fit.
  public func adding(_ other: Decimal) -> Decimal? {
    var left = self
    var right = other
    // Bring both to the smaller exponent; where that overflows, drop digits of the finer one instead.
    while left.exponent != right.exponent {
      if left.exponent < right.exponent { swap(&left, &right) }
      if left.significand == 0 {
        left.exponent = right.exponent
        break
      }
      let (scaled, overflow) = left.significand.multipliedReportingOverflow(by: 10)
      if overflow {
        right.dropDigit()
      } else {
        left.significand = scaled
        left.exponent -= 1
      }
    }
    let (sum, overflow) = left.significand.addingReportingOverflow(right.significand)
    if !overflow { return Decimal(significand: sum, exponent: left.exponent) }
    left.dropDigit()
    right.dropDigit()
    return Decimal(significand: left.significand + right.significand, exponent: left.exponent)
  }

  /// This number with at most `digits` digits behind the point, rounded half away from zero.
  public func rounded(toFractionDigits digits: Int) -> Decimal {
    guard exponent < -digits else { return self }
    var value = self
    // Rounding digit by digit would make 0.15 of 0.149, and 0.2 of that: only the last digit dropped may round.
    while value.exponent < -digits - 1 {
      value.significand /= 10
      value.exponent += 1
    }
    value.dropDigit()
    value.normalize()
    return value
  }

  /// Drops the last digit, rounding half away from zero.
  private mutating func dropDigit() {
    let last = significand % 10
    significand /= 10
    exponent += 1
    if last >= 5 { significand += 1 }
    if last <= -5 { significand -= 1 }
  }

  /// Removes zeros at the end of the fraction, and unfolds small powers of ten.
  private mutating func normalize() {
    if significand == 0 {
      exponent = 0
      return
    }
    while exponent < 0, significand % 10 == 0 {
      significand /= 10
      exponent += 1
    }
    while exponent > 0 {
      let (scaled, overflow) = significand.multipliedReportingOverflow(by: 10)
      if overflow { return }
      significand = scaled
      exponent -= 1
    }
  }
}

/// Collects up to eighteen significant digits and remembers the power of ten of the last one kept.
private struct DigitCollector {
  var value: Int64 = 0
  var exponent = 0
  var firstDropped: UInt8?

  mutating func add(_ digit: UInt8, isFraction: Bool) {
    if firstDropped == nil, value < 100_000_000_000_000_000 {
      value = value * 10 + Int64(digit - UInt8(ascii: "0"))
      if isFraction { exponent -= 1 }
    } else {
      if firstDropped == nil { firstDropped = digit }
      if !isFraction { exponent += 1 }
    }
  }

  var rounded: Int64 {
    if let firstDropped, firstDropped >= UInt8(ascii: "5") { return value + 1 }
    return value
  }
}

extension ByteBuffer {
  /// Appends `value` as a JSON number without a power of ten: `-0.05`, `12`, `21.5`.
  public mutating func append(_ value: Decimal) {
    if value.significand < 0 { append(UInt8(ascii: "-")) }
    let magnitude = value.significand.magnitude
    guard value.exponent < 0 else {
      append(decimal: magnitude)
      for _ in 0..<value.exponent { append(UInt8(ascii: "0")) }
      return
    }
    let fractionDigits = -value.exponent
    guard fractionDigits < 20 else {
      append("0.")
      for _ in 0..<(fractionDigits - 20) { append(UInt8(ascii: "0")) }
      append(decimal: magnitude, digitsMin: 20)
      return
    }
    var divisor: UInt64 = 1
    for _ in 0..<fractionDigits { divisor *= 10 }
    append(decimal: magnitude / divisor)
    append(UInt8(ascii: "."))
    append(decimal: magnitude % divisor, digitsMin: fractionDigits)
  }
}
