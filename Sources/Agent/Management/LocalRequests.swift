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
    ask(kind, now, &log, &host)
    return kind == nil ? .ok : .queued
  }
}

extension ByteBuffer {
  /// `LAT LON [--elevation M] [--accuracy M]`
  fileprivate mutating func appendLocation(_ words: inout RequestWords, _ line: Span<UInt8>) throws(ControlOutcome) {
    try appendNumber("\"latitude\":", words.next(in: line), line, max: 90)
    try appendNumber(",\"longitude\":", words.next(in: line), line, max: 180)
    let options = WordList("--elevation|--accuracy")
    for option in 0..<2 {
      let before = words
      guard let word = words.next(in: line) else { return }
      guard options.index(of: line.extracting(word)) == option else {
        words = before
        continue
      }
      // Millions of metres are beyond what satellites reach.
      try appendNumber(
        option == 0 ? ",\"elevation\":" : ",\"accuracy\":", words.next(in: line), line, max: 1_000_000)
    }
  }

  @inline(never)  // small code
  private mutating func appendNumber(
    _ name: StaticString, _ word: Range<Int>?, _ line: Span<UInt8>, max: Int64
  ) throws(ControlOutcome) {
    guard let word, let value = Decimal(parsing: line.extracting(word)),
      let millionths = value.multiplied(by: Decimal(1_000_000))?.rounded(toFractionDigits: 0),
      millionths.exponent == 0, millionths.significand.magnitude <= UInt64(max) * 1_000_000
    else { throw .number }
    append(name)
    append(value)
  }

  /// `add-error N`, `clear-errors`, `add-log TEXT [--severity info|warning|error]` or `clear-log`.
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
      if let option = words.next(in: line) {
        guard line.extracting(option).equals("--severity"), let word = words.next(in: line),
          let found = WordList("info|warning|error").index(of: line.extracting(word))
        else { throw .diagnosis }
        severity = found
      }
      append("\"message\":\"")
      appendJSON(insideString: line.extracting(text))
      append(severity: severity)
      return .addLog
    default: return .clearLog
    }
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
