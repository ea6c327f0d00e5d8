// What the queue keeps beside its messages: how far each priority is settled, and what became of the others.

import Bytes
import HostInterface

/// What has become of messages that were written to flash. Each is counted once, when it is settled.
public struct FlashCounts: Sendable, BitwiseCopyable {
  /// The words for them, in their order; behind those of messages, those of files.
  public static var words: WordList {
    WordList("delivered|dropped|expired|damaged|abandoned|files-set-aside|torn-ends")
  }
  /// How many of them count messages.
  public static var messageWordCount: Int { 5 }
  static var count: Int { 7 }

  var values = InlineArray<7, UInt64>(repeating: 0)

  /// Nothing.
  public init() {}

  /// The one at `index`, below that of the words.
  public subscript(index: Int) -> UInt64 { values[index] }

  /// The server has confirmed them.
  public internal(set) var delivered: UInt64 {
    get { values[0] }
    set { values[0] = newValue }
  }
  /// They had to make room.
  public internal(set) var dropped: UInt64 {
    get { values[1] }
    set { values[1] = newValue }
  }
  /// They became older than they may.
  public internal(set) var expired: UInt64 {
    get { values[2] }
    set { values[2] = newValue }
  }
  /// Their bytes were not what had been written, or were gone.
  public internal(set) var damaged: UInt64 {
    get { values[3] }
    set { values[3] = newValue }
  }
  /// They were given up, because no server would have them.
  public internal(set) var abandoned: UInt64 {
    get { values[4] }
    set { values[4] = newValue }
  }
  /// Files of another device or another version that were set aside.
  public internal(set) var filesSetAside: UInt64 {
    get { values[5] }
    set { values[5] = newValue }
  }
  /// How often the end of a file was cut off that had been written at a power cut.
  public internal(set) var tornEnds: UInt64 {
    get { values[6] }
    set { values[6] = newValue }
  }

  /// All that is settled.
  public var settled: UInt64 {
    var sum: UInt64 = 0
    for index in 0..<FlashCounts.messageWordCount { sum += values[index] }
    return sum
  }
}

/// What is known of each priority.
typealias FlashLanes = InlineArray<4, FlashLane>

/// The record `StorageRecord.queue`, version 1: big-endian words, the version, the identity, the base of each priority,
/// the counts.
enum FlashBookkeeping {
  private static var version: UInt64 { 1 }
  static var byteCount: Int { 8 * (2 + MessagePriority.count + FlashCounts.count) }

  static func write(
    _ lanes: borrowing FlashLanes, _ counts: FlashCounts, _ identity: UInt64, into buffer: inout ByteBuffer
  ) {
    buffer.removeAll()
    append(version, to: &buffer)
    append(identity, to: &buffer)
    for index in lanes.indices { append(lanes[index].base, to: &buffer) }
    for index in 0..<FlashCounts.count { append(counts.values[index], to: &buffer) }
  }

  @inline(never)
  private static func append(_ word: UInt64, to buffer: inout ByteBuffer) {
    buffer.append(word: word.byteSwapped, byteCount: 8)
  }

  /// Takes over what `buffer` has; false where it is another device's, or of another version.
  static func read(
    _ buffer: borrowing ByteBuffer, _ identity: UInt64, _ lanes: inout FlashLanes, _ counts: inout FlashCounts
  ) -> Bool {
    guard buffer.count == byteCount, buffer.bigEndian(at: 0) == version, buffer.bigEndian(at: 8) == identity else {
      return false
    }
    for index in lanes.indices {
      lanes[index].base = max(buffer.bigEndian(at: 16 + 8 * index), 1)
      lanes[index].savedBase = lanes[index].base
    }
    for index in 0..<FlashCounts.count { counts.values[index] = buffer.bigEndian(at: 48 + 8 * index) }
    return true
  }
}
