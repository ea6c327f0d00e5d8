// What Swift 6.3.1 gets wrong on 32-bit ARM with -Osize, in its shortest form. A mutating method finds the address of
// `self` in r10, and its caller counts on r10 afterwards. Where the method's last use of it is a store of several
// registers, LLVM writes `stm r10!, {r0, r1}`, which leaves r10 8 bytes further: its pass for loads and stores takes
// that form, shorter in Thumb, for any base register that the function does not read again, and runs when it has been
// decided which registers are restored. The next call of the caller so works on other memory, unless the caller loads
// r10 anew: the shape of the code around decides whether it is noticed. It takes two members on armv6, three on armv7.

/// Of the shape of a reader that goes over its text.
public struct Cursor: Sendable {
  private(set) var position = 0
  private(set) var depth = 0
  private(set) var count = 0

  /// Changes the first two members, and nothing else.
  @inline(never)
  mutating func close() {
    position &+= 1
    depth &-= 1
  }

  /// Changes all three.
  @inline(never)
  mutating func skip() {
    position &+= 1
    depth &-= 1
    count &+= 1
  }
}

/// A cursor that was closed twice.
@inline(never)
public func closedTwice() -> Cursor {
  var cursor = Cursor()
  cursor.close()
  cursor.close()
  return cursor
}

/// A cursor that skipped twice.
@inline(never)
public func skippedTwice() -> Cursor {
  var cursor = Cursor()
  cursor.skip()
  cursor.skip()
  return cursor
}
