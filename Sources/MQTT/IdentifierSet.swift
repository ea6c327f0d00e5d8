// Which packet identifiers are taken.

import Bytes

/// A set of packet identifiers, one bit for each that there can be.
///
/// It holds the identifiers of QoS 2 messages from the server between PUBLISH and PUBREL. MQTT 3.1.1 gives a client no
/// means to limit how many there are, and a full table could neither be waited out (the PUBRELs come behind) nor be
/// dropped (a message would arrive twice), so there is room for all: 8 KB, of which a server that counts from 1 touches
/// one page.
struct IdentifierSet: ~Copyable {
  private var words: FixedArray<UInt64>
  private(set) var count = 0

  init(in arena: inout Arena) {
    words = FixedArray(capacity: 1024, for: "mqtt identifiers", in: &arena)
    words.useZeroed()
    // Memory that is zero already is only read, so that it stays the system's one page of zeros.
    clear()
  }

  func contains(_ identifier: UInt16) -> Bool {
    words[Int(identifier >> 6)] & bit(identifier) != 0
  }

  mutating func insert(_ identifier: UInt16) {
    guard !contains(identifier) else { return }
    words[Int(identifier >> 6)] |= bit(identifier)
    count += 1
  }

  mutating func remove(_ identifier: UInt16) {
    guard contains(identifier) else { return }
    words[Int(identifier >> 6)] &= ~bit(identifier)
    count -= 1
  }

  mutating func removeAll() {
    guard count > 0 else { return }
    clear()
    count = 0
  }

  private mutating func clear() {
    for index in 0..<words.count where words[index] != 0 { words[index] = 0 }
  }

  private func bit(_ identifier: UInt16) -> UInt64 { 1 &<< UInt64(identifier & 63) }
}
