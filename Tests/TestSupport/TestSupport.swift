// What the tests of several modules share. Ordinary host Swift: allocation is fine here.

import Bytes

/// An arena over `byteCount` fresh zeroed bytes. They are never freed: a test's process is short-lived, and the values
/// built on the arena have no owner to free them.
public func makeArena(byteCount: Int = 1 << 20) -> Arena {
  let start = UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 1), alignment: 16)
  start.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  return Arena(Region(start: start, count: byteCount))
}

/// Lends an arena over `byteCount` zeroed bytes to `body` and frees them afterwards; nothing that lives in the arena
/// may leave `body`.
public func withArena<Result: ~Copyable>(
  byteCount: Int = 1 << 20, _ body: (inout Arena) throws -> Result
) rethrows -> Result {
  let start = UnsafeMutableRawPointer.allocate(byteCount: max(byteCount, 1), alignment: 16)
  start.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  defer { start.deallocate() }
  var arena = Arena(Region(start: start, count: byteCount))
  return try body(&arena)
}

/// A buffer of its own memory, never freed.
public func makeBuffer(_ bytes: [UInt8] = [], capacity: Int = 4096) -> ByteBuffer {
  let start = UnsafeMutableRawPointer.allocate(byteCount: max(capacity, 1), alignment: 16)
  start.initializeMemory(as: UInt8.self, repeating: 0, count: capacity)
  var buffer = ByteBuffer(Region(start: start, count: capacity))
  buffer.append(bytes.span)
  return buffer
}

extension Array where Element == UInt8 {
  /// The bytes of `span`.
  public init(_ span: borrowing Span<UInt8>) {
    self.init()
    reserveCapacity(span.count)
    for index in span.indices { append(span[index]) }
  }

  /// The UTF-8 bytes of `text`.
  public init(text: String) { self.init(text.utf8) }

  /// These bytes as text, for messages of failed expectations.
  public var text: String { String(decoding: self, as: UTF8.self) }
}

extension ByteBuffer {
  /// The bytes held, as text.
  public var text: String { Array(span).text }
}
