// The two system calls of the publisher.

import Bytes
import CLinux

/// Writes the beginning of `bytes`; gives how many, or a negative number.
func write(_ bytes: Span<UInt8>, to socket: Int32) -> Int {
  bytes.withUnsafeBufferPointer { CLinux.write(socket, $0.baseAddress, $0.count) }
}

/// Reads what is there into the free room of `buffer`; gives how many bytes, 0 at the end, or a negative number.
func read(from socket: Int32, into buffer: inout ByteBuffer) -> Int {
  var free = buffer.freeSpan
  let count = free.withUnsafeMutableBufferPointer { CLinux.read(socket, $0.baseAddress, $0.count) }
  if count > 0 { buffer.commit(count) }
  return count
}

/// The value of a decimal number on the command line.
func number(_ word: UnsafeMutablePointer<CChar>?) -> Int? {
  guard let word else { return nil }
  let bytes = UnsafeRawPointer(word).assumingMemoryBound(to: UInt8.self)
  return parseUnsigned(Span(_unsafeStart: bytes, count: strlen(word))).map { Int(truncatingIfNeeded: $0) }
}
