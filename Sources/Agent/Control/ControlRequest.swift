// What a local program asks: one line, `VERB WORD…`. docs/control.md has the protocol.

import Bytes

/// What can be asked. A verb has its case and its word here, its line in `Agent.answer`, and in docs/control.md; the
/// program `mote` hands each of them on as it is.
public enum ControlVerb: UInt8, Sendable, BitwiseCopyable {
  case status, publish, location, diagnose, unmanage, manage

  /// Their words, in the order of the cases.
  public static var words: WordList { WordList("status|publish|location|diagnose|unmanage|manage") }

  /// The verb of this word.
  public init?(named word: Span<UInt8>) {
    guard let index = ControlVerb.words.index(of: word) else { return nil }
    self.init(rawValue: UInt8(index))
  }
}

/// Takes a line apart into its words.
///
/// Blanks are between words. Where a line has a tab, tabs are instead, and words may have blanks or be empty.
public struct RequestWords {
  private var position = 0
  private let hasTabs: Bool

  /// Stands before the first word of `line`, which is passed to every call.
  public init(of line: Span<UInt8>) { hasTabs = line.firstIndex(of: UInt8(ascii: "\t")) != nil }

  /// The next word; nil behind the last.
  @inline(never)
  public mutating func next(in line: Span<UInt8>) -> Range<Int>? {
    let separator = UInt8(ascii: hasTabs ? "\t" : " ")
    if !hasTabs { while position < line.count, line[position] == separator { position += 1 } }
    // Behind a tab at the end is an empty word.
    guard hasTabs ? position <= line.count : position < line.count else { return nil }
    let start = position
    let end = line.firstIndex(of: separator, from: start) ?? line.count
    position = end + 1
    return start..<end
  }

  /// The next word, to which all that follows belongs where blanks are between words.
  public mutating func rest(in line: Span<UInt8>) -> Range<Int>? {
    guard let word = next(in: line) else { return nil }
    if hasTabs { return word }
    position = line.count + 1
    return word.lowerBound..<line.count
  }
}
