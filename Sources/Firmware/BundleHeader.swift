// The header of a bundle: everything that must be known about an image before a byte of it is written. BUNDLE.md draws
// it.

import Bytes

/// Bounds of bundles.
public enum BundleLimits {
  /// The size of a header.
  public static var headerBytes: Int { 512 }
  /// What of it is signed: all in front of the signatures.
  public static var signedBytes: Int { 352 }
  /// Blocks have 2 to the power of these.
  public static var blockExponents: ClosedRange<UInt8> { 12...16 }
  /// The largest image, in bytes.
  public static var imageBytesMax: UInt64 { 1 << 40 }
  /// The longest `compatible`, in bytes.
  public static var compatibleBytesMax: Int { 64 }
  /// The longest version, in bytes.
  public static var versionBytesMax: Int { 32 }
  /// Signatures in a header.
  public static var signaturesMax: Int { 2 }
  /// The longest signature, in bytes.
  public static var signatureBytesMax: Int { 74 }
}

/// What an image is.
public enum BundleKind: UInt8, Sendable, BitwiseCopyable {
  /// The agent's own program.
  case agent = 1
  /// The content of a partition.
  case slot = 2
  /// A file for a command.
  case file = 3

  /// In a word.
  public var name: StaticString {
    switch self {
    case .agent: "agent"
    case .slot: "slot"
    case .file: "file"
    }
  }
}

/// A signature, as far as it can be understood without a key.
public struct BundleSignature: Sendable {
  /// What made it.
  public enum Algorithm: Sendable, BitwiseCopyable {
    /// ECDSA with P-256 and SHA-256; the signature is DER (RFC 3279 2.2.3).
    case ecdsaP256
    /// One that this version does not know: as if the signature were not there.
    case unknown
  }

  /// What made it.
  public let algorithm: Algorithm
  /// The beginning of SHA-256 of the public key's SubjectPublicKeyInfo, big-endian.
  public let keyIdentifier: UInt32
  /// Where in the header the signature is.
  public let range: Range<Int>
}

/// A header that has been understood. Whether it is to be trusted its signatures say.
public struct BundleHeader: Sendable, BitwiseCopyable {
  /// What the image is.
  public let kind: BundleKind
  /// Counts up with repairs of security: below that of what runs, an image is not installed.
  public let securityVersion: UInt32
  /// What ELF calls the machine (`e_machine`); 0 for any.
  public let machine: UInt16
  /// When the bundle was made. Once a signature is good, no clock that is right shows an earlier time.
  public let created: WallTime
  /// How the image is cut.
  public let blocks: BundleBlocks
  /// SHA-256 of the image.
  public let imageDigest: Digest
  /// SHA-256 of the first block as it is stored.
  public let firstBlockDigest: Digest
  private let compatibleCount: UInt8
  private let versionCount: UInt8

  /// Where everything is; numbers are big-endian.
  private enum Offset {
    static var format: Int { 8 }
    static var headerLength: Int { 10 }
    static var flags: Int { 12 }
    static var kind: Int { 16 }
    static var compression: Int { 17 }
    static var hash: Int { 18 }
    static var blockExponent: Int { 19 }
    static var securityVersion: Int { 20 }
    static var storedLength: Int { 24 }
    static var imageLength: Int { 32 }
    static var created: Int { 40 }
    static var compatible: Int { 48 }
    static var version: Int { 112 }
    static var machine: Int { 144 }
    static var reserved: Int { 146 }
    static var imageDigest: Int { 148 }
    static var firstBlockDigest: Int { 180 }
    static var baseDigest: Int { 212 }
    static var moreReserved: Int { 244 }
    static var signatures: Int { 352 }
    static var signatureStride: Int { 80 }
    // Within a signature.
    static var algorithm: Int { 4 }
    static var signatureLength: Int { 5 }
    static var signature: Int { 6 }
  }

  /// As PNG has it: a byte above ASCII, a name, and what transfers as text change.
  private static var magic: UInt64 { 0x894D_4F54_450D_0A1A }

  /// Understands the first 512 bytes of a bundle.
  public init(parsing bytes: Span<UInt8>) throws(BundleDefect) {
    guard BundleHeader.isBundle(bytes) else { throw bytes.count < 8 ? .truncated : .notABundle }
    guard bytes.count >= BundleLimits.headerBytes else { throw .truncated }
    guard bytes.number(at: Offset.format, byteCount: 2) == 1,
      bytes.number(at: Offset.headerLength, byteCount: 2) == UInt64(BundleLimits.headerBytes)
    else { throw .unknownFormat }
    guard bytes.number(at: Offset.flags, byteCount: 4) == 0 else { throw .unknownFlag }
    guard let kind = BundleKind(rawValue: bytes[Offset.kind]) else { throw .unknownKind }
    guard bytes[Offset.compression] == 0 else { throw .unknownCompression }
    guard bytes[Offset.hash] == 1 else { throw .unknownHash }
    let blocks = try BundleBlocks(
      exponent: bytes[Offset.blockExponent], imageByteCount: bytes.number(at: Offset.imageLength, byteCount: 8))
    guard bytes.number(at: Offset.storedLength, byteCount: 8) == blocks.storedByteCount else { throw .badStoredLength }
    compatibleCount = try textCount(bytes, Offset.compatible..<Offset.version)
    versionCount = try textCount(bytes, Offset.version..<Offset.machine)
    guard bytes.isZero(Offset.baseDigest..<Offset.moreReserved) else { throw .isDelta }
    guard bytes.isZero(Offset.reserved..<Offset.imageDigest), bytes.isZero(Offset.moreReserved..<Offset.signatures)
    else { throw .reservedBytes }
    self.kind = kind
    self.blocks = blocks
    securityVersion = UInt32(bytes.number(at: Offset.securityVersion, byteCount: 4))
    machine = UInt16(bytes.number(at: Offset.machine, byteCount: 2))
    let seconds = bytes.number(at: Offset.created, byteCount: 8)
    // Nobody makes bundles after the year 9999, the last one that a time stamp can write.
    guard seconds <= 253_402_300_799 else { throw .badTime }
    created = WallTime(milliseconds: Int64(seconds) * 1000)
    imageDigest = Digest(bytes.extracting(Offset.imageDigest..<Offset.firstBlockDigest))
    firstBlockDigest = Digest(bytes.extracting(Offset.firstBlockDigest..<Offset.baseDigest))
    for index in 0..<BundleLimits.signaturesMax { _ = try BundleHeader.signature(index, in: bytes) }
  }

  /// Whether a file that begins with these bytes is meant to be a bundle.
  public static func isBundle(_ bytes: Span<UInt8>) -> Bool {
    bytes.count >= 8 && bytes.number(at: 0, byteCount: 8) == BundleHeader.magic
  }

  /// Where in the header the name is of what the image is for.
  public var compatible: Range<Int> { Offset.compatible..<(Offset.compatible + Int(compatibleCount)) }

  /// Where in the header the version is.
  public var version: Range<Int> { Offset.version..<(Offset.version + Int(versionCount)) }

  /// What ELF calls the machine that this program is for; 0 for one that is not known here.
  public static var ownMachine: UInt16 {
    #if arch(x86_64)
      62
    #elseif arch(arm64)
      183
    #elseif arch(arm)
      40
    #else
      0
    #endif
  }

  /// Signature `index`, 0 or 1, of a whole header; nil where there is none.
  public static func signature(_ index: Int, in bytes: Span<UInt8>) throws(BundleDefect) -> BundleSignature? {
    let start = Offset.signatures + index * Offset.signatureStride
    let end = start + Offset.signatureStride
    let algorithm = bytes[start + Offset.algorithm]
    let count = Int(bytes[start + Offset.signatureLength])
    guard algorithm > 0 else {
      guard bytes.isZero(start..<end) else { throw .badSignature }
      return nil
    }
    let first = start + Offset.signature
    guard count > 0, count <= BundleLimits.signatureBytesMax, bytes.isZero((first + count)..<end) else {
      throw .badSignature
    }
    return BundleSignature(
      algorithm: algorithm == 1 ? .ecdsaP256 : .unknown,
      keyIdentifier: UInt32(bytes.number(at: start, byteCount: 4)), range: first..<(first + count))
  }
}

/// How many bytes of printable ASCII a text has that ends with its room or with zeros.
private func textCount(_ bytes: Span<UInt8>, _ room: Range<Int>) throws(BundleDefect) -> UInt8 {
  var end = room.lowerBound
  while end < room.upperBound, bytes[end] > 0x20, bytes[end] < 0x7F { end += 1 }
  guard end > room.lowerBound, bytes.isZero(end..<room.upperBound) else { throw .badText }
  return UInt8(end - room.lowerBound)
}

extension Span where Element == UInt8 {
  /// A big-endian number of up to eight bytes.
  func number(at offset: Int, byteCount: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in offset..<(offset + byteCount) { value = value << 8 | UInt64(self[index]) }
    return value
  }

  fileprivate func isZero(_ range: Range<Int>) -> Bool {
    for index in range where self[index] != 0 { return false }
    return true
  }
}
