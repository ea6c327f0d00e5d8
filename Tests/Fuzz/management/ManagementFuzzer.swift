// Feeds payloads to the reader of device-management messages. Whatever the payload: nothing traps, what is found lies
// inside it and is JSON by itself, the fields come to an end, and an answer to it is one that this reader understands.

import Bytes
import IoTPlatform
import JSON

/// Memory that lasts for the whole run.
private struct Block: @unchecked Sendable {
  let region: Region

  init(_ count: Int) {
    region = Region(start: UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16), count: count)
  }
}

/// Inputs have at most 8 KB.
private let block = Block(16 * 1024)

/// What libFuzzer calls with each payload.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzManagement(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let text = Array(UnsafeBufferPointer(start: start, count: count))
  var message = ManagementMessage(parsing: text.span)
  precondition(message.isMalformed || isJSON(text), "a malformed text passes")
  if let range = message.requestIdentifier {
    precondition(isJSON(Array(text[range])), "the identifier is no value")
    checkAnswer(to: text, range)
  }
  if let code = message.returnCode { precondition(code >= 0, "a negative code") }
  guard !message.isMalformed else { return 0 }
  // Each has a byte at least.
  for _ in 0...count {
    switch message.nextField(in: text.span) {
    case .end, .wrong: return 0
    case .field(let name, let value):
      precondition(text[name.lowerBound - 1] == UInt8(ascii: "\""), "a name without quotes")
      if let value { precondition(isJSON(Array(text[value])), "the value is none") }
    }
  }
  fatalError("the fields do not end")
}

/// An answer has the identifier as it stands.
private func checkAnswer(to text: [UInt8], _ range: Range<Int>) {
  var buffer = ByteBuffer(block.region)
  buffer.beginManagementAnswer(204, to: text.span.extracting(range))
  buffer.append(UInt8(ascii: "}"))
  precondition(!buffer.hasOverflowed, "an answer is longer than expected")
  let answer = ManagementMessage(parsing: buffer.span)
  guard let found = answer.requestIdentifier, !answer.isMalformed, answer.returnCode == 204 else {
    fatalError("an answer is malformed")
  }
  precondition(found.count == range.count, "another identifier")
  for index in 0..<range.count {
    precondition(buffer[found.lowerBound + index] == text[range.lowerBound + index], "another identifier")
  }
}

private func isJSON(_ text: [UInt8]) -> Bool {
  var reader = JSONReader()
  do {
    while try reader.next(in: text.span) != nil {}
  } catch {
    return false
  }
  return true
}
