import Bytes
import TestSupport
import Testing

private typealias Decimal = Bytes.Decimal

/// Numbers whose digits come from every place where the fast ways change: around powers of two and of ten.
private func corners() -> [Int64] {
  var corners: [Int64] = [0, .max, .min, .min + 1]
  var power: UInt64 = 1
  for _ in 0..<20 {
    for difference in -2...2 { corners.append(Int64(truncatingIfNeeded: Int(truncatingIfNeeded: power) &+ difference)) }
    corners += [Int64(truncatingIfNeeded: power &* 5), Int64(truncatingIfNeeded: power &* 5 &- 1)]
    power &*= 10
  }
  for bit in 0..<64 {
    for difference in -1...1 { corners.append(Int64(bitPattern: 1 << UInt64(bit)) &+ Int64(difference)) }
  }
  return corners + corners.map { 0 &- $0 }
}

private func randomInteger(_ random: inout RandomSource) -> Int64 {
  Int64(bitPattern: random.next()) >> Int64(random.next() % 64)
}

private func printed(_ value: Decimal?) -> String? {
  guard let value else { return nil }
  var buffer = makeBuffer(capacity: 96)
  buffer.append(value)
  return buffer.text
}

/// What multiplies, and keeps digits together, against divisions one at a time.
@Suite struct FastNumberTests {
  @Test func integersAreWhatTheStandardLibraryPrints() {
    var random = RandomSource(seed: 11)
    let integers = corners() + (0..<20_000).map { _ in randomInteger(&random) }
    for integer in integers {
      var buffer = makeBuffer(capacity: 96)
      buffer.append(decimal: integer)
      buffer.append(UInt8(ascii: " "))
      buffer.append(decimal: integer.magnitude)
      buffer.append(UInt8(ascii: " "))
      buffer.append(decimal: UInt64(bitPattern: integer), digitsMin: 12)
      let digits = String(UInt64(bitPattern: integer))
      let padded = String(repeating: "0", count: max(12 - digits.count, 0)) + digits
      guard buffer.text == "\(integer) \(integer.magnitude) \(padded)" else {
        Issue.record("\(integer): \(buffer.text)")
        return
      }
    }
  }

  @Test func numbersFillABufferToTheLastByteOrNotAtAll() throws {
    let value = try #require(Decimal(significand: -123_456_789_012_345, exponent: -6))
    let text = "-123456789.012345"
    for capacity in 0...20 {
      var buffer = makeBuffer(capacity: capacity)
      buffer.append(value)
      let hasOverflowed = buffer.hasOverflowed
      #expect(hasOverflowed == (capacity < text.count))
      #expect(buffer.text == (capacity < text.count ? "" : text))
    }
  }

  @Test func decimalsAreThoseOfDivisions() {
    var random = RandomSource(seed: 12)
    let integers = corners() + (0..<300).map { _ in randomInteger(&random) }
    for significand in integers {
      for exponent in stride(from: -40, through: 38, by: 1 + Int(random.next() % 9)) {
        let expected = PlainDecimal(significand, exponent)
        let value = Decimal(significand: significand, exponent: exponent)
        guard value?.significand == expected?.significand, value?.exponent == expected?.exponent,
          printed(value) == expected?.text
        else {
          Issue.record("\(significand)e\(exponent): \(printed(value) ?? "nil"), not \(expected?.text ?? "nil")")
          return
        }
      }
    }
  }

  @Test func scalesAndRoundsAsOneStepAfterTheOther() {
    var random = RandomSource(seed: 13)
    let integers = corners()
    for _ in 0..<15_000 {
      let left = random.next() % 4 == 0 ? integers[Int(random.next() % UInt64(integers.count))] : randomInteger(&random)
      let right = random.next() % 4 == 0 ? 1 : randomInteger(&random) >> 20
      let powers = (Int(random.next() % 74) - 37, random.next() % 2 == 0 ? 0 : Int(random.next() % 40) - 20)
      let digits: Int? = random.next() % 4 == 0 ? nil : Int(random.next() % 22) - 3
      guard let plain = PlainDecimal(left, powers.0), let plainFactor = PlainDecimal(right, powers.1),
        let value = Decimal(significand: left, exponent: powers.0),
        let factor = Decimal(significand: right, exponent: powers.1)
      else { continue }
      let product = value.multiplied(by: factor)
      let stepwise = digits == nil ? product : product?.rounded(toFractionDigits: digits ?? 0)
      let scaled = value.scaled(by: factor, fractionDigits: digits)
      #expect(scaled == stepwise, "\(plain.text) × \(plainFactor.text) to \(digits ?? 99)")
      guard !value.significand.multipliedReportingOverflow(by: factor.significand).overflow else { continue }
      let expected = plain.scaled(by: plainFactor, fractionDigits: digits)?.text
      #expect(printed(scaled) == expected, "\(plain.text) × \(plainFactor.text) to \(digits ?? 99)")
    }
  }

  /// Every text of up to eighteen digits means what its digits say, wherever the point, a sign and zeros are.
  @Test func textsOfEveryShapeMeanWhatTheirDigitsSay() {
    var random = RandomSource(seed: 14)
    let pieces = [
      "", "0", "00000000000000000000", "7", "9", "10", "12345", "99999999", "100000000", "999999999",
      "1000000000", "4294967295", "4294967296", "123456789012345678", ".", "-", "+", "e", "E-3", "e5", " ", "x",
    ]
    for round in 0..<10_000 {
      var text = ""
      if round % 2 == 0 {
        for _ in 0..<(1 + random.next() % 5) { text += pieces[Int(random.next() % UInt64(pieces.count))] }
      } else {
        text = String(randomInteger(&random))
        text.insert(".", at: text.index(text.startIndex, offsetBy: Int(random.next() % UInt64(text.count + 1))))
      }
      let significant = text.prefix { $0 != "e" && $0 != "E" }.filter(\.isNumber).drop { $0 == "0" }
      // More are rounded, which has tests of its own.
      guard significant.count <= 18 else { continue }
      let value = Decimal(parsing: [UInt8](text.utf8).span)
      let expected = PlainDecimal(text: text)
      #expect(value?.significand == expected?.significand && value?.exponent == expected?.exponent, "'\(text)'")
    }
  }

  /// It is right everywhere if it is right where the quotient changes.
  @Test func nanosecondsBecomeMilliseconds() {
    for milliseconds in UInt32(1)..<2147 {
      #expect((milliseconds * 1_000_000).times(.ofMillion) == milliseconds)
      #expect((milliseconds * 1_000_000 - 1).times(.ofMillion) == milliseconds - 1)
    }
    #expect(UInt32(0).times(.ofMillion) == 0)
    #expect(UInt32(Int32.max).times(.ofMillion) == 2147)
  }
}
