// What local programs have the device ask of the server.

import Bytes
import HostInterface
import IoTPlatform
import JSON

extension Management {
  /// Takes a request of a local program: `location`, `diagnose`, `unmanage` or `manage`.
  @inline(never)  // beside the turns in which nobody asks
  mutating func take<H: HostLog & ~Copyable>(
    _ verb: ControlVerb, _ line: Span<UInt8>, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) -> ControlOutcome {
    guard isManaged else { return .notManaged }
    var words = RequestWords(of: line)
    _ = words.next(in: line)
    var kind: DeviceRequest? = .location
    answers.payload.removeAll()
    do throws(ControlOutcome) {
      switch verb {
      case .location: try answers.payload.appendLocation(&words, line)
      case .diagnose: kind = try answers.payload.appendDiagnosis(&words, line)
      case .unmanage: kind = .unmanage
      default: kind = nil
      }
    } catch { return error }
    guard words.next(in: line) == nil else { return .unexpectedWord }
    // Whoever observes it is told the same.
    if kind == .location { attributes.setLocation(answers.payload) }
    guard ask(kind, now, &log, &host) else { return .tooLarge }
    return kind == nil ? .ok : .queued
  }
}

extension ByteBuffer {
  /// `LAT LON [--elevation M] [--accuracy M]`
  fileprivate mutating func appendLocation(_ words: inout RequestWords, _ line: Span<UInt8>) throws(ControlOutcome) {
    try appendCoordinate(0, words.next(in: line), of: line)
    try appendCoordinate(1, words.next(in: line), of: line)
    let options = WordList("--elevation|--accuracy")
    for option in 0..<2 {
      let before = words
      guard let word = words.next(in: line) else { return }
      guard options.index(of: line.extracting(word)) == option else {
        words = before
        continue
      }
      try appendCoordinate(2 + option, words.next(in: line), of: line)
    }
  }

  /// Appends the member of a location at `index` of its members, whose number is at `word` of `line`.
  @inline(never)  // small code
  mutating func appendCoordinate(_ index: Int, _ word: Range<Int>?, of line: Span<UInt8>) throws(ControlOutcome) {
    // Millions of metres are beyond what satellites reach.
    let max: UInt64 = index > 1 ? 1_000_000 : index == 0 ? 90 : 180
    guard let word, let value = Decimal(parsing: line.extracting(word)),
      let millionths = value.multiplied(by: Decimal(1_000_000))?.rounded(toFractionDigits: 0),
      millionths.exponent == 0, millionths.significand.magnitude <= max * 1_000_000
    else { throw .number }
    append(index > 0 ? ",\"" : "\"")
    append(ByteBuffer.locationMembers.word(index))
    append("\":")
    append(value)
  }

  /// `add-error N`, `clear-errors`, `add-log TEXT [--severity info|warning|error] [--data TEXT|0xHEX]`,
  /// or `clear-log`.
  fileprivate mutating func appendDiagnosis(
    _ words: inout RequestWords, _ line: Span<UInt8>
  ) throws(ControlOutcome) -> DeviceRequest {
    let names = WordList("add-error|clear-errors|add-log|clear-log")
    guard let word = words.next(in: line), let index = names.index(of: line.extracting(word)) else {
      throw .diagnosis
    }
    switch index {
    case 0:
      guard let word = words.next(in: line), let code = parseUnsigned(line.extracting(word)), code <= Int32.max else {
        throw .number
      }
      append(errorCode: Int(code))
      return .addErrorCode
    case 1: return .clearErrorCodes
    case 2:
      guard let text = words.next(in: line), !text.isEmpty else { throw .diagnosis }
      var severity = 0
      var data: Range<Int>?
      while let option = words.next(in: line) {
        guard let index = WordList("--severity|--data").index(of: line.extracting(option)),
          let word = words.next(in: line)
        else { throw .diagnosis }
        if index == 1 {
          data = word
          continue
        }
        guard let found = WordList("info|warning|error").index(of: line.extracting(word)) else { throw .diagnosis }
        severity = found
      }
      append("\"message\":\"")
      appendJSON(insideString: line.extracting(text))
      append(severity: severity)
      if let data, !append(data: line.extracting(data)) { throw .data }
      return .addLog
    default: return .clearLog
    }
  }

  /// Appends the data of a log entry in base64 (RFC 4648, section 4): the bytes of `text`, or behind `0x` those that
  /// its digits stand for.
  ///
  /// - Returns: false where these are none, or half a byte is left.
  @inline(never)  // small code
  private mutating func append(data text: Span<UInt8>) -> Bool {
    let alphabet: StaticString = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    let isHexadecimal = text.starts(with: "0x")
    append(",\"data\":\"")
    var group = 0
    var bitCount = 0
    for index in (isHexadecimal ? 2 : 0)..<text.count {
      var value = Int(text[index])
      if isHexadecimal {
        let digits: StaticString = "0123456789abcdefABCDEF"
        guard let digit = digits.bytes.firstIndex(of: text[index]) else { return false }
        value = digit < 16 ? digit : digit - 6
      }
      group = group << (isHexadecimal ? 4 : 8) | value
      bitCount += isHexadecimal ? 4 : 8
      while bitCount >= 6 {
        bitCount -= 6
        append(alphabet.bytes[group >> bitCount & 63])
      }
      group &= 63
    }
    guard !isHexadecimal || text.count % 2 == 0 else { return false }
    if bitCount > 0 { append(alphabet.bytes[group << (6 - bitCount) & 63]) }
    if bitCount == 2 { append(UInt8(ascii: "=")) }
    append(bitCount > 0 ? "=\"" : "\"")
    return true
  }

  /// Appends the data of an error code.
  mutating func append(errorCode: Int) {
    append("\"errorCode\":")
    append(decimal: errorCode)
  }

  /// Ends the message of a log entry, and appends its severity: 0 to 2.
  mutating func append(severity: Int) {
    append("\",\"severity\":")
    append(decimal: severity)
  }
}
