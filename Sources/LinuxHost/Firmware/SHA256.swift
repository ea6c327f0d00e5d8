// SHA-256 by mbedTLS.

import Bytes
import CMbedTLS
import HostInterface

/// SHA-256 (FIPS 180-4) of bytes that come in pieces.
public struct SHA256: ~Copyable {
  // What mbedTLS keeps, which it does not mind being moved.
  private var context = InlineArray<16, UInt64>(repeating: 0)

  /// Of nothing so far.
  public init() {
    precondition(MemoryLayout.size(ofValue: context) >= Int(MOTE_SHA256_BYTES_MAX))
    withContext { mote_sha256_start($0) }
  }

  /// Of what `hash` is of.
  public init(resuming hash: RunningHash) {
    self.init()
    hash.words.span.withUnsafeBufferPointer { words in
      guard let start = words.baseAddress else { return }
      withContext { mote_sha256_resume($0, start, hash.byteCount) }
    }
  }

  /// Where it stands, after a multiple of 64 bytes.
  public mutating func state(after byteCount: UInt64) -> RunningHash {
    var words = InlineArray<8, UInt32>(repeating: 0)
    var room = words.mutableSpan
    room.withUnsafeMutableBufferPointer { target in
      guard let start = target.baseAddress else { return }
      withContext { mote_sha256_state($0, start) }
    }
    return RunningHash(words: words, byteCount: byteCount)
  }

  /// Adds `bytes`.
  public mutating func add(_ bytes: Span<UInt8>) {
    bytes.withUnsafeBufferPointer { source in
      guard let start = source.baseAddress else { return }
      withContext { mote_sha256_add($0, start, source.count) }
    }
  }

  /// The digest. Nothing may be added then.
  public mutating func finish() -> InlineArray<32, UInt8> {
    var digest = InlineArray<32, UInt8>(repeating: 0)
    var bytes = digest.mutableSpan
    bytes.withUnsafeMutableBufferPointer { target in
      guard let start = target.baseAddress else { return }
      withContext { mote_sha256_finish($0, start) }
    }
    return digest
  }

  // DEVIATION(unsafe-pointer): mbedTLS takes a pointer to its state.
  private mutating func withContext(_ body: (UnsafeMutableRawPointer) -> Void) {
    withUnsafeMutablePointer(to: &context) { body(UnsafeMutableRawPointer($0)) }
  }

  /// SHA-256 of `bytes`.
  public static func digest(of bytes: Span<UInt8>) -> InlineArray<32, UInt8> {
    var hash = SHA256()
    hash.add(bytes)
    return hash.finish()
  }
}
