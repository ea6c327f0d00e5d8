// Feeds texts to the JSON reader. Whatever the text: nothing traps, tokens lie inside the text and in order, what was
// accepted can be written again and read back as the same, and any bytes can be written as a string.

import Bytes
import JSON

/// Memory that lasts for the whole run.
private struct Block: @unchecked Sendable {
  let region: Region

  init(_ count: Int) {
    region = Region(start: UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16), count: count)
  }
}

/// Inputs have at most 8 KB, and a byte becomes at most six.
private let writtenBlock = Block(64 * 1024)
private let scratchBlock = Block(64 * 1024)

/// What libFuzzer calls with each text.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzJSON(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let text = Array(UnsafeBufferPointer(start: start, count: count))
  checkStringWriter(text)
  let tokens = read(text)
  let member = try? text.span.findMember("d", "event")
  guard let tokens else {
    precondition(member == nil, "a member of a malformed text was found")
    return 0
  }
  let written = write(tokens, of: text)
  guard let again = read(written) else { fatalError("what was written is malformed") }
  precondition(again.count == tokens.count, "what was written has other tokens")
  for (old, new) in zip(tokens, again) {
    precondition(isSame(old, in: text, new, in: written), "what was written has another token")
  }
  return 0
}

/// All tokens of `text`, checked; nil if it is malformed.
private func read(_ text: [UInt8]) -> [JSONToken]? {
  var reader = JSONReader()
  var tokens: [JSONToken] = []
  var depth = 0
  while true {
    let before = reader.position
    let next: JSONToken?
    do {
      next = try reader.next(in: text.span)
    } catch {
      precondition(error.offset >= before && error.offset <= text.count, "an error outside of the text")
      return nil
    }
    guard let token = next else { break }
    precondition(reader.position > before && reader.position <= text.count, "a token without bytes")
    switch token {
    case .beginObject, .beginArray: depth += 1
    case .endObject, .endArray: depth -= 1
    case .key(let range), .string(let range), .number(let range):
      precondition(range.lowerBound >= before && range.upperBound <= reader.position, "a token outside of its place")
      if case .number = token { checkNumber(text[range]) }
    case .boolean, .null: break
    }
    precondition(reader.depth == depth && depth >= 0 && depth <= JSONReader.depthMax, "a wrong depth")
    tokens.append(token)
  }
  precondition(reader.position == text.count && depth == 0, "the text was not read to its end")
  return tokens
}

/// A JSON number is a decimal, unless it is out of range; and what we print of it is a JSON number again.
private func checkNumber(_ digits: ArraySlice<UInt8>) {
  guard let value = Decimal(parsing: Array(digits).span) else { return }
  var buffer = ByteBuffer(scratchBlock.region)
  buffer.append(value)
  var reader = JSONReader()
  guard case .number(let range)? = try? reader.next(in: buffer.span), range == 0..<buffer.count else {
    fatalError("a printed number is none")
  }
  // Eighteen digits are kept when reading; unfolding a power of ten may have made nineteen.
  guard value.significand.magnitude < 1_000_000_000_000_000_000, value.exponent <= 0 else { return }
  precondition(Decimal(parsing: buffer.span) == value, "a number does not survive printing")
}

/// The same values without blanks, strings unescaped and escaped again.
private func write(_ tokens: [JSONToken], of text: [UInt8]) -> [UInt8] {
  var buffer = ByteBuffer(writtenBlock.region)
  var needsComma = false
  for token in tokens {
    switch token {
    case .endObject, .endArray: break
    default: if needsComma { buffer.append(UInt8(ascii: ",")) }
    }
    switch token {
    case .beginObject: buffer.append(UInt8(ascii: "{"))
    case .endObject: buffer.append(UInt8(ascii: "}"))
    case .beginArray: buffer.append(UInt8(ascii: "["))
    case .endArray: buffer.append(UInt8(ascii: "]"))
    case .key(let range):
      buffer.appendJSON(string: unescaped(range, of: text).span)
      buffer.append(UInt8(ascii: ":"))
    case .string(let range): buffer.appendJSON(string: unescaped(range, of: text).span)
    case .number(let range): buffer.append(text.span.extracting(range))
    case .boolean(let value): if value { buffer.append("true") } else { buffer.append("false") }
    case .null: buffer.append("null")
    }
    switch token {
    case .beginObject, .beginArray, .key: needsComma = false
    default: needsComma = true
    }
  }
  precondition(!buffer.hasOverflowed, "more was written than expected")
  return bytes(of: buffer.span)
}

private func isSame(_ old: JSONToken, in text: [UInt8], _ new: JSONToken, in written: [UInt8]) -> Bool {
  switch (old, new) {
  case (.key(let one), .key(let other)), (.string(let one), .string(let other)):
    unescaped(one, of: text) == unescaped(other, of: written)
  case (.number(let one), .number(let other)): text[one] == written[other]
  default: old == new
  }
}

private func unescaped(_ range: Range<Int>, of text: [UInt8]) -> [UInt8] {
  var buffer = ByteBuffer(scratchBlock.region)
  buffer.appendUnescaped(range, of: text.span)
  precondition(!buffer.hasOverflowed && buffer.count <= range.count, "unescaped text is longer than escaped text")
  precondition(buffer.span.firstInvalidUTF8() == nil, "unescaped text is not UTF-8")
  return bytes(of: buffer.span)
}

/// Any bytes can be written as a string, which reads back as what the bytes were if they were UTF-8; and bytes that no
/// reader has checked can be unescaped.
private func checkStringWriter(_ text: [UInt8]) {
  var buffer = ByteBuffer(writtenBlock.region)
  buffer.appendJSON(string: text.span)
  precondition(!buffer.hasOverflowed && buffer.count <= 6 * text.count + 2, "a string is longer than promised")
  let written = bytes(of: buffer.span)
  guard let tokens = read(written), tokens.count == 1, case .string(let range) = tokens[0] else {
    fatalError("a written string is none")
  }
  if text.span.firstInvalidUTF8() == nil { precondition(unescaped(range, of: written) == text, "a string changed") }
  var unchecked = ByteBuffer(writtenBlock.region)
  unchecked.appendUnescaped(0..<text.count, of: text.span)
  precondition(unchecked.count <= 3 * text.count, "unescaped bytes are longer than promised")
}

private func bytes(of span: Span<UInt8>) -> [UInt8] {
  var bytes: [UInt8] = []
  bytes.reserveCapacity(span.count)
  for index in span.indices { bytes.append(span[index]) }
  return bytes
}
