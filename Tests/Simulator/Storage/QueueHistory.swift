// The queue on flash through made-up lives: messages are taken, sent and confirmed, the disk fills, time passes, and
// the power fails at each call of the disk in turn. What the cut may leave is enumerated, and from each of it another
// queue goes on. Whatever happens, what is promised must hold.

import Bytes
import HostInterface
import Spool
import TestSupport

/// A queue, its memory, and what is known of its messages by whoever is around it.
public final class QueueRig {
  /// What the queue uses.
  public let storage: DirectStorage
  /// The queue.
  public var queue: FlashQueue
  /// The boot-time clock.
  public var now = Instant(milliseconds: 1000)
  /// What the client has: token and message.
  public var inflight: [(token: UInt64, message: Int)] = []
  /// What the server has confirmed, in order.
  public var confirmed: [Int] = []
  /// Those that the queue says are on flash.
  public private(set) var durable: Set<Int> = []
  /// What was handed to the client, in order.
  public var sent: [Int] = []
  private let memory: UnsafeMutableRawPointer

  /// A queue on `disk`.
  public init(_ options: FlashOptions, on disk: SimulatedDisk) {
    let byteCount = 4 * options.messageBytesMax + 4 * options.stagedBytes + 8192
    memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: 16)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    var arena = Arena(Region(start: memory, count: byteCount))
    queue = FlashQueue(options, in: &arena)
    storage = DirectStorage(disk: disk)
  }

  deinit { memory.deallocate() }

  /// A turn of the loop, with sending where `isOnline`.
  public func turn(isOnline: Bool, windowMax: Int = 4, wall: UInt64 = 0) {
    let before = staged
    advance()
    defer { durable.formUnion(before.subtracting(staged)) }
    guard isOnline else { return }
    while inflight.count < windowMax, let message = queue.next(allowsLate: true, wall: wall) {
      let number = (Int(queue.copyOfPayload(message).text) ?? 0) - 1_000_000
      sent.append(number)
      inflight.append((message.token, number))
      queue.noteSent(message)
    }
    advance()
  }

  private func advance() {
    var storage = storage
    queue.advance(now, &storage)
  }

  /// The messages that are in memory; all records here have the same length.
  private var staged: Set<Int> {
    let bytes = queue.copyOfStaged()
    let headerBytes = FlashLimits.recordHeaderBytes + 1
    return Set(
      stride(from: 0, to: bytes.count, by: headerBytes + 7).map {
        (Int(Array(bytes[($0 + headerBytes)..<($0 + headerBytes + 7)]).text) ?? 0) - 1_000_000
      })
  }

  /// Takes a message.
  public func take(_ number: Int, _ priority: MessagePriority, qos: UInt8 = 1, taken: UInt64 = 0) -> Int {
    let topic = Array("t".utf8)
    let payload = Array("\(1_000_000 + number)".utf8)
    return queue.append(topic: topic.span, payload: payload.span, qos: qos, priority, taken: taken, now)
  }

  /// The server confirms the message that it has had longest, or another one.
  public func confirm(_ index: Int = 0) {
    guard index < inflight.count else { return }
    let (token, number) = inflight.remove(at: index)
    confirmed.append(number)
    queue.acknowledge(token, now)
  }

  /// Has everything delivered.
  public func drain(turnsMax: Int = 400) {
    for _ in 0..<turnsMax {
      turn(isOnline: true)
      while !inflight.isEmpty { confirm() }
      if queue.isDrained, queue.isSettled { return }
    }
  }
}

extension FlashQueue {
  fileprivate func copyOfPayload(_ message: FlashMessage) -> [UInt8] {
    message.isLate
      ? Array(window.extracting(message.payload.range)) : Array(staged.extracting(message.payload.range))
  }

  fileprivate func copyOfStaged() -> [UInt8] { Array(staged) }
}

/// One life, up to a power cut or its end.
public struct QueueLife {
  /// Decides everything.
  public let seed: UInt64
  /// What the queue is like.
  public let options: FlashOptions
  let stepCount: Int

  /// The life that `seed` says.
  public init(seed: UInt64) {
    self.seed = seed
    var dice = Dice(seed: seed, colour: 21)
    var options = FlashOptions()
    options.segmentBytes = 160
    options.messageBytesMax = 80
    options.stagedBytes = 512
    options.byteCountMax = FlashLimits.bookkeepingBytes + dice.number(1...5) * 200
    options.identity = 0x1234_5678_9ABC_DEF0
    options.full = FullPolicy(rawValue: UInt8(dice.number(0...2))) ?? .oldest
    if dice.once(in: 2) { options.flushTime = .seconds(60) }
    if dice.once(in: 3) { options.flushCount = dice.number(1...4) }
    self.options = options
    stepCount = dice.number(8...50)
  }

  /// What came of it.
  public final class Outcome {
    /// Messages in the order in which they were taken, with their priorities.
    public var priorities: [MessagePriority] = []
    /// Whether it ended in good order.
    var isCleanEnd = false
    /// What the rig knows.
    public var rig: QueueRig
    init(_ rig: QueueRig) { self.rig = rig }
  }

  /// Lives it on `disk`, until the power fails.
  public func live(on disk: SimulatedDisk) -> Outcome {
    var dice = Dice(seed: seed, colour: 22)
    let rig = QueueRig(options, on: disk)
    let outcome = Outcome(rig)
    var isOnline = dice.once(in: 2)
    for _ in 0..<stepCount {
      if disk.isOff { break }
      switch dice.number(0...9) {
      case 0...4:
        let priority: MessagePriority = dice.once(in: 4) ? .high : dice.once(in: 5) ? .low : .normal
        outcome.priorities.append(priority)
        _ = rig.take(outcome.priorities.count - 1, priority)
      case 5: isOnline.toggle()
      case 6, 7: if isOnline { rig.confirm(dice.once(in: 6) ? 1 : 0) }
      case 8: rig.now = rig.now + .seconds(Int64(dice.number(1...70)))
      default: rig.turn(isOnline: isOnline)
      }
      rig.turn(isOnline: isOnline)
    }
    if !disk.isOff, dice.once(in: 2) {
      rig.queue.prepareEnd()
      for _ in 0..<8 { rig.turn(isOnline: false) }
      outcome.isCleanEnd = !disk.isOff && rig.queue.isReadyToEnd
    }
    return outcome
  }
}

/// What was found out about lives.
public struct QueueTally {
  /// Power-cut points.
  public var points = 0
  /// Histories: a life, a cut, and one of the things that it may leave.
  public var histories = 0
  /// Cuts of the recovery itself.
  public var secondCuts = 0
  /// Messages that were delivered twice.
  public var repeated = 0
  /// Messages that were dropped.
  public var dropped: UInt64 = 0
  /// Ends of files that were torn.
  public var torn: UInt64 = 0

  /// Nothing yet.
  public init() {}
}

/// Lives the life of `seed` with a power cut at each call of the disk, and with everything that each may leave.
///
/// - Returns: what is wrong; nil where every promise is kept.
public func checkQueue(seed: UInt64, _ tally: inout QueueTally) -> String? {
  let life = QueueLife(seed: seed)
  var call = 0
  while true {
    let disk = SimulatedDisk()
    disk.isTracing = false
    disk.faults.cutAt = call
    let outcome = life.live(on: disk)
    let isReached = disk.isOff
    if let fault = checkOrder(outcome.rig, outcome) { return "seed \(seed) call \(call): first life: \(fault)" }
    if disk.peakBytes > life.options.byteCountMax { return "seed \(seed) call \(call): \(disk.peakBytes) bytes" }
    let fate = Fate()
    if isReached { tally.points += 1 }
    repeat {
      let other = disk.copy()
      other.restart(fate)
      tally.histories += 1
      if let fault = checkRecovery(of: other, life, outcome, &tally) {
        return "seed \(seed) call \(call): \(fault)"
      }
    } while fate.advance()
    if let fault = cutAgain(disk, life, outcome, &tally) { return "seed \(seed) call \(call): \(fault)" }
    if !isReached { return nil }
    call += 1
  }
}

/// The power fails once more, in the recovery.
private func cutAgain(
  _ disk: SimulatedDisk, _ life: QueueLife, _ outcome: QueueLife.Outcome, _ tally: inout QueueTally
) -> String? {
  let fate = Fate(betweenExtremes: true)
  var fateCount = 0
  repeat {
    fateCount += 1
    let first = disk.copy()
    first.restart(fate)
    var call = 0
    while true {
      let other = first.copy()
      other.faults.cutAt = call
      let rig = QueueRig(life.options, on: other)
      for _ in 0..<8 { rig.turn(isOnline: false) }
      guard other.isOff else { break }
      other.restart(Fate(seed: UInt64(call)))
      tally.secondCuts += 1
      tally.histories += 1
      if let fault = checkRecovery(of: other, life, outcome, &tally) { return "second cut at \(call): \(fault)" }
      call += 1
    }
  } while fateCount < 8 && fate.advance()
  return nil
}

/// Without a power cut everything is sent once, and in its order within a priority.
private func checkOrder(_ rig: QueueRig, _ outcome: QueueLife.Outcome) -> String? {
  for priority in [MessagePriority.low, .normal, .high] {
    let numbers = rig.sent.filter { outcome.priorities[$0] == priority }
    if numbers != Array(Set(numbers)).sorted() { return "order: \(numbers)" }
  }
  return nil
}

/// What must hold behind a power cut, whatever it has left on `disk`.
private func checkRecovery(
  of disk: SimulatedDisk, _ life: QueueLife, _ outcome: QueueLife.Outcome, _ tally: inout QueueTally
) -> String? {
  let before = outcome.rig
  let rig = QueueRig(life.options, on: disk)
  rig.drain()
  guard rig.queue.isDrained, rig.queue.isSettled else { return "not drained" }
  let counts = rig.queue.counts
  tally.torn += counts.tornEnds
  if counts.damaged > 0 { return "\(counts.damaged) lost" }
  if disk.usedBytes > life.options.byteCountMax { return "\(disk.usedBytes) bytes" }
  if rig.queue.writtenCount != counts.settled { return "\(rig.queue.writtenCount) written, \(counts)" }
  if let fault = checkOrder(rig, outcome) { return fault }
  // What was durable is delivered, now or before, or was dropped and counted.
  let delivered = Set(rig.confirmed).union(before.confirmed)
  if outcome.isCleanEnd, !Set(rig.sent).isDisjoint(with: before.confirmed) { return "sent again behind a clean end" }
  let missing = before.durable.subtracting(delivered)
  tally.repeated += Set(rig.confirmed).intersection(before.confirmed).count
  tally.dropped += counts.dropped
  if missing.count > Int(counts.dropped) { return "lost \(missing.sorted()), dropped \(counts.dropped)" }
  return nil
}
