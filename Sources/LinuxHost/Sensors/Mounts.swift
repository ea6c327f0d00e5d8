// Mounted file systems that are storage of this machine: /proc/self/mounts.

import Bytes
import CLinux

/// Storage that is mounted.
enum Mounts {
  /// Calls `body` with the folder at which each is mounted: once for each, even if it is mounted at several places.
  static func forEach(_ roots: borrowing MachineRoots, _ body: (borrowing PathText) -> Void) {
    guard var lines = LineReader(roots.procPath("self/mounts")) else { return }
    // No more than these are listed.
    var seen = InlineArray<16, UInt64>(repeating: 0)
    var count = 0
    while count < seen.count {
      var folder: PathText?
      guard lines.next({ folder = storageFolder($0) }) else { break }
      guard let folder, let device = device(of: folder) else { continue }
      var isKnown = false
      for index in 0..<count where seen[index] == device { isKnown = true }
      if isKnown { continue }
      seen[count] = device
      count += 1
      body(folder)
    }
    lines.close()
  }

  /// Takes the fields DEVICE FOLDER TYPE of fstab(5) apart; nil where nothing is stored, or on another machine.
  private static func storageFolder(_ line: Span<UInt8>) -> PathText? {
    let blank = UInt8(ascii: " ")
    guard let first = line.firstIndex(of: blank), let second = line.firstIndex(of: blank, from: first + 1),
      let third = line.firstIndex(of: blank, from: second + 1),
      isStorage(line.extracting((second + 1)..<third))
    else { return nil }
    return unescaped(line.extracting((first + 1)..<second))
  }

  private static func isStorage(_ type: Span<UInt8>) -> Bool {
    type.equals("ext4") || type.equals("ext3") || type.equals("ext2") || type.equals("overlay")
      || type.equals("f2fs") || type.equals("btrfs") || type.equals("xfs") || type.equals("ubifs")
      || type.equals("jffs2") || type.equals("vfat") || type.equals("exfat")
  }

  /// Blanks, tabs, line feeds and backslashes are written as `\040` and the like.
  private static func unescaped(_ field: Span<UInt8>) -> PathText {
    var path = PathText()
    var index = 0
    while index < field.count {
      if field[index] == UInt8(ascii: "\\"), index + 3 < field.count {
        var value = 0
        for digit in 1...3 { value = value * 8 + Int(field[index + digit] & 7) }
        path.appendByte(UInt8(truncatingIfNeeded: value))
        index += 4
      } else {
        path.appendByte(field[index])
        index += 1
      }
    }
    return path
  }

  /// The device number of what is mounted at a folder; nil for files, which containers mount, too.
  private static func device(of folder: borrowing PathText) -> UInt64? {
    guard let status = System.status(of: folder), status.kind == S_IFDIR else { return nil }
    return UInt64(truncatingIfNeeded: status.st_dev)
  }
}

/// Reads a file of the kernel line by line through a window on the stack.
struct LineReader: ~Copyable {
  private let descriptor: Int32
  private var window = InlineArray<4096, UInt8>(repeating: 0)
  private var filled = 0

  /// Opens the file; nil when that fails.
  init?(_ path: borrowing PathText) {
    do throws(Errno) { descriptor = try System.openForReading(path) } catch { return nil }
  }

  /// Calls `body` with the next line, of which what does not fit into the window is missing.
  ///
  /// - Returns: false at the end.
  mutating func next(_ body: (Span<UInt8>) -> Void) -> Bool {
    while true {
      if let end = window.span.extracting(0..<filled).firstIndex(of: UInt8(ascii: "\n")) {
        body(window.span.extracting(0..<end))
        drop(end + 1)
        return true
      }
      if filled == window.count {
        // The middle of a very long line: nobody wants what is there.
        filled = window.count / 2
      }
      let count = fill()
      guard count > 0 else {
        guard filled > 0 else { return false }
        body(window.span.extracting(0..<filled))
        filled = 0
        return true
      }
    }
  }

  private mutating func fill() -> Int {
    var bytes = window.mutableSpan
    let start = filled
    let count = bytes.withUnsafeMutableBufferPointer { buffer in
      buffer.baseAddress.map { read(descriptor, $0 + start, buffer.count - start) } ?? 0
    }
    filled += max(count, 0)
    return count
  }

  private mutating func drop(_ byteCount: Int) {
    for index in byteCount..<filled { window[index - byteCount] = window[index] }
    filled -= byteCount
  }

  consuming func close() { System.close(descriptor) }
}
