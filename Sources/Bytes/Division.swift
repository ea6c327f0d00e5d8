// Division by constants, by multiplication with the reciprocal. A small processor has no instruction for it, and the
// compiler, which optimises for size, calls a routine that takes some hundred instructions.

/// One divided by a number that is no power of two.
///
/// The factor is 2^(32 + shift) / number, rounded up, with the largest shift for which it has 32 bits. It is too large
/// by less than 1, and so is a quotient of a number below 2^31 by less than 2^31 / 2^(32 + shift). That is less than
/// 1 / number, which is how far a quotient is from the next whole number at least. By 10, even 32 bits are divided
/// right.
public struct Reciprocal: BitwiseCopyable, Sendable {
  fileprivate let factor: UInt32
  fileprivate let shift: UInt32

  static var of5: Reciprocal { Reciprocal(factor: 0xCCCC_CCCD, shift: 2) }
  static var of10: Reciprocal { Reciprocal(factor: 0xCCCC_CCCD, shift: 3) }
  static var of60: Reciprocal { Reciprocal(factor: 0x8888_8889, shift: 5) }
  static var of100: Reciprocal { Reciprocal(factor: 0xA3D7_0A3E, shift: 6) }
  static var of153: Reciprocal { Reciprocal(factor: 0xD62B_80D7, shift: 7) }
  static var of365: Reciprocal { Reciprocal(factor: 0xB38C_F9B1, shift: 8) }
  static var of1000: Reciprocal { Reciprocal(factor: 0x8312_6E98, shift: 9) }
  static var of1460: Reciprocal { Reciprocal(factor: 0xB38C_F9B1, shift: 10) }
  static var of1875: Reciprocal { Reciprocal(factor: 0x8BCF_64E6, shift: 10) }
  static var of36524: Reciprocal { Reciprocal(factor: 0xE5AC_81FB, shift: 15) }
  static var of146097: Reciprocal { Reciprocal(factor: 0xE5AC_1AF4, shift: 17) }
  /// A millionth: milliseconds of nanoseconds.
  public static var ofMillion: Reciprocal { Reciprocal(factor: 0x8637_BD06, shift: 19) }
}

extension UInt32 {
  /// This number, below 2^31, multiplied by a reciprocal, rounded down.
  @inline(__always)
  public func times(_ reciprocal: Reciprocal) -> UInt32 {
    // Not through 64 bits: on 32-bit machines the standard library's conversions between the two are calls.
    multipliedFullWidth(by: reciprocal.factor).high &>> reciprocal.shift
  }
}

extension UInt64 {
  /// A tenth of this number, rounded down.
  @inline(__always)
  var tenth: UInt64 {
    self > UInt64(UInt32.max) ? longTenth : UInt64(UInt32(truncatingIfNeeded: self).times(.of10))
  }

  /// A tenth of this number, which is even; nil where that is not a whole number.
  @inline(__always)
  var wholeTenth: UInt64? {
    #if _pointerBitWidth(_64)
      // The factor is the inverse of 5 modulo 2^64: only multiples of 5 have small products.
      let tenth = (self &* 0xCCCC_CCCC_CCCC_CCCD) &>> 1
      return tenth <= UInt64.max / 10 ? tenth : nil
    #else
      let tenth = self.tenth
      return tenth &* 10 == self ? tenth : nil
    #endif
  }

  /// The same as `tenth`, where the number is known to be large. The constant is 2^67 / 10, rounded up.
  @inline(never)  // small code: this is called from several places
  var longTenth: UInt64 { wideProduct(self, 0xCCCC_CCCC_CCCC_CCCD).high &>> 3 }

  /// A ten-thousandth of this number, rounded down. The constant is 2^75 / 10^4, rounded up.
  var tenThousandth: UInt64 { wideProduct(self, 0x346D_C5D6_3886_594B).high &>> 11 }
}

/// The product `high` × 2^64 + `low`.
@inline(__always)
func wideProduct(_ left: UInt64, _ right: UInt64) -> (high: UInt64, low: UInt64) {
  #if _pointerBitWidth(_64)
    let product = left.multipliedFullWidth(by: right)
    return (product.high, product.low)
  #else
    // The standard library needs the heap for it on 32-bit machines.
    let mask: UInt64 = 0xFFFF_FFFF
    let lowest = (left & mask) &* (right & mask)
    // Neither sum overflows: (2^32 - 1)² + 2 × (2^32 - 1) is 2^64 - 1.
    let middle = (left &>> 32) &* (right & mask) &+ lowest &>> 32
    let otherMiddle = (left & mask) &* (right &>> 32) &+ middle & mask
    let high = (left &>> 32) &* (right &>> 32) &+ middle &>> 32 &+ otherMiddle &>> 32
    return (high, otherMiddle &<< 32 | lowest & mask)
  #endif
}
