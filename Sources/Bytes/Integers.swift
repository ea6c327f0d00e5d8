// Integers as text.

extension ByteBuffer {
  /// Appends `value` in decimal.
  public mutating func append(decimal value: Int64) {
    append(decimal: value.magnitude, isNegative: value < 0, digitsMin: 1, fractionDigits: 0)
  }

  /// Appends `value` in decimal.
  public mutating func append(decimal value: Int) {
    append(decimal: Int64(value))
  }

  /// Appends `value` in decimal, with leading zeros up to `digitsMin` digits (at most 20).
  public mutating func append(decimal value: UInt64, digitsMin: Int = 1) {
    append(decimal: value, isNegative: false, digitsMin: min(digitsMin, 20), fractionDigits: 0)
  }

  /// The eight bytes from `index` on, which must be held, as an integer, the highest first.
  @inline(never)  // small code: this is called from several places
  public func bigEndian(at index: Int) -> UInt64 { UInt64(bigEndian: span.word(at: index)) }

  /// Writes `word` over the eight bytes from `index` on, which must be held, the highest first.
  @inline(never)  // small code: this is called from several places
  public mutating func overwrite(at index: Int, bigEndian word: UInt64) {
    for place in 0..<8 { self[index + place] = UInt8(truncatingIfNeeded: word &>> UInt64(56 &- 8 &* place)) }
  }

  /// Appends `byte` as two lower-case hexadecimal digits.
  @inline(never)  // small code: this is called from several places
  public mutating func append(hexadecimal byte: UInt8) {
    append(hexDigit(byte >> 4))
    append(hexDigit(byte & 15))
  }
}

/// How many decimal digits `value` has: 1 to 20.
@inline(__always)
func decimalDigitCount(_ value: UInt64) -> Int {
  if value < 10 { return 1 }
  if value < 100 { return 2 }
  if value < 1000 { return 3 }
  return longDigitCount(value)
}

/// The same of a value with four digits or more.
@inline(never)  // small code: the loop is unrolled
private func longDigitCount(_ value: UInt64) -> Int {
  var digitCount = 4
  // Ten digits fit 32 bits, with which a small processor has less work.
  var smallPower: UInt32 = 10_000
  while digitCount < 10 {
    if value < UInt64(smallPower) { return digitCount }
    digitCount &+= 1
    smallPower &*= 10
  }
  var power: UInt64 = 10_000_000_000
  // The twentieth digit is the last, and the power above it is too large.
  while digitCount < 20, value >= power {
    digitCount &+= 1
    power &*= 10
  }
  return digitCount
}

/// The lower-case hexadecimal digit of a value from 0 to 15.
public func hexDigit(_ value: UInt8) -> UInt8 {
  value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
}

extension UInt8 {
  /// Whether this is an ASCII digit.
  public var isDigit: Bool { self >= UInt8(ascii: "0") && self <= UInt8(ascii: "9") }

  /// Whether this is a space, tab, line feed or carriage return.
  public var isBlank: Bool { self == 0x20 || self == 0x09 || self == 0x0A || self == 0x0D }

  /// The value of a hexadecimal digit of either case; nil for anything else.
  public var hexDigitValue: UInt8? {
    @inline(never)  // small code: this is called from several places
    get {
      if isDigit { return self - UInt8(ascii: "0") }
      let lower = lowercased
      return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "f") ? lower - UInt8(ascii: "a") + 10 : nil
    }
  }

  /// The lower-case form of an ASCII letter; anything else unchanged.
  public var lowercased: UInt8 { lowerCase() }

  #if !_pointerBitWidth(_64)
    @inline(never)  // small code: this is called from several places
  #endif
  private func lowerCase() -> UInt8 {
    self >= UInt8(ascii: "A") && self <= UInt8(ascii: "Z") ? self | 0x20 : self
  }
}

/// The value of `text`, which must consist of decimal digits only; nil otherwise or above 2^64 - 1.
public func parseUnsigned(_ text: Span<UInt8>) -> UInt64? {
  guard !text.isEmpty else { return nil }
  var value: UInt64 = 0
  for index in text.indices {
    guard text[index].isDigit else { return nil }
    let (product, productOverflow) = value.multipliedReportingOverflow(by: 10)
    let (sum, sumOverflow) = product.addingReportingOverflow(UInt64(text[index] - UInt8(ascii: "0")))
    if productOverflow || sumOverflow { return nil }
    value = sum
  }
  return value
}
