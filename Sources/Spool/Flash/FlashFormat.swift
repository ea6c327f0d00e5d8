// How messages stand on flash; FLASH.md draws it. Nothing read back is trusted before its checksum fits.

import Bytes
import HostInterface

/// How much a message matters. Each priority has segments of its own, so that one can be dropped without another.
public enum MessagePriority: UInt8, Sendable, BitwiseCopyable {
  /// Dropped first.
  case low
  /// Where nothing else is said.
  case normal
  /// Before those.
  case high
  /// Dropped last, sent first.
  case critical

  /// How many there are.
  public static var count: Int { 4 }

  var series: StorageSeries {
    switch self {
    case .low: .queueLow
    case .normal: .queue
    case .high: .queueHigh
    case .critical: .queueCritical
    }
  }
}

/// Bounds of the format.
public enum FlashLimits {
  /// What a segment has in front of its records, in bytes.
  public static var segmentHeaderBytes: Int { 32 }
  /// What a record has in front of topic and payload, in bytes.
  public static var recordHeaderBytes: Int { 32 }
  /// The smallest segment, in bytes.
  public static var segmentBytesMin: Int { 16 * 1024 }
  /// The largest segment, in bytes: what is scanned at a start for each priority.
  public static var segmentBytesMax: Int { 1024 * 1024 }
  /// Of how many segments a full queue consists at least: so much of it is dropped at once.
  public static var segmentsMin: Int { 16 }
  /// What the bookkeeping has on flash at most, in bytes: its record, and two others while it is being replaced.
  public static var bookkeepingBytes: Int { 3 * (StorageRecord.headerBytes + StorageRecord.queue.bytesMax) }
}

/// What is in front of the records of a segment.
enum SegmentHeader {
  /// `MoQu`.
  private static var magic: UInt32 { 0x4D6F_5175 }
  private static var version: UInt32 { 1 }

  /// What a segment begins with, seen from us.
  enum Kind {
    /// Our header, or what is left of it.
    case own
    /// Of another version of this program, or another device's.
    case foreign
    /// Neither: it may be damaged.
    case unknown
  }

  /// Appends the header of the segment `number`, which is also the sequence of its first record.
  static func append(
    _ priority: MessagePriority, _ number: UInt64, _ identity: UInt64, to buffer: inout ByteBuffer
  ) {
    let start = buffer.count
    for _ in 0..<4 { buffer.append(word: 0, byteCount: 8) }
    buffer.overwrite(at: start, bigEndian: UInt64(magic) << 32 | UInt64(version) << 16 | UInt64(priority.rawValue))
    buffer.overwrite(at: start + 8, bigEndian: identity)
    buffer.overwrite(at: start + 16, bigEndian: number)
    var check = CRC32C()
    check.add(buffer.span.extracting(start..<(start + 24)))
    buffer.overwrite(at: start + 24, bigEndian: UInt64(check.value))
  }

  /// What `bytes` begins with, where our header would be `expected`.
  static func kind(_ bytes: Span<UInt8>, _ expected: Span<UInt8>) -> Kind {
    // A header that was being written at a power cut has zeros where it is not ours, or nothing.
    var isOwn = true
    for index in 0..<min(expected.count, bytes.count) where bytes[index] != expected[index] && bytes[index] != 0 {
      isOwn = false
    }
    if isOwn { return .own }
    guard bytes.count >= FlashLimits.segmentHeaderBytes else { return .unknown }
    let first = UInt64(bigEndian: bytes.word(at: 0))
    guard first >> 32 == UInt64(magic) else { return .unknown }
    // Where a later version has its checksum nobody knows.
    if first >> 16 & 0xFFFF != UInt64(version) { return .foreign }
    var check = CRC32C()
    check.add(bytes.extracting(0..<24))
    return UInt64(bigEndian: bytes.word(at: 24)) == UInt64(check.value) ? .foreign : .unknown
  }
}

/// A record, as far as its header tells. `offset` is where it begins among the bytes that were looked at.
struct FlashRecord: BitwiseCopyable {
  var offset = 0
  var byteCount = 0
  var topicCount = 0
  var sequence: UInt64 = 0
  /// Milliseconds since 1970; 0 where the time of day was not known.
  var taken: UInt64 = 0
  var qos: UInt8 = 0

  var topic: Range<Int> {
    let start = offset + FlashLimits.recordHeaderBytes
    return start..<(start + topicCount)
  }
  var payload: Range<Int> { topic.upperBound..<(offset + byteCount) }
}

/// What is found where a record may begin.
enum FoundRecord {
  /// A whole one, which is what was written.
  case whole(FlashRecord)
  /// Fewer bytes than it would have.
  case short
  /// Something else.
  case damaged
}

/// Bytes 0 and 1 of a record: `Mq`.
private var recordMark: UInt64 { 0x4D71 }

extension ByteBuffer {
  /// Appends a record without sequence and checksum, which it is given when it is written.
  mutating func appendRecord(topic: Span<UInt8>, payload: Span<UInt8>, qos: UInt8, taken: UInt64) {
    let start = count
    let byteCount = FlashLimits.recordHeaderBytes + topic.count + payload.count
    for _ in 0..<4 { append(word: 0, byteCount: 8) }
    overwrite(at: start, bigEndian: recordMark << 48 | UInt64(topic.count) << 32 | UInt64(byteCount))
    overwrite(at: start + 8, bigEndian: UInt64(qos) << 24)
    overwrite(at: start + 24, bigEndian: taken)
    append(topic)
    append(payload)
  }

  /// Gives the record from `start` to the end its sequence and checksum, for the segment `number`.
  mutating func sealRecord(from start: Int, _ sequence: UInt64, in number: UInt64, of identity: UInt64) {
    overwrite(at: start + 16, bigEndian: sequence)
    let value = recordCheck(span, start..<count, in: number, of: identity)
    for index in 0..<4 { self[start + 8 + index] = UInt8(truncatingIfNeeded: value &>> UInt32(24 &- 8 &* index)) }
  }

  /// What is from `offset` on, in the segment `number`. Looks at one record.
  func record(at offset: Int, in number: UInt64, of identity: UInt64, byteCountMax: Int) -> FoundRecord {
    guard count - offset >= FlashLimits.recordHeaderBytes else { return .short }
    let first = bigEndian(at: offset)
    let byteCount = Int(truncatingIfNeeded: first & 0xFFFF_FFFF)
    var record = FlashRecord(offset: offset, byteCount: byteCount, topicCount: Int(first >> 32 & 0xFFFF))
    guard first >> 48 == recordMark, byteCount <= byteCountMax,
      byteCount >= FlashLimits.recordHeaderBytes + record.topicCount
    else { return .damaged }
    guard count - offset >= byteCount else { return .short }
    let second = bigEndian(at: offset + 8)
    let value = recordCheck(span, offset..<(offset + byteCount), in: number, of: identity)
    record.qos = UInt8(truncatingIfNeeded: second >> 24)
    guard second >> 32 == UInt64(value), second & 0xFFFFFF == 0, record.qos == 1 || record.qos == 2 else {
      return .damaged
    }
    record.sequence = bigEndian(at: offset + 16)
    record.taken = bigEndian(at: offset + 24)
    return .whole(record)
  }
}

/// The checksum of a record: of whose it is, of its segment, and of everything in it but the checksum itself. So what
/// an earlier file has left where this one is, and what another device has written, does not pass.
@inline(never)
private func recordCheck(
  _ bytes: Span<UInt8>, _ range: Range<Int>, in number: UInt64, of identity: UInt64
) -> UInt32 {
  var seed = InlineArray<16, UInt8>(repeating: 0)
  for index in 0..<8 {
    seed[index] = UInt8(truncatingIfNeeded: identity &>> UInt64(56 &- 8 &* index))
    seed[8 + index] = UInt8(truncatingIfNeeded: number &>> UInt64(56 &- 8 &* index))
  }
  var check = CRC32C()
  check.add(seed.span)
  check.add(bytes.extracting(range.lowerBound..<(range.lowerBound + 8)))
  check.add(bytes.extracting((range.lowerBound + 12)..<range.upperBound))
  return check.value
}
