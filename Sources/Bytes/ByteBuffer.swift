// A growing run of bytes in fixed memory: what packets, payloads and log lines are written into, and what streams are
// read into.

/// Bytes in memory of fixed capacity, written at the end and consumed at the front.
///
/// Writing never traps: what does not fit is dropped as a whole append, and `hasOverflowed` stays true until the buffer
/// is emptied or truncated. A writer of a long text appends all its pieces and asks once at the end.
public struct ByteBuffer: ~Copyable {
  // DEVIATION(unsafe-pointer): a view of a Region, bounds-checked here.
  private let start: UnsafeMutablePointer<UInt8>
  /// How many bytes fit.
  public let capacity: Int
  // 0 <= head <= tail <= capacity, so differences of them cannot overflow.
  private var head = 0
  private var tail = 0
  /// Whether an append did not fit since the buffer was last emptied or truncated.
  public private(set) var hasOverflowed = false
  // Made where it is to be: as a value it would be copied from there member by member.
  private let pinned = Pinned()

  /// Takes `capacity` bytes from `arena`.
  public init(capacity: Int, for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    self.init(try arena.take(capacity, for: name))
  }

  /// Claims `capacity` bytes from `arena`; see `Arena.check`.
  @inline(never)  // small code: this is called from everywhere
  public init(capacity: Int, for name: StaticString, in arena: inout Arena) {
    self.init(arena.claim(capacity, for: name))
  }

  /// Uses the whole of `region`.
  public init(_ region: Region) {
    start = region.start.bindMemory(to: UInt8.self, capacity: region.count)
    capacity = region.count
  }

  /// How many bytes are held.
  public var count: Int { tail &- head }

  /// Whether nothing is held.
  public var isEmpty: Bool { tail == head }

  /// How many bytes can still be appended, after the held ones have been moved to the front if need be.
  public var freeCount: Int { capacity &- count }

  /// The bytes held.
  public var span: Span<UInt8> {
    @_lifetime(borrow self)
    get {
      let span = Span(_unsafeStart: UnsafePointer(start + head), count: count)
      return _overrideLifetime(span, borrowing: self)
    }
  }

  /// The bytes held, to be changed in place.
  public var mutableSpan: MutableSpan<UInt8> {
    @_lifetime(&self)
    mutating get {
      let span = MutableSpan(_unsafeStart: start + head, count: count)
      return _overrideLifetime(span, mutating: &self)
    }
  }

  /// The room behind the held bytes, all `freeCount` of it; `commit` says how much of it was filled.
  public var freeSpan: MutableSpan<UInt8> {
    @_lifetime(&self)
    mutating get {
      if head > 0 { moveToFront() }
      let span = MutableSpan(_unsafeStart: start + tail, count: capacity - tail)
      return _overrideLifetime(span, mutating: &self)
    }
  }

  /// Adds the first `byteCount` bytes of what was written through `freeSpan`.
  @inline(__always)
  public mutating func commit(_ byteCount: Int) {
    precondition(byteCount >= 0 && byteCount <= capacity &- tail)
    tail &+= byteCount
  }

  /// Empties the buffer.
  #if !_pointerBitWidth(_64)
    @inline(never)  // small code: this is called from everywhere
  #endif
  public mutating func removeAll() {
    head = 0
    tail = 0
    hasOverflowed = false
  }

  /// Drops the first `byteCount` bytes.
  ///
  /// Where more than a page is free at the front, and more than is held, what is held moves there (never more bytes
  /// than were dropped): a large buffer that is always in use and never full would otherwise touch all of its pages by
  /// and by.
  public mutating func removeFirst(_ byteCount: Int) {
    precondition(byteCount >= 0 && byteCount <= count)
    head &+= byteCount
    if head == tail {
      removeAll()
    } else if head >= 4096, head >= tail &- head {
      moveToFront()
    }
  }

  /// Drops the bytes of `range`; the ones behind them move up. Costs nothing at the front.
  public mutating func remove(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    if range.lowerBound == 0 {
      removeFirst(range.upperBound)
      return
    }
    copy(from: start + head + range.upperBound, to: head + range.lowerBound, count: count - range.upperBound)
    tail -= range.count
  }

  /// Drops everything behind the first `byteCount` bytes, and forgets an overflow.
  public mutating func truncate(to byteCount: Int) {
    precondition(byteCount >= 0 && byteCount <= count)
    tail = head + byteCount
    hasOverflowed = false
  }

  /// The byte at `index`, counted from the first held one.
  public subscript(index: Int) -> UInt8 {
    get {
      precondition(index >= 0 && index < count)
      return start[head &+ index]
    }
    @inline(__always)
    set {
      precondition(index >= 0 && index < count)
      start[head &+ index] = newValue
    }
  }

  /// Appends one byte.
  @inline(never)  // small code: this is called from everywhere
  public mutating func append(_ byte: UInt8) {
    guard reserve(1) else { return }
    start[tail] = byte
    tail += 1
  }

  /// Appends two bytes, for less than what calling for each would take.
  @inline(__always)
  public mutating func append(_ first: UInt8, _ second: UInt8) {
    append(word: UInt64(first) | UInt64(second) << 8, byteCount: 2)
  }

  /// Appends all of `bytes`.
  @inline(never)  // small code: this is called from everywhere
  public mutating func append(_ bytes: Span<UInt8>) { appendShort(bytes) }

  /// Appends all of `bytes`, which mostly are few: then they are two words that may overlap, for less than what copying
  /// of any length takes.
  @inline(__always)
  private mutating func appendShort(_ bytes: Span<UInt8>) {
    let count = bytes.count
    guard count >= 4, count <= 16, count <= capacity &- tail else { return appendInline(bytes) }
    // DEVIATION(unsafe-load): as in `word(at:)`.
    let source = bytes.bytes
    let target = UnsafeMutableRawPointer(start + tail)
    if count >= 8 {
      let last = source.unsafeLoadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
      target.storeBytes(of: source.unsafeLoadUnaligned(as: UInt64.self), as: UInt64.self)
      target.storeBytes(of: last, toByteOffset: count &- 8, as: UInt64.self)
    } else {
      let last = source.unsafeLoadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
      target.storeBytes(of: source.unsafeLoadUnaligned(as: UInt32.self), as: UInt32.self)
      target.storeBytes(of: last, toByteOffset: count &- 4, as: UInt32.self)
    }
    tail &+= count
  }

  /// Appends all of `bytes`, as code of the caller: for the few places where a call would count.
  @inline(__always)
  public mutating func appendInline(_ bytes: Span<UInt8>) {
    guard bytes.count <= capacity &- tail || reserve(bytes.count) else { return }
    bytes.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { copy(from: base, to: tail, count: source.count) }
    }
    tail &+= bytes.count
  }

  /// Appends all of another buffer.
  ///
  /// Beside the form for spans, because a span taken from one part of a value keeps the compiler from changing its
  /// other parts, while a borrowed part does not.
  public mutating func append(_ other: borrowing ByteBuffer) {
    append(other.span)
  }

  /// Appends the bytes of a literal.
  @inline(never)
  public mutating func append(_ literal: StaticString) { append(literal.bytes) }

  /// Writes `bytes` over those from `index` on, which must be held.
  public mutating func overwrite(at index: Int, with bytes: Span<UInt8>) {
    precondition(index >= 0 && index <= count && bytes.count <= count &- index)
    bytes.withUnsafeBufferPointer { source in
      if let base = source.baseAddress { copy(from: base, to: head &+ index, count: source.count) }
    }
  }

  /// Writes the bytes of `range` over those from `index` on, which must be held; the two may overlap.
  public mutating func move(_ range: Range<Int>, to index: Int) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count)
    precondition(index >= 0 && index <= count &- range.count)
    copy(from: start + (head &+ range.lowerBound), to: head &+ index, count: range.count)
  }

  /// Appends `byteCount` bytes of unknown values, for the caller to overwrite.
  ///
  /// - Returns: whether they fit.
  @inline(__always)
  mutating func extend(by byteCount: Int) -> Bool {
    guard byteCount <= capacity &- tail || reserve(byteCount) else { return false }
    tail &+= byteCount
    return true
  }

  /// Appends the digits of `value`, with leading zeros up to `digitsMin`, a minus in front if there is to be one, and a
  /// point in front of the last `fractionDigits`, fewer than `digitsMin`, if there are any.
  @inline(never)  // small code: this is called from several places
  mutating func append(decimal value: UInt64, isNegative: Bool, digitsMin: Int, fractionDigits: Int) {
    #if _pointerBitWidth(_64)
      // What is written is at most a sign, eight digits, a point and the eight bytes behind them.
      if value < 100_000_000, UInt(bitPattern: digitsMin &- 1) < 8, capacity &- tail >= 18 {
        let digits = eightDigits(value)
        let leading = (digits | 1 &<< UInt64(64 &- digitsMin &* 8)).trailingZeroBitCount & 0x38
        let start = beginNumber(isNegative: isNegative)
        finishNumber(digits, leadingBits: leading, at: start, fractionDigits: fractionDigits)
        return
      }
    #endif
    appendLong(decimal: value, isNegative: isNegative, digitsMin: digitsMin, fractionDigits: fractionDigits)
  }

  /// The same for any number of digits.
  #if _pointerBitWidth(_64)
    @inline(never)  // Otherwise it would take registers from the shorter ones.
  #else
    @inline(__always)
  #endif
  private mutating func appendLong(decimal value: UInt64, isNegative: Bool, digitsMin: Int, fractionDigits: Int) {
    #if _pointerBitWidth(_64)
      let isMedium = value >= 100_000_000 && value < 10_000_000_000_000_000
      if isMedium, digitsMin <= 8, capacity &- tail >= 26 {
        appendMedium(decimal: value, isNegative: isNegative, fractionDigits: fractionDigits)
        return
      }
    #endif
    let digitCount = max(decimalDigitCount(value), digitsMin)
    guard extend(by: digitCount &+ (fractionDigits > 0 ? 1 : 0) &+ (isNegative ? 1 : 0)) else { return }
    var end = start + tail
    var rest = value
    if fractionDigits > 0 {
      end -= fractionDigits
      rest = ByteBuffer.write(decimal: value, count: fractionDigits, at: end)
      end -= 1
      end.pointee = UInt8(ascii: ".")
    }
    let wholeDigits = digitCount &- fractionDigits
    _ = ByteBuffer.write(decimal: rest, count: wholeDigits, at: end - wholeDigits)
    if isNegative { (end - wholeDigits)[-1] = UInt8(ascii: "-") }
  }

  #if _pointerBitWidth(_64)
    /// The same for nine to sixteen digits, more than `digitsMin`, where there is room for them and ten bytes more.
    @inline(__always)
    private mutating func appendMedium(decimal value: UInt64, isNegative: Bool, fractionDigits: Int) {
      // The constant is 2^90 / 10^8, rounded up.
      let upper = wideProduct(value, 0xABCC_7711_8461_CEFD).high &>> 26
      let lower = value &- upper &* 100_000_000
      let digits = eightDigits(upper)
      let leading = digits.trailingZeroBitCount & 0x38
      let start = beginNumber(isNegative: isNegative)
      start.storeBytes(of: ((digits | 0x3030_3030_3030_3030) &>> UInt64(leading)).littleEndian, as: UInt64.self)
      finishNumber(
        eightDigits(lower), leadingBits: 0, at: start + (8 &- leading &>> 3), fractionDigits: fractionDigits)
    }

    /// Writes a sign if there is to be one; gives where the digits go.
    @inline(__always)
    private func beginNumber(isNegative: Bool) -> UnsafeMutableRawPointer {
      let end = UnsafeMutableRawPointer(start + tail)
      end.storeBytes(of: UInt8(ascii: "-"), as: UInt8.self)
      return isNegative ? end + 1 : end
    }

    /// Writes the last eight digits of a number without the zeros at their front, and moves those behind the point, at
    /// most seven, to make room for it.
    @inline(__always)
    private mutating func finishNumber(
      _ digits: UInt64, leadingBits: Int, at position: UnsafeMutableRawPointer, fractionDigits: Int
    ) {
      var end = position
      end.storeBytes(of: ((digits | 0x3030_3030_3030_3030) &>> UInt64(leadingBits)).littleEndian, as: UInt64.self)
      end += 8 &- leadingBits &>> 3
      if fractionDigits > 0 {
        let point = end - fractionDigits
        let fraction = point.loadUnaligned(as: UInt64.self)
        point.storeBytes(of: UInt8(ascii: "."), as: UInt8.self)
        point.storeBytes(of: fraction, toByteOffset: 1, as: UInt64.self)
        end += 1
      }
      tail = end - UnsafeMutableRawPointer(start)
    }
  #endif

  /// Writes the lowest `count` digits of `value`, with leading zeros; gives what is left of it above them.
  @inline(never)  // small code: this is called from several places
  private static func write(decimal value: UInt64, count: Int, at start: UnsafeMutablePointer<UInt8>) -> UInt64 {
    var rest = value
    var index = count &- 1
    while index >= 0, rest > UInt64(UInt32.max) {
      let tenth = rest.longTenth
      start[index] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest &- tenth &* 10)
      rest = tenth
      index &-= 1
    }
    guard index >= 0 else { return rest }
    // Most numbers are so small, and their digits cost a 32-bit machine less.
    var small = UInt32(truncatingIfNeeded: rest)
    repeat {
      let tenth = small.times(.of10)
      start[index] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: small &- tenth &* 10)
      small = tenth
      index &-= 1
    } while index >= 0
    return UInt64(small)
  }

  /// Appends a 16-bit integer, most significant byte first.
  public mutating func append(bigEndian value: UInt16) {
    append(word: UInt64(value.byteSwapped), byteCount: 2)
  }

  /// Appends the lowest `byteCount` bytes of `word`, at most eight, the lowest first.
  @inline(__always)
  public mutating func append(word: UInt64, byteCount: Int) {
    precondition(byteCount >= 0 && byteCount <= 8)
    if capacity &- tail >= 8 {
      // One store; what it writes behind the end is room nobody has written to.
      UnsafeMutableRawPointer(start + tail).storeBytes(of: word.littleEndian, as: UInt64.self)
      tail &+= byteCount
      return
    }
    appendBytewise(word, byteCount)
  }

  /// Appends three words of eight bytes each, the lowest byte first.
  @inline(__always)
  mutating func append(words first: UInt64, _ second: UInt64, _ third: UInt64) {
    guard extend(by: 24) else { return }
    let target = UnsafeMutableRawPointer(start + (tail &- 24))
    target.storeBytes(of: first.littleEndian, as: UInt64.self)
    target.storeBytes(of: second.littleEndian, toByteOffset: 8, as: UInt64.self)
    target.storeBytes(of: third.littleEndian, toByteOffset: 16, as: UInt64.self)
  }

  private mutating func appendBytewise(_ word: UInt64, _ byteCount: Int) {
    guard reserve(byteCount) else { return }
    for index in 0..<byteCount {
      start[tail + index] = UInt8(truncatingIfNeeded: word &>> UInt64(index &* 8))
    }
    tail += byteCount
  }

  private mutating func reserve(_ byteCount: Int) -> Bool {
    if byteCount <= capacity &- tail { return true }
    guard byteCount <= freeCount else {
      hasOverflowed = true
      return false
    }
    // There is room in all and none at the end, so there is some at the front.
    moveToFront()
    return true
  }

  /// At most `capacity` bytes are moved; a buffer that is drained before it is filled never moves any.
  @inline(never)  // rare, and part of every append
  private mutating func moveToFront() {
    copy(from: start + head, to: 0, count: count)
    tail -= head
    head = 0
  }

  /// Moves bytes, which may overlap. Not `update(from:count:)`: optimised for size, that becomes a loop over single
  /// bytes instead of the C library's memmove.
  private func copy(from source: UnsafePointer<UInt8>, to offset: Int, count: Int) {
    UnsafeMutableRawPointer(start + offset).copyMemory(from: source, byteCount: count)
  }
}
