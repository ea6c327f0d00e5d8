// The payload of a command for an output: {"d":{"value":1,"for":"500ms","blink":"200ms"}}, also without the wrapper.

import AgentConfiguration
import Bytes
import JSON

/// What a command asks of an output.
struct OutputRequest: Equatable {
  /// The value that it is to have: a whole number, or true and false for 1 and 0.
  let value: Int
  /// After which time it goes back to its safe value; zero for never.
  let duration: TimeSpan
  /// How long it has the value, and how long its safe one, by turns; zero for always.
  let blink: TimeSpan

  /// The shortest and the longest of these times.
  static var times: ClosedRange<TimeSpan> { .milliseconds(10)...(.seconds(86_400)) }

  /// Nil where `text` is no JSON of this shape, or a value is out of range.
  init?(parsing text: Span<UInt8>) {
    do throws(JSONError) {
      guard let found = try member("value", of: text), let number = wholeNumber(found, of: text),
        let duration = time(try member("for", of: text), of: text),
        let blink = time(try member("blink", of: text), of: text)
      else { return nil }
      value = number
      self.duration = duration
      self.blink = blink
    } catch {
      return nil
    }
  }
}

@inline(never)  // small code: this is called three times
private func member(_ name: StaticString, of text: Span<UInt8>) throws(JSONError) -> JSONToken? {
  if let found = try text.findMember("d", name) { return found }
  return try text.findMember(name)
}

private func wholeNumber(_ token: JSONToken, of text: Span<UInt8>) -> Int? {
  switch token {
  case .boolean(let isTrue): return isTrue ? 1 : 0
  case .number(let range):
    guard let number = parseUnsigned(text.extracting(range)) else { return nil }
    return Int(exactly: number)
  default: return nil
  }
}

@inline(never)  // small code: this is called twice
private func time(_ token: JSONToken?, of text: Span<UInt8>) -> TimeSpan? {
  guard let token else { return .zero }
  guard case .string(let range) = token, let span = parseDuration(text.extracting(range)),
    OutputRequest.times ~= span
  else { return nil }
  return span
}
