// The process that touches flash for images: one for as long as an image is being written, or for a single operation.
//
// It gets a message for each operation and answers it with another, so that neither ever has half of one. What it does
// is in `Storage/Images.swift`, which the simulator runs as well.

import Bytes
import CLinux
import HostInterface
import Storage

/// One operation, as a message has it in front of its bytes.
struct ImageOperation: Equatable, BitwiseCopyable {
  enum Kind: UInt8, BitwiseCopyable {
    case prepare = 1
    case write, flush, finish, readBack, discard, readSlots, replaceSlots
  }

  let kind: Kind
  let place: FirmwarePlace
  let copy: UInt8
  let offset: UInt64
  let byteCount: UInt64

  init(_ kind: Kind, _ place: FirmwarePlace = .file, offset: UInt64 = 0, byteCount: UInt64 = 0, copy: Int = 0) {
    self.kind = kind
    self.place = place
    self.offset = offset
    self.byteCount = byteCount
    self.copy = UInt8(copy)
  }

  /// How long it may take.
  var timeMax: TimeSpan {
    guard kind == .readBack else { return FirmwareLimits.timeMax }
    return .milliseconds(
      FirmwareLimits.timeMax.milliseconds + Int64(byteCount / FirmwareLimits.readBackBytesPerSecond) * 1000)
  }

  // A message ends with a line feed, which nobody needs: what writes lines to sockets does all else that is wanted.

  /// Sends it; false where that cannot be done at once.
  func send(to socket: Int32, _ bytes: Span<UInt8>) -> Bool {
    withUnsafePointer(to: self) { start in
      bytes.withUnsafeBufferPointer { bytes in
        mote_write_line(socket, 1, start, MemoryLayout<ImageOperation>.size, bytes.baseAddress, bytes.count) > 0
      }
    }
  }
}

/// Where the two slots of a system are.
struct SlotPaths {
  let a: CString
  let b: CString
}

/// What the child answers: a byte, and what was read.
enum ImageAnswer {
  static var bytesMax: Int { 1 + 2 * FirmwareLimits.slotRecordBytes }
}

/// In the child: serves until the parent ends, or wants no more.
func serveImages(in path: CString, _ slots: SlotPaths?) -> Never {
  let roomBytes = MemoryLayout<ImageOperation>.size + FirmwareLimits.writeBytesMax + 1
  guard let start = mote_map_memory(roomBytes + ImageAnswer.bytesMax) else { _exit(255) }
  // DEVIATION(unsafe-pointer): memory of this process alone.
  var answer = ByteBuffer(Region(start: start + roomBytes, count: ImageAnswer.bytesMax))
  var writer: ImageWriter
  do throws(StorageFailure) {
    writer = ImageWriter(try StateFolder(firmwareIn: path, isKept: true), slots)
  } catch {
    // Without the folder nothing was stored, and nothing can be.
    _ = recv(0, start, roomBytes, 0)
    answer.append((error == .notFound ? .readOnly : error.answer).rawValue)
    _ = answer.span.withUnsafeBufferPointer { write(0, $0.baseAddress, $0.count) }
    _exit(0)
  }
  // The path was the last that was needed of it.
  mote_forget_own_memory(nil, 0)
  while true {
    let count = recv(0, start, roomBytes, 0)
    guard count > MemoryLayout<ImageOperation>.size else { _exit(0) }
    let operation = start.loadUnaligned(as: ImageOperation.self)
    let room = Region(
      start: start + MemoryLayout<ImageOperation>.size, count: count - MemoryLayout<ImageOperation>.size - 1)
    writer.perform(operation, room, FirmwareLimits.writeBytesMax, &answer)
    let sent = answer.span.withUnsafeBufferPointer { write(0, $0.baseAddress, $0.count) }
    guard sent == answer.count else { _exit(255) }
  }
}

/// The child's own state.
private struct ImageWriter: ~Copyable {
  private var folder: StateFolder
  private let slots: SlotPaths?
  private var image: OpenImage?

  init(_ folder: consuming StateFolder, _ slots: SlotPaths?) {
    self.folder = folder
    self.slots = slots
  }

  /// `message` has the operation's bytes; there is room for `roomBytes` where they are.
  mutating func perform(
    _ operation: ImageOperation, _ message: Region, _ roomBytes: Int, _ answer: inout ByteBuffer
  ) {
    var bytes = ByteBuffer(message)
    bytes.commit(message.count)
    answer.removeAll()
    answer.append(StorageAnswer.failed.rawValue)
    let result: StorageAnswer
    switch operation.kind {
    case .prepare where isSlot(operation): result = prepareSlot(operation)
    case .prepare:
      result = prepareImage(
        operation.place, header: bytes.span, byteCount: operation.byteCount, from: operation.offset, &image,
        on: &folder)
    case .write: result = image?.write(at: operation.offset, bytes.span, on: &folder) ?? .failed
    case .flush: result = image?.flush(on: &folder) ?? .failed
    case .finish:
      result = image?.finish(byteCount: operation.byteCount, on: &folder) ?? .failed
      image = nil
    case .readBack:
      var room = ByteBuffer(Region(start: message.start, count: roomBytes))
      result = digest(of: operation, through: &room, &answer)
    // What is in the slot of a system is not started, and stays.
    case .discard where isSlot(operation): result = .done
    case .discard: result = discardImage(operation.place, &image, on: &folder)
    case .readSlots: result = readSlotRecord(into: &answer, on: &folder)
    case .replaceSlots:
      result = replaceSlotRecord(copy: Int(operation.copy), bytes.span, through: &answer, on: &folder)
      answer.removeAll()
      answer.append(0)
    }
    answer[0] = result.rawValue
  }

  private mutating func digest(
    of operation: ImageOperation, through room: inout ByteBuffer, _ answer: inout ByteBuffer
  ) -> StorageAnswer {
    var hash = SHA256()
    let result: StorageAnswer
    if isSlot(operation) {
      do throws(StorageFailure) {
        let file = try openSlot(operation, forWriting: false)
        result = try readImage(in: file, byteCount: operation.byteCount, through: &room, on: &folder) { hash.add($0) }
      } catch { result = error.answer }
    } else {
      result = readImage(operation.place, byteCount: operation.byteCount, through: &room, on: &folder) { hash.add($0) }
    }
    answer.append(hash.finish().span)
    return result
  }

  // MARK: Slots of a system

  private func isSlot(_ operation: ImageOperation) -> Bool { slots != nil && operation.place != .file }

  private func openSlot(_ operation: ImageOperation, forWriting: Bool) throws(StorageFailure) -> Int32 {
    guard let slots else { throw .notFound }
    let isFirst = operation.place == .slotA
    return try folder.openSlot(
      isFirst ? slots.a : slots.b, other: isFirst ? slots.b : slots.a, byteCount: operation.byteCount,
      forWriting: forWriting)
  }

  private mutating func prepareSlot(_ operation: ImageOperation) -> StorageAnswer {
    do throws(StorageFailure) {
      try closeImage(&image, on: &folder)
      image = OpenImage(place: operation.place, file: try openSlot(operation, forWriting: true), isSlot: true)
      return .done
    } catch { return error.answer }
  }
}
