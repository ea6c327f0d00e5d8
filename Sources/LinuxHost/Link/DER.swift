// What of ASN.1 it takes to know a certificate's subject.

import Bytes

/// The little of ASN.1's distinguished encoding (X.690) that finding an issuer takes.
enum DER {
  /// The element that starts at `index`: its tag and where its contents are; nil unless all of it is there. Indefinite
  /// lengths and those above 64 KB are not understood.
  @inline(never)
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
