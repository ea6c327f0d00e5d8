// Searching in bytes that are text.

extension Span where Element == UInt8 {
  /// The bytes of `range`, which must not go beyond them. In place of the standard library's, for bytes: that is
  /// inlined wherever it is called, which took 3 KB of the program.
  #if !_pointerBitWidth(_64)
    @inline(never)  // small code: this is called from everywhere
  #endif
  @_lifetime(copy self)
  public func extracting(_ range: Range<Int>) -> Span<UInt8> {
    extractingInline(range)
  }

  /// The same, as code of the caller: for the few places where a call would count.
  @inline(__always)
  @_lifetime(copy self)
  public func extractingInline(_ range: Range<Int>) -> Span<UInt8> {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    return extracting(unchecked: range)
  }

  /// Where `byte` first occurs at or after `from`; nil if it does not.
  #if !_pointerBitWidth(_64)
    @inline(never)  // small code: this is called from several places
  #endif
  public func firstIndex(of byte: UInt8, from: Int = 0) -> Int? {
    var index = from
    #if _pointerBitWidth(_64)
      // Eight at a time, as long as none of them is it.
      let pattern = UInt64(byte) &* 0x0101_0101_0101_0101
      while index + 8 <= count, !(word(at: index) ^ pattern).hasZeroByte { index += 8 }
    #endif
    while index < count {
      if self[index] == byte { return index }
      index += 1
    }
    return nil
  }

  /// Where `byte` last occurs; nil if it does not.
  public func lastIndex(of byte: UInt8) -> Int? {
    var index = count - 1
    while index >= 0 {
      if self[index] == byte { return index }
      index -= 1
    }
    return nil
  }

  /// Whether this begins with a literal.
  @inline(never)  // small code: this is called from several places
  public func starts(with literal: StaticString) -> Bool {
    let prefix = literal.bytes
    return count >= prefix.count && extracting(0..<prefix.count).equals(prefix)
  }

  /// Whether both are equal but for the case of ASCII letters.
  @inline(never)  // small code: this is called from several places
  public func equalsIgnoringCase(_ other: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index].lowercased != other[index].lowercased { return false }
    return true
  }

  /// The part of `range` without blanks at either end.
  public func trimmed(_ range: Range<Int>) -> Range<Int> {
    var lower = range.lowerBound
    var upper = range.upperBound
    while lower < upper && self[lower].isBlank { lower += 1 }
    while upper > lower && self[upper - 1].isBlank { upper -= 1 }
    return lower..<upper
  }

  /// The position of the first byte that is not part of well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates,
  /// nothing above U+10FFFF); nil if all is well.
  public func firstInvalidUTF8() -> Int? {
    var index = 0
    while index < count {
      let length = utf8SequenceLength(at: index)
      if length == 0 { return index }
      index += length
    }
    return nil
  }

  /// How many bytes the well-formed UTF-8 sequence at `index` has; 0 if it is not well-formed.
  public func utf8SequenceLength(at index: Int) -> Int {
    let lead = self[index]
    if lead < 0x80 { return 1 }
    // The second byte's range depends on the lead (RFC 3629, section 4).
    let length: Int
    var lowest: UInt8 = 0x80
    var highest: UInt8 = 0xBF
    switch lead {
    case 0xC2...0xDF: length = 2
    case 0xE0:
      length = 3
      lowest = 0xA0
    case 0xE1...0xEC, 0xEE...0xEF: length = 3
    case 0xED:
      length = 3
      highest = 0x9F
    case 0xF0:
      length = 4
      lowest = 0x90
    case 0xF1...0xF3: length = 4
    case 0xF4:
      length = 4
      highest = 0x8F
    default: return 0
    }
    guard index + length <= count, self[index + 1] >= lowest, self[index + 1] <= highest else { return 0 }
    for position in (index + 2)..<max(index + 2, index + length) where self[position] & 0xC0 != 0x80 { return 0 }
    return length
  }
}

#if _pointerBitWidth(_64)
  extension UInt64 {
    /// Whether any of its bytes is 0: what is taken from such a byte borrows from its highest bit, which was not set.
    fileprivate var hasZeroByte: Bool { (self &- 0x0101_0101_0101_0101) & ~self & 0x8080_8080_8080_8080 != 0 }
  }
#endif
