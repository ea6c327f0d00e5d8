// What became of a request: the last line of its answer.

import Bytes

/// The end of an answer. Each has a number, which is the exit status of the program `mote`, and a word; behind a colon
/// may be more for a person.
enum ControlOutcome: UInt8, Error {
  /// It is done.
  case ok
  /// It is sent, or as good as: it is in the output of an open connection.
  case sent
  /// It waits for the network.
  case queued
  /// There is no connection.
  case notConnected
  case unknownVerb
  case tooLong
  case unexpectedWord
  case eventName
  case memberName
  case noMember
  case qos
  case notJSON
  case tooLarge
  case rate
  case busy
  case notManaged
  case number
  case diagnosis
  case data

  private static var words: WordList {
    WordList(
      """
      0 ok|0 sent|0 queued|75 not-connected|64 unknown-verb: docs/control.md has those that there are\
      |64 too-long: expected a line of at most 1023 bytes|64 unexpected-word: there are more words than expected\
      |65 event-name: expected 1 to 36 of A-Z a-z 0-9 - _ .\
      |65 member: expected NAME=VALUE with a name of 1 to 36 of A-Z a-z 0-9 - _ .|64 no-member: expected NAME=VALUE\
      |64 qos: expected 0, 1 or 2|65 not-json: expected a JSON object|65 too-large: there is less room for it\
      |75 rate: more than messages-per-second|75 busy: unacknowledged messages are in the way\
      |69 not-managed: there is no [management]|65 number: expected a number in its range\
      |64 diagnosis: expected add-error N, clear-errors, clear-log or add-log TEXT [--severity LEVEL] [--data DATA]\
      |65 data: expected text, or 0x and pairs of hexadecimal digits
      """)
  }

  /// Number, word, and what there is to say.
  var text: Span<UInt8> {
    @_lifetime(immortal)
    get { ControlOutcome.words.word(Int(rawValue)) }
  }
}
