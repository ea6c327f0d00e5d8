// Commands arrive at least once. A command whose acknowledgement was lost comes again, marked as a duplicate, and must
// not be carried out again; a new one that is equal to it must be.
//
// Both may look the same: a new command that was lost on its way comes marked as a duplicate, too, and its packet
// identifier may have been the earlier one's. What tells them apart is whether the server has our acknowledgement of
// the earlier one. It has where it uses the identifier anew, where the session is new, and where it answers what we
// sent behind the acknowledgement; and then it does not deliver again, unless it fell back to an older state.

import Bytes

/// What a delivery is to those before it.
enum Delivery {
  /// A command that has not come before.
  case new
  /// One that waits, and goes on waiting.
  case waiting
  /// One that was taken on this connection: an impatient server's second copy.
  case copy
  /// One that was taken on an earlier connection, whose acknowledgement the server does not seem to have. It could
  /// still be a new one, equal to that.
  case repetition
}

/// Remembers the last commands of QoS 1 by packet identifier and content, and those that wait for their turn.
struct RecentCommands: Sendable {
  /// How many are remembered: more than a server has unacknowledged towards a device (10 on the platform, 20 with
  /// Mosquitto, 32 with EMQX). With fewer, a whole window that comes again would be carried out again.
  static var countMax: Int { Entries.count }
  /// How many of them may wait.
  static var waitingMax: Int { 32 }

  /// All zero is an entry that nothing matches.
  private struct Entry: BitwiseCopyable {
    /// 0 is none: a command of QoS 0 or 2 that waits, one of a session that is over, or one whose acknowledgement the
    /// server surely has.
    var packetIdentifier: UInt16 = 0
    var isWaiting = false
    /// Whether it came on an earlier connection.
    var isEarlier = false
    var digest: UInt32 = 0
    /// The answer to a message with this token, or a later one, proves that the server has the acknowledgement; 0 when
    /// it is proved, or none is owed.
    var mark: UInt64 = 0
    /// When it was taken.
    var taken = Instant(milliseconds: 0)
  }

  private typealias Entries = InlineArray<64, Entry>
  /// The mark while the acknowledgement is not on its way.
  private static var unwritten: UInt64 { .max }

  private var entries = Entries(repeating: Entry())
  /// How many entries there are, the oldest first.
  private var count = 0
  private(set) var waitingCount = 0
  /// Whether the server has to prove that it has an acknowledgement.
  private(set) var awaitsProof = false
  private var connected = Instant(milliseconds: 0)

  /// Says what a delivery of QoS 1 is. All but a new one is noted by this.
  mutating func judge(packetIdentifier: UInt16, isDuplicate: Bool, digest: UInt32, _ now: Instant) -> Delivery {
    for index in 0..<count where !entries[index].isWaiting {
      let entry = entries[index]
      // Whoever uses an identifier anew has the acknowledgement of the message that had it [MQTT-2.3.1-3].
      if isDuplicate
        ? entry.mark == 0 && now > entry.taken + AgentLimits.redeliveryMax
        : entry.packetIdentifier == packetIdentifier
      {
        end(index)
      }
    }
    guard isDuplicate, let index = index(of: packetIdentifier, digest) else { return .new }
    let isEarlier = entries[index].isEarlier
    entries[index].packetIdentifier = packetIdentifier
    entries[index].isEarlier = false
    if entries[index].isWaiting { return .waiting }
    if !isEarlier { return .copy }
    entries[index].mark = RecentCommands.unwritten
    return .repetition
  }

  private func index(of packetIdentifier: UInt16, _ digest: UInt32) -> Int? {
    var found: Int?
    for index in 0..<count where entries[index].digest == digest {
      if entries[index].packetIdentifier == packetIdentifier { return index }
      // Some servers (RabbitMQ) count anew on each connection, although [MQTT-4.4.0-1] says otherwise.
      if found == nil, entries[index].isEarlier, entries[index].mark != 0 { found = index }
    }
    return found
  }

  /// Remembers a new command. `next` is the token of the next message, unless the acknowledgement is still to be
  /// written.
  mutating func note(packetIdentifier: UInt16, digest: UInt32, isWaiting: Bool, next: UInt64?, _ now: Instant) {
    if count == RecentCommands.countMax { removeOldestTaken() }
    let mark = packetIdentifier == 0 ? 0 : next ?? RecentCommands.unwritten
    entries[count] = Entry(
      packetIdentifier: packetIdentifier, isWaiting: isWaiting, digest: digest, mark: mark, taken: now)
    count += 1
    if isWaiting { waitingCount += 1 }
    awaitsProof = true
  }

  /// The command that has waited longest is taken.
  ///
  /// - Returns: the packet identifier to acknowledge; 0 where there is none on this connection.
  mutating func takeWaiting(_ now: Instant) -> UInt16 {
    for index in 0..<count where entries[index].isWaiting {
      waitingCount -= 1
      entries[index].isWaiting = false
      entries[index].taken = now
      return entries[index].isEarlier ? 0 : entries[index].packetIdentifier
    }
    preconditionFailure("no command waits")
  }

  /// A connection begins. Where the server has no session of ours, it has forgotten all that it delivered.
  mutating func beginConnection(isNewSession: Bool, _ now: Instant) {
    connected = now
    for index in 0..<count {
      entries[index].isEarlier = true
      if isNewSession { end(index) }
    }
  }

  /// The server has answered the message with `token`. `next` is the token of the next message, unless acknowledgements
  /// are still to be written.
  @inline(never)  // beside the answers that prove nothing
  mutating func noteAnswer(token: UInt64, next: UInt64?, _ now: Instant) {
    awaitsProof = false
    // What has not come again by now will not.
    let isLate = now > connected + AgentLimits.redeliveryMax
    for index in 0..<count where entries[index].mark != 0 {
      if entries[index].isWaiting {
        awaitsProof = true
      } else if entries[index].isEarlier {
        if isLate { end(index) } else { awaitsProof = true }
      } else if entries[index].mark <= token {
        entries[index].mark = 0
      } else {
        awaitsProof = true
        if entries[index].mark == RecentCommands.unwritten, let next { entries[index].mark = next }
      }
    }
  }

  /// Nothing that comes is that command any more; it may go on waiting.
  private mutating func end(_ index: Int) {
    entries[index].packetIdentifier = 0
    entries[index].mark = 0
  }

  private mutating func removeOldestTaken() {
    var index = 0
    while entries[index].isWaiting { index += 1 }
    count -= 1
    for later in index..<count { entries[later] = entries[later + 1] }
  }

  /// FNV-1a. An accident is what it guards against, not an adversary: the server could send any command anyway.
  static func digest(topic: Span<UInt8>, payload: Span<UInt8>) -> UInt32 {
    var digest: UInt32 = 0x811C_9DC5
    for index in topic.indices { digest = (digest ^ UInt32(topic[index])) &* 0x0100_0193 }
    for index in payload.indices { digest = (digest ^ UInt32(payload[index])) &* 0x0100_0193 }
    return digest
  }
}
