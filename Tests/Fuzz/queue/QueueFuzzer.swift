// Feeds what a queue on flash finds there: segments and the account. Whatever the bytes: nothing traps, reading comes
// to an end, messages come in order and once, and each that there could have been is counted once.

import Bytes
import HostInterface

@testable import Spool

private let identity: UInt64 = 0x0102_0304_0506_0708
private let messageBytesMax = 96

/// Two segments of normal priority and an account, in memory.
private final class FileStorage: HostStorage {
  var segments: [UInt64: [UInt8]] = [:]
  var account: [UInt8]?

  func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer {
    guard let account else { return .notFound }
    buffer.append(account.span)
    return .done
  }

  func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer { .done }

  func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer {
    guard segment.series == .queue, let old = segments[segment.number], old.count >= offset else { return .damaged }
    segments[segment.number] = Array(old.prefix(offset)) + (0..<bytes.count).map { bytes[$0] }
    return .done
  }

  func readSegment(_ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer) -> StorageAnswer {
    guard segment.series == .queue, let bytes = segments[segment.number] else { return .notFound }
    let piece = Array(bytes.dropFirst(offset).prefix(buffer.freeCount))
    buffer.append(piece.span)
    return .done
  }

  func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer {
    found = StorageSegmentRange()
    guard series == .queue else { return .notFound }
    for (other, bytes) in segments where other >= number {
      found.first = found.count == 0 ? other : min(found.first, other)
      found.last = max(found.last, other)
      found.count += 1
      found.byteCount += UInt64(bytes.count)
    }
    return found.count == 0 ? .notFound : .done
  }

  func deleteSegment(_ segment: StorageSegment) -> StorageAnswer {
    if segment.series == .queue { segments[segment.number] = nil }
    return .done
  }

  func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer { deleteSegment(segment) }
}

nonisolated(unsafe) private let memory = UnsafeMutableRawPointer.allocate(byteCount: 65_536, alignment: 16)

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzQueue(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeBufferPointer(start: start, count: count))
  guard input.count > 8 else { return 0 }
  let storage = FileStorage()
  let second = UInt64(input[1]) + 2
  let rest = Array(input[4...])
  let cut = min(Int(input[2]) << 8 | Int(input[3]), rest.count)
  let isSealed = input[0] & 1 == 1
  storage.segments[1] = isSealed ? sealed(Array(rest[..<cut]), 1) : Array(rest[..<cut])
  if input[0] & 2 == 2 {
    storage.segments[second] = isSealed ? sealed(Array(rest[cut...]), second) : Array(rest[cut...])
  }
  if input[0] & 4 == 4 { storage.account = accountOf(Array(rest.prefix(88))) }
  run(storage)
  return 0
}

/// Checksums are not guessed: a segment of the records that `commands` say, each of a length, a distance to the
/// sequence before, and what is wrong with it.
private func sealed(_ commands: [UInt8], _ number: UInt64) -> [UInt8] {
  var buffer = ByteBuffer(Region(start: memory + 32_768, count: 32_768))
  SegmentHeader.append(.normal, number, identity, to: &buffer)
  var sequence = number
  var index = 0
  while index + 2 < commands.count, buffer.freeCount > 512 {
    let (length, step, fault) = (Int(commands[index]) & 63, commands[index + 1] & 3, commands[index + 2])
    index += 3
    let start = buffer.count
    let payload = [UInt8](repeating: fault, count: length)
    buffer.appendRecord(topic: [0x74].span, payload: payload.span, qos: 1 + fault & 1, taken: UInt64(fault))
    if step == 3 { sequence &-= 1 } else { sequence += UInt64(step) }
    buffer.sealRecord(from: start, sequence, in: fault & 0x80 == 0 ? number : number + 1, of: identity)
    if fault & 0x40 != 0 { buffer[start + Int(fault & 31)] ^= 1 << (fault & 7) }
    if fault & 0x20 != 0 { buffer.append(fault) }
    sequence += 1
  }
  return (0..<buffer.count).map { buffer[$0] }
}

private func accountOf(_ words: [UInt8]) -> [UInt8] {
  var bytes: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]
  bytes += words
  // Small numbers, because large ones are all alike.
  for index in stride(from: 16, to: bytes.count, by: 8) {
    for place in index..<min(index + 6, bytes.count) { bytes[place] = 0 }
  }
  return bytes + [UInt8](repeating: 0, count: max(0, 104 - bytes.count))
}

private func run(_ storage: FileStorage) {
  memory.initializeMemory(as: UInt8.self, repeating: 0, count: 32_768)
  var arena = Arena(Region(start: memory, count: 32_768))
  var options = FlashOptions()
  options.byteCountMax = 1 << 20
  options.stagedBytes = 1024
  options.messageBytesMax = messageBytesMax
  options.identity = identity
  var queue = FlashQueue(options, in: &arena)
  var storage = storage
  var turns = 0
  var settledBefore: UInt64?
  while true {
    queue.advance(Instant(milliseconds: Int64(turns)), &storage)
    if !queue.isRecovering, settledBefore == nil { settledBefore = queue.lanes[1].base &- 1 &- queue.counts.settled }
    while let message = queue.next(allowsLate: true, wall: 0) {
      precondition(message.payload.range.upperBound <= queue.window.count, "a message beyond the window")
      queue.noteSent(message)
      queue.acknowledge(message.token, Instant(milliseconds: Int64(turns)))
    }
    if queue.isRecovered, queue.isDrained { break }
    turns += 1
    precondition(turns < 20_000, "it does not come to an end")
  }
  precondition(queue.lanes[1].base == queue.lanes[1].next, "something is not settled")
  precondition(queue.lanes[1].base &- 1 &- queue.counts.settled == settledBefore ?? 0, "something is counted twice")
}
