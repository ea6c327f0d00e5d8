import Bytes
import TestSupport
import Testing

@Suite struct ArenaTests {
  @Test func handsOutDisjointAlignedPieces() throws {
    var arena = makeArena(byteCount: 256)
    let pieces = try [1, 16, 0, 17, 100].map { try arena.take($0, for: "piece") }
    for piece in pieces { #expect(Int(bitPattern: piece.start) % 16 == 0) }
    for (earlier, later) in zip(pieces, pieces.dropFirst()) {
      #expect(earlier.start + earlier.count <= later.start)
    }
    let byteCount = arena.byteCount
    #expect(byteCount == 16 + 16 + 0 + 32 + 112)
  }

  @Test(arguments: [-1, 65, Int.max, Int.max - 7, Int.min]) func refusesWhatDoesNotFit(_ byteCount: Int) {
    var arena = makeArena(byteCount: 64)
    do throws(ArenaExhausted) {
      _ = try arena.take(byteCount, for: "large")
      Issue.record("\(byteCount) bytes were handed out")
    } catch {
      #expect(error.bytesNeeded == byteCount)
      #expect(error.name.isSameText(as: "large"))
    }
    let used = arena.byteCount
    #expect(used == 0)
  }

  @Test func fillsToTheLastByte() throws {
    var arena = makeArena(byteCount: 64)
    _ = try arena.take(48, for: "a")
    _ = try arena.take(16, for: "b")
    _ = try arena.take(0, for: "c")
    #expect(throws: ArenaExhausted.self) { _ = try arena.take(1, for: "d") }
  }

  @Test func remembersWhatWasClaimedInVain() throws {
    var arena = makeArena(byteCount: 64)
    let fits = arena.claim(48, for: "a")
    #expect(fits.count == 48)
    try arena.check()
    var buffer = ByteBuffer(capacity: 17, for: "b", in: &arena)
    let table = FixedArray<UInt64>(capacity: 3, for: "c", in: &arena)
    let index = HashIndex(capacity: 100, for: "d", in: &arena)
    buffer.append(1)
    let (capacity, hasOverflowed, tableCapacity) = (buffer.capacity, buffer.hasOverflowed, table.capacity)
    #expect(capacity == 0)
    #expect(hasOverflowed)
    #expect(tableCapacity == 0)
    _ = consume index
    // What is small enough is still handed out, and the first lack is not forgotten for it.
    let small = arena.claim(16, for: "e")
    #expect(small.count == 16)
    do throws(ArenaExhausted) {
      try arena.check()
      Issue.record("nothing was claimed in vain")
    } catch {
      #expect(error.name.isSameText(as: "b"))
      #expect(error.bytesNeeded == 17)
    }
  }

  @Test func remembersWhatMemoryIsFor() throws {
    var arena = makeArena()
    _ = try arena.take(10, for: "input")
    _ = try arena.take(20, for: "output")
    _ = try arena.take(30, for: "input")
    let terms = (0..<arena.termCount).map { "\(arena.term($0).name) \(arena.term($0).byteCount)" }
    #expect(terms == ["input 48", "output 32"])
  }

  @Test func theSumIsRightWhenThereAreTooManyNames() throws {
    var arena = makeArena()
    let names: [StaticString] = [
      "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w",
      "x",
      "y", "z",
    ]
    for name in names { _ = try arena.take(16, for: name) }
    let sum = (0..<arena.termCount).reduce(0) { $0 + arena.term($1).byteCount }
    let (termCount, byteCount) = (arena.termCount, arena.byteCount)
    #expect(termCount == Arena.termsMax)
    #expect(sum == byteCount)
  }
}

@Suite struct FixedArrayTests {
  @Test func holdsItsCapacityAndNoMore() throws {
    var arena = makeArena()
    var table = try FixedArray<UInt16>(capacity: 3, for: "table", from: &arena)
    let appended = (1...4).map { table.append(UInt16($0)) }
    #expect(appended == [true, true, true, false])
    #expect(elements(table) == [1, 2, 3])
    table.remove(at: 1)
    table[0] = 9
    #expect(elements(table) == [9, 3])
    let fits = table.append(4)
    #expect(fits)
    table.remove(at: 2)
    table.remove(at: 0)
    #expect(elements(table) == [3])
    table.removeAll()
    #expect(elements(table) == [])
  }

  @Test(arguments: [-1, 1_000_000, Int.max, Int.max / 8 + 1, Int.min]) func refusesWhatDoesNotFit(_ capacity: Int) {
    var arena = makeArena(byteCount: 1000)
    #expect(throws: ArenaExhausted.self) { _ = try FixedArray<UInt64>(capacity: capacity, for: "table", from: &arena) }
  }

  @Test func anEmptyTableIsFine() throws {
    var arena = makeArena(byteCount: 0)
    var table = try FixedArray<UInt64>(capacity: 0, for: "table", from: &arena)
    let fits = table.append(1)
    #expect(!fits)
    #expect(elements(table) == [])
  }

  private func elements<Element>(_ table: borrowing FixedArray<Element>) -> [Element] {
    let span = table.span
    return span.indices.map { span[$0] }
  }
}
