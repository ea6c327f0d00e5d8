// Public keys that firmware is signed with, from files as openssl writes them.

import Bytes
import CMbedTLS
import HostInterface

/// Why there is no key.
public enum PublicKeyFailure: Error, Equatable {
  /// The file cannot be read.
  case file(FileFailure)
  /// There is nothing in the file between `-----BEGIN PUBLIC KEY-----` and its end.
  case noKey
  /// The file has a key of another kind than P-256, which is the only one that is used.
  case notP256
}

/// A public key of ECDSA with P-256.
public struct PublicKey: BitwiseCopyable {
  /// The size of SubjectPublicKeyInfo (RFC 5480 2): always the same, since the point is not compressed.
  private static var byteCount: Int { 91 }
  private static var pointBytes: Int { 65 }

  /// What names it in signatures: the beginning of SHA-256 of its SubjectPublicKeyInfo.
  public let identifier: UInt32
  private var point = InlineArray<65, UInt8>(repeating: 0)

  /// Takes a SubjectPublicKeyInfo in DER; nil for any other key, and for a point in compressed form.
  init?(_ der: Span<UInt8>) {
    let start = PublicKey.byteCount - PublicKey.pointBytes
    let kind: InlineArray<26, UInt8> = [
      // SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING of 65 bytes without unused bits }
      0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE,
      0x3D, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ]
    guard der.count == PublicKey.byteCount, der.extracting(0..<start).equals(kind.span), der[start] == 4 else {
      return nil
    }
    for index in 0..<PublicKey.pointBytes { point[index] = der[start + index] }
    let digest = SHA256.digest(of: der)
    identifier = UInt32(digest[0]) << 24 | UInt32(digest[1]) << 16 | UInt32(digest[2]) << 8 | UInt32(digest[3])
  }

  /// Reads the first key of the PEM file at `path`, with scratch memory from `arena`. May wait for the file system.
  public init(readingFrom path: Span<UInt8>, from arena: inout Arena) throws(PublicKeyFailure) {
    guard var keys = try? TrustedKeys(from: &arena) else { throw .noKey }
    try keys.read(path)
    self = keys.first
  }

  fileprivate static func findKey(_ reader: inout PEMReader, _ descriptor: Int32) throws(Errno) -> Bool {
    // A file of keys is small: whatever else was named is given up.
    for _ in 0..<64 {
      // What is left of the last piece comes first.
      if reader.next() { return true }
      guard try reader.fill(from: descriptor) else { return false }
    }
    return false
  }

  /// Whether `signature`, in DER, is one of the message with this SHA-256 by this key.
  public func hasSigned(_ digest: InlineArray<32, UInt8>, _ signature: Span<UInt8>) -> Bool {
    point.span.withUnsafeBufferPointer { point in
      digest.span.withUnsafeBufferPointer { digest in
        signature.withUnsafeBufferPointer { signature in
          guard let point = point.baseAddress, let digest = digest.baseAddress, let start = signature.baseAddress
          else { return false }
          return mote_is_signed_p256(point, digest, start, signature.count)
        }
      }
    }
  }
}

/// The keys of a file.
struct TrustedKeys: ~Copyable {
  private var keys: FixedArray<PublicKey>

  private var reader: PEMReader

  /// None yet; with room for them, and to read them, from `arena`.
  init(from arena: inout Arena) throws(ArenaExhausted) {
    let reader = try PEMReader(PEMReader.publicKeyLine, for: "keys", from: &arena)
    let keys = try FixedArray<PublicKey>(capacity: FirmwareLimits.keysMax, for: "keys", from: &arena)
    self.reader = reader
    self.keys = keys
  }

  /// Takes the keys of the PEM file at `path`; more than fit are left out, and other kinds of keys passed over. May
  /// wait for the file system.
  @inline(never)
  mutating func read(_ path: Span<UInt8>) throws(PublicKeyFailure) {
    let descriptor = try openKeys(path)
    defer { System.close(descriptor) }
    var isAny = false
    do throws(Errno) {
      while try PublicKey.findKey(&reader, descriptor) {
        isAny = true
        if let key = PublicKey(reader.content), !keys.append(key) { break }
      }
    } catch { throw .file(FileFailure(error)) }
    guard keys.count > 0 else { throw isAny ? .notP256 : .noKey }
  }

  var count: Int { keys.count }
  var first: PublicKey { keys[0] }

  /// Whether one of them has this identifier and has signed the message with this SHA-256.
  func haveSigned(_ digest: InlineArray<32, UInt8>, _ identifier: UInt32, _ signature: Span<UInt8>) -> Bool {
    for index in 0..<keys.count where keys[index].identifier == identifier {
      if keys[index].hasSigned(digest, signature) { return true }
    }
    return false
  }
}

private func openKeys(_ path: Span<UInt8>) throws(PublicKeyFailure) -> Int32 {
  do throws(FileFailure) { return try FileStream(path).descriptor } catch { throw .file(error) }
}
