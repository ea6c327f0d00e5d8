// Feeds records of a firmware job, and behind a line feed what the server makes of `mgmt.firmware`. Whatever the
// bytes: nothing traps, a record that is read is read again as it is written, what is told of it is JSON, and each
// change of it makes another record that is read.

import Bytes
import Firmware
import HostInterface
import JSON

@testable import Agent

/// Memory that lasts for the whole run.
private struct Block: @unchecked Sendable {
  let start: UnsafeMutableRawPointer
  let count: Int

  init(_ count: Int) {
    start = UnsafeMutableRawPointer.allocate(byteCount: count, alignment: 16)
    self.count = count
  }

  var region: Region { Region(start: start, count: count) }
}

/// Inputs have at most 8 KB, texts in JSON six times as much.
private let jobs = Block(64 * 1024)
private let scratchBlock = Block(64 * 1024)

/// A host that has one record.
private struct Disk: HostStorage, ~Copyable {
  var content: [UInt8]

  mutating func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer {
    guard content.count <= record.bytesMax else { return .damaged }
    buffer.append(content.span)
    return .done
  }

  mutating func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer { .failed }
  mutating func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer { .failed }
  mutating func readSegment(
    _ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer
  ) -> StorageAnswer { .failed }
  mutating func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer { .failed }
  mutating func deleteSegment(_ segment: StorageSegment) -> StorageAnswer { .failed }
  mutating func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer { .failed }
}

/// What libFuzzer calls with each record.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzJob(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let input = Array(UnsafeBufferPointer(start: start, count: count))
  // The last line is what the server sends, where it is an object.
  let end = input.lastIndex(of: UInt8(ascii: "\n")) ?? count
  let request = Array(input.dropFirst(end + 1))
  var arena = Arena(jobs.region)
  var job = FirmwareJob(isSupported: true, in: &arena)
  var scratch = ByteBuffer(scratchBlock.region)
  let fresh = Array(job.record)
  var disk = Disk(content: Array(input.prefix(end)))
  switch job.read(&disk) {
  case .done: precondition(Array(job.record) == disk.content, "another record")
  case .damaged: precondition(Array(job.record) == fresh, "something is left of a damaged record")
  default: fatalError("another answer")
  }
  check(job, &scratch)
  change(&job, by: request, &scratch)
  // What comes of it.
  job.set(.identifier, [UInt8]("\"q1\"".utf8).span)
  job.accept(in: BootIdentifier(1, 2))
  precondition(job.hasAccepted([UInt8]("\"q1\"".utf8).span.digest) && !job.isAnswered, "a request is not known")
  if job.text(.checkpoint).count == ImageCheckpoint.byteCount { job.set(ImageCheckpoint(job.text(.checkpoint))) }
  job.noteInstalled()
  precondition(Array(job.text(.installed)) == Array(job.text(.version)), "another version")
  for number in 0...UInt8.max {
    guard let stage = FirmwareStage(rawValue: number) else { break }
    job.stage = stage
    check(job, &scratch)
  }
  return 0
}

/// What is told of a job is JSON, and its record is one.
private func check(_ job: borrowing FirmwareJob, _ scratch: inout ByteBuffer) {
  precondition(job.observed <= 7 && job.stage.state <= 2, "numbers beyond their bounds")
  for name in ["mgmt.firmware", "mgmt.firmware.version", "mgmt.firmware.uri", "mgmt.firmware.state"] {
    scratch.removeAll()
    let name = Array(name.utf8)
    precondition(job.appendValue(of: 0..<name.count, in: name.span, to: &scratch), "an attribute is missing")
    precondition(!scratch.hasOverflowed && isJSON(Array(scratch)), "what is told is no value")
  }
  scratch.removeAll()
  scratch.append(UInt8(ascii: "["))
  job.appendObserved(to: &scratch)
  scratch.append(UInt8(ascii: "]"))
  precondition(isJSON(Array(scratch)), "what is observed is no value")
  var arena = Arena(Region(start: jobs.start + jobs.count / 2, count: jobs.count / 2))
  var again = FirmwareJob(isSupported: true, in: &arena)
  var disk = Disk(content: Array(job.record))
  precondition(again.read(&disk) == .done && Array(again.record) == disk.content, "what was written is not read")
}

/// The server changes the record, where it may.
private func change(_ job: inout FirmwareJob, by request: [UInt8], _ scratch: inout ByteBuffer) {
  guard !request.isEmpty, isJSON(request), FirmwareJob.fault(of: 0..<request.count, in: request.span) == nil else {
    return
  }
  let wasThere = job.stage == .downloaded
  let hasChanged = job.replace(by: request.span, &scratch)
  precondition(!hasChanged || (job.stage == .idle && job.status == .success), "another image that has come somewhere")
  precondition(hasChanged || wasThere || job.status == .success, "an image that has failed is as it was")
  check(job, &scratch)
  // The same once more is no news.
  precondition(!job.replace(by: request.span, &scratch), "the same is another image")
}

private func isJSON(_ text: [UInt8]) -> Bool {
  var reader = JSONReader()
  do {
    while try reader.next(in: text.span) != nil {}
  } catch {
    return false
  }
  return true
}

extension Array where Element == UInt8 {
  fileprivate init(_ buffer: borrowing ByteBuffer) { self.init(buffer.span) }
  fileprivate init(_ span: Span<UInt8>) {
    self = []
    for index in span.indices { append(span[index]) }
  }
}
