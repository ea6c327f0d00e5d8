// Subscriptions that outlive connections.

/// What happens to someone who watches.
public enum WatchEvent: Sendable {
  /// All subscriptions are in place.
  case connected
  /// The connection is lost; the next attempt comes after so many seconds.
  case lost(ClientError, retrySeconds: Double)
  /// A message.
  case message(ApplicationMessage)
  /// So many messages were lost because `handle` was too slow.
  case missed(Int)
}

/// Connects, subscribes, and calls `handle` for everything that happens, until the task is cancelled. A connection that
/// was there once is made again, after pauses that grow at random.
///
/// - Throws: `ClientError` where the first connection fails, or the platform refuses us; and what `handle` throws.
public func watch(
  _ filters: [ApplicationFilter], _ settings: ApplicationSettings, handle: (WatchEvent) async throws -> Void
) async throws {
  var pause = ApplicationLimits.reconnectSeconds.lowerBound
  var hasConnected = false
  while !Task.isCancelled {
    do {
      let connection = try await ApplicationConnection.open(settings)
      do {
        for filter in filters { try await connection.subscribe(filter.text) }
        hasConnected = true
        pause = ApplicationLimits.reconnectSeconds.lowerBound
        try await handle(.connected)
        for await message in connection.messages {
          try await handle(.message(message))
          let missed = connection.takeMissed()
          if missed > 0 { try await handle(.missed(missed)) }
        }
      } catch {
        await connection.close()
        throw error
      }
      if let failure = await connection.failure { throw failure }
      await connection.close()
    } catch let error as ClientError where hasConnected && [.unreachable, .timeout, .malformed].contains(error.kind) {
      if Task.isCancelled { return }
      // Decorrelated jitter: many watchers of one platform do not come back together.
      let longest = min(pause * 3, ApplicationLimits.reconnectSeconds.upperBound)
      pause = Double.random(in: ApplicationLimits.reconnectSeconds.lowerBound...longest)
      try await handle(.lost(error, retrySeconds: pause))
      try? await Task.sleep(for: .seconds(pause))
    }
  }
}

/// Gives the result of `body`, or throws `timeout` after so many seconds.
public func withTimeout<Result: Sendable>(
  seconds: Double, _ timeout: ClientError, _ body: @escaping @Sendable () async throws -> Result
) async throws -> Result {
  try await withThrowingTaskGroup(of: Result.self) { tasks in
    tasks.addTask(operation: body)
    tasks.addTask {
      try await Task.sleep(for: .seconds(seconds))
      throw timeout
    }
    defer { tasks.cancelAll() }
    guard let result = try await tasks.next() else { throw timeout }
    return result
  }
}
