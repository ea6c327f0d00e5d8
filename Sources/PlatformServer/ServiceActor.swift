// The service's one owner: an actor on the event loop that drives it.

import Bytes
import CMalloc
import Dispatch
import Logging
import NIOCore
import PlatformService

/// The service on its event loop. Who has something to ask of it, or to change, comes with a closure.
public actor ServiceActor {
  private let eventLoop: any EventLoop
  let service: PlatformService
  let hub: ConnectionHub
  let httpConnections = HTTPConnections()
  private var nextConnection: ConnectionID = 1
  /// The most connections since memory was last given back.
  private var peakCount = 0
  /// When memory is given back, in ticks from now.
  private var trimTicks: Int?

  /// The organisation whose devices are registered here.
  public nonisolated let organizationName: String

  /// The event loop that everything here runs on.
  public nonisolated var unownedExecutor: UnownedSerialExecutor { eventLoop.executor.asUnownedSerialExecutor() }

  /// A service on `eventLoop`, with what `store` kept; nil keeps nothing.
  public init(
    _ configuration: ServiceConfiguration, state: StoredState, store: StoreWriter?, eventLoop: any EventLoop,
    logger: Logger
  ) {
    self.eventLoop = eventLoop
    organizationName = configuration.organization
    hub = ConnectionHub(store: store, eventLoop: eventLoop, logger: logger)
    service = PlatformService(configuration, state: state, output: hub, now: .now)
  }

  func makeConnectionID() -> ConnectionID {
    defer { nextConnection += 1 }
    return nextConnection
  }

  /// Notes that a client over HTTP has shown who it is: its connection is one of those that have room.
  public func noteLogin(_ channel: any Channel) { httpConnections.noteLogin(channel) }

  /// After many connections have gone, what they took is the system's again: the C library would keep it.
  func giveMemoryBack() {
    let count = service.connectionCount + httpConnections.count
    peakCount = max(peakCount, count)
    if let ticks = trimTicks {
      trimTicks = ticks > 0 ? ticks - 1 : nil
      if ticks == 0 { DispatchQueue.global().async { malloc_trim(0) } }
    } else if peakCount - count >= ServerLimits.connectionsGoneMin {
      peakCount = count
      // What served them ends a little later than they do.
      trimTicks = ServerLimits.trimDelayTicks
    }
  }

  /// Asks the service something. What that changes is not waited for.
  public func read<Result: Sendable>(_ body: @Sendable (PlatformService) throws -> Result) rethrows -> Result {
    defer { hub.flush() }
    return try body(service)
  }

  /// Changes something, and waits until that is on the disk.
  ///
  /// - Throws: what `body` throws; `unavailable` where the disk does not take it.
  public func change<Result: Sendable>(
    _ body: @Sendable (PlatformService) throws -> Result
  ) async throws -> Result {
    let result = try read(body)
    do throws(ServiceError) {
      try await hub.waitUntilStored()
    } catch {
      // It is in memory, and in the next group for the disk: who only hears of the failure would ask for it twice.
      throw ServiceError(
        error.kind, error.message + " The change may still be made when it does: look whether it was.")
    }
    return result
  }

  /// What happens from now on, until the stream's reader stops. A reader that is slower than the world misses the
  /// oldest of what it has not read.
  public func observe(_ filter: ObservationFilter) throws(ServiceError) -> AsyncStream<Observation> {
    let id = try service.observe(filter)
    let (stream, continuation) = AsyncStream.makeStream(
      of: Observation.self,
      bufferingPolicy: .bufferingNewest(
        filter.includesPayloads ? ServerLimits.observationsMax : ServerLimits.bareObservationsMax))
    hub.observers[id] = continuation
    continuation.onTermination = { [weak self] _ in
      guard let self else { return }
      Task { await self.stopObserving(id) }
    }
    return stream
  }

  private func stopObserving(_ id: ObserverID) {
    service.stopObserving(id)
    hub.observers[id] = nil
  }
}
