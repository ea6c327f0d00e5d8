// The slot record as the agent has it: read once, and written whenever it changes, the older copy first.

import Bytes
import Firmware
import HostInterface

/// The slot record and which of its copies is written next.
struct Slots: ~Copyable {
  private let pinned = Pinned()
  /// What is stored.
  private(set) var record = SlotRecord()
  private var nextCopy = 0
  private var buffer: ByteBuffer

  init(from arena: inout Arena) throws(ArenaExhausted) {
    buffer = try ByteBuffer(capacity: 2 * FirmwareLimits.slotRecordBytes, for: "firmware", from: &arena)
  }

  /// Reads it. To be asked again until it answers something else than `.pending`.
  ///
  /// `.notFound`: there is none, so that nothing is in any slot. `.damaged`: no copy is whole; nothing is known of the
  /// slots, the packaged program runs, and what is stored next begins anew.
  mutating func load<H: HostFirmware & ~Copyable>(_ host: inout H) -> StorageAnswer {
    buffer.removeAll()
    let answer = host.readSlotRecord(into: &buffer)
    guard answer != .pending else { return answer }
    (record, nextCopy) = (SlotRecord(), 0)
    guard answer == .done else { return answer }
    guard let newest = SlotRecord.newest(of: buffer.span) else { return .damaged }
    (record, nextCopy) = newest
    return .done
  }

  /// Stores `changed` in the place of `record`. To be asked again with the same until it answers something else than
  /// `.pending`; after `.done` it is durable, after anything else the one before it counts, or it does.
  mutating func store<H: HostFirmware & ~Copyable>(_ changed: SlotRecord, _ host: inout H) -> StorageAnswer {
    var next = changed
    next.advance()
    let bytes = next.bytes
    let answer = host.replaceSlotRecord(copy: nextCopy, bytes.span)
    guard answer == .done else { return answer }
    record = next
    nextCopy = 1 - nextCopy
    return .done
  }
}
