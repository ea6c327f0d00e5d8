// Finding an entry of a table by its name, without looking at all of them.

/// The entries of a table by the hash of something in them. Whoever searches compares the entries of one hash
/// themselves; they are few.
public struct HashIndex: ~Copyable {
  // Numbers of entries from 1; 0 for none.
  private var firsts: FixedArray<UInt16>
  private var nexts: FixedArray<UInt16>

  /// How many bytes an index of `capacity` entries takes from an arena, alignment included.
  public static func byteCount(capacity: Int) -> Int {
    (bucketCount(for: capacity) + capacity) * MemoryLayout<UInt16>.stride + 2 * 16
  }

  /// Takes room for the entries 0..<`capacity` of a table, at most 65,535 of them, from `arena`.
  public init(capacity: Int, for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    precondition(capacity < UInt16.max, "an entry's number has two bytes")
    var firsts = try FixedArray<UInt16>(capacity: HashIndex.bucketCount(for: capacity), for: name, from: &arena)
    var nexts = try FixedArray<UInt16>(capacity: capacity, for: name, from: &arena)
    firsts.fillWithZeros()
    nexts.fillWithZeros()
    self.firsts = firsts
    self.nexts = nexts
  }

  /// A power of two, so that no division finds the bucket.
  private static func bucketCount(for capacity: Int) -> Int {
    var count = 1
    while count < capacity { count *= 2 }
    return count
  }

  /// The entry with this hash that was added last, or another one; nil without any.
  @inline(__always)
  public func first(_ hash: UInt32) -> Int? { entry(firsts[bucket(of: hash)]) }

  /// The entry behind `index` that may have the same hash; nil behind the last.
  @inline(__always)
  public func next(after index: Int) -> Int? { entry(nexts[index]) }

  @inline(__always)
  private func bucket(of hash: UInt32) -> Int { Int(truncatingIfNeeded: hash) & (firsts.count - 1) }

  @inline(__always)
  private func entry(_ number: UInt16) -> Int? { number == 0 ? nil : Int(number) - 1 }

  /// Adds the entry `index`, which must not have been added before.
  public mutating func add(_ index: Int, _ hash: UInt32) {
    let bucket = bucket(of: hash)
    nexts[index] = firsts[bucket]
    firsts[bucket] = UInt16(index + 1)
  }

  /// Forgets all entries.
  public mutating func removeAll() {
    firsts.fillWithZeros()
    nexts.fillWithZeros()
  }
}

extension FixedArray<UInt16> {
  fileprivate mutating func fillWithZeros() {
    removeAll()
    while append(0) {}
  }
}

extension Span where Element == UInt8 {
  /// A hash of these bytes (FNV-1a) that begins with `seed`: not for what an attacker may choose.
  public func hash(seed: UInt8) -> UInt32 {
    var hash = (2_166_136_261 ^ UInt32(seed)) &* 16_777_619
    for index in indices { hash = (hash ^ UInt32(self[index])) &* 16_777_619 }
    // The low bits find the bucket, and the last byte reaches the lowest of them alone.
    return hash ^ hash >> 15
  }
}
