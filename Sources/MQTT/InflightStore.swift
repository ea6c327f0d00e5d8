// The messages that we have published with QoS 1 or 2 and that the server has not confirmed yet.

import Bytes

/// One message in flight. Its PUBLISH packet is in the store, behind those of all earlier messages.
struct InflightMessage: BitwiseCopyable {
  /// The publisher's name for the message.
  let token: UInt64
  /// Bytes of its PUBLISH packet.
  let byteCount: Int
  let packetIdentifier: UInt16
  /// Never `none`.
  var state: PublishState
  /// Whether the current session may have seen the PUBLISH: only then is a repetition marked as one.
  var mayHaveBeenSent: Bool
}

/// Messages in flight in the order in which they were published, bounded in number and bytes.
///
/// The packets lie one behind the other in one buffer. Acknowledgements usually come in order, and then removing costs
/// nothing; otherwise the later packets move down. A QoS 2 message keeps its packet until PUBCOMP although it is not
/// needed after PUBREC as long as the session lives: where the server loses the session in between, it may have lost
/// the message as well (it need not pass it on before PUBREL, figure 4.3), and then the message goes out anew.
struct InflightStore: ~Copyable {
  private var messages: FixedArray<InflightMessage>
  private var packets: ByteBuffer

  init(messagesMax: Int, bytesMax: Int, in arena: inout Arena) {
    messages = FixedArray<InflightMessage>(capacity: messagesMax, for: "mqtt in flight", in: &arena)
    packets = ByteBuffer(capacity: bytesMax, for: "mqtt in flight", in: &arena)
  }

  var count: Int { messages.count }

  subscript(index: Int) -> InflightMessage {
    get { messages[index] }
    set { messages[index] = newValue }
  }

  func hasRoom(byteCount: Int) -> Bool {
    messages.count < messages.capacity && byteCount <= packets.freeCount
  }

  /// Which message has `packetIdentifier`. Looks at `count` messages at most, the oldest first.
  func index(of packetIdentifier: UInt16) -> Int? {
    for index in 0..<messages.count where messages[index].packetIdentifier == packetIdentifier { return index }
    return nil
  }

  /// Adds a message, and copies its packet to `output`; the caller has checked that both have room.
  @inline(__always)
  mutating func append(
    flags: UInt8, size: PublishSize, topic: Span<UInt8>, packetIdentifier: UInt16, payload: Span<UInt8>,
    token: UInt64, copyTo output: inout ByteBuffer
  ) {
    let start = packets.count
    packets.appendPublish(
      flags: flags, size: size, topic: topic, packetIdentifier: packetIdentifier, payload: payload)
    output.append(packets.span.extracting(start..<packets.count))
    let isListed = messages.append(
      InflightMessage(
        token: token, byteCount: packets.count - start, packetIdentifier: packetIdentifier,
        state: PublishState(flags: flags), mayHaveBeenSent: true))
    precondition(isListed && !packets.hasOverflowed)
  }

  /// Removes the message at `index`; its packet identifier is free from now on [MQTT-2.3.1-3].
  mutating func remove(at index: Int) {
    if index == 0 {
      packets.removeFirst(messages[0].byteCount)
    } else {
      packets.remove(packetRange(at: index))
    }
    messages.remove(at: index)
  }

  /// Copies the PUBLISH packet of the message at `index` to `output`, marked as a repetition if it may be one
  /// [MQTT-3.3.1-1]. False where `output` lacks room.
  mutating func copyPacket(at index: Int, to output: inout ByteBuffer) -> Bool {
    let range = packetRange(at: index)
    guard range.count <= output.freeCount else { return false }
    if messages[index].mayHaveBeenSent {
      packets[range.lowerBound] |= PublishFlags.duplicate
    } else {
      packets[range.lowerBound] &= ~PublishFlags.duplicate
    }
    output.append(packets.span.extracting(range))
    messages[index].mayHaveBeenSent = true
    return true
  }

  /// Where the packet of the message at `index` is. Adds up the packets in front of it.
  private func packetRange(at index: Int) -> Range<Int> {
    var start = 0
    for earlier in 0..<index { start += messages[earlier].byteCount }
    return start..<(start + messages[index].byteCount)
  }
}
