// A table whose capacity is decided at start-up.

/// A table of plain values with a capacity that never changes.
///
/// `Element` must be trivial (integers, enums and structs of them): the memory is never deinitialised.
public struct FixedArray<Element: BitwiseCopyable>: ~Copyable {
  // DEVIATION(unsafe-pointer): a typed view of a Region.
  private let start: UnsafeMutablePointer<Element>
  /// How many elements fit.
  public let capacity: Int
  /// How many elements are in use.
  public private(set) var count = 0

  /// Takes room for `capacity` elements from `arena`.
  public init(capacity: Int, for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    let region = try arena.take(FixedArray.byteCount(of: capacity), for: name)
    self.start = region.start.bindMemory(to: Element.self, capacity: capacity)
    self.capacity = capacity
  }

  /// Claims room for `capacity` elements from `arena`; see `Arena.check`.
  public init(capacity: Int, for name: StaticString, in arena: inout Arena) {
    let byteCount = FixedArray.byteCount(of: capacity)
    let region = arena.claim(byteCount, for: name)
    self.start = region.start.bindMemory(to: Element.self, capacity: capacity)
    self.capacity = region.count == byteCount ? capacity : 0
  }

  /// What `capacity` elements take, or more than there is.
  private static func byteCount(of capacity: Int) -> Int {
    let (byteCount, overflow) = capacity.multipliedReportingOverflow(by: MemoryLayout<Element>.stride)
    return overflow ? .max : byteCount
  }

  /// The element at `index`, which must be below `count`.
  public subscript(index: Int) -> Element {
    // Addresses instead of `get` and `set`: whoever wants one member of an element, or changes it, copies no other.
    @inline(__always)
    unsafeAddress {
      precondition(index >= 0 && index < count)
      return UnsafePointer(start + index)
    }
    @inline(__always)
    unsafeMutableAddress {
      precondition(index >= 0 && index < count)
      return start + index
    }
  }

  /// Adds `element` at the end; false when the table is full.
  public mutating func append(_ element: Element) -> Bool {
    guard count < capacity else { return false }
    (start + count).initialize(to: element)
    count += 1
    return true
  }

  /// Removes the element at `index`; the later ones move down.
  public mutating func remove(at index: Int) {
    precondition(index >= 0 && index < count)
    count -= 1
    if index == count { return }
    // Trivial elements, so bytes; see `ByteBuffer` for why not `update(from:count:)`.
    UnsafeMutableRawPointer(start + index).copyMemory(
      from: start + index + 1, byteCount: (count - index) * MemoryLayout<Element>.stride)
  }

  /// Makes the whole capacity elements in use, whose bytes are all zero as long as nothing was stored here before; zero
  /// bytes must be a valid `Element`.
  public mutating func useZeroed() { count = capacity }

  /// Empties the table.
  public mutating func removeAll() { count = 0 }

  /// The elements in use.
  public var span: Span<Element> {
    @_lifetime(borrow self)
    get {
      let span = Span(_unsafeStart: start, count: count)
      return _overrideLifetime(span, borrowing: self)
    }
  }
}
