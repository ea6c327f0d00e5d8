import Bytes
import TestSupport
import Testing

@Suite struct ByteBufferFrontTests {
  /// A buffer that is always in use but never nearly full stays at the beginning of its memory.
  @Test func heldBytesMoveToTheFrontBeforeNewMemoryIsTouched() {
    let capacity = 1 << 20
    var arena = makeArena(byteCount: capacity + 1024)
    guard let region = try? arena.take(capacity, for: "buffer") else { return }
    let start = region.start
    var buffer = ByteBuffer(region)
    var next: UInt8 = 0
    var expected: UInt8 = 0
    for round in 0..<5000 {
      for _ in 0..<(round < 10 ? 300 : 100) {
        buffer.append(next)
        next = next &* 5 &+ 1
      }
      for _ in 0..<100 {
        #expect(buffer[0] == expected)
        expected = expected &* 5 &+ 1
        buffer.removeFirst(1)
      }
    }
    let count = buffer.count
    #expect(count == 2000)
    var touched = 0
    for offset in 0..<capacity where start.load(fromByteOffset: offset, as: UInt8.self) != 0 { touched = offset + 1 }
    #expect(touched <= 3 * 4096)
  }

  @Test func rangesAreRemovedAnywhere() {
    let bytes: [UInt8] = Array(0..<10)
    for skipped in 0..<3 {
      for lower in 0...10 {
        for upper in lower...10 {
          var buffer = makeBuffer([UInt8](repeating: 99, count: skipped) + bytes, capacity: 16)
          buffer.removeFirst(skipped)
          buffer.remove(lower..<upper)
          var expected = bytes
          expected.removeSubrange(lower..<upper)
          let rest = Array(buffer.span)
          #expect(rest == expected)
        }
      }
    }
  }

  /// The lowest bytes of a word, lowest first; all or nothing, also where less than eight bytes are free.
  @Test func wordsAreAppendedWholeOrNotAtAll() {
    for room in 0...12 {
      for count in 0...8 {
        var buffer = makeBuffer(capacity: room)
        buffer.append(word: 0x0807_0605_0403_0201, byteCount: count)
        let bytes = Array(buffer.span)
        let hasOverflowed = buffer.hasOverflowed
        #expect(bytes == (count <= room ? Array(1...8).prefix(count).map { UInt8($0) } : []))
        #expect(hasOverflowed == (count > room))
      }
    }
  }

  @Test func wordsAreReadInTheMachinesOrder() {
    let bytes: [UInt8] = Array(1...12)
    for index in 0...4 {
      let expected = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[index + $1]) << UInt64($1 * 8) }
      let word = bytes.span.word(at: index)
      #expect(word.littleEndian == expected)
    }
  }
}
