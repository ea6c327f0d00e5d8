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

  /// A number ends where its bytes do, wherever in a text of whatever length it is.
  @Test func numbersEndAtTheSameByteWhereverTheyAre() {
    var random = RandomSource(seed: 15)
    let ends = [
      "", " ", "\n", ",", "/", ":", "x", "\u{b0}C", ".", ".x", "..5", "-", "+1", "e", "e+", "E-x", " 12345678",
    ]
    for _ in 0..<20_000 {
      var number = String(randomInteger(&random))
      if random.next() % 2 == 0 {
        number = String(repeating: "0", count: Int(random.next() % 4)) + number.drop { $0 == "-" }
      }
      let sign = number.hasPrefix("-") ? 1 : 0
      if random.next() % 3 > 0 {
        let place = sign + Int(random.next() % UInt64(number.count - sign))
        number.insert(".", at: number.index(number.startIndex, offsetBy: place))
      }
      guard number.filter(\.isNumber).drop(while: { $0 == "0" }).count <= 17 else { continue }
      let front = String(repeating: "9", count: Int(random.next() % 4))
      let text = front + number + ends[Int(random.next() % UInt64(ends.count))]
      let found = Decimal.parsePrefix(of: [UInt8](text.utf8).span, from: front.utf8.count)
      let expected = PlainDecimal(text: number)
      #expect(
        found?.value.significand == expected?.significand && found?.value.exponent == expected?.exponent
          && found?.end == front.utf8.count + number.utf8.count, "'\(text)' from \(front.utf8.count)")
    }
  }

  /// Whichever byte is behind a digit, what follows it does not matter.
  @Test func everyByteThatIsNoDigitEndsANumber() {
    let digits = [UInt8]("12345678901".utf8)
    for length in 2...10 {
      for end in UInt8.min...UInt8.max where !end.isDigit && !".eE".utf8.contains(end) {
        let number = digits[..<length]
        for hasPoint in [false, true] {
          let written = hasPoint ? number[..<(length / 2)] + [UInt8(ascii: ".")] + number[(length / 2)...] : number
          let text = [UInt8](written) + [end] + digits
          let found = Decimal.parsePrefix(of: text.span, from: 0)
          let expected = PlainDecimal(text: String(decoding: written, as: UTF8.self))
          #expect(found?.end == written.count, "\(text)")
          #expect(found?.value.significand == expected?.significand, "\(text)")
          #expect(found?.value.exponent == expected?.exponent, "\(text)")
        }
      }
    }
  }

  @Test func leadingZerosAreAsManyAsWanted() {
    for integer in corners().map(\.magnitude) {
      for digitsMin in 0...20 {
        var buffer = makeBuffer(capacity: 32)
        buffer.append(decimal: integer, digitsMin: digitsMin)
        let digits = String(integer)
        #expect(buffer.text == String(repeating: "0", count: max(digitsMin - digits.count, 0)) + digits)
      }
    }
  }

  /// Words are written to a buffer only where all of them fit.
  @Test func nothingIsWrittenBehindTheBuffer() throws {
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 8)
    defer { memory.deallocate() }
    for (significand, exponent) in [(7, 0), (-1234, -3), (9_007_199_254_740_991, -1), (-99_999_999, -7)] {
      let value = try #require(Decimal(significand: Int64(significand), exponent: exponent))
      for capacity in 0...40 {
        memory.initializeMemory(as: UInt8.self, repeating: 0xA5, count: 64)
        var buffer = ByteBuffer(Region(start: memory, count: capacity))
        buffer.append(value)
        let isWhole = (capacity..<64).allSatisfy { memory.load(fromByteOffset: $0, as: UInt8.self) == 0xA5 }
        #expect(isWhole, "\(significand) in \(capacity)")
        #expect(buffer.text == (buffer.hasOverflowed ? "" : printed(value)))
      }
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
