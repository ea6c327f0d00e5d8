// A file that is too large to be read whole, for a program that prints and ends.

import Bytes

/// A regular file that is read from its beginning to its end. The end of the program closes it.
public struct FileStream: ~Copyable {
  let descriptor: Int32

  /// Opens the file at `path`.
  public init(_ path: Span<UInt8>) throws(FileFailure) { descriptor = try openRegularFile(path) }

  /// Appends bytes of the file until there are `byteCount` more in `buffer`, which must have the room, or the file
  /// ends; gives how many. Waits for the file system.
  public func read(_ byteCount: Int, into buffer: inout ByteBuffer) throws(FileFailure) -> Int {
    precondition(byteCount <= buffer.freeCount)
    var count = 0
    do throws(Errno) {
      // Each turn reads at least a byte.
      while count < byteCount {
        let piece = try System.read(descriptor, into: &buffer, byteCountMax: byteCount - count)
        if piece == 0 { break }
        count += piece
      }
    } catch { throw FileFailure(error) }
    return count
  }
}

private func openRegularFile(_ path: Span<UInt8>) throws(FileFailure) -> Int32 {
  do throws(Errno) {
    let descriptor = try System.openForReading(PathText(path))
    if Files.isRegularFile(descriptor) { return descriptor }
    System.close(descriptor)
  } catch { throw FileFailure(error) }
  throw .notRegular
}
