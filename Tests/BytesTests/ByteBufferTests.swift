import Bytes
import TestSupport
import Testing

@Suite struct ByteBufferTests {
  /// Everything observable of `buffer` in one line, since expectations cannot hold what cannot be copied.
  private func state(_ buffer: borrowing ByteBuffer) -> String {
    "\(Array(buffer.span).text) \(buffer.count) free \(buffer.freeCount)\(buffer.hasOverflowed ? " overflowed" : "")"
  }

  @Test func appendsWholePiecesOrNothing() {
    var buffer = makeBuffer(capacity: 5)
    #expect(state(buffer) == " 0 free 5")
    buffer.append("abc")
    buffer.append("def")
    #expect(state(buffer) == "abc 3 free 2 overflowed")
    buffer.append("de")
    buffer.append(0x66)
    #expect(state(buffer) == "abcde 5 free 0 overflowed")
    buffer.append("")
    let nothing: [UInt8] = []
    buffer.append(nothing.span)
    #expect(state(buffer) == "abcde 5 free 0 overflowed")
  }

  @Test func forgetsAnOverflowWhenEmptiedOrTruncated() {
    var buffer = makeBuffer(Array(text: "abc"), capacity: 3)
    buffer.append(0x64)
    buffer.removeFirst(1)
    #expect(state(buffer) == "bc 2 free 1 overflowed")
    buffer.removeFirst(2)
    #expect(state(buffer) == " 0 free 3")
    buffer.append("abcd")
    buffer.removeAll()
    #expect(state(buffer) == " 0 free 3")
    buffer.append("ab")
    buffer.append("cd")
    buffer.truncate(to: 1)
    #expect(state(buffer) == "a 1 free 2")
  }

  @Test func movesToTheFrontOnlyWhenItMust() {
    var buffer = makeBuffer(Array(text: "abcdef"), capacity: 8)
    buffer.removeFirst(4)
    buffer.append("gh")
    #expect(state(buffer) == "efgh 4 free 4")
    buffer.append("ijkl")
    #expect(state(buffer) == "efghijkl 8 free 0")
    buffer.removeFirst(1)
    buffer.append(0x6D)
    #expect(state(buffer) == "fghijklm 8 free 0")
  }

  @Test func fillsItsFreeRoomFromOutside() {
    var buffer = makeBuffer(Array(text: "abcdef"), capacity: 8)
    buffer.removeFirst(5)
    var free = buffer.freeSpan
    #expect(free.count == 7)
    free[0] = 0x78
    free[1] = 0x79
    buffer.commit(2)
    #expect(state(buffer) == "fxy 3 free 5")
    buffer.commit(0)
    buffer.removeFirst(3)
    let count = buffer.freeSpan.count
    #expect(count == 8)
  }

  @Test func changesInPlace() {
    var buffer = makeBuffer(Array(text: "xabc"), capacity: 8)
    buffer.removeFirst(1)
    buffer[1] = 0x42
    var span = buffer.mutableSpan
    span[2] = 0x43
    #expect(state(buffer) == "aBC 3 free 5")
    let byte = buffer[0]
    #expect(byte == 0x61)
  }

  @Test func removesFromTheMiddle() {
    var buffer = makeBuffer(Array(text: "0abcdef"), capacity: 8)
    buffer.removeFirst(1)
    buffer.remove(1..<3)
    #expect(state(buffer) == "adef 4 free 4")
    buffer.remove(2..<4)
    #expect(state(buffer) == "ad 2 free 6")
    buffer.remove(0..<1)
    #expect(state(buffer) == "d 1 free 7")
    buffer.remove(1..<1)
    buffer.remove(0..<1)
    #expect(state(buffer) == " 0 free 8")
  }

  @Test func appendsSixteenBitsTogether() {
    var buffer = makeBuffer(capacity: 3)
    buffer.append(bigEndian: 0x4142)
    buffer.append(bigEndian: 0x4344)
    #expect(state(buffer) == "AB 2 free 1 overflowed")
  }

  @Test func worksWithoutAnyCapacity() {
    var buffer = makeBuffer(capacity: 0)
    buffer.append("")
    #expect(state(buffer) == " 0 free 0")
    buffer.append(1)
    #expect(state(buffer) == " 0 free 0 overflowed")
    let isEmpty = buffer.isEmpty
    #expect(isEmpty)
  }

  /// A thousand random operations against an array.
  @Test(arguments: 0..<20) func behavesLikeAnArrayWithALimit(_ seed: Int) {
    var random = RandomSource(seed: UInt64(seed))
    let capacity = Int(random.next() % 40)
    var buffer = makeBuffer(capacity: capacity)
    var model: [UInt8] = []
    var hasOverflowed = false
    for _ in 0..<1000 {
      let amount = Int(random.next() % 16)
      switch random.next() % 7 {
      case 0, 1:
        let bytes = (0..<amount).map { _ in UInt8.random(in: 0x61...0x7A) }
        buffer.append(bytes.span)
        if model.count + amount <= capacity { model += bytes } else { hasOverflowed = true }
      case 2:
        buffer.append(0x2E)
        if model.count < capacity { model.append(0x2E) } else { hasOverflowed = true }
      case 3:
        let count = min(amount, model.count)
        buffer.removeFirst(count)
        model.removeFirst(count)
        if model.isEmpty { hasOverflowed = false }
      case 4:
        guard random.next() % 8 == 0 else { continue }
        let count = min(amount, model.count)
        buffer.truncate(to: count)
        model.removeSubrange(count...)
        hasOverflowed = false
      case 5:
        let word = random.next() & 0x0F0F_0F0F_0F0F_0F0F | 0x6060_6060_6060_6060
        let count = Int(random.next() % 9)
        buffer.append(word: word, byteCount: count)
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: word >> UInt64(8 * $0)) }
        if model.count + count <= capacity { model += bytes } else { hasOverflowed = true }
      default:
        var free = buffer.freeSpan
        let count = min(amount, free.count)
        for index in 0..<count { free[index] = 0x23 }
        buffer.commit(count)
        model += [UInt8](repeating: 0x23, count: count)
      }
      #expect(
        state(buffer)
          == "\(model.text) \(model.count) free \(capacity - model.count)\(hasOverflowed ? " overflowed" : "")")
    }
  }

  @Test func fewBytesArriveWholeAtTheEndOfAnyRoom() {
    let text = (0..<40).map { UInt8(0x40 + $0) }
    for count in 0...40 {
      for room in max(count - 1, 0)...(count + 17) {
        var buffer = makeBuffer([0x23], capacity: room + 1)
        buffer.append(text.span.extracting(0..<count))
        let hasOverflowed = buffer.hasOverflowed
        #expect(hasOverflowed == (room < count))
        #expect(buffer.text == "#" + (room < count ? "" : Array(text.prefix(count)).text))
      }
    }
  }

  @Test func overwritesAndMovesWhatIsHeld() {
    var buffer = makeBuffer(Array(text: "xx0123456789"), capacity: 12)
    buffer.removeFirst(2)
    let word = Array(text: "abc")
    buffer.overwrite(at: 7, with: word.span)
    #expect(buffer.text == "0123456abc")
    buffer.overwrite(at: 10, with: [UInt8]().span)
    buffer.move(2..<8, to: 0)
    #expect(buffer.text == "23456a6abc")
    buffer.move(0..<6, to: 4)
    #expect(buffer.text == "234523456a")
  }
}
