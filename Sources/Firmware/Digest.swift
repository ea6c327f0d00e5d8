// SHA-256 of something, wherever it was computed: no module without I/O computes hashes.

import Bytes

/// A SHA-256 digest (FIPS 180-4).
public struct Digest: Sendable, BitwiseCopyable {
  /// Its size.
  public static var byteCount: Int { 32 }

  /// Its bytes.
  public private(set) var bytes = InlineArray<32, UInt8>(repeating: 0)

  /// What a computation gave.
  public init(_ bytes: InlineArray<32, UInt8>) { self.bytes = bytes }

  /// Takes the first 32 bytes of `bytes`, which must be there.
  public init(_ bytes: Span<UInt8>) {
    precondition(bytes.count >= Digest.byteCount)
    for index in 0..<Digest.byteCount { self.bytes[index] = bytes[index] }
  }

  /// Whether both are the same. Digests are no secrets, so it need not take the same time for all.
  public func equals(_ other: Digest) -> Bool { bytes.span.equals(other.bytes.span) }
}
