// Eight bytes at a time, where checks of single bytes would dominate.

extension Span where Element == UInt8 {
  /// The eight bytes from `index` as an integer in the machine's byte order; `index + 8` must not exceed `count`.
  public func word(at index: Int) -> UInt64 {
    // DEVIATION(unsafe-load): the bounds are checked; only the type is taken on trust, and any bytes make an integer.
    bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
  }
}
