// JSON as values, for requests and records: rare enough to take memory. Numbers stay as they were written, so that
// nothing is lost on their way through.

import Bytes
import JSON

/// A JSON value.
public enum JSONValue: Equatable, Sendable {
  /// `null`
  case null
  /// `true` or `false`
  case boolean(Bool)
  /// A number as written.
  case number(String)
  /// Text.
  case string(String)
  /// Values in order.
  case array([JSONValue])
  /// Members in order; of several of the same name the last one counts.
  case object([Member])

  /// A name and its value.
  public struct Member: Equatable, Sendable {
    /// The name.
    public let name: String
    /// The value.
    public var value: JSONValue

    /// A member.
    public init(_ name: String, _ value: JSONValue) {
      self.name = name
      self.value = value
    }
  }

  /// Reads a whole text.
  ///
  /// - Throws: `JSONError` where it is not JSON.
  public init(_ text: Span<UInt8>) throws(JSONError) {
    var reader = JSONReader()
    // There is one, or the reader says that the text ends too early.
    let first = try reader.next(in: text) ?? .null
    self = try JSONValue.value(first, &reader, text)
    _ = try reader.next(in: text)
  }

  /// Reads a whole text; nil where it is not JSON.
  public init?(text: String) {
    guard let value = try? JSONValue(text.utf8Span.span) else { return nil }
    self = value
  }

  /// An integer.
  public static func integer(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }

  /// An object of these members; those without a value are left out.
  public static func members(_ members: KeyValuePairs<String, JSONValue?>) -> JSONValue {
    .object(members.compactMap { name, value in value.map { Member(name, $0) } })
  }

  // The reader bounds the depth.
  private static func value(
    _ token: JSONToken, _ reader: inout JSONReader, _ text: Span<UInt8>
  ) throws(JSONError) -> JSONValue {
    switch token {
    case .beginObject:
      var members: [Member] = []
      while case .key(let key)? = try reader.next(in: text) {
        guard let next = try reader.next(in: text) else { break }
        members.append(Member(unescaped(key, text), try value(next, &reader, text)))
      }
      return .object(members)
    case .beginArray:
      var values: [JSONValue] = []
      while let next = try reader.next(in: text), next != .endArray {
        values.append(try value(next, &reader, text))
      }
      return .array(values)
    case .string(let range), .key(let range): return .string(unescaped(range, text))
    case .number(let range): return .number(String(copying: text.extracting(range)))
    case .boolean(let value): return .boolean(value)
    case .null, .endObject, .endArray: return .null
    }
  }

  private static func unescaped(_ range: Range<Int>, _ text: Span<UInt8>) -> String {
    let bytes = text.extracting(range)
    if bytes.firstIndex(of: UInt8(ascii: "\\")) == nil { return String(copying: bytes) }
    // Unescaping never makes text longer.
    return withBuffer(capacity: range.count + 4) { $0.appendUnescaped(range, of: text) }
  }
}

extension JSONValue {
  /// The member of an object; nil if there is none, or this is none.
  public subscript(_ name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    return members.last { $0.name == name }?.value
  }

  /// The text of a string.
  public var string: String? {
    if case .string(let value) = self { value } else { nil }
  }

  /// The value of a number that is an integer, written without fraction or power of ten.
  public var integer: Int64? {
    if case .number(let text) = self { Int64(text) } else { nil }
  }

  /// The value of `true` or `false`.
  public var boolean: Bool? {
    if case .boolean(let value) = self { value } else { nil }
  }

  /// The values of an array.
  public var array: [JSONValue]? {
    if case .array(let values) = self { values } else { nil }
  }

  /// The members of an object.
  public var members: [Member]? {
    if case .object(let members) = self { members } else { nil }
  }

  /// Whether this is a number.
  public var isNumber: Bool {
    if case .number = self { true } else { false }
  }

  /// This value as text without blanks.
  public var text: String { String(decoding: bytes, as: UTF8.self) }

  /// This value as the bytes of its text.
  public var bytes: [UInt8] {
    var bytes: [UInt8] = []
    write(into: &bytes)
    return bytes
  }

  /// Appends this value as text.
  public func write(into bytes: inout [UInt8]) {
    switch self {
    case .null: bytes.append(contentsOf: "null".utf8)
    case .boolean(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
    case .number(let text): bytes.append(contentsOf: text.utf8)
    case .string(let text): JSONValue.write(text, into: &bytes)
    case .array(let values):
      bytes.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        value.write(into: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let members):
      bytes.append(UInt8(ascii: "{"))
      for (index, member) in members.enumerated() {
        if index > 0 { bytes.append(UInt8(ascii: ",")) }
        JSONValue.write(member.name, into: &bytes)
        bytes.append(UInt8(ascii: ":"))
        member.value.write(into: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private static func write(_ text: String, into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
      case UInt8(ascii: "\n"): bytes.append(contentsOf: "\\n".utf8)
      case 0..<0x20:
        bytes.append(contentsOf: "\\u00".utf8)
        bytes.append(contentsOf: [hexDigit(byte >> 4), hexDigit(byte & 15)])
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}

/// JSON values are stored and sent as their text.
extension JSONValue: Codable {
  /// Reads the text that `encode` wrote.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let value = JSONValue(text: try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not JSON")
    }
    self = value
  }

  /// Writes this value's text as a string.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }
}

/// The text that `body` writes into a buffer of `capacity` bytes.
package func withBuffer(capacity: Int, _ body: (inout ByteBuffer) -> Void) -> String {
  withUnsafeTemporaryAllocation(byteCount: max(capacity, 1), alignment: 16) { memory in
    // DEVIATION(unsafe-pointer): memory that does not outlive this call.
    guard let start = memory.baseAddress else { return "" }
    var buffer = ByteBuffer(Region(start: start, count: capacity))
    body(&buffer)
    return String(copying: buffer.span)
  }
}

extension WallTime {
  /// This moment as `2024-05-01T10:15:30.250Z`.
  public var text: String { withBuffer(capacity: 32) { $0.append(self) } }
}
