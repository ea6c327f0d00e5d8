// Keeping large values where they are.

/// A member, of no size to speak of, that makes the struct around it stay at its address.
///
/// Without it, a caller that may change a large noncopyable struct lends it to a method that only reads it by copying
/// all of it first (Swift 6.3.1): hundreds of bytes for each call. A struct with a member whose layout is opaque is
/// lent by its address, always.
@_rawLayout(size: 1, alignment: 1)
public struct Pinned: ~Copyable {
  /// There is nothing to say about it.
  public init() {}
}
