// Certificates in text files, as they come by: RFC 7468.

import Bytes

/// Finds certificates in a file that is read in pieces, and decodes them.
struct PEMReader: ~Copyable {
  /// How much of a file is read at once.
  static var chunkBytesMax: Int { 1024 }
  /// The largest certificate decoded. Those of authorities have 0.5 to 2.3 KB.
  static var certificateBytesMax: Int { 3072 }

  private var chunk: ByteBuffer
  // DEVIATION(unsafe-pointer): start-up memory for one certificate, of which `body.count` bytes are used.
  private let decoded: UnsafeMutablePointer<UInt8>
  private var body = Base64Body()
  private var isInside = false
  /// How many bytes of the first line the present line has matched so far; -1 once it differs.
  private var matchedCount = 0
  /// Where in the file the present piece begins.
  private var chunkOffset = 0
  /// Where in the file the first line of the certificate begins that was read last.
  private(set) var certificateOffset = 0
  /// Whether one was passed over for its size. The owner takes it back.
  var hasTooLarge = false

  /// RFC 7468 5.1.
  private static var firstLine: StaticString { "-----BEGIN CERTIFICATE-----" }

  init(for name: StaticString, from arena: inout Arena) throws(ArenaExhausted) {
    let newChunk = try ByteBuffer(capacity: PEMReader.chunkBytesMax, for: name, from: &arena)
    let room = try arena.take(PEMReader.certificateBytesMax, for: name)
    chunk = newChunk
    decoded = room.start.bindMemory(to: UInt8.self, capacity: room.count)
  }

  /// The certificate that was read last, in DER.
  var certificate: Span<UInt8> {
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

  /// Reads on. True when a certificate is complete; false when the piece is used up. One that is too large or not
  /// base64 is passed over. Handles at most one piece.
  mutating func nextCertificate() -> Bool {
    var index = 0
    while index < chunk.count {
      guard isInside else {
        match(chunk[index])
        index += 1
        if isInside { certificateOffset = chunkOffset + index - PEMReader.firstLine.utf8CodeUnitCount }
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
      let line = PEMReader.firstLine.bytes
      matchedCount = byte == line[matchedCount] ? matchedCount + 1 : -1
      guard matchedCount == line.count else { return }
      isInside = true
      body = Base64Body()
    }
  }
}

/// The decoding of one certificate's base64 (RFC 4648 4), which may go on over several pieces of text.
private struct Base64Body: BitwiseCopyable {
  /// How many bytes have been decoded.
  var count = 0
  var isGood = true
  var isTooLarge = false
  /// Whether the line that ends the certificate has begun.
  var hasEnded = false
  /// Bits that do not make a byte yet.
  private var bits: UInt32 = 0
  private var bitCount: UInt32 = 0

  /// Decodes from `start` to the line that ends the certificate or to the end of `text`, behind what `decoded` has
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
    while index + 4 <= text.count, count + 3 <= PEMReader.certificateBytesMax {
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
    if count < PEMReader.certificateBytesMax {
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

/// The little of ASN.1's distinguished encoding (X.690) that finding an issuer takes.
enum DER {
  /// The element that starts at `index`: its tag and where its contents are; nil unless all of it is there. Indefinite
  /// lengths and those above 64 KB are not understood.
  static func element(_ bytes: Span<UInt8>, at index: Int) -> (tag: UInt8, content: Range<Int>)? {
    guard index + 1 < bytes.count else { return nil }
    var start = index + 2
    var count = Int(bytes[index + 1])
    if count >= 0x80 {
      let lengthCount = count - 0x80
      guard lengthCount == 1 || lengthCount == 2, start + lengthCount <= bytes.count else { return nil }
      count = 0
      for _ in 0..<lengthCount {
        count = count << 8 | Int(bytes[start])
        start += 1
      }
    }
    guard count <= bytes.count - start else { return nil }
    return (bytes[index], start..<(start + count))
  }

  /// Where in a certificate its subject is, tag and length included (RFC 5280 4.1).
  static func subject(of certificate: Span<UInt8>) -> Range<Int>? {
    guard let outer = element(certificate, at: 0), outer.tag == 0x30 else { return nil }
    guard let inner = element(certificate, at: outer.content.lowerBound), inner.tag == 0x30 else { return nil }
    var index = inner.content.lowerBound
    // The version, which version 1 leaves out.
    if let version = element(certificate, at: index), version.tag == 0xA0 { index = version.content.upperBound }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..<4 {
      guard let part = element(certificate, at: index) else { return nil }
      index = part.content.upperBound
    }
    guard let subject = element(certificate, at: index), subject.tag == 0x30 else { return nil }
    return index..<subject.content.upperBound
  }

  /// Whether two Names are the same, not minding the kind of string and the case of letters: some authorities write
  /// their name once as PrintableString and once as UTF8String (RFC 5280 7.1).
  static func isSameName(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
    guard left.count == right.count else { return false }
    var index = 0
    // Each turn goes into an element or behind it.
    while index < left.count {
      guard let one = element(left, at: index), let other = element(right, at: index) else { return false }
      guard one.content == other.content else { return false }
      if isText(one.tag) && isText(other.tag) {
        guard left.extracting(one.content).equalsIgnoringCase(right.extracting(one.content)) else { return false }
        index = one.content.upperBound
      } else {
        guard one.tag == other.tag else { return false }
        let isConstructed = one.tag & 0x20 != 0
        guard isConstructed || left.extracting(one.content).equals(right.extracting(one.content)) else { return false }
        index = isConstructed ? one.content.lowerBound : one.content.upperBound
      }
    }
    return true
  }

  /// A number that is the same for names that are the same.
  static func hash(ofName name: Span<UInt8>) -> UInt32 {
    // FNV-1a, of bytes that do not tell what `isSameName` does not mind: the kind of string and the case of letters.
    var hash: UInt32 = 0x811C_9DC5
    for index in name.indices {
      let byte = isText(name[index]) ? 0x0C : name[index].lowercased
      hash = (hash ^ UInt32(byte)) &* 0x0100_0193
    }
    return hash
  }

  /// UTF8String or PrintableString.
  private static func isText(_ tag: UInt8) -> Bool { tag == 0x0C || tag == 0x13 }
}
