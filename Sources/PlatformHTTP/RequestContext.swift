// What belongs to a request besides what it says: the connection that it came on.

import Hummingbird
import NIOCore
import PlatformServer
import Synchronization

/// The context of a request.
public struct PlatformContext: RequestContext {
  /// Hummingbird's own.
  public var coreContext: CoreRequestContextStorage
  private let channel: any Channel

  /// The context of a request on a connection.
  public init(source: ApplicationRequestContextSource) {
    coreContext = CoreRequestContextStorage(source: source)
    channel = source.channel
  }

  /// The client's address.
  var address: String { channel.remoteAddress?.ipAddress ?? "" }

  /// That the client goes, or will say nothing more: nobody waits for an answer then.
  func departure() -> Departure { Departure(clientDeparture(of: channel)) }

  /// Notes that whoever is there has shown who they are.
  func noteLogin(_ platform: ServiceActor) async { await platform.noteLogin(channel) }
}

/// That a client goes.
final class Departure: Sendable {
  private let isOver = Atomic(false)
  private let end: AsyncStream<Never>
  private let continuation: AsyncStream<Never>.Continuation

  init(_ future: EventLoopFuture<Void>) {
    (end, continuation) = AsyncStream.makeStream()
    // It fails where the connection is closed already.
    future.whenComplete { [weak self] _ in self?.note() }
  }

  private func note() {
    isOver.store(true, ordering: .releasing)
    continuation.finish()
  }

  /// Whether the client has gone.
  var hasCome: Bool { isOver.load(ordering: .acquiring) }

  /// Waits until the client goes, or the task is cancelled. For one task.
  func wait() async { for await _ in end {} }
}
