// The block that an arena is made of: one anonymous mapping, whose untouched pages cost nothing.

import Bytes
import CLinux

/// One anonymous mapping. It is reserved generously, used from the front, and cut to size once everything is set up.
public struct StartupMemory: ~Copyable {
  /// What is reserved where nobody knows better, in bytes.
  public static var byteCountDefault: Int { 8 << 20 }

  /// The least stack that is enough for all that the program does, in bytes: a TLS handshake takes most of it.
  public static var stackBytesMin: Int { 128 << 10 }

  /// Whether the system lets the stack grow as large as that.
  public static var isStackSufficient: Bool { mote_stack_may_have(stackBytesMin) != 0 }

  /// The block, zeroed.
  public private(set) var region: Region

  /// Reserves `byteCount` bytes, at least one; nil when the system has no room.
  public init?(byteCount: Int = StartupMemory.byteCountDefault) {
    guard byteCount > 0, byteCount <= Int.max - StartupMemory.pageBytes, let start = mote_map_memory(byteCount)
    else { return nil }
    region = Region(start: start, count: byteCount)
  }

  /// Gives back the whole pages behind the first `byteCount` bytes. What was handed out below stays valid.
  public mutating func giveBackTail(after byteCount: Int) {
    let kept = StartupMemory.roundedUpToPage(max(byteCount, 1))
    let mapped = StartupMemory.roundedUpToPage(region.count)
    guard kept < mapped else { return }
    munmap(region.start + kept, mapped - kept)
    region = Region(start: region.start, count: kept)
  }

  /// Has children that stay let go of their copies of it, which they do not use.
  public borrowing func isForgottenByChildren() { mote_note_own_memory(region.start, region.count) }

  /// Gives back all of it. Nothing that was handed out may be used any more.
  public consuming func release() {
    munmap(region.start, region.count)
  }

  private static var pageBytes: Int { Int(getpagesize()) }

  private static func roundedUpToPage(_ byteCount: Int) -> Int {
    (byteCount + pageBytes - 1) / pageBytes * pageBytes
  }
}

/// Lets go of code that has done its work, and of the stack that it used. Reading a configuration and shaking hands
/// take a lot of both, once; a process that sleeps should not be charged for it: 172 KB instead of 484 over TLS, 104
/// instead of 384 without.
func releaseUnused() {
  mote_release_stack()
  mote_release_code()
}
