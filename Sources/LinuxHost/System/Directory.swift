// Directories, read without the heap that readdir(3) takes.

import Bytes
import CLinux

/// Entries of a directory, in the file system's order.
enum Directory {
  /// How many entries are looked at, at most: no folder that we search has nearly as many.
  static var entriesMax: Int { 4096 }
  /// struct linux_dirent64 of getdents64(2): where the record's length and the name are.
  private static var lengthOffset: Int { 16 }
  private static var nameOffset: Int { 19 }

  /// Calls `body` with each name but `.` and `..` until it returns false. A folder that cannot be read has no entries.
  static func forEachEntry(of path: borrowing PathText, _ body: (Span<UInt8>) -> Bool) {
    let descriptor: Int32
    do throws(Errno) { descriptor = try System.openForReading(path) } catch { return }
    defer { System.close(descriptor) }
    _ = forEachEntry(of: descriptor, body)
  }

  /// Calls `body` with each name but `.` and `..` of the folder open at `descriptor`, from where it was last read to.
  ///
  /// - Returns: false where the folder could not be read, or has more entries than are looked at.
  static func forEachEntry(of descriptor: Int32, _ body: (Span<UInt8>) -> Bool) -> Bool {
    var chunk = InlineArray<2048, UInt8>(repeating: 0)
    var entriesLeft = entriesMax
    while entriesLeft > 0 {
      var bytes = chunk.mutableSpan
      let filled = bytes.withUnsafeMutableBufferPointer { mote_read_directory(descriptor, $0.baseAddress, $0.count) }
      guard filled > 0 else { return filled == 0 }
      guard visit(chunk.span.extracting(0..<filled), &entriesLeft, body) else { return true }
    }
    return false
  }

  private static func visit(
    _ records: Span<UInt8>, _ entriesLeft: inout Int, _ body: (Span<UInt8>) -> Bool
  ) -> Bool {
    var offset = 0
    while entriesLeft > 0, offset + nameOffset < records.count {
      // Native byte order, which is little-endian on every machine that we build for.
      let length = Int(records[offset + lengthOffset]) | Int(records[offset + lengthOffset + 1]) << 8
      guard length > nameOffset, offset + length <= records.count else { return false }
      let field = records.extracting((offset + nameOffset)..<(offset + length))
      let name = field.extracting(0..<(field.firstIndex(of: 0) ?? field.count))
      entriesLeft -= 1
      if !name.equals("."), !name.equals("..") {
        guard body(name) else { return false }
      }
      offset += length
    }
    return true
  }
}
