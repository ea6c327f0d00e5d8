// Arithmetic on decimal numbers that only filters need.

extension Decimal {
  /// Digits that a quotient has behind the point at most.
  public static var quotientDigits: Int { 9 }

  /// 0.01.
  public static var hundredth: Decimal { Decimal(significand: 1, exponent: -2) ?? Decimal(0) }

  /// The same number without its sign.
  public var magnitude: Decimal { significand < 0 ? negated : self }

  /// The same number with the other sign.
  public var negated: Decimal {
    // The least number of 64 bits has no counterpart, and loses its last digit.
    let digits = significand == .min ? (significand / 10, exponent + 1) : (significand, exponent)
    return Decimal(significand: 0 &- digits.0, exponent: digits.1) ?? self
  }

  /// This number less `other`, rounded where it has more digits than fit; nil when it is out of range.
  @inline(never)  // small code: this is called from several places
  public func subtracting(_ other: Decimal) -> Decimal? { adding(other.negated) }

  /// Whether this number is the smaller one.
  @inline(never)  // small code: this is called from several places
  public func isLess(than other: Decimal) -> Bool {
    if exponent == other.exponent { return significand < other.significand }
    return (subtracting(other) ?? self).significand < 0
  }

  /// The quotient with `quotientDigits` digits behind the point, or fewer where it has more than eighteen in all,
  /// rounded half away from zero; of the divisor nine digits count. Nil when it is out of range, or the divisor is 0.
  @inline(never)  // small code: this is called from several places
  public func divided(by divisor: Decimal) -> Decimal? {
    guard divisor.significand != 0 else { return nil }
    var numerator = significand.magnitude
    var denominator = divisor.significand.magnitude
    var power = exponent - divisor.exponent
    // Each turn drops or adds a digit, of which there are at most twenty.
    while denominator >= 1_000_000_000 {
      denominator = denominator.tenth
      power -= 1
    }
    while numerator > 0, numerator < UInt64.max.tenth, power > -2 * Decimal.exponentMax {
      numerator &*= 10
      power -= 1
    }
    // What is cut off here only matters below the digits that are kept.
    var quotient = numerator / denominator
    while power < -18 || quotient > UInt64(Int64.max) {
      quotient = quotient.tenth
      power += 1
    }
    let isNegative = (significand < 0) != (divisor.significand < 0)
    let magnitude = Int64(bitPattern: quotient)
    return Decimal(significand: isNegative ? 0 &- magnitude : magnitude, exponent: power)?
      .rounded(toFractionDigits: Decimal.quotientDigits)
  }
}
