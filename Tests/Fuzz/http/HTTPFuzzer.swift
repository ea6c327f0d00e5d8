// Feeds an address, a redirect and an answer, one behind the other, with a line feed behind each of the first two. The
// answer comes whole and in pieces. Whatever the bytes: nothing traps, what is sent has no line of the address's own,
// and pieces make no difference.

import Bytes
import HTTP

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHTTP(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  let parts = bytes.split(separator: 0x0A, maxSplits: 2, omittingEmptySubsequences: false).map { Array($0) }
  checkAddress(parts[0], redirect: parts.count > 1 ? parts[1] : [])
  guard parts.count > 2 else { return 0 }
  let whole = read(parts[2], by: max(parts[2].count, 1))
  for size in [1, 7, 64] where size == 64 || parts[2].count < 512 {
    precondition(read(parts[2], by: size) == whole, "pieces make a difference")
  }
  return 0
}

private func withBuffer<Result>(_ bytes: [UInt8], capacity: Int, _ body: (inout ByteBuffer) -> Result) -> Result {
  let memory = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 16)
  defer { memory.deallocate() }
  var buffer = ByteBuffer(Region(start: memory, count: capacity))
  buffer.append(bytes.span)
  return body(&buffer)
}

private func checkAddress(_ bytes: [UInt8], redirect: [UInt8]) {
  withBuffer(bytes, capacity: 8192) { text in
    guard let address = try? WebAddress(parsing: text.span) else { return }
    checkRequest(address, text)
    withBuffer(redirect, capacity: 8192) { source in
      address.resolve(0..<source.count, in: source, into: &text)
      guard !text.hasOverflowed, let next = try? WebAddress(parsing: text.span) else { return }
      checkRequest(next, text)
    }
  }
}

private func checkRequest(_ address: WebAddress, _ text: borrowing ByteBuffer) {
  precondition(address.port > 0 && !address.host.isEmpty && address.host.upperBound <= text.count)
  withBuffer([], capacity: 16384) { request in
    withBuffer([], capacity: 16) { tag in
      request.appendRequest(address, of: text, from: 0, entityTag: tag, isTagged: false)
    }
    precondition(!request.hasOverflowed, "there is less room than was said")
    var lines = 0
    for index in request.span.indices where request.span[index] == 0x0A { lines += 1 }
    precondition(lines == 6, "the address has made a line of its own")
  }
}

/// What reading gives that may not depend on pieces.
private struct Reading: Equatable {
  var status = 0
  var length: UInt64?
  var first: UInt64?
  var body: [UInt8] = []
  var fault: ResponseFault?
  var isEnded = false
}

private func read(_ bytes: [UInt8], by size: Int) -> Reading {
  var reading = Reading()
  withBuffer([], capacity: max(bytes.count, 1)) { input in
    var framing: BodyFraming?
    do throws(ResponseFault) {
      for start in stride(from: 0, to: bytes.count, by: size) {
        input.append(bytes[start..<min(start + size, bytes.count)].span)
        if framing == nil, let head = try ResponseHead.parse(input.span) {
          precondition(head.byteCount <= input.count && head.location.upperBound <= head.byteCount)
          precondition(head.entityTag.upperBound <= head.byteCount && head.entityTag.count <= 128)
          (reading.status, reading.length, reading.first) = (head.status, head.contentLength, head.range?.first)
          if let range = head.range, let first = range.first {
            precondition(first <= range.last && range.last < range.total ?? .max)
          }
          framing = head.isChunked ? .chunked : BodyFraming(byteCount: head.contentLength)
          input.removeFirst(head.byteCount)
        }
        guard var present = framing else { continue }
        try take(&present, &input, &reading)
        framing = present
      }
    } catch { reading.fault = error }
  }
  return reading
}

private func take(
  _ framing: inout BodyFraming, _ input: inout ByteBuffer, _ reading: inout Reading
) throws(ResponseFault) {
  while true {
    input.removeFirst(try framing.takeFraming(input.span))
    let count = framing.bodyCount(of: input.count)
    if count == 0 { break }
    for index in 0..<count { reading.body.append(input[index]) }
    input.removeFirst(count)
    framing.takeBody(count)
  }
  reading.isEnded = framing.isEnded
}
