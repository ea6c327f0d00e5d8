// How a record stands in its file; FORMAT.md draws it.

import Bytes
import HostInterface

/// What is in front of the content of a record.
struct RecordHeader {
  /// Its size in bytes.
  static var bytesMax: Int { StorageRecord.headerBytes }
  /// `MoRe`, for "Mote's record".
  private static var magic: UInt32 { 0x4D6F_5265 }
  private static var formatVersion: UInt32 { 1 }

  private(set) var bytes = InlineArray<16, UInt8>(repeating: 0)

  /// The header of `content`.
  init(of record: StorageRecord, _ content: Span<UInt8>) {
    put(RecordHeader.magic, at: 0)
    put(RecordHeader.formatVersion << 16 | UInt32(record.rawValue), at: 4)
    put(UInt32(truncatingIfNeeded: content.count), at: 8)
    var check = CRC32C()
    check.add(bytes.span.extracting(0..<12))
    check.add(content)
    put(check.value, at: 12)
  }

  private mutating func put(_ value: UInt32, at offset: Int) {
    for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value &>> UInt32(24 &- index &* 8)) }
  }

  /// Whether `file` is the whole file of `record`, as it was written. There is one header for a content, so it only
  /// need be made again.
  static func isWhole(_ file: Span<UInt8>, of record: StorageRecord) -> Bool {
    guard file.count >= bytesMax else { return false }
    let header = RecordHeader(of: record, file.extracting(bytesMax..<file.count))
    for index in 0..<bytesMax where header.bytes[index] != file[index] { return false }
    return true
  }
}
