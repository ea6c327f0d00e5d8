// Eight bytes at a time, where checks of single bytes would dominate.

extension Span where Element == UInt8 {
  /// The eight bytes from `index` as an integer in the machine's byte order; `index + 8` must not exceed `count`.
  public func word(at index: Int) -> UInt64 {
    // DEVIATION(unsafe-load): the bounds are checked; only the type is taken on trust, and any bytes make an integer.
    bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
  }

  #if _pointerBitWidth(_64)
    /// The bytes from `index`, below `count` and not below 0, on, the first as the lowest: eight, or all and zeros.
    @inline(__always)
    func paddedWord(at index: Int) -> UInt64 {
      guard count &- index >= 8 else { return lastWord(from: index) }
      // DEVIATION(unsafe-load): the line above checks the bounds.
      return UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: index, as: UInt64.self))
    }

    /// The same where there are less than eight.
    @inline(never)  // rare
    private func lastWord(from start: Int) -> UInt64 {
      var word: UInt64 = 0
      var index = count
      while index > start {
        index &-= 1
        word = word &<< 8 | UInt64(self[index])
      }
      return word
    }
  #endif
}

#if _pointerBitWidth(_64)
  /// Eight bytes of text, the first as the lowest, that may begin with digits. A digit is kept as its value.
  struct DigitWord {
    private var bits: UInt64

    init(_ text: UInt64) { bits = text ^ 0x3030_3030_3030_3030 }

    /// The highest bit of each byte that is no digit. It may be wrong above a byte that is neither digit nor point:
    /// those from 138 on carry into the next.
    @inline(__always)
    private var others: UInt64 { (bits &+ 0x7676_7676_7676_7676 | bits) & 0x8080_8080_8080_8080 }

    /// How many digits it begins with.
    @inline(__always)
    var count: Int { others.trailingZeroBitCount &>> 3 }

    /// How many digits are behind a point that is at `index`, behind digits only.
    @inline(__always)
    func fractionCount(behind index: Int) -> Int {
      (others & (others &- 1)).trailingZeroBitCount &>> 3 &- index &- 1
    }

    /// Whether the byte at `index` is a point; at 8, behind digits only, it is not.
    @inline(__always)
    func isPoint(at index: Int) -> Bool {
      UInt8(truncatingIfNeeded: bits &>> UInt64(index &* 8)) == UInt8(ascii: ".") ^ 0x30
    }

    /// The bytes without the one at `index`, below 8; the last one stays, too.
    @inline(__always)
    func removing(at index: Int) -> DigitWord {
      var word = self
      let moved = UInt64(index &* 8)
      word.bits ^= ((bits ^ bits &>> 8) &>> moved) &<< moved
      return word
    }

    /// The value of the first `count` bytes, at least one, all digits.
    @inline(__always)
    func value(of count: Int) -> UInt64 {
      // Zeros in front make it eight digits: pairs, then both fours of them in one, then all.
      let digits = bits &<< UInt64(64 &- count &* 8)
      let pairs = digits &* 10 &+ digits &>> 8
      let mask: UInt64 = 0x0000_00FF_0000_00FF
      let odd = (pairs & mask) &* (100 &+ 1_000_000 &<< 32)
      let even = (pairs &>> 16 & mask) &* (1 &+ 10_000 &<< 32)
      return (odd &+ even) &>> 32
    }
  }

  /// The eight decimal digits of `value`, below 10^8, one a byte, the first as the lowest.
  @inline(__always)
  func eightDigits(_ value: UInt64) -> UInt64 {
    // Quotients become the lower halves, and remainders the upper ones: of the word, of its halves, and of theirs. The
    // factors are 2^45 / 10^4, 2^20 / 100 and 2^10 / 10, rounded up.
    let upper = (value &* 3_518_437_209) &>> 45
    let fours = value &<< 32 &- upper &* (10_000 &<< 32 &- 1)
    let hundreds = (fours &* 10_486) &>> 20 & 0x0000_007F_0000_007F
    let pairs = fours &<< 16 &- hundreds &* (100 &<< 16 &- 1)
    let tens = (pairs &* 103) &>> 10 & 0x000F_000F_000F_000F
    return pairs &<< 8 &- tens &* (10 &<< 8 &- 1)
  }
#endif
