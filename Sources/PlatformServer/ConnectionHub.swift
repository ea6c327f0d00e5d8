// What the service asks for becomes writes, closes and commits. Everything here runs on the one event loop.

import Bytes
import Glibc
import Logging
import NIOCore
import PlatformProtocol
import PlatformService
import PlatformStore

/// One connection, as the hub sees it.
protocol HubConnection: AnyObject {
  /// Adds bytes to what is written at the next `flush`.
  func enqueue(_ bytes: Span<UInt8>)
  /// Writes what was added, all at once.
  func flush()
  /// Closes when what was written is on its way.
  func finish()
  /// Closes at once, whatever waits: the peer is told nothing any more.
  func abort()
  /// Reads nothing more: the connection ends when what waits for the disk is written.
  func stopReading()
  /// Reads no more until `moment`.
  func pause(until moment: Instant)
  /// Whether it was added to the hub's list of those to be flushed.
  var isDirty: Bool { get set }
  /// What waits for the disk.
  var held: HeldOutput? { get set }
}

/// What waits for the disk, in order: bytes, each behind a commit.
struct HeldOutput {
  private(set) var pieces: [(commit: CommitNumber, bytes: [UInt8])] = []
  private(set) var byteCount = 0
  /// Whether the connection ends behind these.
  var isFinished = false

  var lastCommit: CommitNumber { pieces.last?.commit ?? 0 }

  mutating func append(_ bytes: Span<UInt8>, after commit: CommitNumber) {
    byteCount += bytes.count
    // The order must stay: what need not wait waits for what is in front of it.
    let commit = max(commit, lastCommit)
    if pieces.last?.commit == commit {
      bytes.withUnsafeBufferPointer { pieces[pieces.count - 1].bytes.append(contentsOf: $0) }
    } else {
      pieces.append((commit, bytes.withUnsafeBufferPointer { Array($0) }))
    }
  }

  /// Takes what `committed` lets go.
  mutating func take(upTo committed: CommitNumber) -> [UInt8] {
    var bytes: [UInt8] = []
    while let first = pieces.first, first.commit <= committed {
      bytes += first.bytes
      pieces.removeFirst()
    }
    byteCount -= bytes.count
    return bytes
  }
}

/// The service's output.
final class ConnectionHub: ServiceOutput {
  private let store: StoreWriter?
  private let eventLoop: any EventLoop
  private let logger: Logger
  private var connections: [ConnectionID: any HubConnection] = [:]
  private var dirty: [any HubConnection] = []
  /// Connections that the service has forgotten, and that end when the disk has what they wait for.
  private var ending: Set<ConnectionID> = []
  /// Connections with held output.
  private var holding: [ConnectionID: any HubConnection] = [:]
  var observers: [ObserverID: AsyncStream<Observation>.Continuation] = [:]
  /// What the next commit will hold, its number, and the last one on the disk.
  private var operations: [StoreOperation] = []
  private var operationBytes = 0
  private var nextCommit: CommitNumber = 1
  private var committed: CommitNumber = 0
  private var isCommitting = false
  private var waiters: [Int: Waiter] = [:]
  private var nextWaiter = 0

  private struct Waiter {
    let commit: CommitNumber
    let continuation: CheckedContinuation<Bool, Never>
    let timeout: Scheduled<Void>
  }

  init(store: StoreWriter?, eventLoop: any EventLoop, logger: Logger) {
    self.store = store
    self.eventLoop = eventLoop
    self.logger = logger
  }

  func add(_ connection: any HubConnection, _ id: ConnectionID) { connections[id] = connection }

  func remove(_ id: ConnectionID) {
    connections[id] = nil
    holding[id] = nil
    ending.remove(id)
  }

  /// How many connections wait for the disk to end.
  var endingCount: Int { ending.count }

  /// Whether the disk is so far behind that nothing more should be read.
  var isBehind: Bool {
    operations.count >= ServerLimits.operationsMax || operationBytes >= ServerLimits.operationBytesMax
  }

  // MARK: - ServiceOutput

  func send(_ bytes: Span<UInt8>, to id: ConnectionID, after commit: CommitNumber) {
    guard let connection = connections[id] else { return }
    if connection.held != nil || commit > committed {
      var held = connection.held ?? HeldOutput()
      // Taken out for the change, so that it is not copied.
      connection.held = nil
      held.append(bytes, after: commit)
      connection.held = held
      holding[id] = connection
      if held.byteCount > ServerLimits.heldBytesMax { abort(connection) }
      return
    }
    connection.enqueue(bytes)
    noteDirty(connection)
  }

  func close(_ id: ConnectionID, code: ClosingCode, after commit: CommitNumber) {
    guard let connection = connections[id] else { return }
    if connection.held != nil {
      connection.held?.isFinished = true
      ending.insert(id)
      connection.stopReading()
      return
    }
    connections[id] = nil
    connection.finish()
  }

  /// Ends a connection for which too much waits, in a turn of its own: the service is in the middle of an input.
  private func abort(_ connection: any HubConnection) {
    let doomed = NIOLoopBound(connection, eventLoop: eventLoop)
    eventLoop.execute { doomed.value.abort() }
  }

  func pauseReading(_ id: ConnectionID, until moment: Instant) { connections[id]?.pause(until: moment) }

  func store(_ operation: StoreOperation) -> CommitNumber {
    guard store != nil else { return 0 }
    operations.append(operation)
    operationBytes += operation.byteCount
    return nextCommit
  }

  func notify(observer: ObserverID, _ observation: Observation) { observers[observer]?.yield(observation) }

  func end(observer: ObserverID) { observers.removeValue(forKey: observer)?.finish() }

  func log(_ entry: ServiceLogEntry) { logger.log(entry) }

  // MARK: - Flushing

  private func noteDirty(_ connection: any HubConnection) {
    guard !connection.isDirty else { return }
    connection.isDirty = true
    dirty.append(connection)
  }

  /// Writes what was sent since the last time, and starts a commit of what was stored.
  func flush() {
    while let connection = dirty.popLast() {
      connection.isDirty = false
      connection.flush()
    }
    startCommit()
  }

  // MARK: - Commits

  /// One commit at a time; what comes meanwhile is the next one: the slower the disk, the larger the groups.
  private func startCommit() {
    guard let store, !isCommitting, !operations.isEmpty else { return }
    isCommitting = true
    let batch = operations
    operations = []
    operationBytes = 0
    let number = nextCommit
    nextCommit += 1
    commit(batch, number, store)
  }

  private func commit(_ batch: [StoreOperation], _ number: CommitNumber, _ store: StoreWriter) {
    let hub = NIOLoopBound(self, eventLoop: eventLoop)
    store.commit(batch, on: eventLoop).whenComplete { result in
      switch result {
      case .success: hub.value.finishCommit(number)
      case .failure(let error): hub.value.retry(batch, number, store, error)
      }
    }
  }

  private func finishCommit(_ number: CommitNumber) {
    isCommitting = false
    committed = number
    for (id, connection) in holding { release(connection, id) }
    for (id, waiter) in waiters where waiter.commit <= number { finish(id, isStored: true) }
    flush()
  }

  private func release(_ connection: any HubConnection, _ id: ConnectionID) {
    guard var held = connection.held else { return }
    connection.held = nil
    let bytes = held.take(upTo: committed)
    if !bytes.isEmpty {
      connection.enqueue(bytes.span)
      noteDirty(connection)
    }
    if !held.pieces.isEmpty {
      connection.held = held
      return
    }
    holding[id] = nil
    guard held.isFinished else { return }
    connections[id] = nil
    ending.remove(id)
    connection.flush()
    connection.finish()
  }

  /// A full disk or a locked database: nothing is acknowledged until it is mended.
  private func retry(_ batch: [StoreOperation], _ number: CommitNumber, _ store: StoreWriter, _ error: any Error) {
    logger.log(
      ServiceLogEntry(level: .error, component: "store", event: "commit-failed", values: [("reason", "\(error)")]))
    // A batch that the database refuses for good would be in front of all others for ever.
    if let error = error as? CommitError, !error.isTemporary { endForDefect() }
    for id in waiters.keys { finish(id, isStored: false) }
    let hub = NIOLoopBound(self, eventLoop: eventLoop)
    eventLoop.scheduleTask(in: ServerLimits.storeRetryDelay) { hub.value.commit(batch, number, store) }
  }

  /// Nothing of the batch was acknowledged: the next start begins with what the database has. EX_SOFTWARE.
  private func endForDefect() -> Never {
    logger.log(ServiceLogEntry(level: .error, component: "store", event: "given-up", values: []))
    exit(70)
  }

  private func wait(for commit: CommitNumber, _ continuation: CheckedContinuation<Bool, Never>) {
    let id = nextWaiter
    nextWaiter += 1
    let hub = NIOLoopBound(self, eventLoop: eventLoop)
    let timeout = eventLoop.scheduleTask(in: ServerLimits.storeTimeout) { hub.value.finish(id, isStored: false) }
    waiters[id] = Waiter(commit: commit, continuation: continuation, timeout: timeout)
  }

  private func finish(_ waiter: Int, isStored: Bool) {
    guard let waiter = waiters.removeValue(forKey: waiter) else { return }
    waiter.timeout.cancel()
    waiter.continuation.resume(returning: isStored)
  }

  /// Waits until all that was stored so far is on the disk, for `ServerLimits.storeTimeout` at most.
  ///
  /// - Throws: `unavailable` where it cannot be.
  func waitUntilStored(isolation: isolated (any Actor)? = #isolation) async throws(ServiceError) {
    let last = operations.isEmpty ? nextCommit - 1 : nextCommit
    guard last > committed else { return }
    let isStored = await withCheckedContinuation { wait(for: last, $0) }
    guard isStored else { throw ServiceError(.unavailable, "The database does not take anything now.") }
  }
}

extension StoreOperation {
  /// About how many bytes it takes while it waits.
  fileprivate var byteCount: Int {
    switch self {
    case .putMessage(let message): 128 + message.topic.count + message.payload.count
    case .putLastEvent(_, let event): 128 + event.payload.count
    default: 1024
    }
  }
}
