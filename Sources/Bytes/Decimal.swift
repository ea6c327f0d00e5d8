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

  /// Parses all of `text`: a sign, digits, a fraction and a power of ten as in JSON; leading zeros, `+` and a
  /// point without digits before it are allowed, too.
  ///
  /// Where a number has more digits than fit, those behind the eighteenth significant one are rounded. Returns nil for
  /// anything else, NaN and infinities too.
  public init?(parsing text: Span<UInt8>) {
    guard let found = Decimal.parsePrefix(of: text, from: 0), found.end == text.count else { return nil }
    self = found.value
  }

  /// Parses the longest number that starts at `from`; gives the position behind it, and whether it was not rounded:
  /// what fits 64 bits with sign never is. Handles at most `text.count` bytes.
  public static func parsePrefix(of text: Span<UInt8>, from: Int) -> (value: Decimal, end: Int, isExact: Bool)? {
    precondition(from >= 0)  // Said once, it need not be asked at each byte.
    #if _pointerBitWidth(_64)
      return parseWord(of: text, from: from)
    #else
      var index = from
      var isNegative = false
      if index < text.count, text[index] == UInt8(ascii: "-") || text[index] == UInt8(ascii: "+") {
        isNegative = text[index] == UInt8(ascii: "-")
        index += 1
      }
      let digits = DigitsTaken(isNegative: isNegative, start: index)
      return parseRest(of: text, from: index, behind: digits)
    #endif
  }

  /// What is known of a number after its first digits.
  private struct DigitsTaken: BitwiseCopyable {
    let isNegative: Bool
    /// Where the digits, or the point in front of them, begin.
    let start: Int
    var magnitude: UInt64 = 0
    /// Where the digits behind the point begin; 0 without a point.
    var fractionStart = 0
  }

  /// Parses what follows the first digits of a number, which may be all of it.
  #if _pointerBitWidth(_64)
    @inline(never)  // rare
  #else
    @inline(__always)
  #endif
  private static func parseRest(
    of text: Span<UInt8>, from: Int, behind digits: DigitsTaken
  ) -> (value: Decimal, end: Int, isExact: Bool)? {
    var index = from
    var magnitude = digits.magnitude
    var fractionStart = digits.fractionStart
    takeDigits(of: text, at: &index, into: &magnitude)
    if fractionStart == 0, index < text.count, isPoint(in: text, at: index), magnitude < significandFull {
      index &+= 1
      fractionStart = index
      takeDigits(of: text, at: &index, into: &magnitude)
    }
    guard index > digits.start else { return nil }
    var exponent = fractionStart == 0 ? 0 : fractionStart &- index
    var isExact = true
    if magnitude >= significandFull {
      let rest = roundOff(text, from: index, hasPoint: exponent < 0, &magnitude, isNegative: digits.isNegative)
      index = rest.end
      exponent += rest.power
      isExact = rest.isExact
    }
    let hasPower = index < text.count && text[index] | 0x20 == UInt8(ascii: "e")
    let (power, end) = hasPower ? parsePower(of: text, from: index) : (0, index)
    let significand = Int64(bitPattern: digits.isNegative ? 0 &- magnitude : magnitude)
    guard let value = Decimal(significand: significand, exponent: exponent + power) else {
      return nil
    }
    return (value, end, isExact)
  }

  #if _pointerBitWidth(_64)
    /// Parses the number at `from`, its first eight bytes at once, and what is rare with the help of `parseRest`.
    @inline(__always)
    private static func parseWord(of text: Span<UInt8>, from: Int) -> (value: Decimal, end: Int, isExact: Bool)? {
      guard from < text.count else { return nil }
      var word = text.paddedWord(at: from)
      var index = from
      var isNegative = false
      let sign = UInt8(truncatingIfNeeded: word)
      if sign < UInt8(ascii: "."), sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
        isNegative = sign == UInt8(ascii: "-")
        word &>>= 8
        index &+= 1
      }
      var digits = DigitsTaken(isNegative: isNegative, start: index)
      let number = DigitWord(word)
      var count = number.count
      var leading = number
      if number.isPoint(at: count) {
        let fraction = number.fractionCount(behind: count)
        if fraction > 0 {
          leading = number.removing(at: count)
          digits.fractionStart = index &+ count &+ 1
          count &+= fraction
          index &+= 1
        }
      }
      index &+= count
      guard count > 0 else { return nil }
      var magnitude = leading.value(of: count)
      // DEVIATION(unsafe-load): `index`, which only grows, is compared with the count each time.
      // Most numbers are so short, and followed by a blank.
      if index < text.count, text[unchecked: index] >= UInt8(ascii: ".") {
        repeat {
          let digit = text[unchecked: index] &- UInt8(ascii: "0")
          guard digit <= 9, magnitude < significandFull else {
            digits.magnitude = magnitude
            return parseRest(of: text, from: index, behind: digits)
          }
          magnitude = magnitude &* 10 &+ UInt64(digit)
          index &+= 1
        } while index < text.count && text[unchecked: index] >= UInt8(ascii: ".")
      }
      var exponent = 0
      if digits.fractionStart > 0 {
        exponent = digits.fractionStart &- index
        dropZeros(of: &magnitude, at: &exponent)
        guard exponent >= -exponentMax else { return nil }
      }
      var value = Decimal(Int64(bitPattern: isNegative ? 0 &- magnitude : magnitude))
      value.exponent = exponent
      return (value, index, true)
    }

    /// Removes zeros at the end of a fraction.
    @inline(__always)
    private static func dropZeros(of magnitude: inout UInt64, at exponent: inout Int) {
      guard magnitude & 1 == 0 else { return }  // What ends in a zero is even.
      while exponent < 0, magnitude & 1 == 0, let tenth = magnitude.wholeTenth {
        magnitude = tenth
        exponent &+= 1
      }
    }
  #endif

  /// A significand of eighteen digits: one more might not fit.
  private static var significandFull: UInt64 { 100_000_000_000_000_000 }

  /// Takes digits until there are enough.
  @inline(__always)
  private static func takeDigits(of text: Span<UInt8>, at index: inout Int, into magnitude: inout UInt64) {
    #if !_pointerBitWidth(_64)
      // As many as fit 32 bits, with which a small processor has less work, are only counted.
      let end = min(text.count, index &+ (magnitude == 0 ? 9 : magnitude < 10_000 ? 5 : 0))
      if index < end {
        var small = UInt32(truncatingIfNeeded: magnitude)
        repeat {
          let digit = UInt32(text[index]) &- UInt32(UInt8(ascii: "0"))
          if digit > 9 { break }
          small = small &* 10 &+ digit
          index &+= 1
        } while index < end
        magnitude = UInt64(small)
        if index < end { return }
      }
    #endif
    while index < text.count, magnitude < significandFull {
      let digit = text[index] &- UInt8(ascii: "0")
      if digit > 9 { break }
      magnitude = magnitude &* 10 &+ UInt64(digit)
      index &+= 1
    }
  }

  /// A point belongs to a number only in front of a digit.
  @inline(__always)
  private static func isPoint(in text: Span<UInt8>, at index: Int) -> Bool {
    text[index] == UInt8(ascii: ".") && index + 1 < text.count && text[index + 1].isDigit
  }

  /// Reads the digits behind the eighteenth, of which the first is taken if no more than that is needed and fits, and
  /// rounds the number otherwise; gives the power of ten by which they raise it.
  @inline(never)  // Rare: the rest must not pay for it.
  private static func roundOff(
    _ text: Span<UInt8>, from: Int, hasPoint: Bool, _ magnitude: inout UInt64, isNegative: Bool
  ) -> (power: Int, isExact: Bool, end: Int) {
    var index = from
    var power = 0
    var hasPoint = hasPoint
    var firstDropped: UInt8?
    var powerOfFirst = 0
    var isZeroBehind = true
    while index < text.count {
      if text[index].isDigit {
        if !hasPoint { power += 1 }
        if firstDropped == nil {
          firstDropped = text[index] &- UInt8(ascii: "0")
          powerOfFirst = hasPoint ? -1 : 0
        } else if text[index] != UInt8(ascii: "0") {
          isZeroBehind = false
        }
      } else if !hasPoint, isPoint(in: text, at: index) {
        hasPoint = true
      } else {
        break
      }
      index += 1
    }
    guard let firstDropped, firstDropped > 0 || !isZeroBehind else { return (power, true, index) }
    let longer = magnitude &* 10 &+ UInt64(firstDropped)
    if isZeroBehind, longer <= Int64.max.magnitude + (isNegative ? 1 : 0) {
      magnitude = longer
      return (powerOfFirst < 0 ? -1 : power - 1, true, index)
    }
    if firstDropped >= 5 { magnitude += 1 }
    return (power, false, index)
  }

  /// Parses what stands behind the number at `from`, an `e`: `e-3` and the like. A power without digits is not part of
  /// the number.
  private static func parsePower(of text: Span<UInt8>, from: Int) -> (power: Int, end: Int) {
    var index = from + 1
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

  /// The product, rounded once where it has more digits than fit; nil when it is out of range.
  public func multiplied(by other: Decimal) -> Decimal? {
    let (product, overflow) = significand.multipliedReportingOverflow(by: other.significand)
    if !overflow { return Decimal(significand: product, exponent: exponent + other.exponent) }
    return longProduct(with: other)
  }

  /// `multiplied(by:)` and then `rounded(toFractionDigits:)`, if the digits are limited, in one pass.
  @inline(__always)
  public func scaled(by factor: Decimal, fractionDigits: Int?) -> Decimal? {
    let (product, overflow) = significand.multipliedReportingOverflow(by: factor.significand)
    let power = exponent &+ factor.exponent
    guard !overflow, power >= -Decimal.exponentMax, power <= Decimal.exponentMax else {
      guard let product = multiplied(by: factor) else { return nil }
      return fractionDigits.map { product.rounded(toFractionDigits: $0) } ?? product
    }
    return Decimal(product, power, fractionDigits: fractionDigits)
  }

  /// `significand` × 10^`exponent`, which must be in range, rounded to `fractionDigits` if they are limited.
  #if _pointerBitWidth(_64)
    @inline(__always)
  #else
    @inline(never)  // small code: this is called from several places
  #endif
  private init(_ significand: Int64, _ exponent: Int, fractionDigits: Int?) {
    self.significand = significand
    self.exponent = exponent
    if let fractionDigits { dropDigits(below: -fractionDigits) }
    normalize()
  }

  /// The product where its digits do not fit.
  private func longProduct(with other: Decimal) -> Decimal? {
    var (high, low) = wideProduct(significand.magnitude, other.significand.magnitude)
    var dropped = 0
    var lastDropped: UInt64 = 0
    // Each turn drops one digit of at most 39, by long division of high × 2^64 + low; 2^64 is 10 × `tenth` + 6.
    let tenth: UInt64 = 1_844_674_407_370_955_161
    while high > 0 || low >= UInt64(Int64.max) {
      let carried = high % 10
      let units = carried * 6 + low % 10
      high /= 10
      low = carried * tenth + low / 10 + units / 10
      lastDropped = units % 10
      dropped += 1
    }
    let magnitude = Int64(low) + (lastDropped >= 5 ? 1 : 0)
    let isNegative = (significand < 0) != (other.significand < 0)
    return Decimal(significand: isNegative ? -magnitude : magnitude, exponent: exponent + other.exponent + dropped)
  }

  /// The sum, rounded where it has more digits than fit; nil when it is out of range.
  @inline(never)  // small code: this is called from several places
  public func adding(_ other: Decimal) -> Decimal? {
    var isExact = true
    return adding(other, &isExact)
  }

  /// The same, as code of the caller; `isExact` becomes false where it is rounded.
  @inline(__always)
  public func adding(_ other: Decimal, _ isExact: inout Bool) -> Decimal? {
    var coarse = exponent >= other.exponent ? self : other
    var fine = exponent >= other.exponent ? other : self
    guard coarse.significand != 0 else { return fine }
    guard fine.significand != 0 else { return coarse }
    // At most 18 turns; where the common exponent cannot be reached, the finer number loses digits instead.
    while coarse.exponent > fine.exponent {
      let (scaled, overflow) = coarse.significand.multipliedReportingOverflow(by: 10)
      if overflow { break }
      coarse.significand = scaled
      coarse.exponent -= 1
    }
    if fine.exponent < coarse.exponent { isExact = false }
    fine.dropDigits(below: coarse.exponent)
    let (sum, overflow) = coarse.significand.addingReportingOverflow(fine.significand)
    if !overflow { return Decimal(significand: sum, exponent: coarse.exponent) }
    isExact = false
    let units = coarse.significand % 10 + fine.significand % 10
    let tens = coarse.significand / 10 + fine.significand / 10
    return Decimal(significand: tens + (units + (units < 0 ? -5 : 5)) / 10, exponent: coarse.exponent + 1)
  }

  /// This number with at most `digits` digits behind the point, rounded half away from zero.
  public func rounded(toFractionDigits digits: Int) -> Decimal {
    Decimal(significand, exponent, fractionDigits: digits)
  }

  /// Raises the exponent to `newExponent` if it is smaller, rounding half away from zero.
  ///
  /// Rounding digit by digit would make 0.15 of 0.149, and 0.2 of that: only the last digit dropped may round.
  @inline(__always)
  private mutating func dropDigits(below newExponent: Int) {
    guard exponent < newExponent else { return }
    significand = Decimal.dropping(newExponent &- exponent, of: significand)
    exponent = newExponent
  }

  /// The significand without its last `count` digits, at least one, rounded half away from zero.
  @inline(never)  // small code: this is called from several places
  private static func dropping(_ count: Int, of significand: Int64) -> Int64 {
    var rest = significand.magnitude
    // There are at most nineteen digits: nothing is left when twenty are dropped.
    var toDrop = min(count, 20)
    while toDrop > 4, rest > UInt64(UInt32.max) {
      rest = rest.tenThousandth
      toDrop &-= 4
    }
    while toDrop > 1 {
      rest = rest.tenth
      toDrop &-= 1
    }
    let tenth = rest.tenth
    let rounded = Int64(bitPattern: rest &- tenth &* 10 >= 5 ? tenth &+ 1 : tenth)
    return significand < 0 ? 0 &- rounded : rounded
  }

  /// Removes zeros at the end of the fraction, and unfolds small powers of ten.
  @inline(__always)
  private mutating func normalize() {
    if significand == 0 { exponent = 0 }
    // What ends in a zero is even.
    while exponent < 0, significand & 1 == 0, let magnitude = significand.magnitude.wholeTenth {
      let tenth = Int64(bitPattern: magnitude)
      significand = significand < 0 ? 0 &- tenth : tenth
      exponent &+= 1
    }
    while exponent > 0 {
      let (scaled, overflow) = significand.multipliedReportingOverflow(by: 10)
      if overflow { return }
      significand = scaled
      exponent &-= 1
    }
  }
}

extension ByteBuffer {
  /// Appends `value` as a JSON number without a power of ten: `-0.05`, `12`, `21.5`.
  public mutating func append(_ value: Decimal) {
    let fractionDigits = max(-value.exponent, 0)
    // At least one digit before the point.
    append(
      decimal: value.significand.magnitude, isNegative: value.significand < 0, digitsMin: fractionDigits &+ 1,
      fractionDigits: fractionDigits)
    if value.exponent > 0 { for _ in 0..<value.exponent { append(UInt8(ascii: "0")) } }
  }
}
