// Tokens are kept salted and hashed, by the C library's crypt(3): method 6, SHA-512 in rounds.

import CCrypt
import CDigest

/// Hashing and checking of tokens.
enum TokenHash {
  /// The smallest number that the method takes. Tokens are random, or at least as long as `tokenBytesRange` wants, and
  /// a whole fleet reconnects at once: this costs about a millisecond each.
  private static let rounds = 1000
  private static let saltCharacters = Array("./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

  private static let quickPrefix = "$quick$"

  private static func makeSalt(_ random: () -> UInt64) -> String {
    let bits = (random(), random())
    return String(
      (0..<16).map { index in
        let word = index < 8 ? bits.0 : bits.1
        return saltCharacters[Int(word >> UInt64(index % 8 * 8) & 63)]
      })
  }

  /// A hash for this run of the program only: SHA-256 of a new salt and the token, some microseconds.
  static func quickHash(_ token: String, random: () -> UInt64) -> String { quickHash(token, salt: makeSalt(random)) }

  private static func quickHash(_ token: String, salt: String) -> String {
    let bytes = Array((salt + token).utf8)
    var digest = [UInt8](repeating: 0, count: 32)
    mbedtls_md(mbedtls_md_info_from_type(MBEDTLS_MD_SHA256), bytes, bytes.count, &digest)
    return quickPrefix + salt + digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// The hash of `token` with a new salt; nil where the C library cannot.
  static func hash(_ token: String, random: () -> UInt64) -> String? {
    crypt(token, setting: "$6$rounds=\(rounds)$" + makeSalt(random))
  }

  /// Whether `token` is the one that `hash` was made of.
  static func verify(_ token: String, _ hash: String) -> Bool {
    let isQuick = hash.hasPrefix(quickPrefix)
    let quickSalt = String(hash.dropFirst(quickPrefix.count).prefix(16))
    guard let found = isQuick ? quickHash(token, salt: quickSalt) : crypt(token, setting: hash) else { return false }
    // Every byte is compared, so that the time says nothing.
    let left = Array(found.utf8)
    let right = Array(hash.utf8)
    guard left.count == right.count else { return false }
    return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  private static func crypt(_ token: String, setting: String) -> String? {
    // A token with U+0000 in it would be taken for a shorter one.
    guard !token.utf8.contains(0) else { return nil }
    return withUnsafeTemporaryAllocation(of: crypt_data.self, capacity: 1) { memory in
      // DEVIATION(unsafe-pointer): the state of crypt_r, 32 KB, cleared as it wants.
      guard let data = memory.baseAddress else { return nil }
      UnsafeMutableRawPointer(data).initializeMemory(
        as: UInt8.self, repeating: 0, count: MemoryLayout<crypt_data>.size)
      guard let result = crypt_r(token, setting, data) else { return nil }
      let text = String(cString: result)
      // A setting that it does not understand gives a text beginning with `*`.
      return text.hasPrefix("*") ? nil : text
    }
  }
}

/// A new token: 18 characters, about 107 random bits.
func makeToken(random: () -> UInt64) -> String {
  let characters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
  return String((0..<18).map { _ in characters[Int(random() >> 58)] })
}
