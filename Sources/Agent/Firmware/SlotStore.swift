// Keeping the slot record: of its two copies the older one is written, so that one is whole whatever happens.

import Bytes
import Firmware
import HostInterface

/// What is known of the slots, and its way to the flash.
struct SlotStore: ~Copyable {
  private let pinned = Pinned()
  /// What is known. It is changed while nothing is being written, and stored then.
  var record = SlotRecord()
  /// What is durable.
  private var saved = SlotRecord()
  private var copies: ByteBuffer
  private var nextCopy = 0

  init(isUsed: Bool, in arena: inout Arena) {
    copies = ByteBuffer(
      capacity: isUsed ? 2 * FirmwareLimits.slotRecordBytes : 0, for: "firmware", in: &arena)
  }

  /// Reads the record. Where there is none, or none that is whole, the packaged program runs.
  mutating func read<H: HostFirmware & ~Copyable>(_ host: inout H) -> StorageAnswer {
    copies.removeAll()
    let answer = host.readSlotRecord(into: &copies)
    guard answer == .done else { return answer }
    guard let newest = SlotRecord.newest(of: copies.span) else { return .damaged }
    (record, nextCopy) = (newest.record, newest.nextCopy)
    saved = record
    return .done
  }

  /// Stores the record, which has changed. Where that fails it is again what it was.
  mutating func store<H: HostFirmware & ~Copyable>(_ host: inout H) -> StorageAnswer {
    if record.sequence == saved.sequence { record.advance() }
    let answer = host.replaceSlotRecord(copy: nextCopy, record.bytes.span)
    switch answer {
    case .pending: return answer
    case .done:
      nextCopy = 1 - nextCopy
      saved = record
    default:
      // It may be there all the same: what is written next replaces that, and is newer.
      let sequence = record.sequence
      record = saved
      while record.sequence != sequence { record.advance() }
      saved = record
    }
    return answer
  }
}
