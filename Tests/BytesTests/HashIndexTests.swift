// Entries are found by their hashes, all of them and no other.

import Bytes
import TestSupport
import Testing

@Suite struct HashIndexTests {
  /// The entries that a search for `hash` comes by.
  private func found(_ hash: UInt32, in index: borrowing HashIndex) -> [Int] {
    var entries: [Int] = []
    var next = index.first(hash)
    while let entry = next {
      entries.append(entry)
      next = index.next(after: entry)
    }
    return entries
  }

  @Test(arguments: [1, 2, 7, 64, 200])
  func everyEntryIsFound(count: Int) throws {
    var arena = makeArena(byteCount: HashIndex.byteCount(capacity: count))
    var index = try HashIndex(capacity: count, for: "test", from: &arena)
    let hashes = (0..<count).map { Array(text: "sensor\($0 / 2)").span.hash(seed: 1) }
    for hash in hashes { #expect(found(hash, in: index) == []) }
    for (entry, hash) in hashes.enumerated() { index.add(entry, hash) }
    for (entry, hash) in hashes.enumerated() {
      let entries = found(hash, in: index)
      #expect(entries.contains(entry) && entries.count < 12)
      // Those of one hash come last in, first out.
      #expect(entries.filter { hashes[$0] == hash } == hashes.indices.reversed().filter { hashes[$0] == hash })
    }
    index.removeAll()
    for hash in hashes { #expect(found(hash, in: index) == []) }
  }

  @Test func entriesMayBeLeftOut() throws {
    var arena = makeArena()
    var index = try HashIndex(capacity: 5, for: "test", from: &arena)
    index.add(4, 0xFFFF_FFFF)
    index.add(1, 7)
    #expect(found(7, in: index) == [1, 4])
  }

  @Test func nothingFitsIntoNothing() throws {
    var arena = makeArena()
    let index = try HashIndex(capacity: 0, for: "test", from: &arena)
    #expect(found(3, in: index) == [])
  }

  @Test func seedsMakeOtherHashes() {
    let name = Array(text: "status")
    #expect(name.span.hash(seed: 0) != name.span.hash(seed: 1))
    #expect(name.span.hash(seed: 0) != Array(text: "statut").span.hash(seed: 0))
  }
}
