// Segments: files that only grow, with nothing in them but what their owner wrote.

import Bytes
import HostInterface

/// Writes `bytes` into `segment` from `offset` on, and cuts off what was behind.
public func appendToSegment<Medium: StorageMedium & ~Copyable>(
  _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool, on medium: inout Medium
) -> StorageAnswer {
  precondition(offset >= 0)
  do throws(StorageFailure) {
    let name = StorageName(segment)
    let file: Int32
    if offset == 0 {
      // A new file with a durable name, always: then no later flush need think of the folder.
      medium.forget(name)
      file = try medium.create(name)
      try medium.flushFolder()
    } else {
      file = try medium.open(name, forWriting: true)
      let length = try medium.length(of: file)
      guard length >= offset else {
        try medium.close(file)
        return .damaged
      }
      if length > offset { try medium.truncate(file, to: offset) }
    }
    try medium.writeAll(file, at: offset, bytes)
    if isFlushed { try medium.flush(file) }
    try medium.close(file)
    return .done
  } catch {
    return error.answer
  }
}

/// Appends bytes of `segment` from `offset` on to `buffer`, until that is full or the segment ends.
public func readSegment<Medium: StorageMedium & ~Copyable>(
  _ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer, on medium: inout Medium
) -> StorageAnswer {
  precondition(offset >= 0)
  let start = buffer.count
  do throws(StorageFailure) {
    let file = try medium.open(StorageName(segment), forWriting: false)
    try readToEnd(file, at: offset, into: &buffer, byteCountMax: buffer.freeCount, on: &medium)
    try medium.close(file)
    return .done
  } catch {
    buffer.truncate(to: start)
    return error.answer
  }
}

/// Tells which segments of `series` there are from `number` on. Looks at every file of the folder once.
public func findSegments<Medium: StorageMedium & ~Copyable>(
  of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange, on medium: inout Medium
) -> StorageAnswer {
  var range = StorageSegmentRange()
  do throws(StorageFailure) {
    try medium.forEachFile { name, byteCount in
      guard let candidate = segmentNumber(name, of: series), candidate >= number else { return }
      range.first = range.count == 0 ? candidate : min(range.first, candidate)
      range.last = max(range.last, candidate)
      range.count += 1
      range.byteCount += UInt64(byteCount)
    }
  } catch {
    return error.answer
  }
  found = range
  return range.count == 0 ? .notFound : .done
}

/// The number of the segment whose file has this name; nil when it is none of `series`.
private func segmentNumber(_ name: Span<UInt8>, of series: StorageSeries) -> UInt64? {
  let digitCount = 16
  guard name.count > digitCount else { return nil }
  var number: UInt64 = 0
  for index in (name.count - digitCount)..<name.count {
    guard let digit = name[index].hexDigitValue else { return nil }
    number = number << 4 | UInt64(digit)
  }
  // Made again, because there is one name for a number: no capital letters, nothing in front.
  let expected = StorageName(StorageSegment(series, number))
  guard expected.span.count == name.count else { return nil }
  for index in name.indices where expected.span[index] != name[index] { return nil }
  return number
}

/// Deletes `segment`, which need not be there.
public func deleteSegment<Medium: StorageMedium & ~Copyable>(
  _ segment: StorageSegment, on medium: inout Medium
) -> StorageAnswer {
  do throws(StorageFailure) {
    do throws(StorageFailure) {
      try medium.remove(StorageName(segment))
    } catch {
      guard error == .notFound else { throw error }
    }
    // Even where there was none: the answer to an earlier removal may have been lost before the name was.
    try medium.flushFolder()
    return .done
  } catch {
    return error.answer
  }
}

/// Gives `segment`, which need not be there, a name that is none of a segment: `queue~00000000000004d2`.
public func setSegmentAside<Medium: StorageMedium & ~Copyable>(
  _ segment: StorageSegment, on medium: inout Medium
) -> StorageAnswer {
  do throws(StorageFailure) {
    do throws(StorageFailure) {
      try medium.rename(StorageName(segment), to: StorageName(segment, isSetAside: true))
    } catch {
      guard error == .notFound else { throw error }
    }
    try medium.flushFolder()
    return .done
  } catch {
    return error.answer
  }
}
