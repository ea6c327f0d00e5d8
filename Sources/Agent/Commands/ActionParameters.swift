// Parameters of a custom action, {"d":{"fields":[{"field":"seconds","value":"30"}]}}, as its program gets them: each in
// a variable of its environment, MOTE_PARAM_seconds=30, and all of `d` on its standard input.
//
// What stands in front of every name keeps a request from setting anything that means something to somebody else.

import Bytes
import HostInterface
import IoTPlatform
import JSON

extension ByteBuffer {
  /// Empties this, and appends the fields of `message`, which was parsed from `text`, as variables: each ended by a
  /// zero byte, and one more behind all.
  ///
  /// - Returns: false where a name or a value cannot be, where two of the names would become the same variable, or
  ///   where there are more than a program can have.
  @inline(never)  // small code
  mutating func setVariables(from message: ManagementMessage, in text: Span<UInt8>) -> Bool {
    removeAll()
    guard !message.isMalformed, !message.isMisshapen else { return false }
    var message = message
    var count = 0
    while count <= HostLimits.programVariablesMax {
      switch message.nextField(in: text) {
      case .end:
        append(0)
        return !hasOverflowed
      case .wrong: return false
      case .field(let name, let value):
        guard appendVariable(name, value, in: text) else { return false }
        count += 1
      }
    }
    return false
  }

  private mutating func appendVariable(_ name: Range<Int>, _ value: Range<Int>?, in text: Span<UInt8>) -> Bool {
    let start = count
    append("MOTE_PARAM_")
    let nameStart = count
    appendUnescaped(name, of: text)
    guard !hasOverflowed, IdentityRules.isActionName(span.extracting(nameStart..<count)) else { return false }
    // Shells know letters, digits and low lines.
    for index in nameStart..<count where self[index] == UInt8(ascii: "-") || self[index] == UInt8(ascii: ".") {
      self[index] = UInt8(ascii: "_")
    }
    append(UInt8(ascii: "="))
    guard !hasOverflowed, !hasVariable(start..<count) else { return false }
    let valueStart = count
    if let value, text[value.lowerBound] == UInt8(ascii: "\"") {
      appendUnescaped((value.lowerBound + 1)..<(value.upperBound - 1), of: text)
    } else if let value {
      append(text.extracting(value))
    }
    guard !hasOverflowed, span.extracting(0..<count).firstIndex(of: 0, from: valueStart) == nil else { return false }
    append(0)
    return true
  }

  /// Whether there is a variable before the one whose name and equals sign are at `name`, and that has the same.
  private func hasVariable(_ name: Range<Int>) -> Bool {
    var start = 0
    while start < name.lowerBound {
      let end = start + name.count
      if end <= name.lowerBound, span.extracting(start..<end).equals(span.extracting(name)) { return true }
      start = (span.firstIndex(of: 0, from: start) ?? name.lowerBound) + 1
    }
    return false
  }
}

/// Makes variables of a request's parameters, and keeps its identifier.
///
/// - Returns: what its program gets on its standard input; nil where the request is malformed.
@inline(never)  // small code
func readAction(
  _ text: Span<UInt8>, identifier: inout ByteBuffer, variables: inout ByteBuffer
) -> Range<Int>? {
  let message = ManagementMessage(parsing: text)
  identifier.removeAll()
  if let range = message.requestIdentifier { identifier.append(text.extracting(range)) }
  guard variables.setVariables(from: message, in: text) else { return nil }
  return message.data ?? 0..<0
}
