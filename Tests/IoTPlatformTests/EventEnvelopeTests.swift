import Bytes
import Foundation
import IoTPlatform
import JSON
import TestSupport
import Testing

@Suite struct EventEnvelopeTests {
  private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  @Test func writesMembersAndTimeStamp() {
    var buffer = makeBuffer()
    var envelope = EventEnvelope(into: &buffer)
    let (temperature, name) = (bytes("temp"), bytes("name"))
    envelope.name(temperature.span, into: &buffer)
    buffer.append(Decimal(21))
    envelope.name(name.span, into: &buffer)
    buffer.append("true")
    #expect(envelope.memberCount == 2)
    envelope.finish(at: WallTime(milliseconds: 1_714_558_530_250), into: &buffer)
    #expect(buffer.text == #"{"d":{"temp":21,"name":true},"ts":"2024-05-01T10:15:30.250Z"}"#)
  }

  @Test func remembersTheMinuteFromOnePayloadToTheNext() {
    var stamp = TimeStampWriter()
    for (milliseconds, text) in [
      (Int64(1_714_558_530_250), "2024-05-01T10:15:30.250Z"), (1_714_558_531_000, "2024-05-01T10:15:31.000Z"),
      (1_714_558_560_000, "2024-05-01T10:16:00.000Z"), (1_714_558_530_250, "2024-05-01T10:15:30.250Z"),
    ] {
      var buffer = makeBuffer()
      let envelope = EventEnvelope(into: &buffer)
      envelope.finish(at: WallTime(milliseconds: milliseconds), using: &stamp, into: &buffer)
      #expect(buffer.text == #"{"d":{},"ts":"\#(text)"}"#)
    }
    var buffer = makeBuffer()
    EventEnvelope(into: &buffer).finish(at: nil, using: &stamp, into: &buffer)
    #expect(buffer.text == #"{"d":{}}"#)
  }

  @Test func leavesOutATimeThatIsNotKnown() {
    var buffer = makeBuffer()
    let envelope = EventEnvelope(into: &buffer)
    #expect(envelope.memberCount == 0)
    envelope.finish(at: nil, into: &buffer)
    #expect(buffer.text == #"{"d":{}}"#)
  }

  @Test func escapesNamesAndTexts() throws {
    var buffer = makeBuffer()
    var envelope = EventEnvelope(into: &buffer)
    let (name, text) = (bytes("a\"b\\c"), bytes("line\n\u{1}\u{7F}ä€😀\"") + [0xFF, 0xC3])
    envelope.name(name.span, into: &buffer)
    buffer.appendJSON(string: text.span)
    envelope.member("output", text: text.span, into: &buffer)
    envelope.member("status", -1, into: &buffer)
    envelope.finish(at: nil, into: &buffer)
    let object = try JSONSerialization.jsonObject(with: Data(Array(buffer.span))) as? [String: [String: Any]]
    let members = try #require(object?["d"])
    // Bytes that are no UTF-8 become U+FFFD; nothing else changes.
    let expected = "line\n\u{1}\u{7F}ä€😀\"\u{FFFD}\u{FFFD}"
    #expect(members["a\"b\\c"] as? String == expected)
    #expect(members["output"] as? String == expected)
    #expect(members["status"] as? Int == -1)
  }

  @Test func tellsWhenThePayloadDoesNotFit() {
    for capacity in 0..<30 {
      var buffer = makeBuffer(capacity: capacity)
      var envelope = EventEnvelope(into: &buffer)
      envelope.member("name", 123_456_789_012, into: &buffer)
      envelope.finish(at: nil, into: &buffer)
      let whole = #"{"d":{"name":123456789012}}"#
      #expect(buffer.hasOverflowed == (capacity < whole.utf8.count))
    }
  }

  @Test func knowsThePlatformsLimit() {
    #expect(PayloadLimits.bytesMax == 128 * 1024)
  }
}
