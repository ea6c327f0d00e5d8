// Durable storage as the agent sees it, on a simulated disk, with the delays of a real one.
//
// A simulated host conforms to `HostStorage` by handing its calls on to one of these, calls `endTurn` when the agent's
// turn is over, and takes another turn at once where that says so. The disk outlives it: after a power cut, a new one
// goes on with the same disk, restarted. A disk that is off
// (`SimulatedDisk.isOff`) has had a power cut in the middle of an operation, which is then the whole machine's.

import Bytes
import HostInterface
import Storage
import TestSupport

/// How long operations take.
public struct StorageDelays {
  /// Milliseconds.
  public var range = 0...2000
  /// Once in so many times an operation takes longer than a host allows; 0 for never.
  public var hangOdds = 0

  /// Up to two seconds, and no hang.
  public init() {}

  /// No operation takes any time.
  public static var none: StorageDelays {
    var delays = StorageDelays()
    delays.range = 0...0
    return delays
  }
}

/// What a host answers about a simulated disk.
public final class SimulatedStorage: HostStorage {
  /// The disk.
  public let disk: SimulatedDisk
  private let world: World
  private let delays: StorageDelays
  private var dice: Dice
  private var desk = StorageDesk()
  /// What the operation under way has read.
  private var reply: [UInt8] = []
  private var range = StorageSegmentRange()
  /// Tells what was planned for one operation from what is planned for the next.
  private var operationCount = 0

  /// Storage of a host in `world`.
  public init(world: World, disk: SimulatedDisk, delays: StorageDelays = StorageDelays()) {
    self.world = world
    self.disk = disk
    self.delays = delays
    dice = Dice(seed: world.seed, colour: 12)
  }

  /// The agent's turn is over.
  ///
  /// - Returns: whether the next one must follow at once.
  public func endTurn() -> Bool { desk.endTurn() }

  /// The same, as the moment of the next turn where the agent has named `deadline`.
  func endTurn(after deadline: Instant, now: Instant) -> Instant { endTurn() ? now : deadline }

  /// What was asked, answered or begun. The medium does it all at once, before or after the delay: a power cut in
  /// between finds all of it or nothing, and `DiskFaults.cutAt` the rest.
  private func ask(_ operation: StorageOperation, _ perform: @escaping () -> StorageAnswer) -> StorageAnswer {
    if let answer = desk.ask(operation) { return answer }
    operationCount += 1
    let number = operationCount
    let isHanging = dice.once(in: delays.hangOdds)
    let delay = isHanging ? StorageLimits.timeMax + dice.span(1...60_000) : dice.spanOfAnyMagnitude(delays.range)
    world.mark(isHanging ? "storage-hangs" : "storage-operation")
    let early = dice.once(in: 2) ? perform() : nil
    world.after(delay) { [self] in
      let answer = early ?? perform()
      // Without power there is nobody to answer.
      if disk.isOff { return world.mark("storage-power-cut") }
      desk.end(answer)
      world.hasNews = true
    }
    if isHanging {
      world.after(StorageLimits.timeMax) { [self] in
        guard number == operationCount, desk.isBusy else { return }
        desk.giveUp()
        world.hasNews = true
      }
    }
    return .pending
  }

  /// As `HostStorage` says.
  public func readRecord(_ record: StorageRecord, into buffer: inout ByteBuffer) -> StorageAnswer {
    let answer = ask(StorageOperation(.readRecord, record)) { [self] in
      read(byteCount: record.roomNeeded) { Storage.readRecord(record, into: &$0, on: &$1) }
    }
    return collect(answer, into: &buffer)
  }

  /// As `HostStorage` says.
  public func replaceRecord(_ record: StorageRecord, _ content: Span<UInt8>) -> StorageAnswer {
    let content = Array(content)
    return ask(StorageOperation(.replaceRecord, record)) { [disk] in
      var disk = disk
      return Storage.replaceRecord(record, content.span, on: &disk)
    }
  }

  /// As `HostStorage` says.
  public func appendToSegment(
    _ segment: StorageSegment, at offset: Int, _ bytes: Span<UInt8>, isFlushed: Bool
  ) -> StorageAnswer {
    let bytes = Array(bytes)
    return ask(StorageOperation(isFlushed ? .appendAndFlush : .append, segment, at: offset)) { [disk] in
      var disk = disk
      return Storage.appendToSegment(segment, at: offset, bytes.span, isFlushed: isFlushed, on: &disk)
    }
  }

  /// As `HostStorage` says.
  public func readSegment(_ segment: StorageSegment, at offset: Int, into buffer: inout ByteBuffer) -> StorageAnswer {
    let byteCount = buffer.freeCount
    let answer = ask(StorageOperation(.read, segment, at: offset)) { [self] in
      read(byteCount: byteCount) { Storage.readSegment(segment, at: offset, into: &$0, on: &$1) }
    }
    return collect(answer, into: &buffer)
  }

  /// As `HostStorage` says.
  public func findSegments(
    of series: StorageSeries, from number: UInt64, _ found: inout StorageSegmentRange
  ) -> StorageAnswer {
    let answer = ask(StorageOperation(.find, StorageSegment(series, number))) { [self] in
      var disk = disk
      return Storage.findSegments(of: series, from: number, &range, on: &disk)
    }
    if answer == .done { found = range }
    return answer
  }

  /// As `HostStorage` says.
  public func deleteSegment(_ segment: StorageSegment) -> StorageAnswer {
    ask(StorageOperation(.delete, segment)) { [disk] in
      var disk = disk
      return Storage.deleteSegment(segment, on: &disk)
    }
  }

  /// As `HostStorage` says.
  public func setSegmentAside(_ segment: StorageSegment) -> StorageAnswer {
    ask(StorageOperation(.setAside, segment)) { [disk] in
      var disk = disk
      return Storage.setSegmentAside(segment, on: &disk)
    }
  }

  private func read(
    byteCount: Int, _ body: (inout ByteBuffer, inout SimulatedDisk) -> StorageAnswer
  ) -> StorageAnswer {
    withArena(byteCount: byteCount + 16) { arena in
      guard var buffer = try? ByteBuffer(capacity: byteCount, for: "reply", from: &arena) else { return .failed }
      var disk = disk
      let answer = body(&buffer, &disk)
      reply = Array(buffer.span)
      return answer
    }
  }

  private func collect(_ answer: StorageAnswer, into buffer: inout ByteBuffer) -> StorageAnswer {
    let reply = reply
    if answer == .done { buffer.append(reply.span) }
    return answer
  }
}
