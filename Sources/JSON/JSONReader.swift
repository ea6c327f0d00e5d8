// A pull reader for JSON text (RFC 8259): each call gives the next piece, and nothing is copied or kept but a position.

import Bytes

/// One piece of a JSON text. Ranges count bytes from the start of the text that was read.
public enum JSONToken: Equatable, Sendable {
  /// `{`
  case beginObject
  /// `}`
  case endObject
  /// `[`
  case beginArray
  /// `]`
  case endArray
  /// A member's name, without its quotes and still escaped; its value comes next.
  case key(Range<Int>)
  /// A string, without its quotes and still escaped.
  case string(Range<Int>)
  /// A number as written; `Decimal` understands every one of them that is in its range.
  case number(Range<Int>)
  /// `true` or `false`
  case boolean(Bool)
  /// `null`
  case null
}

/// Where and why a text is not JSON.
public struct JSONError: Error, Equatable, Sendable {
  /// What is wrong.
  public enum Kind: UInt8, Sendable, BitwiseCopyable {
    /// A byte that the grammar does not allow here.
    case unexpectedByte
    /// The text ends in the middle.
    case unexpectedEnd
    /// A backslash followed by something that is not one of the escapes of RFC 8259, section 7.
    case badEscape
    /// A control character inside a string; section 7 wants them escaped.
    case controlCharacter
    /// Bytes inside a string that are not UTF-8, which section 8.1 asks for.
    case invalidUTF8
    /// More arrays and objects inside each other than `JSONReader.depthMax`.
    case tooDeep
  }
  /// The byte of the text at fault, or its length if it ends too early.
  public let offset: Int
  /// What is wrong.
  public let kind: Kind
}

/// Reads one JSON text, strictly: a single value with blanks around it, valid UTF-8, no byte order mark.
///
/// The same text is passed to every call. After an error the reader is of no further use.
public struct JSONReader: Sendable {
  /// How many arrays and objects may be inside each other. RFC 8259, section 9, lets an implementation set this limit.
  public static var depthMax: Int { 16 }

  /// How many bytes were consumed.
  public private(set) var position = 0
  /// How many arrays and objects are open.
  public private(set) var depth = 0
  /// Bit n tells whether level n + 1 is an object.
  private var objectLevels: UInt32 = 0
  private var expected = Expected.value

  private enum Expected {
    /// At the beginning, after a key, and after a comma in an array.
    case value
    /// Behind `[`.
    case valueOrEnd
    /// After a comma in an object.
    case key
    /// Behind `{`.
    case keyOrEnd
    /// Behind a value.
    case commaOrEnd
  }

  /// Stands before the first byte of a text.
  public init() {}

  /// The next piece of `text`; nil once all of it was read. Looks at each byte once.
  @inline(never)  // or else it is copied into each of its callers
  public mutating func next(in text: Span<UInt8>) throws(JSONError) -> JSONToken? {
    skipBlanks(in: text)
    if expected == .commaOrEnd {
      if depth == 0 {
        if position >= text.count { return nil }
        throw failure(.unexpectedByte)
      }
      guard try peek(in: text) == UInt8(ascii: ",") else { return try close(in: text) }
      position += 1
      skipBlanks(in: text)
      expected = isInObject ? .key : .value
    }
    let byte = try peek(in: text)
    switch expected {
    case .keyOrEnd where byte == UInt8(ascii: "}"): return try close(in: text)
    case .valueOrEnd where byte == UInt8(ascii: "]"): return try close(in: text)
    case .key, .keyOrEnd: return .key(try readKey(in: text))
    default: return try readValue(byte, in: text)
    }
  }

  private var isInObject: Bool { depth > 0 && objectLevels &>> UInt32(depth &- 1) & 1 == 1 }

  private func failure(_ kind: JSONError.Kind) -> JSONError { JSONError(offset: position, kind: kind) }

  private func peek(in text: Span<UInt8>) throws(JSONError) -> UInt8 {
    guard position < text.count else { throw failure(.unexpectedEnd) }
    return text[position]
  }

  private mutating func skipBlanks(in text: Span<UInt8>) {
    while position < text.count, text[position].isBlank { position += 1 }
  }

  private mutating func open(asObject: Bool) throws(JSONError) {
    guard depth < JSONReader.depthMax else { throw failure(.tooDeep) }
    let bit: UInt32 = 1 &<< UInt32(depth)
    objectLevels = asObject ? objectLevels | bit : objectLevels & ~bit
    depth += 1
    position += 1
    expected = asObject ? .keyOrEnd : .valueOrEnd
  }

  private mutating func close(in text: Span<UInt8>) throws(JSONError) -> JSONToken {
    let closesObject = isInObject
    guard try peek(in: text) == (closesObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) else {
      throw failure(.unexpectedByte)
    }
    depth -= 1
    position += 1
    expected = .commaOrEnd
    return closesObject ? .endObject : .endArray
  }

  private mutating func readKey(in text: Span<UInt8>) throws(JSONError) -> Range<Int> {
    guard try peek(in: text) == UInt8(ascii: "\"") else { throw failure(.unexpectedByte) }
    let key = try readString(in: text)
    skipBlanks(in: text)
    guard try peek(in: text) == UInt8(ascii: ":") else { throw failure(.unexpectedByte) }
    position += 1
    expected = .value
    return key
  }

  private mutating func readValue(_ first: UInt8, in text: Span<UInt8>) throws(JSONError) -> JSONToken {
    let token: JSONToken
    switch first {
    case UInt8(ascii: "{"):
      try open(asObject: true)
      return .beginObject
    case UInt8(ascii: "["):
      try open(asObject: false)
      return .beginArray
    case UInt8(ascii: "\""): token = .string(try readString(in: text))
    case UInt8(ascii: "t"):
      try readWord("true", in: text)
      token = .boolean(true)
    case UInt8(ascii: "f"):
      try readWord("false", in: text)
      token = .boolean(false)
    case UInt8(ascii: "n"):
      try readWord("null", in: text)
      token = .null
    default: token = .number(try readNumber(in: text))
    }
    expected = .commaOrEnd
    return token
  }

  private mutating func readWord(_ word: StaticString, in text: Span<UInt8>) throws(JSONError) {
    let bytes = word.bytes
    for index in bytes.indices {
      guard try peek(in: text) == bytes[index] else { throw failure(.unexpectedByte) }
      position += 1
    }
  }

  /// Section 6: an optional minus, an integer without leading zeros, an optional fraction, an optional power of ten.
  private mutating func readNumber(in text: Span<UInt8>) throws(JSONError) -> Range<Int> {
    let start = position
    if text[position] == UInt8(ascii: "-") { position += 1 }
    if try peek(in: text) == UInt8(ascii: "0") { position += 1 } else { try readDigits(in: text) }
    if position < text.count, text[position] == UInt8(ascii: ".") {
      position += 1
      try readDigits(in: text)
    }
    if position < text.count, text[position].lowercased == UInt8(ascii: "e") {
      position += 1
      let sign = try peek(in: text)
      if sign == UInt8(ascii: "+") || sign == UInt8(ascii: "-") { position += 1 }
      try readDigits(in: text)
    }
    return start..<position
  }

  private mutating func readDigits(in text: Span<UInt8>) throws(JSONError) {
    guard try peek(in: text).isDigit else { throw failure(.unexpectedByte) }
    while position < text.count, text[position].isDigit { position += 1 }
  }

  private mutating func readString(in text: Span<UInt8>) throws(JSONError) -> Range<Int> {
    position += 1
    let start = position
    while true {
      let byte = try peek(in: text)
      switch byte {
      case UInt8(ascii: "\""):
        position += 1
        return start..<(position - 1)
      case UInt8(ascii: "\\"): try readEscape(in: text)
      case 0..<0x20: throw failure(.controlCharacter)
      default:
        let length = text.utf8SequenceLength(at: position)
        guard length > 0 else { throw failure(.invalidUTF8) }
        position += length
      }
    }
  }

  private mutating func readEscape(in text: Span<UInt8>) throws(JSONError) {
    position += 1
    switch try peek(in: text) {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
      UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
      position += 1
    case UInt8(ascii: "u"):
      position += 1
      for _ in 0..<4 {
        guard try peek(in: text).hexDigitValue != nil else { throw failure(.badEscape) }
        position += 1
      }
    default: throw failure(.badEscape)
    }
  }
}

extension JSONReader {
  /// Reads a whole value, of which the key has just been read; gives where it stands, quotes and brackets included.
  @inline(never)
  public mutating func skipValue(in text: Span<UInt8>) throws(JSONError) -> Range<Int> {
    let start = position
    let level = depth
    // Each turn reads at least a byte.
    repeat {
      guard try next(in: text) != nil else { break }
    } while depth > level
    return text.trimmed(start..<position)
  }
}
