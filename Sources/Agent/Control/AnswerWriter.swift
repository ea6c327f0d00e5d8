// Answers that a person reads, or a program: the same members as lines, as rows of a table, or as JSON.

import Bytes
import JSON

/// Writes members behind one another; each call writes the value of the next key.
struct AnswerWriter: BitwiseCopyable {
  enum Layout: UInt8, BitwiseCopyable {
    /// `,"key":value`, without the comma at the beginning of an object.
    case json
    /// `key   value`, a line each.
    case lines
    /// `KEY   `, and no values.
    case heading
    /// `value   `.
    case row
  }

  /// Where the values of lines begin, and the columns of tables: the first is for names.
  private static var keyWidth: Int { 14 }
  private static var nameWidth: Int { 26 }

  private let keys: WordList
  let layout: Layout
  private var index = 0
  private var start = 0

  /// A writer of values of these keys, in their order.
  init(_ layout: Layout, _ keys: WordList) {
    self.layout = layout
    self.keys = keys
  }

  /// Writes a number.
  @inline(never)
  mutating func number(_ value: UInt64, to answer: inout ByteBuffer) {
    if begin(&answer) { answer.append(decimal: value) }
    end(&answer)
  }

  /// Writes a size: for people in KB.
  mutating func size(_ byteCount: Int, to answer: inout ByteBuffer) {
    guard layout != .json else { return number(UInt64(byteCount), to: &answer) }
    number(UInt64(byteCount + 512) / 1024, to: &answer)
    answer.truncate(to: answer.count - 1)
    answer.append(" KB\n")
  }

  /// Writes text, or that there is none.
  @inline(never)
  mutating func text(_ value: Span<UInt8>, to answer: inout ByteBuffer) {
    if begin(&answer) {
      if value.isEmpty {
        answer.append(layout == .json ? "null" : "-")
      } else if layout == .json {
        answer.appendJSON(string: value)
      } else {
        answer.append(value)
      }
    }
    end(&answer)
  }

  /// Writes yes or no.
  mutating func flag(_ isSet: Bool, to answer: inout ByteBuffer) {
    text(isSet ? StaticString("yes").bytes : StaticString("no").bytes, to: &answer)
  }

  /// Writes the text that another buffer has from `start` on.
  mutating func text(_ buffer: borrowing ByteBuffer, from start: Int, to answer: inout ByteBuffer) {
    text(buffer.span.extracting(min(start, buffer.count)..<buffer.count), to: &answer)
  }

  /// Writes a time in seconds; for people in its two largest units, once it is longer than a hundred of them.
  @inline(never)
  mutating func span(_ value: TimeSpan, to answer: inout ByteBuffer) {
    if begin(&answer) { answer.append(value, exactly: layout == .json) }
    end(&answer)
  }

  /// Begins a member.
  ///
  /// - Returns: whether its value is to be written.
  @inline(never)
  mutating func begin(_ answer: inout ByteBuffer) -> Bool {
    start = answer.count
    let key = keys.word(index)
    switch layout {
    case .json:
      answer.append(index == 0 ? "{\"" : ",\"")
      answer.append(key)
      answer.append("\":")
    case .lines:
      answer.append(key)
      answer.pad(to: start + AnswerWriter.keyWidth)
    case .heading:
      for position in key.indices { answer.append(key[position] & 0xDF) }
    case .row: break
    }
    index += 1
    return layout != .heading
  }

  /// Ends it.
  @inline(never)
  func end(_ answer: inout ByteBuffer) {
    switch layout {
    case .json: break
    case .lines: answer.append(UInt8(ascii: "\n"))
    case .heading, .row: answer.pad(to: start + (index == 1 ? AnswerWriter.nameWidth : AnswerWriter.keyWidth))
    }
  }

  /// Ends an object or a row.
  func finish(_ answer: inout ByteBuffer) { answer.append(UInt8(ascii: layout == .json ? "}" : "\n")) }
}

extension ByteBuffer {
  /// Appends blanks up to a length, and at least one.
  @inline(never)
  fileprivate mutating func pad(to length: Int) {
    repeat { append(UInt8(ascii: " ")) } while count < length && freeCount > 0
  }

  fileprivate mutating func append(_ span: TimeSpan, exactly isExact: Bool) {
    let milliseconds = max(span.milliseconds, 0)
    guard !isExact, milliseconds >= 100_000 else {
      let value = isExact ? milliseconds : milliseconds / 100
      if let seconds = Decimal(significand: value, exponent: isExact ? -3 : -1) { append(seconds) }
      return append(isExact ? "" : "s")
    }
    let seconds = milliseconds / 1000
    var large: Int64 = 60
    var small: Int64 = 1
    var letters: StaticString = "ms"
    if seconds >= 86_400 {
      (large, small, letters) = (86_400, 3600, "dh")
    } else if seconds >= 3600 {
      (large, small, letters) = (3600, 60, "hm")
    }
    append(decimal: seconds / large)
    append(letters.bytes[0])
    append(decimal: seconds % large / small)
    append(letters.bytes[1])
  }
}
