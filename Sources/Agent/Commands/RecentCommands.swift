// Commands arrive at least once. A command whose acknowledgement was lost comes again, marked as a duplicate, and must
// not be carried out again.

import Bytes

/// Remembers the last commands of this session by packet identifier and content.
struct RecentCommands: Sendable {
  /// How many are remembered: more than a server has unacknowledged towards a device (10 on the platform, 20 with
  /// Mosquitto, 32 with EMQX). With fewer, a whole window that comes again would be carried out again.
  static var countMax: Int { Entries.count }

  private struct Entry: BitwiseCopyable {
    var packetIdentifier: UInt16 = 0  // 0 is no identifier: a free entry
    var digest: UInt64 = 0
  }

  private typealias Entries = InlineArray<64, Entry>

  private var entries = Entries(repeating: Entry())
  private var next = 0

  /// Notes a command; says whether it is a redelivery of one that is remembered.
  mutating func isRedelivery(packetIdentifier: UInt16, isDuplicate: Bool, topic: Span<UInt8>, payload: Span<UInt8>)
    -> Bool
  {
    let digest = contentDigest(topic, payload)
    if isDuplicate {
      for index in entries.indices
      where entries[index].packetIdentifier == packetIdentifier && entries[index].digest == digest { return true }
    }
    entries[next] = Entry(packetIdentifier: packetIdentifier, digest: digest)
    next = (next + 1) % RecentCommands.countMax
    return false
  }

  /// The server has no session of ours: identifiers start anew.
  mutating func removeAll() {
    for index in entries.indices { entries[index] = Entry() }
  }

  /// FNV-1a. An accident is what it guards against, not an adversary: the server could send any command anyway.
  private func contentDigest(_ topic: Span<UInt8>, _ payload: Span<UInt8>) -> UInt64 {
    var digest: UInt64 = 0xCBF2_9CE4_8422_2325
    for index in topic.indices { digest = (digest ^ UInt64(topic[index])) &* 0x100_0000_01B3 }
    for index in payload.indices { digest = (digest ^ UInt64(payload[index])) &* 0x100_0000_01B3 }
    return digest
  }
}
