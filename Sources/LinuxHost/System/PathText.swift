// A path for the system: bytes that end with a zero, built on the stack.

import Bytes
import CLinux

/// A path under construction. What does not fit is noticed, and refused when the path is used.
struct PathText: ~Copyable {
  /// The longest path, in bytes. Those under /sys stay well below 200.
  static var bytesMax: Int { 511 }

  private var bytes = InlineArray<512, CChar>(repeating: 0)
  /// How many bytes it has, without the zero.
  private(set) var count = 0
  /// Whether something did not fit, or had a zero in it.
  private(set) var isTooLong = false

  init() {}

  @inline(never)
  init(_ text: Span<UInt8>) { append(text) }

  @inline(never)
  init(copying other: borrowing PathText) {
    bytes = other.bytes
    count = other.count
    isTooLong = other.isTooLong
  }

  @inline(never)
  mutating func append(_ text: Span<UInt8>) {
    guard text.count <= PathText.bytesMax - count else { return isTooLong = true }
    for index in text.indices {
      if text[index] == 0 { isTooLong = true }
      bytes[count + index] = CChar(bitPattern: text[index])
    }
    count += text.count
    bytes[count] = 0
  }

  @inline(never)
  mutating func append(_ literal: StaticString) { append(literal.bytes) }

  @inline(never)
  mutating func append(_ other: borrowing PathText) {
    other.withBytes { append($0) }
    if other.isTooLong { isTooLong = true }
  }

  @inline(never)
  mutating func append(decimal value: Int) {
    guard value >= 0 else { return isTooLong = true }
    var divisor = 1
    while value / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      let digit = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: value / divisor % 10)
      appendByte(digit)
      divisor /= 10
    }
  }

  mutating func appendByte(_ byte: UInt8) {
    guard count < PathText.bytesMax else { return isTooLong = true }
    bytes[count] = CChar(bitPattern: byte)
    count += 1
    bytes[count] = 0
  }

  /// Cuts it back to an earlier `count`.
  mutating func truncate(to byteCount: Int) {
    precondition(byteCount >= 0 && byteCount <= count)
    count = byteCount
    bytes[count] = 0
    isTooLong = false
  }

  func byte(_ index: Int) -> UInt8 { withBytes { $0[index] } }

  /// Whether it has exactly these bytes.
  func equals(_ text: Span<UInt8>) -> Bool { withBytes { $0.equals(text) } }

  /// Its bytes, without the zero.
  func withBytes<Result: ~Copyable>(_ body: (Span<UInt8>) -> Result) -> Result {
    let count = count
    return bytes.span.withUnsafeBufferPointer { buffer in
      // DEVIATION(unsafe-pointer): the same bytes without their C sign.
      let start = UnsafeRawPointer(buffer.baseAddress)?.assumingMemoryBound(to: UInt8.self)
      return body(Span(_unsafeElements: UnsafeBufferPointer(start: start, count: count)))
    }
  }

  func withPointer<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    // DEVIATION(unsafe-pointer): the system takes paths as C strings; this one ends with a zero.
    bytes.span.withUnsafeBufferPointer { buffer in
      guard let start = buffer.baseAddress else { preconditionFailure("a path has room") }
      return body(start)
    }
  }
}

extension PathText {
  /// write(2) of its bytes, once.
  func write(to descriptor: Int32) throws(Errno) {
    let count = count
    let written = withPointer { CLinux.write(descriptor, $0, count) }
    guard written == count else { throw written < 0 ? .last : Errno(code: EIO) }
  }
}

extension ByteBuffer {
  /// Appends a path.
  mutating func append(_ path: borrowing PathText) { path.withBytes { append($0) } }
}
