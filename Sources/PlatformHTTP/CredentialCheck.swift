// Who gives credentials over HTTP is checked beside the event loop, which everyone else waits for, and whoever guesses
// has to wait.

import Bytes
import Hummingbird
import Logging
import NIOPosix
import PlatformProtocol
import PlatformServer
import PlatformService
import Synchronization

/// Checks passwords against their hashes, and holds up those who guess.
final class CredentialCheck: Sendable {
  /// Checks at a time of one address that has not shown any right ones yet, and of all.
  private static let pendingOfAddressMax = 16
  private static let pendingMax = 512
  /// Failures of one address and of one user's name that cost nothing.
  private static let freeOfAddress = 10
  private static let freeOfUser = 5
  /// Pairs of address and user that have been right once.
  private static let trustedMax = 1000

  private struct State {
    var byAddress = FailureMemory(freeCount: CredentialCheck.freeOfAddress)
    var byUser = FailureMemory(freeCount: CredentialCheck.freeOfUser)
    /// Others' guesses, at the same password or from behind the same address, do not hold up who was right before.
    var trusted: Set<Origin> = []
    var pending: [String: Int] = [:]
    var pendingCount = 0
  }

  private struct Origin: Hashable {
    let address: String
    var user: String
  }

  private let state = Mutex(State())
  private let threads = NIOThreadPool(numberOfThreads: 1)
  private let logger: Logger

  init(logger: Logger) {
    self.logger = logger
    threads.start()
  }

  /// Whether a user gives the right password.
  ///
  /// - Parameter device: the device that the request is about: all devices have the same user's name.
  /// - Throws: 429 where too many before it were wrong.
  func isRight(
    _ credentials: BasicCredentials, _ device: DeviceKey?, _ found: StoredCredential?, address: String
  ) async throws -> Bool {
    var origin = Origin(address: address, user: credentials.user)
    if let device, credentials.user == tokenUserName { origin.user += " \(device.typeID) \(device.deviceID)" }
    let isTrusted = try begin(origin)
    defer { end(origin, isTrusted: isTrusted) }
    guard let found else {
      note(origin)
      return false
    }
    let isRight = try await threads.runIfActive { found.matches(credentials.password) }
    if isRight { trust(origin) } else { note(origin) }
    return isRight
  }

  private func begin(_ origin: Origin) throws -> Bool {
    let now = Moment.now.instant
    return try state.withLock { state in
      let isTrusted = state.trusted.contains(origin)
      let waits = [state.byAddress.wait(origin.address, now: now), state.byUser.wait(origin.user, now: now)]
      if !isTrusted, let wait = waits.compactMap(\.self).max() {
        throw CredentialCheck.refusal(seconds: (wait.milliseconds + 999) / 1000)
      }
      let isCrowded = !isTrusted && state.pending[origin.address, default: 0] >= Self.pendingOfAddressMax
      guard !isCrowded, state.pendingCount < Self.pendingMax else { throw CredentialCheck.refusal(seconds: 1) }
      if !isTrusted { state.pending[origin.address, default: 0] += 1 }
      state.pendingCount += 1
      return isTrusted
    }
  }

  private func end(_ origin: Origin, isTrusted: Bool) {
    state.withLock { state in
      state.pendingCount -= 1
      guard !isTrusted, let count = state.pending[origin.address] else { return }
      state.pending[origin.address] = count > 1 ? count - 1 : nil
    }
  }

  private func trust(_ origin: Origin) {
    state.withLock { state in
      if state.trusted.count >= Self.trustedMax { state.trusted.removeAll() }
      state.trusted.insert(origin)
    }
  }

  private func note(_ origin: Origin) {
    let now = Moment.now.instant
    let count = state.withLock { state in
      state.trusted.remove(origin)
      return max(state.byAddress.note(origin.address, now: now), state.byUser.note(origin.user, now: now))
    }
    // A line for the first one, and one for each doubling: a log of guesses would be another harm.
    guard count.nonzeroBitCount == 1 else { return }
    logger.log(
      ServiceLogEntry(
        level: .warning, component: "http", event: "refused",
        values: [("address", origin.address), ("user", origin.user), ("failures", "\(count)")]))
  }

  private static func refusal(seconds: Int64) -> Refusal {
    Refusal(
      status: .tooManyRequests, message: "Too many credentials were wrong: try again in \(seconds) seconds.",
      headers: [.retryAfter: "\(seconds)"])
  }
}
