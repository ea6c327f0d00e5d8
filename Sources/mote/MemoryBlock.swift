// Start-up memory with the arena that hands it out.

import Bytes
import LinuxHost

/// A block of memory that is filled once, cut to what was used, and released as a whole.
struct MemoryBlock: ~Copyable {
  var arena: Arena
  private var memory: StartupMemory

  /// The least that is worth a try, in bytes: enough for a configuration of usual size.
  private static var byteCountMin: Int { 1 << 20 }

  /// Reserves room, less of it where the system has no more; nil when it has none.
  init?() {
    var byteCount = StartupMemory.byteCountDefault
    while byteCount >= MemoryBlock.byteCountMin {
      if let memory = StartupMemory(byteCount: byteCount) {
        arena = Arena(memory.region)
        self.memory = memory
        return
      }
      byteCount /= 2
    }
    return nil
  }

  /// Takes all that is left, for a program that prints and ends.
  mutating func takeRest() -> Region {
    Region(start: memory.region.start + arena.byteCount, count: memory.region.count - arena.byteCount)
  }

  // DEVIATION(unsafe-pointer): of what lives in start-up memory itself.
  /// Room for one value, which the caller makes there.
  mutating func room<Value: ~Copyable>(for name: StaticString) throws(ArenaExhausted) -> UnsafeMutablePointer<Value> {
    try arena.take(MemoryLayout<Value>.size, for: name).start.bindMemory(to: Value.self, capacity: 1)
  }

  /// Gives back what was not handed out.
  consuming func sealed() -> StartupMemory {
    let byteCount = arena.byteCount
    var memory = memory
    memory.giveBackTail(after: byteCount)
    return memory
  }

  /// Gives back everything.
  consuming func release() { memory.release() }
}

/// A buffer of a program that prints and ends.
func takeBuffer(_ byteCount: Int, from arena: inout Arena) throws(ExitStatus) -> ByteBuffer {
  do throws(ArenaExhausted) { return try ByteBuffer(capacity: byteCount, for: "scratch", from: &arena) } catch {
    throw .software
  }
}
