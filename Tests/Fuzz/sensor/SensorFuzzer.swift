// Feeds source texts to a sensor. The first line says what the sensor takes (README.md), the rest are the texts of its
// readings. Whatever they are: nothing traps, a number prints as a JSON number, and with the digits of its text where
// nothing is to be done with them, a text lies inside its source, and percentages are between 0 and 100.

import Bytes
import HostInterface
import JSON
import Telemetry

/// Memory that lasts for the whole run.
private struct Block: @unchecked Sendable {
  let region: Region

  init(_ count: Int) {
    region = Region(start: UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16), count: count)
  }
}

private let numberBlock = Block(128)

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSensor(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeBufferPointer(start: start, count: count))
  let lines = input.split(separator: UInt8(ascii: "\n"), maxSplits: 1, omittingEmptySubsequences: false)
  let words = lines[0].split(separator: UInt8(ascii: " ")).map { Array($0) }
  guard lines.count == 2, let first = words.first else { return 0 }
  let field = words.count > 4 ? words[4] : []
  guard let quantity = quantity(first, hasField: !field.isEmpty) else { return 0 }
  let offset = number(words.dropFirst(1).first)
  let scale = number(words.dropFirst(2).first)
  let digits = number(words.dropFirst(3).first).map { Int($0.significand.magnitude % 40) }
  var channel = Channel(
    quantity: quantity, offset: offset ?? Decimal(0), scale: scale ?? Decimal(1), fractionDigits: digits)
  let isPercentage = (quantity == .processorUsage || quantity == .disk(.percent)) && offset == nil && scale == nil
  for text in texts(lines[1]) {
    let reading = channel.interpret(text.span, field: field.span)
    check(reading, of: text, isPercentage: isPercentage)
    if quantity == .onlyNumber, offset == nil, scale == nil, digits == nil { checkDigits(reading, of: text) }
    let again = channel.interpret(text.span, field: field.span)
    precondition(reading == again || quantity == .processorUsage, "the same text is another reading")
  }
  return 0
}

private func number(_ word: [UInt8]?) -> Decimal? {
  let word = word ?? []
  return Decimal(parsing: word.span)
}

/// What stands between lines of `---`, at most eight texts.
private func texts(_ input: ArraySlice<UInt8>) -> [[UInt8]] {
  var texts: [[UInt8]] = [[]]
  for line in input.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
    if Array(line) == Array("---".utf8), texts.count < 8 {
      texts.append([])
    } else {
      texts[texts.count - 1] += line + [0x0A]
    }
  }
  return texts
}

/// `text`, `boolean`, or a source as in a configuration: `memory:used`.
private func quantity(_ word: [UInt8], hasField: Bool) -> Quantity? {
  if word == Array("text".utf8) { return .text }
  if word == Array("boolean".utf8) { return .boolean }
  let parts = word.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false).map { Array($0) }
  guard parts.count == 2 else { return nil }
  let (name, argument) = (parts[0], parts[1])
  return SourceKind.named(name.span).flatMap { Quantity.number(of: $0, argument: argument.span, hasField: hasField) }
}

private func check(_ reading: Reading, of text: [UInt8], isPercentage: Bool) {
  switch reading {
  case .text(let range, let isCut):
    precondition(range.lowerBound >= 0 && range.upperBound <= text.count, "outside of the text")
    precondition(isCut || !range.isEmpty, "no text")
    precondition(
      range.count + (isCut ? ChannelLimits.cutMark.utf8CodeUnitCount : 0) <= ChannelLimits.textBytesMax,
      "longer than promised")
    if text.span.firstInvalidUTF8() == nil {
      precondition(text.span.extracting(range).firstInvalidUTF8() == nil, "cut inside of a character")
    }
  case .number(let value):
    var buffer = ByteBuffer(numberBlock.region)
    buffer.append(value)
    precondition(!buffer.hasOverflowed, "a number is longer than expected")
    var reader = JSONReader()
    guard case .number(let range)? = try? reader.next(in: buffer.span), range == 0..<buffer.count else {
      fatalError("a printed number is none")
    }
    guard isPercentage else { return }
    let thousandths = value.multiplied(by: Decimal(10)) ?? Decimal(-1)
    precondition(
      thousandths.exponent == 0 && thousandths.significand >= 0 && thousandths.significand <= 1000, "no percentage")
  case .boolean, .counter, .failed: break
  }
}

/// The digits of a number without zeros at either end. A power of ten only moves the point.
private func significantDigits(_ text: [UInt8]) -> [UInt8] {
  let number = text.prefix { $0 | 0x20 != UInt8(ascii: "e") }
  let digits = number.filter { $0.isDigit }.drop { $0 == UInt8(ascii: "0") }
  return Array(digits.reversed().drop { $0 == UInt8(ascii: "0") }.reversed())
}

private func checkDigits(_ reading: Reading, of text: [UInt8]) {
  var buffer = ByteBuffer(numberBlock.region)
  switch reading {
  case .number(let value): buffer.append(value)
  case .counter(let value): buffer.append(decimal: value)
  case .boolean, .text, .failed: return
  }
  let printed = (0..<buffer.count).map { buffer[$0] }
  precondition(significantDigits(printed) == significantDigits(text), "a number was rounded")
}
