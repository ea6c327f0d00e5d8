// The payload of a built-in command: {"d":{"event":"status","interval":"5s"}}, both members optional. Newer libraries
// leave out the wrapper: {"event":"status","interval":"5s"}.

import AgentConfiguration
import Bytes
import JSON

/// A parsed request; the range is of the buffer that was parsed.
struct BuiltInRequest: Equatable {
  /// The event's name, still escaped as in the JSON; nil names every event.
  private(set) var event: Range<Int>?
  /// The interval, within the range that a configuration may give.
  private(set) var interval: TimeSpan?

  /// Parses `text`; an empty payload asks for everything. Returns nil when it is not JSON of this shape, or a value is
  /// out of range.
  init?(parsing text: Span<UInt8>) {
    if text.trimmed(0..<text.count).isEmpty { return }
    var reader = JSONReader()
    var depth = 0
    var isInData = false
    var key = 0..<0
    do throws(JSONError) {
      while let token = try reader.next(in: text) {
        let isMember = depth == 1 || (depth == 2 && isInData)
        let isEvent = isMember && text.extracting(key).equals("event")
        let isInterval = isMember && text.extracting(key).equals("interval")
        switch token {
        case .key(let range): key = range
        case .endObject:
          depth -= 1
          if depth == 1 { isInData = false }
        case .endArray: depth -= 1
        case .string(let range) where isEvent: event = range
        case .string(let range) where isInterval:
          guard let span = parseDuration(text.extracting(range)) else { return nil }
          interval = span
        case .number(let range) where isInterval:
          guard let span = parseSeconds(text.extracting(range)) else { return nil }
          interval = span
        case .beginObject:
          // An event that is no text must not become all events, and so must not what is no object.
          if isEvent || isInterval { return nil }
          if depth == 1 { isInData = text.extracting(key).equals("d") }
          depth += 1
        case .beginArray:
          if isEvent || isInterval || depth == 0 { return nil }
          depth += 1
        case .string, .number, .boolean, .null:
          if isEvent || isInterval || depth == 0 { return nil }
        }
      }
    } catch {
      return nil
    }
    if let interval, !(ConfigurationLimits.eventInterval ~= interval) { return nil }
  }

  /// Whether this request, parsed from `text`, is about the event `name`.
  func names(_ name: Span<UInt8>, in text: Span<UInt8>) -> Bool {
    guard let event else { return true }
    return text.extracting(event).equals(name)
  }
}

/// A bare number is in seconds.
private func parseSeconds(_ digits: Span<UInt8>) -> TimeSpan? {
  guard let seconds = Decimal(parsing: digits),
    let milliseconds = seconds.multiplied(by: Decimal(1000))?.rounded(toFractionDigits: 0), milliseconds.exponent == 0
  else { return nil }
  return .milliseconds(milliseconds.significand)
}
