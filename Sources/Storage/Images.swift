// Images and the slot record on flash, step by step; Firmware/SLOTS.md has the files. What each operation promises
// `HostFirmware` says.

import Bytes
import HostInterface

/// An image that is being written, from `prepareImage` to `finishImage`.
public struct OpenImage: Sendable, BitwiseCopyable {
  /// Where.
  public let place: FirmwarePlace
  fileprivate let file: Int32
  /// Whether the file is the slot of a system: it has its own length.
  private let isSlot: Bool

  /// `file` is open, and the operations close it.
  public init(place: FirmwarePlace, file: Int32, isSlot: Bool) {
    self.place = place
    self.file = file
    self.isSlot = isSlot
  }

  /// Writes `bytes` at `offset`.
  public func write<Medium: StorageMedium & ~Copyable>(
    at offset: UInt64, _ bytes: Span<UInt8>, on medium: inout Medium
  ) -> StorageAnswer {
    do throws(StorageFailure) {
      try medium.writeAll(file, at: Int(offset), bytes)
      return .done
    } catch { return error.answer }
  }

  /// Waits until all that was written is durable.
  public func flush<Medium: StorageMedium & ~Copyable>(on medium: inout Medium) -> StorageAnswer {
    do throws(StorageFailure) {
      try medium.flush(file)
      return .done
    } catch { return error.answer }
  }

  /// Ends the image at `byteCount` bytes, and waits until all of it is durable.
  public func finish<Medium: StorageMedium & ~Copyable>(
    byteCount: UInt64, on medium: inout Medium
  ) -> StorageAnswer {
    do throws(StorageFailure) {
      if !isSlot { try medium.truncate(file, to: Int(byteCount)) }
      if !isSlot, place != .file { try medium.makeExecutable(file) }
      try medium.flush(file)
      try medium.close(file)
      try medium.flushFolder()
      return .done
    } catch { return error.answer }
  }
}

private func headerName(of place: FirmwarePlace) -> StorageName { StorageName(place.fileName, ".header") }

/// Closes the image that is open, if one is.
public func closeImage<Medium: StorageMedium & ~Copyable>(
  _ image: inout OpenImage?, on medium: inout Medium
) throws(StorageFailure) {
  guard let open = image else { return }
  image = nil
  try medium.close(open.file)
}

/// Makes `place` ready to be written from `offset` on. The file's name is durable then, so that a flush is enough.
public func prepareImage<Medium: StorageMedium & ~Copyable>(
  _ place: FirmwarePlace, header: Span<UInt8>, byteCount: UInt64, from offset: UInt64, _ image: inout OpenImage?,
  on medium: inout Medium
) -> StorageAnswer {
  do throws(StorageFailure) {
    try closeImage(&image, on: &medium)
    let file: Int32
    if offset == 0 {
      medium.forget(StorageName(place.fileName))
      file = try medium.create(StorageName(place.fileName))
    } else {
      file = try medium.open(StorageName(place.fileName), forWriting: true)
      guard try medium.length(of: file) >= Int(offset) else {
        try medium.close(file)
        return .damaged
      }
      try medium.truncate(file, to: Int(offset))
    }
    image = OpenImage(place: place, file: file, isSlot: false)
    let free = try medium.freeByteCount()
    guard free >= byteCount - min(offset, byteCount) + FirmwareLimits.spareBytes else { return .noSpace }
    if !header.isEmpty {
      medium.forget(headerName(of: place))
      let headerFile = try medium.create(headerName(of: place))
      try medium.writeAll(headerFile, at: 0, header)
      try medium.flush(headerFile)
      try medium.close(headerFile)
    }
    try medium.flushFolder()
    return .done
  } catch { return error == .notFound ? .damaged : error.answer }
}

/// Reads `byteCount` bytes of what is at `place` into `buffer`, which is emptied before, piece by piece, and lends each
/// to `body`. `.damaged`: there are fewer, or more.
public func readImage<Medium: StorageMedium & ~Copyable>(
  _ place: FirmwarePlace, byteCount: UInt64, through buffer: inout ByteBuffer, on medium: inout Medium,
  _ body: (Span<UInt8>) -> Void
) -> StorageAnswer {
  do throws(StorageFailure) {
    let file = try medium.open(StorageName(place.fileName), forWriting: false)
    guard try medium.length(of: file) == Int(byteCount) else {
      try medium.close(file)
      return .damaged
    }
    return try readImage(in: file, byteCount: byteCount, through: &buffer, on: &medium, body)
  } catch { return error.answer }
}

/// The same of the first `byteCount` bytes of an open file, which is closed.
@inline(never)
public func readImage<Medium: StorageMedium & ~Copyable>(
  in file: Int32, byteCount: UInt64, through buffer: inout ByteBuffer, on medium: inout Medium,
  _ body: (Span<UInt8>) -> Void
) throws(StorageFailure) -> StorageAnswer {
  medium.forgetCache(of: file)
  var offset = 0
  // Each turn reads at least a byte.
  while offset < Int(byteCount) {
    buffer.removeAll()
    let byteCountMax = min(buffer.freeCount, Int(byteCount) - offset)
    try readToEnd(file, at: offset, into: &buffer, byteCountMax: byteCountMax, on: &medium)
    guard !buffer.isEmpty else { return .damaged }
    body(buffer.span)
    offset += buffer.count
  }
  try medium.close(file)
  return .done
}

/// Reads the header that is kept beside an image.
public func readImageHeader<Medium: StorageMedium & ~Copyable>(
  _ place: FirmwarePlace, into buffer: inout ByteBuffer, on medium: inout Medium
) -> StorageAnswer {
  do throws(StorageFailure) {
    try read(headerName(of: place), into: &buffer, byteCountMax: buffer.freeCount, on: &medium)
    return .done
  } catch { return error.answer }
}

/// Appends the beginning of a file.
@inline(never)
private func read<Medium: StorageMedium & ~Copyable>(
  _ name: consuming StorageName, into buffer: inout ByteBuffer, byteCountMax: Int, on medium: inout Medium
) throws(StorageFailure) {
  let file = try medium.open(name, forWriting: false)
  medium.forgetCache(of: file)
  try readToEnd(file, at: 0, into: &buffer, byteCountMax: byteCountMax, on: &medium)
  try medium.close(file)
}

/// Removes what is at `place`.
public func discardImage<Medium: StorageMedium & ~Copyable>(
  _ place: FirmwarePlace, _ image: inout OpenImage?, on medium: inout Medium
) -> StorageAnswer {
  do throws(StorageFailure) {
    if let open = image, open.place == place { image = nil }
    do throws(StorageFailure) { try medium.remove(StorageName(place.fileName)) } catch {
      guard error == .notFound else { throw error }
    }
    medium.forget(headerName(of: place))
    try medium.flushFolder()
    return .done
  } catch { return error.answer }
}

// MARK: The slot record

private func slotsName(_ copy: Int) -> StorageName { StorageName("slots", copy == 0 ? ".0" : ".1") }

/// Appends both copies, with zeros for what is not there. A copy that cannot be read is like one that is damaged: the
/// other one is there for that.
public func readSlotRecord<Medium: StorageMedium & ~Copyable>(
  into buffer: inout ByteBuffer, on medium: inout Medium
) -> StorageAnswer {
  var answer = StorageAnswer.notFound
  for copy in 0..<2 {
    let start = buffer.count
    do throws(StorageFailure) {
      try read(slotsName(copy), into: &buffer, byteCountMax: FirmwareLimits.slotRecordBytes, on: &medium)
      answer = .done
    } catch {
      buffer.truncate(to: start)
      if error != .notFound, answer == .notFound { answer = error.answer }
    }
    while buffer.count < start + FirmwareLimits.slotRecordBytes { buffer.append(0) }
  }
  return answer
}

/// Replaces one of the copies, waits until it is durable, and reads it back through `buffer`, which is emptied before.
public func replaceSlotRecord<Medium: StorageMedium & ~Copyable>(
  copy index: Int, _ content: Span<UInt8>, through buffer: inout ByteBuffer, on medium: inout Medium
) -> StorageAnswer {
  precondition(content.count == FirmwareLimits.slotRecordBytes)
  do throws(StorageFailure) {
    let file = try openSlots(index, on: &medium)
    try medium.writeAll(file, at: 0, content)
    try medium.flush(file)
    try medium.close(file)
    buffer.removeAll()
    try read(slotsName(index), into: &buffer, byteCountMax: content.count, on: &medium)
    return buffer.span.equals(content) ? .done : .damaged
  } catch { return error.answer }
}

/// Opens a copy; the name of a new one is durable.
private func openSlots<Medium: StorageMedium & ~Copyable>(
  _ copy: Int, on medium: inout Medium
) throws(StorageFailure) -> Int32 {
  do throws(StorageFailure) { return try medium.open(slotsName(copy), forWriting: true) } catch {
    guard error == .notFound else { throw error }
  }
  let file = try medium.create(slotsName(copy))
  try medium.flushFolder()
  return file
}
