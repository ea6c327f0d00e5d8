import Bytes
import Foundation
import TestSupport
import Testing

private typealias Decimal = Bytes.Decimal

/// The canonical text of the number that `text` is, or why there is none.
private func canonical(_ text: String) -> String {
  guard let value = Decimal(parsing: [UInt8](text.utf8).span) else { return "nil" }
  return printed(value)
}

private func printed(_ value: Decimal?) -> String {
  guard let value else { return "nil" }
  var buffer = makeBuffer(capacity: 80)
  buffer.append(value)
  return buffer.text
}

private func parsed(_ text: String) -> Decimal {
  Decimal(parsing: [UInt8](text.utf8).span) ?? Decimal(0)
}

@Suite struct DecimalTests {
  @Test(arguments: [
    ("0", "0"), ("-0", "0"), ("0.0", "0"), ("0e30", "0"), ("1", "1"), ("+1", "1"), ("-1", "-1"), ("007", "7"),
    ("0.1", "0.1"), ("-0.1", "-0.1"), ("0.10", "0.1"), ("21.5", "21.5"), ("100", "100"), ("1.0e2", "100"),
    ("1e-3", "0.001"), ("1E3", "1000"), ("1.5e+1", "15"), ("12e-1", "1.2"), ("-45.149", "-45.149"),
    ("0.000000000931322574", "0.000000000931322574"), ("1e18", "1000000000000000000"),
    ("999999999999999999", "999999999999999999"), ("0.0000000000000000000001", "0.0000000000000000000001"),
    ("1e36", "1000000000000000000000000000000000000"), ("1e-36", "0.000000000000000000000000000000000001"),
    (".5", "0.5"), ("-.5", "-0.5"), ("-1e-36", "-0.000000000000000000000000000000000001"),
  ])
  func parsesAndPrints(_ text: String, _ expected: String) {
    #expect(canonical(text) == expected)
    #expect(canonical(expected) == expected)
  }

  @Test(arguments: [
    "", "-", "+", ".", "-.", "5.", "1e", "1e+", "e5", "1 ", " 1", "1.2.3", "1,5", "0x10", "NaN", "inf",
    "--1", "+-1", "1e5x", "1e55", "1e-37", "1e99999999999999999999", "1e-99999999999999999999", "٣",
  ])
  func refuses(_ text: String) {
    #expect(canonical(text) == "nil")
  }

  @Test func roundsBehindTheEighteenthDigitHalfAwayFromZero() {
    #expect(canonical("12345678901234567844") == "12345678901234567800")
    #expect(canonical("12345678901234567851") == "12345678901234567900")
    #expect(canonical("-12345678901234567851") == "-12345678901234567900")
    #expect(canonical("9223372036854775808") == "9223372036854775810")
    #expect(canonical("9999999999999999995") == "10000000000000000000")
    #expect(canonical("0.1234567890123456784999999") == "0.123456789012345678")
    #expect(canonical("18446744073709551615") == "18446744073709551600")
    #expect(canonical("000000000000000000000000000123") == "123")
    #expect(canonical("0.000000000000000000000123") == "0.000000000000000000000123")
  }

  @Test func nineteenDigitsAreExactWhereTheyFit() {
    for text in [
      "1234567890123456784", "-1234567890123456785", "9223372036854775807", "-9223372036854775808",
      "123456789012345678.5", "1.234567890123456785", "0.1234567890123456785", "-922337203685477580.8",
    ] {
      let bytes = [UInt8](text.utf8)
      #expect(canonical(text) == text)
      #expect(Decimal.parsePrefix(of: bytes.span, from: 0)?.isExact == true, "\(text)")
      #expect(canonical(text + "e-2") != "nil")
    }
    for (text, expected) in [
      ("1234567890123456785000", "1234567890123456785000"), ("12345678901234567850.00", "12345678901234567850"),
      ("123456789012345678.500", "123456789012345678.5"), ("100000000000000000000", "100000000000000000000"),
    ] { #expect(canonical(text) == expected) }
  }

  @Test func longTextsNeitherTrapNorLoseTheirSize() {
    let zeros = String(repeating: "0", count: 20_000)
    #expect(canonical("1" + zeros) == "nil")
    #expect(canonical("0." + zeros + "1") == "nil")
    #expect(canonical(zeros + "1." + zeros) == "1")
    #expect(canonical("1" + zeros + "e-20000") == "nil", "powers are cut at 10,000")
    #expect(canonical("1" + String(zeros.prefix(9_000)) + "e-9000") == "1")
  }

  @Test func findsTheLongestNumberAtTheFront() {
    func prefix(_ text: String, from: Int = 0) -> String {
      guard let found = Decimal.parsePrefix(of: [UInt8](text.utf8).span, from: from) else { return "nil" }
      return "\(printed(found.value)) to \(found.end)"
    }
    #expect(prefix("21.5 °C") == "21.5 to 4")
    #expect(prefix("1.x") == "1 to 1")
    #expect(prefix("3em") == "3 to 1")
    #expect(prefix("3e+") == "3 to 1")
    #expect(prefix("t=23125", from: 2) == "23125 to 7")
    #expect(prefix("abc") == "nil")
    #expect(prefix("1", from: 1) == "nil")
  }

  @Test func decimalFractionsStayWhatTheyAre() {
    #expect(printed(parsed("0.1").adding(parsed("0.2"))) == "0.3")
    #expect(printed(parsed("45149").multiplied(by: parsed("0.001"))) == "45.149")
    #expect(printed(parsed("1.1").multiplied(by: parsed("1.1"))) == "1.21")
    #expect(printed(parsed("2047").adding(parsed("-12"))?.multiplied(by: parsed("0.805664"))) == "1639.52624")
    for step in 0..<1000 {
      #expect(
        printed(Decimal(Int64(step)).multiplied(by: parsed("0.1")))
          == (step % 10 == 0 ? "\(step / 10)" : "\(step / 10).\(step % 10)"))
    }
  }

  @Test(arguments: [
    ("45.149", 1, "45.1"), ("45.15", 1, "45.2"), ("-45.15", 1, "-45.2"), ("0.4445", 0, "0"), ("0.5", 0, "1"),
    ("-0.5", 0, "-1"), ("9.999", 2, "10"), ("1.25", 5, "1.25"), ("12345", -2, "12300"), ("0.04", 1, "0"),
    ("99", 0, "99"),
    ("1e-36", 0, "0"), ("0.05", 1, "0.1"),
  ])
  func rounds(_ text: String, _ digits: Int, _ expected: String) {
    #expect(printed(parsed(text).rounded(toFractionDigits: digits)) == expected)
  }

  @Test func equalNumbersAreEqual() {
    #expect(parsed("1.50") == parsed("1.5"))
    #expect(parsed("100") == parsed("1e2"))
    #expect(parsed("-0") == parsed("0"))
    #expect(Decimal(significand: 10, exponent: -37) == Decimal(significand: 1, exponent: -36))
    #expect(Decimal(significand: 1, exponent: -37) == nil)
    #expect(Decimal(significand: 1, exponent: 37) == Decimal(significand: 1_000_000, exponent: 31))
    #expect(Decimal(significand: .max, exponent: 37) == nil)
    #expect(parsed("1.5") != parsed("1.51"))
  }

  @Test func holdsTheExtremes() {
    #expect(printed(Decimal(.min)) == "-9223372036854775808")
    #expect(printed(Decimal(.max)) == "9223372036854775807")
    #expect(printed(Decimal(.min).adding(Decimal(.min))) == "-18446744073709551620")
    #expect(printed(Decimal(.max).adding(Decimal(.max))) == "18446744073709551610")
    #expect(printed(Decimal(.min).adding(Decimal(.max))) == "-1")
    #expect(printed(Decimal(.min).multiplied(by: Decimal(-1))) == "9223372036854775810")
    #expect(printed(Decimal(.min).multiplied(by: Decimal(.min))) == "85070591730234615870000000000000000000")
    #expect(printed(Decimal(.min).multiplied(by: Decimal(0))) == "0")
    #expect(printed(parsed("1e36").multiplied(by: parsed("1e36"))) == "nil")
    #expect(printed(parsed("1e-36").multiplied(by: parsed("0.1"))) == "nil")
    #expect(printed(parsed("1e36").multiplied(by: parsed("1e-36"))) == "1")
    #expect(printed(parsed("1e36").adding(parsed("1e-36"))) == printed(parsed("1e36")))
    #expect(printed(Decimal(0).adding(parsed("1e-36"))) == printed(parsed("1e-36")))
    #expect(printed(parsed("1e36").adding(Decimal(0))) == printed(parsed("1e36")))
  }

  @Test func printingAndParsingIsARoundTrip() {
    var random = RandomSource(seed: 1)
    for _ in 0..<20_000 {
      // Up to eighteen digits: what parsing keeps.
      let significand = Int64(random.next() % 1_000_000_000_000_000_000) / powerOfTen(Int(random.next() % 18))
      guard let value = Decimal(significand: significand, exponent: Int(random.next() % 50) - 36) else { continue }
      guard let negative = Decimal(significand: -value.significand, exponent: value.exponent) else { continue }
      if value.exponent > 0 { continue }  // unfolding may have made nineteen digits
      #expect(parsed(printed(value)) == value)
      #expect(parsed(printed(negative)) == negative)
    }
  }

  /// Foundation's decimals have 38 digits, so that sums and products of ours are exact there.
  @Test func agreesWithFoundation() throws {
    var random = RandomSource(seed: 2)
    var roundedCount = 0
    for _ in 0..<20_000 {
      let left = try #require(randomDecimal(&random))
      let right = try #require(randomDecimal(&random))
      for (ours, exact) in [
        (left.multiplied(by: right), reference(left) * reference(right)),
        (left.adding(right), reference(left) + reference(right)),
      ] {
        let result = try #require(ours)
        let difference = abs(reference(result) - exact)
        if difference == 0 { continue }
        roundedCount += 1
        // Rounding keeps at least 18 digits, so it is off by at most half a unit of the eighteenth. An operand that
        // loses digits before a sum that does so, too, may add as much again.
        #expect(
          difference * Foundation.Decimal(sign: .plus, exponent: 17, significand: 1) <= abs(exact), "\(left) \(right)")
      }
      let digits = Int(random.next() % 12)
      var expected = Foundation.Decimal()
      var unrounded = reference(left)
      NSDecimalRound(&expected, &unrounded, digits, .plain)
      #expect(reference(left.rounded(toFractionDigits: digits)) == expected, "\(left) to \(digits)")
    }
    #expect(roundedCount > 1000, "the test must reach the rounding")
  }

  private func randomDecimal(_ random: inout RandomSource) -> Decimal? {
    let magnitude = Int64(random.next() % 1_000_000_000_000_000_000) / powerOfTen(Int(random.next() % 19))
    return Decimal(
      significand: random.next() % 2 == 0 ? magnitude : -magnitude, exponent: -Int(random.next() % 12))
  }

  private func reference(_ value: Decimal) -> Foundation.Decimal {
    let magnitude = Foundation.Decimal(string: "\(value.significand.magnitude)") ?? .nan
    return Foundation.Decimal(
      sign: value.significand < 0 ? .minus : .plus, exponent: value.exponent, significand: magnitude)
  }

  private func powerOfTen(_ exponent: Int) -> Int64 {
    (0..<exponent).reduce(into: 1) { power, _ in power *= 10 }
  }
}
