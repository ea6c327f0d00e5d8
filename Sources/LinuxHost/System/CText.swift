// Text and places as C wants them: they never move.

import Bytes
import CLinux

/// Bytes that end with a zero, in start-up memory.
struct CText {
  // DEVIATION(unsafe-pointer): a piece of start-up memory for C.
  let start: UnsafePointer<CChar>
  /// Without the zero.
  let count: Int

  /// Copies `text` up to its first zero, if it has one.
  init(_ text: Span<UInt8>, for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    let region = try arena.take(text.count + 1, for: name)
    let bytes = region.start.bindMemory(to: CChar.self, capacity: region.count)
    var used = 0
    while used < text.count, text[used] != 0 {
      bytes[used] = CChar(bitPattern: text[used])
      used += 1
    }
    bytes[used] = 0
    start = UnsafePointer(bytes)
    count = used
  }
}

/// Takes room for one value that must not move from start-up memory; the caller initialises it.
func takePlace<Value: ~Copyable>(
  for type: Value.Type, named name: StaticString, from arena: inout Arena
) throws(ArenaExhausted) -> UnsafeMutablePointer<Value> {
  // DEVIATION(unsafe-pointer): a piece of start-up memory, aligned for any integer or pointer.
  try arena.take(MemoryLayout<Value>.size, for: name).start.bindMemory(to: Value.self, capacity: 1)
}

/// Bytes that end with a zero and live as long as the process.
struct CString {
  let start: UnsafePointer<CChar>

  init(_ start: UnsafePointer<CChar>) { self.start = start }

  var span: Span<UInt8> {
    @_lifetime(immortal)
    get {
      let bytes = UnsafeRawPointer(start).assumingMemoryBound(to: UInt8.self)
      return _overrideLifetime(Span(_unsafeStart: bytes, count: strlen(start)), copying: ())
    }
  }
}
