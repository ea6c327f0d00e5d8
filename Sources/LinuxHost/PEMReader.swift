// Certificates in text files, as they come by: RFC 7468.

import Bytes

/// Finds certificates in a file that is read in pieces, and decodes them.
struct PEMReader: ~Copyable {
  /// How much of a file is read at once.
  static var chunkBytesMax: Int { 1024 }
  /// The largest certificate decoded. Those of authorities have 0.5 to 2.3 KB.
  static var certificateBytesMax: Int { 3072 }

  private var chunk: ByteBuffer
  // DEVIATION(unsafe-pointer): start-up memory for one certificate, of which `decodedCount` bytes are used.
  private let decoded: UnsafeMutablePointer<UInt8>
  private var decodedCount = 0
  private var isInside = false
  /// How many bytes of the first line the present line has matched so far; -1 once it differs.
  private var matchedCount = 0
  private var isGood = false
  /// Bits of base64 that do not make a byte yet.
  private var bits: UInt32 = 0
  private var bitCount: UInt32 = 0

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
    get { _overrideLifetime(Span(_unsafeStart: decoded, count: decodedCount), borrowing: self) }
  }

  /// Begins with a new file.
  mutating func reset() {
    chunk.removeAll()
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
        continue
      }
      index = decodeBody(from: index)
      if !isInside, isGood {
        chunk.removeFirst(index)
        return true
      }
    }
    chunk.removeAll()
    return false
  }

  private mutating func match(_ byte: UInt8) {
    if byte == UInt8(ascii: "\n") {
      matchedCount = 0
    } else if matchedCount >= 0 {
      let line = PEMReader.firstLine.bytes
      matchedCount = byte == line[matchedCount] ? matchedCount + 1 : -1
      guard matchedCount == line.count else { return }
      isInside = true
      isGood = true
      bits = 0
      bitCount = 0
      decodedCount = 0
    }
  }

  /// Decodes the base64 (RFC 4648 4) from `start` to the line that ends the certificate or to the end of the piece;
  /// gives the position behind it. Nearly all of a store goes through here, hence the local variables.
  private mutating func decodeBody(from start: Int) -> Int {
    var index = start
    var bits = self.bits
    var bitCount = self.bitCount
    var count = decodedCount
    while index < chunk.count {
      let byte = chunk[index]
      index += 1
      let value = base64Value(byte)
      if value < 64 {
        bits = bits << 6 | UInt32(value)
        bitCount += 6
        guard bitCount >= 8 else { continue }
        bitCount -= 8
        if count < PEMReader.certificateBytesMax {
          decoded[count] = UInt8(truncatingIfNeeded: bits >> bitCount)
          count += 1
        } else {
          isGood = false
        }
      } else if byte == UInt8(ascii: "-") {
        isInside = false
        matchedCount = -1
        break
      } else if byte != UInt8(ascii: "="), !byte.isBlank {
        isGood = false
      }
    }
    decodedCount = count
    self.bits = bits
    self.bitCount = bitCount
    return index
  }
}

/// The six bits of a character of base64; 64 for any other.
private func base64Value(_ byte: UInt8) -> UInt8 {
  switch byte {
  case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte - UInt8(ascii: "A")
  case UInt8(ascii: "a")...UInt8(ascii: "z"): byte - UInt8(ascii: "a") + 26
  case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0") + 52
  case UInt8(ascii: "+"): 62
  case UInt8(ascii: "/"): 63
  default: 64
  }
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

  /// UTF8String or PrintableString.
  private static func isText(_ tag: UInt8) -> Bool { tag == 0x0C || tag == 0x13 }
}
