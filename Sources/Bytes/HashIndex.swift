// Finding an entry of a table by its name, without looking at all of them.

/// The entries of a table by the hash of something in them. Whoever searches compares the entries of one hash
/// themselves; they are few.
public struct HashIndex: ~Copyable {
  /// First the number of the first entry of each bucket, then for each entry that of the next one in its bucket; they
  /// count from 1, and 0 is none.
  private var numbers: FixedArray<UInt16>
  /// A power of two, so that no division finds the bucket.
  private let bucketCount: Int

  /// How many bytes an index of `capacity` entries takes from an arena, alignment included.
  public static func byteCount(capacity: Int) -> Int {
    (bucketCount(for: capacity) + capacity) * MemoryLayout<UInt16>.stride + 16
  }

  /// Takes room for the entries 0..<`capacity` of a table, fewer than 65,535 of them, from `arena`.
  public init(capacity: Int, for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    self.init(capacity: capacity, for: name, in: &arena)
    try arena.check()
  }

  /// Claims room for them; see `Arena.check`.
  public init(capacity: Int, for name: StaticString, in arena: inout Arena) {
    precondition(capacity < UInt16.max, "an entry's number has two bytes")
    bucketCount = HashIndex.bucketCount(for: capacity)
    numbers = FixedArray(capacity: bucketCount + capacity, for: name, in: &arena)
    removeAll()
  }

  private static func bucketCount(for capacity: Int) -> Int {
    var count = 1
    while count < capacity { count *= 2 }
    return count
  }

  /// The entry with this hash that was added last, or another one; nil without any.
  @inline(__always)
  public func first(_ hash: UInt32) -> Int? { entry(at: bucket(of: hash)) }

  /// The entry behind `index` that may have the same hash; nil behind the last.
  @inline(__always)
  public func next(after index: Int) -> Int? { entry(at: bucketCount + index) }

  @inline(__always)
  private func bucket(of hash: UInt32) -> Int { Int(truncatingIfNeeded: hash) & (bucketCount - 1) }

  @inline(__always)
  private func entry(at position: Int) -> Int? { numbers[position] == 0 ? nil : Int(numbers[position]) - 1 }

  /// Adds the entry `index`, which must not have been added before.
  public mutating func add(_ index: Int, _ hash: UInt32) {
    let bucket = bucket(of: hash)
    numbers[bucketCount + index] = numbers[bucket]
    numbers[bucket] = UInt16(index + 1)
  }

  /// Forgets all entries.
  @inline(never)
  public mutating func removeAll() {
    numbers.removeAll()
    while numbers.append(0) {}
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
