// The database has a thread of its own.

import NIOCore
import NIOPosix
import PlatformService
import PlatformStore

/// Hands groups of changes to the database, one after the other, on a thread of its own.
public final class StoreWriter: Sendable {
  private let store: PlatformStore
  private let threads = NIOThreadPool(numberOfThreads: 1)

  /// A writer to `store`.
  public init(_ store: PlatformStore) {
    self.store = store
    threads.start()
  }

  func commit(_ operations: [StoreOperation], on eventLoop: any EventLoop) -> EventLoopFuture<Void> {
    let store = store
    return threads.runIfActive(eventLoop: eventLoop) { try store.commit(operations) }
  }

  /// Ends the thread, when it has finished what it was given.
  public func shutDown() async throws { try await threads.shutdownGracefully() }
}
