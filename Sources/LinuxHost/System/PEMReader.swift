// What text files hold in base64 between two lines that name it, as it comes by: RFC 7468.

import Bytes

/// Finds certificates, or whatever else has one of these lines in front, in a file that is read in pieces, and decodes
/// them.
struct PEMReader: ~Copyable {
  /// How much of a file is read at once.
  static var chunkBytesMax: Int { 1024 }
  /// The largest content decoded. Certificates of authorities have 0.5 to 2.3 KB.
  static var contentBytesMax: Int { 3072 }

  private var chunk: ByteBuffer
  // DEVIATION(unsafe-pointer): start-up memory for the content, of which `body.count` bytes are used.
  private let decoded: UnsafeMutablePointer<UInt8>
  private var body = Base64Body()
  private var isInside = false
  /// How many bytes of the first line the present line has matched so far; -1 once it differs.
  private var matchedCount = 0
  /// Where in the file the present piece begins.
  private var chunkOffset = 0
  /// Where in the file the first line begins of what was read last.
  private(set) var contentOffset = 0
  /// Whether one was passed over for its size. The owner takes it back.
  var hasTooLarge = false

  /// What stands in front of each.
  private let firstLine: StaticString

  /// Of a certificate, RFC 7468 5.1.
  static var certificateLine: StaticString { "-----BEGIN CERTIFICATE-----" }
  /// Of a public key, RFC 7468 13.
  static var publicKeyLine: StaticString { "-----BEGIN PUBLIC KEY-----" }

  init(_ firstLine: StaticString, for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    self.firstLine = firstLine
    let newChunk = try ByteBuffer(capacity: PEMReader.chunkBytesMax, for: name, from: &arena)
    let room = try arena.take(PEMReader.contentBytesMax, for: name)
    chunk = newChunk
    decoded = room.start.bindMemory(to: UInt8.self, capacity: room.count)
  }

  /// What was read last, in DER.
  var content: Span<UInt8> {
    @_lifetime(borrow self)
    get { _overrideLifetime(Span(_unsafeStart: decoded, count: body.count), borrowing: self) }
  }

  /// Begins with a new file, at `offset`.
  mutating func reset(at offset: Int = 0) {
    chunk.removeAll()
    chunkOffset = offset
    isInside = false
    matchedCount = 0
  }

  /// Reads the next piece of the file; false at its end. The piece before must have been used up.
  mutating func fill(from descriptor: Int32) throws(Errno) -> Bool {
    try System.read(descriptor, into: &chunk, byteCountMax: chunk.freeCount) > 0
  }

  /// Reads on. True when a content is complete; false when the piece is used up. One that is too large or not
  /// base64 is passed over. Handles at most one piece.
  mutating func next() -> Bool {
    var index = 0
    while index < chunk.count {
      guard isInside else {
        match(chunk[index])
        index += 1
        if isInside { contentOffset = chunkOffset + index - firstLine.utf8CodeUnitCount }
        continue
      }
      // A copy: what is read from must not change.
      var present = body
      index = present.decode(chunk.span, from: index, into: decoded)
      body = present
      guard body.hasEnded else { continue }
      isInside = false
      matchedCount = -1
      if body.isTooLarge { hasTooLarge = true }
      if body.isGood {
        chunk.removeFirst(index)
        chunkOffset += index
        return true
      }
    }
    chunkOffset += chunk.count
    chunk.removeAll()
    return false
  }

  private mutating func match(_ byte: UInt8) {
    if byte == UInt8(ascii: "\n") {
      matchedCount = 0
    } else if matchedCount == 0, byte == 0xEF || byte == 0xBB || byte == 0xBF {
      // A byte order mark: some editors put it in front of a file, and `cat` in front of any certificate.
    } else if matchedCount >= 0 {
      let line = firstLine.bytes
      matchedCount = byte == line[matchedCount] ? matchedCount + 1 : -1
      guard matchedCount == line.count else { return }
      isInside = true
      body = Base64Body()
    }
  }
}

/// The decoding of one content's base64 (RFC 4648 4), which may go on over several pieces of text.
private struct Base64Body: BitwiseCopyable {
  /// How many bytes have been decoded.
  var count = 0
  var isGood = true
  var isTooLarge = false
  /// Whether the line that ends it has begun.
  var hasEnded = false
  /// Bits that do not make a byte yet.
  private var bits: UInt32 = 0
  private var bitCount: UInt32 = 0

  /// Decodes from `start` to the line that ends it or to the end of `text`, behind what `decoded` has
  /// already; gives the position behind it. A look-up is this and little else.
  mutating func decode(_ text: Span<UInt8>, from start: Int, into decoded: UnsafeMutablePointer<UInt8>) -> Int {
    var index = start
    while index < text.count {
      if bitCount == 0 { index = decodeGroups(text, from: index, into: decoded) }
      guard index < text.count else { break }
      let byte = text[index]
      index += 1
      let value = base64Value(byte)
      if value < 64 {
        append(value, to: decoded)
      } else if byte == UInt8(ascii: "-") {
        hasEnded = true
        break
      } else if byte != UInt8(ascii: "="), !byte.isBlank {
        isGood = false
      }
    }
    return index
  }

  /// Decodes as many groups of four characters as follow each other: a line.
  private mutating func decodeGroups(
    _ text: Span<UInt8>, from start: Int, into decoded: UnsafeMutablePointer<UInt8>
  ) -> Int {
    var index = start
    var count = count
    while index + 4 <= text.count, count + 3 <= PEMReader.contentBytesMax {
      let first = base64Value(text[index])
      let second = base64Value(text[index + 1])
      let third = base64Value(text[index + 2])
      let fourth = base64Value(text[index + 3])
      guard first | second | third | fourth < 64 else { break }
      decoded[count] = first << 2 | second >> 4
      decoded[count + 1] = second << 4 | third >> 2
      decoded[count + 2] = third << 6 | fourth
      count += 3
      index += 4
    }
    self.count = count
    return index
  }

  private mutating func append(_ value: UInt8, to decoded: UnsafeMutablePointer<UInt8>) {
    bits = bits << 6 | UInt32(value)
    bitCount += 6
    guard bitCount >= 8 else { return }
    bitCount -= 8
    if count < PEMReader.contentBytesMax {
      decoded[count] = UInt8(truncatingIfNeeded: bits >> bitCount)
      count += 1
    } else {
      isGood = false
      isTooLarge = true
    }
  }
}

/// The six bits of a character of base64; 64 or more for any other.
private func base64Value(_ byte: UInt8) -> UInt8 {
  let digits = base64Digits.bytes
  let index = Int(byte) - Int(UInt8(ascii: "+"))
  return index >= 0 && index < digits.count ? digits[index] &- UInt8(ascii: ">") : 64
}

/// For each character from `+` to `z` its value, counted from `>`; `$` where it has none. Quicker than comparisons, and
/// nearly all of a store comes through here.
private var base64Digits: StaticString {
  #"|$$$}rstuvwxyz{$$$$$$$>?@ABCDEFGHIJKLMNOPQRSTUVW$$$$$$XYZ[\]^_`abcdefghijklmnopq"#
}
