// Folders of the kernel that are numbered as things appear, with gaps: thermal_zoneN, hwmonN.

import Bytes

/// Numbers of such folders.
enum NumberedFolders {
  /// The lowest number above `number` of a folder `PREFIXn` in `folder`. Looks at all of it, which has some dozens at
  /// most.
  @inline(never)
  static func next(after number: Int, _ prefix: StaticString, in folder: borrowing PathText) -> Int? {
    var best = Int.max
    Directory.forEachEntry(of: folder) { name in
      if name.starts(with: prefix),
        let value = parseUnsigned(name.extracting(prefix.utf8CodeUnitCount..<name.count)),
        let found = Int(exactly: value), found > number, found < best
      {
        best = found
      }
      return true
    }
    return best < Int.max ? best : nil
  }
}
