// Logins of the page: an API key once, then a cookie.

import Foundation
import Hummingbird
import PlatformServer
import PlatformService
import Synchronization

/// Who is logged in. Logins are kept in memory: after a restart everyone logs in again.
final class Logins: Sendable {
  /// Logins at a time; the oldest makes room.
  static let max = 200
  /// How long a login lasts.
  static let lifetime = Duration.seconds(12 * 3600)
  /// The cookie's name.
  static let cookie = "mote-login"

  private struct Login {
    let credential: StoredCredential
    let end: ContinuousClock.Instant
  }

  private let logins = Mutex<[String: Login]>([:])

  /// Logs in who has shown to own `key`, and gives the cookie's value: 256 random bits.
  func add(_ credential: StoredCredential) -> String {
    let value = (0..<4).map { _ in
      let digits = String(UInt64.random(in: .min ... .max), radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
    let now = ContinuousClock.now
    logins.withLock { logins in
      logins = logins.filter { $0.value.end > now }
      if logins.count >= Self.max, let oldest = logins.min(by: { $0.value.end < $1.value.end }) {
        logins[oldest.key] = nil
      }
      logins[value] = Login(credential: credential, end: now + Self.lifetime)
    }
    return value
  }

  /// What a login has shown; nil if it is over.
  func credential(of value: String) -> StoredCredential? {
    logins.withLock { logins in
      guard let login = logins[value], login.end > .now else { return nil }
      return login.credential
    }
  }

  /// Ends a login.
  func remove(_ value: String) { logins.withLock { $0[value] = nil } }
}
