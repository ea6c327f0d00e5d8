// Fixed sets of words.

/// A fixed list of words, written as one literal: `error|warning|info|debug`. One literal takes less room than several,
/// and nothing has to be made of it at start.
public struct WordList: BitwiseCopyable, Sendable {
  private let literal: StaticString

  /// The words of `literal`, separated by `|`; none of an empty one.
  @inline(__always)
  public init(_ literal: StaticString) { self.literal = literal }

  /// Whether there are none.
  public var isEmpty: Bool { literal.utf8CodeUnitCount == 0 }

  /// The position of `word`, whose case does not matter; nil when it is none of them.
  @inline(never)
  public func index(of word: Span<UInt8>) -> Int? {
    let bytes = literal.bytes
    var index = 0
    // How much of a word is like the one looked for; negative where some of it is not.
    var matched = 0
    for position in bytes.indices {
      let byte = bytes[position]
      if byte == UInt8(ascii: "|") {
        if matched == word.count { return index }
        index &+= 1
        matched = 0
      } else if matched >= 0 {
        let isAlike = matched < word.count && (byte == word[matched] || byte.lowercased == word[matched].lowercased)
        matched = isAlike ? matched &+ 1 : -1
      }
    }
    return matched == word.count && !isEmpty ? index : nil
  }

  /// The word at `position`; empty behind the last.
  @inline(never)
  @_lifetime(immortal)
  public func word(_ position: Int) -> Span<UInt8> {
    var index = 0
    var start = 0
    while let range = range(from: start) {
      if index == position { return literal.bytes.extracting(range) }
      index += 1
      start = range.upperBound + 1
    }
    return literal.bytes.extracting(0..<0)
  }

  /// The whole literal.
  public var bytes: Span<UInt8> {
    @_lifetime(immortal)
    get { literal.bytes }
  }

  /// The word that starts at `start`; nil behind the last.
  @inline(never)
  public func range(from start: Int) -> Range<Int>? {
    guard start < literal.bytes.count else { return nil }
    return start..<(literal.bytes.firstIndex(of: UInt8(ascii: "|"), from: start) ?? literal.bytes.count)
  }
}
