// The queue on flash between the storage, the client and the log.

import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT
import Spool
import Telemetry

/// Where a message of QoS 1 or 2 waits for the network, and how much it matters there.
struct WaitingPlace: BitwiseCopyable {
  /// Where.
  let keeping: Keeping
  /// How much it matters on flash.
  let priority: MessagePriority

  /// In memory.
  static var memory: WaitingPlace { WaitingPlace(.memory, priority: 1) }

  /// As an event's settings have it.
  init(_ keeping: Keeping, priority: UInt8) {
    self.keeping = keeping
    self.priority = MessagePriority(rawValue: priority) ?? .normal
  }
}

/// What is known about the way from flash to the server.
struct FlashDrain: BitwiseCopyable {
  /// How often a late message may go out: what is new must not wait for it.
  fileprivate var rate = RateLimit(messagesPerSecond: 0)
  /// When there is more to do without news.
  fileprivate(set) var deadline = Instant.never
  /// What was logged.
  fileprivate var isFailing = false
  fileprivate var lost: UInt64 = 0
  fileprivate var isLosing = false
  fileprivate var lostBefore: UInt64 = 0
  fileprivate var filesSetAside: UInt64 = 0
  /// Since when something waits on flash that is not yet with the server, and what was counted before.
  fileprivate var gapSince: Instant?
  fileprivate var countsBefore = FlashCounts()

  /// Four fifths of what may go out at all.
  mutating func limit(messagesPerSecond: Int) {
    rate.change(messagesPerSecond: messagesPerSecond > 0 ? max(messagesPerSecond * 4 / 5, 1) : 0)
  }
}

extension Outbox {
  /// A message that does not wait in memory.
  @inline(never)  // beside those that do
  mutating func publishElsewhere(
    _ payload: Span<UInt8>, on topic: borrowing TopicName, qos: QoS, in place: WaitingPlace, at time: WallTime?,
    _ now: Instant
  ) {
    if case .flash = place.keeping, flash.isActive {
      let taken = UInt64(max(time?.milliseconds ?? 0, 0))
      _ = flash.append(topic: topic.bytes, payload: payload, qos: qos.rawValue, place.priority, taken: taken, now)
      return
    }
    do throws(SendRefusal) {
      // Nobody asks what became of it.
      try send(payload, on: topic, qos: qos, token: FlashQueue.tokenBit, now)
    } catch { counters.skipped += 1 }
  }

  /// Goes on with the queue on flash: what the storage has answered, what can be sent, and what is due to be written.
  @inline(never)  // beside the agents without one
  mutating func driveFlash<H: HostStorage & HostLog & ~Copyable>(
    isEnding: Bool, at time: WallTime?, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    if isEnding { flash.prepareEnd() }
    flash.advance(now, &host)
    drain.deadline = .never
    if client.isConnected, !isEnding { sendFlash(UInt64(max(time?.milliseconds ?? 0, 0)), now, &log, &host) }
    flash.advance(now, &host)
    drain.deadline = min(drain.deadline, flash.deadline(now))
    tell(&log, &host)
  }

  private mutating func sendFlash<H: HostLog & ~Copyable>(
    _ wall: UInt64, _ now: Instant, _ log: inout LogWriter, _ host: inout H
  ) {
    // Each turn hands the client a message, of which it takes a window full at most, or gives one up.
    while true {
      // The last place of the window is for what is new.
      let hasPlace = client.inflightCount == 0 || client.inflightCount + 1 < flash.options.inflightMax
      let allowsLate = hasPlace && drain.rate.allows(at: now)
      guard rate.allows(at: now) else {
        if flash.waitingCount > 0 { drain.deadline = rate.allowedFrom }
        return
      }
      guard let message = flash.next(allowsLate: allowsLate, wall: wall) else {
        if hasPlace, !allowsLate, flash.storedCount > 0 { drain.deadline = drain.rate.allowedFrom }
        return
      }
      do throws(SendRefusal) {
        try forward(message, of: flash, through: &client, now)
      } catch {
        guard case .never(let defect) = error else { return }
        counters.setAside += 1
        logDefect(defect, flash.topic(of: message), packetBytesMax: client.publishBytesMax, &log, &host)
        flash.noteUnsendable(message)
        continue
      }
      rate.spend(at: now)
      if message.isLate { drain.rate.spend(at: now) }
      flash.noteSent(message)
    }
  }

  /// Whether all is with the server that had waited on flash, which has not been told yet.
  mutating func endsGap(_ now: Instant) -> Bool {
    guard flash.isKnown else { return false }
    if drain.gapSince == nil {
      if flash.storedCount == 0 {
        drain.countsBefore = flash.counts
      } else {
        drain.gapSince = now
      }
    }
    return drain.gapSince != nil && flash.isDrained && client.isConnected
  }

  /// Writes what has become of what had waited.
  mutating func writeGap(_ envelope: inout EventEnvelope, into buffer: inout ByteBuffer, _ now: Instant) {
    let since = drain.gapSince ?? now
    drain.gapSince = nil
    for index in 0..<FlashCounts.messageWordCount {
      envelope.name(FlashCounts.words.word(index), into: &buffer)
      buffer.append(decimal: flash.counts[index] - drain.countsBefore[index])
    }
    envelope.member("seconds", Int(truncatingIfNeeded: (now - since).milliseconds / 1000), into: &buffer)
  }

  /// Logs what has changed: once when it begins, and once when it ends.
  private mutating func tell<H: HostLog & ~Copyable>(_ log: inout LogWriter, _ host: inout H) {
    if (flash.failure != nil) != drain.isFailing {
      drain.isFailing = flash.failure != nil
      if let failure = flash.failure {
        log.begin(.warning, "queue not-stored")
        log.add("reason", failure.name)
      } else {
        log.begin(.info, "queue stored-again")
      }
      log.add("in-memory", flash.stagedCount)
      log.end(to: &host)
    }
    if flash.counts.filesSetAside > drain.filesSetAside {
      if flash.asideNumber > 0 {
        log.begin(.warning, "queue file-set-aside")
        log.add("number", Int(truncatingIfNeeded: flash.asideNumber))
        log.end(to: &host)
      }
      drain.filesSetAside = flash.counts.filesSetAside
    }
    let lost = flash.lostCount
    if lost > drain.lost, !drain.isLosing, flash.isKnown {
      drain.isLosing = true
      drain.lostBefore = drain.lost
      log.begin(.warning, "queue dropping")
      log.add("waiting", flash.waitingCount)
      log.end(to: &host)
    }
    if flash.isKnown { drain.lost = lost }
    guard drain.isLosing, flash.waitingCount == 0 else { return }
    drain.isLosing = false
    log.begin(.info, "queue drained")
    log.add("dropped", Int(truncatingIfNeeded: lost - drain.lostBefore))
    log.end(to: &host)
  }
}

// The queue's bytes are borrowed while the client changes: as members of one value they would overlap.
private func forward(
  _ message: FlashMessage, of flash: borrowing FlashQueue, through client: inout Client, _ now: Instant
) throws(SendRefusal) {
  do throws(PublishRefusal) {
    try client.publish(
      topic: TopicName(alreadyChecked: flash.topic(of: message)), payload: flash.payload(of: message),
      qos: QoS(rawValue: message.qos) ?? .atLeastOnce,
      token: message.token, now: now)
  } catch { throw SendRefusal(error) }
}

extension Settings {
  /// The queue on flash that is configured.
  func flashOptions() -> FlashOptions {
    var options = FlashOptions()
    guard queue.isConfigured else { return options }
    options.byteCountMax = queue.byteCountMax
    options.stagedBytes = max(mqtt.queueBytes, 2 * mqtt.packetBytesMax)
    options.messageBytesMax = mqtt.packetBytesMax
    options.inflightMax = mqtt.inflightMax
    options.flushTime = queue.flushTime
    options.flushCount = queue.flushCount
    options.full = FullPolicy(rawValue: queue.full) ?? .oldest
    options.keep = queue.keep
    options.identity = UInt64(identityCheck(0)) << 32 | UInt64(identityCheck(1))
    return options
  }

  /// A checksum of the client identifier, behind a byte.
  private func identityCheck(_ first: UInt8) -> UInt32 {
    let separator: StaticString = ":"
    var check = CRC32C()
    let seed: InlineArray<2, UInt8> = [first, UInt8(ascii: "d")]
    check.add(seed.span)
    check.add(separator.bytes)
    check.add(bytes(identity.organization))
    check.add(separator.bytes)
    check.add(bytes(identity.type))
    check.add(separator.bytes)
    check.add(bytes(identity.id))
    return check.value
  }
}
