// Start-up memory with the arena that hands it out.

import Bytes
import LinuxHost

/// A block of memory that is filled once, cut to what was used, and released as a whole.
struct MemoryBlock: ~Copyable {
  var arena: Arena
  private var memory: StartupMemory

  /// Reserves room; nil when the system has none.
  init?() {
    guard let memory = StartupMemory() else { return nil }
    arena = Arena(memory.region)
    self.memory = memory
  }

  /// Takes all that is left, for a program that prints and ends.
  mutating func takeRest() -> Region {
    Region(start: memory.region.start + arena.byteCount, count: memory.region.count - arena.byteCount)
  }

  /// Gives back what was not handed out.
  mutating func seal() { memory.giveBackTail(after: arena.byteCount) }

  /// Gives back everything.
  consuming func release() { memory.release() }
}
