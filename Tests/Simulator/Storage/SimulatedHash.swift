// SHA-256 for tests of modules that have no I/O: mbedTLS's, since one in Swift takes minutes in a debug build.

import Bytes
import CMbedTLS
import HostInterface

/// SHA-256 (FIPS 180-4).
public enum SimulatedHash {
  private static func resumed(_ hash: RunningHash) -> [UInt64] {
    var context = [UInt64](repeating: 0, count: 16)
    let words = (0..<8).map { hash.words[$0] }
    mote_sha256_resume(&context, words, hash.byteCount)
    return context
  }

  /// Adds a multiple of 64 bytes.
  public static func add(_ bytes: [UInt8], to hash: inout RunningHash) {
    precondition(bytes.count % 64 == 0)
    var context = resumed(hash)
    mote_sha256_add(&context, bytes, bytes.count)
    var words = [UInt32](repeating: 0, count: 8)
    mote_sha256_state(&context, &words)
    hash = RunningHash(
      words: InlineArray<8, UInt32> { words[$0] }, byteCount: hash.byteCount &+ UInt64(bytes.count))
  }

  /// SHA-256 of all that was added, and of `rest`.
  public static func digest(of rest: [UInt8], behind hash: RunningHash = RunningHash()) -> [UInt8] {
    var context = resumed(hash)
    mote_sha256_add(&context, rest, rest.count)
    var digest = [UInt8](repeating: 0, count: 32)
    mote_sha256_finish(&context, &digest)
    return digest
  }
}
