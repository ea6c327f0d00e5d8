// What the system says about this process.

import Bytes
import CLinux
import HostInterface

extension OwnProcess {
  /// This process, now.
  @inline(never)
  static func current() -> OwnProcess {
    var text = InlineArray<64, UInt8>(repeating: 0)
    var bytes = text.mutableSpan
    let count = System.readSmallFile(PathText(("/proc/self/statm" as StaticString).bytes), into: &bytes) ?? 0
    // proc(5): size, resident, …, in pages.
    let line = text.span.extracting(0..<count)
    var pages = 0
    if let start = line.firstIndex(of: UInt8(ascii: " ")),
      let end = line.firstIndex(of: UInt8(ascii: " "), from: start + 1),
      let number = parseUnsigned(line.extracting((start + 1)..<end))
    {
      pages = Int(truncatingIfNeeded: min(number, 1 << 20))
    }
    return OwnProcess(identifier: Int(getpid()), residentBytes: pages * Int(getpagesize()))
  }
}
