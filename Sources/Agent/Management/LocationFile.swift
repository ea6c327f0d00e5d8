// The file that says where the device is: looked at every few seconds, and told when it says something else.

import AgentConfiguration
import Bytes
import HostInterface

/// What was last read of it.
struct LocationFile: BitwiseCopyable {
  /// When it is looked at next.
  var due = Instant(milliseconds: .min)
  /// The digest of its text, 0 where it could not be read; nil where nobody has looked yet.
  var digest: UInt64?
}

extension Management {
  /// Tells where the device is, where the file for that says something new.
  @inline(never)  // beside the devices that have none
  mutating func watchLocation<H: HostLocation & HostLog & ~Copyable>(
    _ settings: borrowing Settings, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    if now >= locationFile.due {
      locationFile.due = now + AgentLimits.locationInterval
      var text = LocationText(repeating: 0)
      let count = host.readLocation(settings.bytes(settings.management.locationFile), &text)
      let digest = count.map { text.span.extracting(0..<$0).digest } ?? 0
      if digest != locationFile.digest {
        locationFile.digest = digest
        takeLocation(text.span.extracting(0..<(count ?? 0)), isThere: count != nil, now, &log, &host)
      }
    }
    answers.noteDeadline(locationFile.due)
  }

  private mutating func takeLocation<H: HostLog & ~Copyable>(
    _ text: Span<UInt8>, isThere: Bool, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    guard isThere else {
      log.begin(.warning, "management location-not-read")
      return log.end(to: &host)
    }
    answers.payload.removeAll()
    guard let fault = answers.payload.appendLocation(file: text) else {
      attributes.setLocation(answers.payload)
      ask(.location, now, &log, &host)
      return
    }
    var line = 1
    var lineStart = 0
    for index in 0..<fault.offset where text[index] == UInt8(ascii: "\n") {
      line += 1
      lineStart = index + 1
    }
    log.begin(.warning, "management location-refused")
    log.add("line", line)
    log.add("column", fault.offset - lineStart + 1)
    log.add("expected", text: ByteBuffer.locationMembers.word(fault.expected))
    log.end(to: &host)
  }
}

extension ByteBuffer {
  /// What a location has, in its order, and the word for its end.
  static var locationMembers: WordList { WordList("latitude|longitude|elevation|accuracy|end") }

  /// Appends the members of a location from a text of two to four numbers, with blanks and line feeds between them.
  ///
  /// - Returns: nil, or where something else stands than a number in its range, and which member it would have been.
  fileprivate mutating func appendLocation(file text: Span<UInt8>) -> (offset: Int, expected: Int)? {
    var end = 0
    for index in 0..<5 {
      var start = end
      while start < text.count, text[start] <= 0x20 { start += 1 }
      end = start
      while end < text.count, text[end] > 0x20 { end += 1 }
      // There may be more of it.
      if end == LocationText.count { return (start, 4) }
      if start == end, index >= 2 { break }
      guard index < 4 else { return (start, index) }
      do throws(ControlOutcome) {
        try appendCoordinate(index, start..<end, of: text)
      } catch {
        return (start, index)
      }
    }
    return nil
  }
}
