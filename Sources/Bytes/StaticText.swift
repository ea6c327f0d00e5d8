// Literals as bytes: the only text that the agent's core knows besides bytes from outside.

extension StaticString {
  /// The UTF-8 bytes of the literal.
  public var bytes: Span<UInt8> {
    @_lifetime(immortal)
    @inline(__always)
    get {
      // A literal made of one scalar has no pointer representation; the core only ever uses longer ones or ASCII
      // strings, which the compiler keeps as pointers.
      let span = Span<UInt8>(_unsafeStart: utf8Start, count: utf8CodeUnitCount)
      return _overrideLifetime(span, copying: ())
    }
  }

  /// Whether both literals have the same bytes.
  public func isSameText(as other: StaticString) -> Bool {
    bytes.equals(other.bytes)
  }
}

extension Span where Element == UInt8 {
  /// Whether both hold the same bytes.
  #if !_pointerBitWidth(_64)
    @inline(never)  // small code: this is called from everywhere
  #endif
  public func equals(_ other: Span<UInt8>) -> Bool {
    guard count == other.count else { return false }
    for index in indices where self[index] != other[index] { return false }
    return true
  }

  /// Whether this holds exactly the bytes of a literal.
  public func equals(_ literal: StaticString) -> Bool {
    equals(literal.bytes)
  }
}
