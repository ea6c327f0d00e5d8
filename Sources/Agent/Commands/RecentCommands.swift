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

  private struct Entry: BitwiseCopyable {
    /// 0 is none: a command of QoS 0 or 2 that waits, or one of a session that is over.
    var packetIdentifier: UInt16 = 0
    var digest: UInt32 = 0
    var isWaiting = false
    /// Whether it came on the present connection.
    var isPresent = true
    /// The answer to a message with this token, or a later one, proves that the server has the acknowledgement; 0 when
    /// it is proved, or none is owed.
    var mark = RecentCommands.unwritten
    /// When it was taken.
    var taken = Instant(milliseconds: 0)
  }

  private typealias Entries = InlineArray<64, Entry>
  /// The mark while the acknowledgement is not on its way.
  private static var unwritten: UInt64 { .max }

  private var entries = Entries(repeating: Entry())
  /// How many are remembered, the oldest first.
  private(set) var count = 0
  private(set) var waitingCount = 0
  private var connected = Instant(milliseconds: 0)

  /// Says what a delivery of QoS 1 is. All but a new one is noted by this.
  mutating func judge(packetIdentifier: UInt16, isDuplicate: Bool, digest: UInt32, _ now: Instant) -> Delivery {
    guard isDuplicate else {
      // Whoever uses an identifier anew has the acknowledgement of the message that had it [MQTT-2.3.1-3].
      removeTaken { $0.packetIdentifier == packetIdentifier }
      return .new
    }
    removeTaken { $0.mark == 0 && now > $0.taken + AgentLimits.redeliveryMax }
    guard let index = index(of: packetIdentifier, digest) else { return .new }
    let isPresent = entries[index].isPresent
    entries[index].packetIdentifier = packetIdentifier
    entries[index].isPresent = true
    if entries[index].isWaiting { return .waiting }
    if isPresent { return .copy }
    entries[index].mark = RecentCommands.unwritten
    return .repetition
  }

  private func index(of packetIdentifier: UInt16, _ digest: UInt32) -> Int? {
    for index in 0..<count
    where entries[index].packetIdentifier == packetIdentifier && entries[index].digest == digest { return index }
    // Some servers (RabbitMQ) count anew on each connection, although [MQTT-4.4.0-1] says otherwise.
    for index in 0..<count
    where entries[index].digest == digest && !entries[index].isPresent && entries[index].mark != 0 { return index }
    return nil
  }

  /// Remembers a new command. `next` is the token of the next message, unless the acknowledgement is still to be
  /// written.
  mutating func note(packetIdentifier: UInt16, digest: UInt32, isWaiting: Bool, next: UInt64?, _ now: Instant) {
    if count == RecentCommands.countMax { removeOldestTaken() }
    let mark = packetIdentifier == 0 ? 0 : next ?? RecentCommands.unwritten
    entries[count] = Entry(
      packetIdentifier: packetIdentifier, digest: digest, isWaiting: isWaiting, mark: mark, taken: now)
    count += 1
    if isWaiting { waitingCount += 1 }
  }

  /// The command that has waited longest is taken.
  ///
  /// - Returns: the packet identifier to acknowledge; 0 where there is none on this connection.
  mutating func takeWaiting(_ now: Instant) -> UInt16 {
    for index in 0..<count where entries[index].isWaiting {
      waitingCount -= 1
      let entry = entries[index]
      guard entry.packetIdentifier > 0 else {
        remove(at: index)
        return 0
      }
      entries[index].isWaiting = false
      entries[index].taken = now
      return entry.isPresent ? entry.packetIdentifier : 0
    }
    preconditionFailure("no command waits")
  }

  /// A connection begins. Where the server has no session of ours, it has forgotten all that it delivered.
  mutating func beginConnection(isNewSession: Bool, _ now: Instant) {
    connected = now
    if isNewSession { removeTaken { _ in true } }
    for index in 0..<count {
      entries[index].isPresent = false
      guard isNewSession else { continue }
      entries[index].packetIdentifier = 0
      entries[index].mark = 0
    }
  }

  /// The server has answered the message with `token`. `next` is the token of the next message, unless acknowledgements
  /// are still to be written.
  mutating func noteAnswer(token: UInt64, next: UInt64?, _ now: Instant) {
    for index in 0..<count where entries[index].isPresent && !entries[index].isWaiting {
      if entries[index].mark <= token {
        entries[index].mark = 0
      } else if entries[index].mark == RecentCommands.unwritten, let next {
        entries[index].mark = next
      }
    }
    // What has not come again by now will not.
    if now > connected + AgentLimits.redeliveryMax { removeTaken { !$0.isPresent } }
  }

  private mutating func removeOldestTaken() {
    for index in 0..<count where !entries[index].isWaiting { return remove(at: index) }
    preconditionFailure("more commands wait than may")
  }

  @inline(never)  // small code
  private mutating func removeTaken(where isOver: (Entry) -> Bool) {
    for index in stride(from: count - 1, through: 0, by: -1) where !entries[index].isWaiting && isOver(entries[index]) {
      remove(at: index)
    }
  }

  private mutating func remove(at index: Int) {
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
