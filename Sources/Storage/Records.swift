// Records: small files that are read whole and replaced whole.

import Bytes
import HostInterface

/// Appends the content of `record` to `buffer`, which needs `record.roomNeeded`.
public func readRecord<Medium: StorageMedium & ~Copyable>(
  _ record: StorageRecord, into buffer: inout ByteBuffer, on medium: inout Medium
) -> StorageAnswer {
  precondition(buffer.freeCount >= record.roomNeeded)
  let start = buffer.count
  do throws(StorageFailure) {
    let file = try medium.open(StorageName(record.fileName), forWriting: false)
    try readToEnd(file, at: 0, into: &buffer, byteCountMax: record.roomNeeded, on: &medium)
    try medium.close(file)
  } catch {
    buffer.truncate(to: start)
    return error.answer
  }
  let end = buffer.count
  guard end - start < record.roomNeeded,
    RecordHeader.isWhole(buffer.span.extracting(start..<end), of: record)
  else {
    buffer.truncate(to: start)
    return .damaged
  }
  buffer.remove(start..<(start + RecordHeader.bytesMax))
  return .done
}

/// Appends bytes of a file until it ends or there are `byteCountMax`. Each turn reads at least one.
func readToEnd<Medium: StorageMedium & ~Copyable>(
  _ file: Int32, at offset: Int, into buffer: inout ByteBuffer, byteCountMax: Int, on medium: inout Medium
) throws(StorageFailure) {
  var count = 0
  while count < byteCountMax {
    let piece = try medium.read(file, at: offset + count, into: &buffer, byteCountMax: byteCountMax - count)
    if piece == 0 { return }
    count += piece
  }
}

/// Puts `content` in the place of what `record` has.
///
/// An error of the medium is answered once: by another file, because what the first one has of its content nobody knows
/// after an error, and a second flush of it would say that all is well.
public func replaceRecord<Medium: StorageMedium & ~Copyable>(
  _ record: StorageRecord, _ content: Span<UInt8>, on medium: inout Medium
) -> StorageAnswer {
  precondition(content.count <= record.bytesMax)
  // What a power cut has left of a second attempt.
  medium.forget(StorageName(record.fileName, ".again"))
  do throws(StorageFailure) {
    do throws(StorageFailure) {
      try replace(record, content, by: StorageName(record.fileName, ".new"), on: &medium)
    } catch {
      guard error == .failed else { throw error }
      try replace(record, content, by: StorageName(record.fileName, ".again"), on: &medium)
    }
    // Whether the old or the new name is durable when this fails nobody knows, and doing it again would not tell.
    try medium.flushFolder()
    return .done
  } catch {
    return error.answer
  }
}

/// Writes a new file, and gives it the record's name once its content is durable.
@inline(never)
private func replace<Medium: StorageMedium & ~Copyable>(
  _ record: StorageRecord, _ content: Span<UInt8>, by newName: consuming StorageName, on medium: inout Medium
) throws(StorageFailure) {
  // A power cut may have left one, and it may be the one that could not be written.
  medium.forget(newName)
  do throws(StorageFailure) {
    let header = RecordHeader(of: record, content)
    let file = try medium.create(newName)
    try medium.writeAll(file, at: 0, header.bytes.span)
    try medium.writeAll(file, at: RecordHeader.bytesMax, content)
    try medium.flush(file)
    try medium.close(file)
    try medium.rename(newName, to: StorageName(record.fileName))
  } catch {
    medium.forget(newName)
    throw error
  }
}
