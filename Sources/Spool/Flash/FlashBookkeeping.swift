// What the queue keeps beside its messages: how far each priority is settled, and what became of the others.

import Bytes
import HostInterface

/// What has become of messages that were written to flash. Each is counted once, when it is settled.
public struct FlashCounts: Equatable, Sendable, BitwiseCopyable {
  /// The server has confirmed them.
  public internal(set) var delivered: UInt64 = 0
  /// They had to make room.
  public internal(set) var dropped: UInt64 = 0
  /// They became older than they may.
  public internal(set) var expired: UInt64 = 0
  /// Their bytes were not what had been written, or were gone.
  public internal(set) var damaged: UInt64 = 0
  /// They were given up, because no server would have them.
  public internal(set) var abandoned: UInt64 = 0
  /// Files of another device or another version that were set aside.
  public internal(set) var filesSetAside: UInt64 = 0
  /// How often the end of a file was cut off that had been written at a power cut.
  public internal(set) var tornEnds: UInt64 = 0

  /// All that is settled.
  public var settled: UInt64 { delivered + dropped + expired + damaged + abandoned }
}

/// The record `StorageRecord.queue`, version 1: big-endian words, the version, the identity, the base of each priority,
/// the counts.
enum FlashBookkeeping {
  private static var version: UInt64 { 1 }
  private static var wordCount: Int { 2 + MessagePriority.count + 7 }
  static var byteCount: Int { 8 * wordCount }

  static func write(
    _ lanes: borrowing InlineArray<4, FlashLane>, _ counts: FlashCounts, _ identity: UInt64,
    into buffer: inout ByteBuffer
  ) {
    buffer.removeAll()
    append(version, to: &buffer)
    append(identity, to: &buffer)
    for index in 0..<MessagePriority.count { append(lanes[index].base, to: &buffer) }
    append(counts.delivered, to: &buffer)
    append(counts.dropped, to: &buffer)
    append(counts.expired, to: &buffer)
    append(counts.damaged, to: &buffer)
    append(counts.abandoned, to: &buffer)
    append(counts.filesSetAside, to: &buffer)
    append(counts.tornEnds, to: &buffer)
  }

  @inline(never)
  private static func append(_ word: UInt64, to buffer: inout ByteBuffer) {
    buffer.append(word: word.byteSwapped, byteCount: 8)
  }

  /// Takes over what `buffer` has; false where it is another device's, or of another version.
  static func read(
    _ buffer: borrowing ByteBuffer, _ identity: UInt64, _ lanes: inout InlineArray<4, FlashLane>,
    _ counts: inout FlashCounts
  ) -> Bool {
    guard buffer.count == byteCount, buffer.bigEndian(at: 0) == version, buffer.bigEndian(at: 8) == identity else {
      return false
    }
    for index in 0..<MessagePriority.count {
      lanes[index].base = max(buffer.bigEndian(at: 16 + 8 * index), 1)
      lanes[index].savedBase = lanes[index].base
    }
    counts.delivered = buffer.bigEndian(at: 48)
    counts.dropped = buffer.bigEndian(at: 56)
    counts.expired = buffer.bigEndian(at: 64)
    counts.damaged = buffer.bigEndian(at: 72)
    counts.abandoned = buffer.bigEndian(at: 80)
    counts.filesSetAside = buffer.bigEndian(at: 88)
    counts.tornEnds = buffer.bigEndian(at: 96)
    return true
  }
}
