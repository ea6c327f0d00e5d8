// Memory taken once at start-up and handed out in named parts.
//
// The rule of the house is that nothing allocates after start. So every buffer, table and queue is a piece of one
// block that the host hands in, and the arena remembers what each piece is for: the start-up log prints that sum.

/// A piece of memory that lives as long as the program's current configuration, and whose accesses are bounds-checked.
///
/// It is the only place where the modules above hold a raw pointer: `ByteBuffer` and `FixedArray` are built on it.
public struct Region {
  // DEVIATION(unsafe-pointer): what start-up memory is made of; see CONTRIBUTING.md.
  /// The first byte.
  public let start: UnsafeMutableRawPointer
  /// Size in bytes.
  public let count: Int

  /// Wraps `count` bytes at `start`, which must outlive every value built on this region.
  public init(start: UnsafeMutableRawPointer, count: Int) {
    precondition(count >= 0)
    self.start = start
    self.count = count
  }
}

/// What went wrong while memory was being handed out: the block was smaller than the plan.
public struct ArenaExhausted: Error {
  /// The part that did not fit.
  public let name: StaticString
  /// How many bytes it needed.
  public let bytesNeeded: Int
}

/// One term of the start-up sum: what a piece of memory is for and how large it is.
public struct ArenaTerm {
  /// What the piece is for.
  public let name: StaticString
  /// Size in bytes, alignment included.
  public let byteCount: Int
}

/// Hands out pieces of one block of memory, front to back; nothing is ever given back singly.
///
/// Whoever makes one piece after another claims them, and asks once with `check` whether there was room for all: a way
/// out behind each of them takes several times the code.
public struct Arena: ~Copyable {
  /// How many named terms are remembered; further pieces are added to the last term.
  public static var termsMax: Int { 24 }

  private let block: Region
  private var used = 0
  private var terms: InlineArray<24, ArenaTerm>
  /// How many of the terms are in use.
  public private(set) var termCount = 0
  /// The first that was claimed in vain.
  private var lack: ArenaExhausted?

  /// Takes over `block`, which must be zeroed (fresh mappings are).
  public init(_ block: Region) {
    self.block = block
    self.terms = InlineArray(repeating: ArenaTerm(name: "", byteCount: 0))
  }

  /// Bytes handed out so far.
  public var byteCount: Int { used }

  /// The term at `index`, in the order of the first request.
  public func term(_ index: Int) -> ArenaTerm { terms[index] }

  /// Takes `byteCount` bytes, aligned for any integer.
  ///
  /// - Throws: `ArenaExhausted` when the block is too small.
  @inline(never)  // small code
  public mutating func take(_ byteCount: Int, for name: StaticString) throws(ArenaExhausted) -> Region {
    // Checked before the rounding up, which must not overflow.
    let free = block.count - used
    guard byteCount >= 0, byteCount <= free, (byteCount + 15) & ~15 <= free else {
      throw ArenaExhausted(name: name, bytesNeeded: byteCount)
    }
    let aligned = (byteCount + 15) & ~15
    let region = Region(start: block.start + used, count: byteCount)
    used += aligned
    note(name, aligned)
    return region
  }

  /// Takes `byteCount` bytes, aligned for any integer, or none when the block is too small; `check` says so.
  @inline(never)  // small code: this is called from everywhere
  public mutating func claim(_ byteCount: Int, for name: StaticString) -> Region {
    do throws(ArenaExhausted) {
      return try take(byteCount, for: name)
    } catch {
      if lack == nil { lack = error }
      return Region(start: block.start, count: 0)
    }
  }

  /// To be called behind claims, before what was made of them is used.
  ///
  /// - Throws: `ArenaExhausted` when the block was too small for one of them.
  public func check() throws(ArenaExhausted) {
    if let lack { throw lack }
  }

  private mutating func note(_ name: StaticString, _ byteCount: Int) {
    for index in 0..<termCount where terms[index].name.isSameText(as: name) {
      terms[index] = ArenaTerm(name: name, byteCount: terms[index].byteCount + byteCount)
      return
    }
    if termCount < Arena.termsMax {
      terms[termCount] = ArenaTerm(name: name, byteCount: byteCount)
      termCount += 1
    } else {
      let last = terms[termCount - 1]
      terms[termCount - 1] = ArenaTerm(name: last.name, byteCount: last.byteCount + byteCount)
    }
  }
}
