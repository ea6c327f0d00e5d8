// SHA-256, the verifier that goes with an image.

import CDigest

/// SHA-256 (FIPS 180-4) of bytes that come in pieces, computed by mbedTLS.
public struct SHA256Digest: ~Copyable {
  private static var byteCount: Int { 32 }
  // Its memory is mbedTLS's, which frees it.
  private var context = mbedtls_md_context_t()

  /// Of nothing so far. Only a lack of memory can make it fail; then the digest is all zeros, which no image has.
  public init() {
    mbedtls_md_init(&context)
    mbedtls_md_setup(&context, mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), 0)
    mbedtls_md_starts(&context)
  }

  deinit {
    var context = context
    mbedtls_md_free(&context)
  }

  /// Adds `bytes`.
  public mutating func update(_ bytes: [UInt8]) { mbedtls_md_update(&context, bytes, bytes.count) }

  /// The digest in hexadecimal digits. Nothing may be added then.
  public mutating func finish() -> String {
    var digest = [UInt8](repeating: 0, count: SHA256Digest.byteCount)
    mbedtls_md_finish(&context, &digest)
    return digest.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}
