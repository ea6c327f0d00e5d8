// The JSON that every tool around this protocol expects: {"d":{…flat…},"ts":"…Z"}.

import Bytes
import JSON

/// The platform's limit for a payload, in bytes; above it the server closes the connection (closing code 287).
public enum PayloadLimits {
  /// 128 KiB.
  public static var bytesMax: Int { 131_072 }
}

/// Writes one event payload into a buffer, member by member.
public struct EventEnvelope: ~Copyable {
  private let pinned = Pinned()
  /// How many members have been written.
  public private(set) var memberCount = 0

  /// Begins the payload at the buffer's end.
  public init(into buffer: inout ByteBuffer) {
    buffer.append(word: 0x7B3A_2264_227B, byteCount: 6)  // {"d":{
  }

  /// Writes the name of the next member; its value must follow.
  public mutating func name(_ name: Span<UInt8>, into buffer: inout ByteBuffer) {
    if memberCount > 0 { buffer.append(UInt8(ascii: ",")) }
    memberCount += 1
    buffer.appendJSON(string: name)
    buffer.append(UInt8(ascii: ":"))
  }

  /// Does the same with a name that `appendMember(name:)` has prepared, of which the first member needs no comma.
  public mutating func name(prepared: Span<UInt8>, into buffer: inout ByteBuffer) {
    buffer.append(memberCount > 0 ? prepared : prepared.extractingInline(1..<prepared.count))
    memberCount += 1
  }

  /// Takes back the member that was written last, which began behind the first `start` bytes of the buffer.
  public mutating func removeLast(from start: Int, of buffer: inout ByteBuffer) {
    memberCount -= 1
    buffer.truncate(to: start)
  }

  /// Writes a member whose value is a number.
  public mutating func member(_ name: StaticString, _ value: Int, into buffer: inout ByteBuffer) {
    self.name(name.bytes, into: &buffer)
    buffer.append(decimal: value)
  }

  /// Writes a member whose value is true.
  public mutating func member(_ name: StaticString, into buffer: inout ByteBuffer) {
    self.name(name.bytes, into: &buffer)
    buffer.append("true")
  }

  /// Writes a member whose value is text.
  public mutating func member(_ name: StaticString, text: Span<UInt8>, into buffer: inout ByteBuffer) {
    self.name(name.bytes, into: &buffer)
    buffer.appendJSON(string: text)
  }

  /// Writes a member whose value is the text in another buffer.
  public mutating func member(_ name: StaticString, text: borrowing ByteBuffer, into buffer: inout ByteBuffer) {
    member(name, text: text.span, into: &buffer)
  }

  /// Ends the payload. Without a known time there is no `ts`: a wrong one is worse than the server's time of receipt.
  ///
  /// `stamp` is the caller's, and the same for each of its payloads: it remembers the text of the last minute.
  public consuming func finish(
    at time: WallTime?, using stamp: inout TimeStampWriter, into buffer: inout ByteBuffer
  ) {
    guard let time else { return buffer.append(UInt8(ascii: "}"), UInt8(ascii: "}")) }
    buffer.append(word: 0x223A_2273_7422_2C7D, byteCount: 8)  // },"ts":"
    stamp.append(time, to: &buffer)
    buffer.append(UInt8(ascii: "\""), UInt8(ascii: "}"))
  }

  /// Does the same for a single payload.
  public consuming func finish(at time: WallTime?, into buffer: inout ByteBuffer) {
    var stamp = TimeStampWriter()
    finish(at: time, using: &stamp, into: &buffer)
  }
}

extension ByteBuffer {
  /// Prepares the name of a member that is written again and again: `,"NAME":`. At most six bytes are appended for each
  /// of the name, and four.
  public mutating func appendMember(name: Span<UInt8>) {
    append(UInt8(ascii: ","))
    appendJSON(string: name)
    append(UInt8(ascii: ":"))
  }
}
