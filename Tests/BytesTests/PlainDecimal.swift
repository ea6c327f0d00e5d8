import Bytes

/// Decimals as they are written down, digit by digit and with divisions: what the fast ones are compared with.
struct PlainDecimal: Equatable {
  var significand: Int64
  var exponent: Int

  init?(_ significand: Int64, _ exponent: Int) {
    self.significand = significand
    self.exponent = exponent
    normalize()
    guard (-36...36).contains(self.exponent) else { return nil }
  }

  /// All of `text`, without rounding of digits behind the eighteenth; nil where there are more.
  init?(text: String) {
    var rest = Substring(text)
    let isNegative = rest.hasPrefix("-")
    if isNegative || rest.hasPrefix("+") { rest.removeFirst() }
    var magnitude: Int64 = 0
    var digits = 0
    var fractionDigits: Int?
    while let character = rest.first, let digit = Int64(String(character)) ?? (character == "." ? -1 : nil) {
      rest.removeFirst()
      if digit < 0 {
        guard fractionDigits == nil, rest.first.map(\.isASCII) == true, rest.first.map(\.isNumber) == true else {
          return nil
        }
        fractionDigits = 0
        continue
      }
      guard magnitude < 100_000_000_000_000_000 else { return nil }
      magnitude = magnitude * 10 + digit
      digits += 1
      if let count = fractionDigits { fractionDigits = count + 1 }
    }
    guard digits > 0 else { return nil }
    var power = 0
    if rest.first == "e" || rest.first == "E" {
      rest.removeFirst()
      let isDivided = rest.hasPrefix("-")
      if isDivided || rest.hasPrefix("+") { rest.removeFirst() }
      guard !rest.isEmpty, rest.allSatisfy({ "0123456789".contains($0) }) else { return nil }
      power = min(Int(rest) ?? 10_000, 10_000) * (isDivided ? -1 : 1)
      rest = ""
    }
    guard rest.isEmpty else { return nil }
    self.init(isNegative ? -magnitude : magnitude, power - (fractionDigits ?? 0))
  }

  /// The product, rounded; nil when it is out of range, or its digits do not fit.
  func scaled(by factor: PlainDecimal, fractionDigits: Int?) -> PlainDecimal? {
    let (product, overflow) = significand.multipliedReportingOverflow(by: factor.significand)
    guard !overflow, var value = PlainDecimal(product, exponent + factor.exponent) else { return nil }
    guard let fractionDigits else { return value }
    while value.exponent < -fractionDigits - 1 {
      value.significand /= 10
      value.exponent += 1
    }
    if value.exponent < -fractionDigits {
      let last = value.significand % 10
      value.significand /= 10
      value.exponent += 1
      if last >= 5 { value.significand += 1 }
      if last <= -5 { value.significand -= 1 }
    }
    value.normalize()
    return value
  }

  var text: String {
    let digits = String(significand.magnitude)
    let sign = significand < 0 ? "-" : ""
    guard exponent < 0 else { return sign + digits + String(repeating: "0", count: exponent) }
    let padded = String(repeating: "0", count: max(1 - exponent - digits.count, 0)) + digits
    return sign + padded.dropLast(-exponent) + "." + padded.suffix(-exponent)
  }

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
