// Text and places as C wants them: they never move.

import Bytes
import CLinux

/// Bytes that end with a zero, in start-up memory.
struct CText: ~Copyable {
  // DEVIATION(unsafe-pointer): a piece of start-up memory for C.
  private let bytes: UnsafeMutablePointer<CChar>
  private let countMax: Int
  /// Without the zero.
  private(set) var count = 0

  /// Takes room for `countMax` bytes and the zero behind them.
  init(countMax: Int, for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    let region = try arena.take(countMax + 1, for: name)
    bytes = region.start.bindMemory(to: CChar.self, capacity: region.count)
    bytes[0] = 0
    self.countMax = countMax
  }

  var start: UnsafePointer<CChar> { UnsafePointer(bytes) }

  /// Copies `text` up to its first zero, if it has one.
  ///
  /// - Returns: whether it fits; nothing was copied otherwise.
  mutating func set(_ text: Span<UInt8>) -> Bool {
    guard text.count <= countMax else { return false }
    count = 0
    while count < text.count, text[count] != 0 {
      bytes[count] = CChar(bitPattern: text[count])
      count += 1
    }
    bytes[count] = 0
    return true
  }

  /// Whether it has exactly these bytes.
  func equals(_ text: Span<UInt8>) -> Bool {
    guard text.count == count else { return false }
    for index in 0..<count where UInt8(bitPattern: bytes[index]) != text[index] { return false }
    return true
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
