import Bytes
import TestSupport
import Testing

@testable import MQTT

/// What the server publishes to us.
@Suite struct InboundTests {
  @Test func qos0IsToldAndNotAnswered() throws {
    let harness = try Harness()
    try harness.connect()
    #expect(
      try harness.receive(publishPacket("a/b", [1, 0, 2], isRetained: true)) == [
        .message(topic: "a/b", payload: [1, 0, 2], qos: .atMostOnce, isRetained: true)
      ])
    #expect(harness.sent() == [])
  }

  /// [MQTT-4.3.2-2]: after PUBACK the same identifier is a new message, whatever DUP says.
  @Test func qos1IsToldEachTimeAndAcknowledged() throws {
    let harness = try Harness()
    try harness.connect()
    for isDuplicate in [false, true, false] {
      #expect(
        try harness.receive(publishPacket("a", [9], qos: .atLeastOnce, identifier: 513, isDuplicate: isDuplicate)) == [
          .message(topic: "a", payload: [9], qos: .atLeastOnce, isDuplicate: isDuplicate, packetIdentifier: 513)
        ])
      #expect(harness.sent() == answerPacket(.puback, 513))
    }
  }

  /// [MQTT-4.6.0-2]: PUBACKs go out in the order in which the messages came, whenever the owner acknowledges them.
  @Test func qos1IsAcknowledgedByHandInOrder() throws {
    var options = ClientOptions(cleanSession: false)
    options.acknowledgesByHand = true
    let harness = try Harness(options)
    try harness.connect()
    for identifier in [5, 6, 6, 7] as [UInt16] {
      let told = try harness.receive(publishPacket("a", [9], qos: .atLeastOnce, identifier: identifier))
      #expect(told.count == 1)
    }
    harness.client.acknowledge(7, now: harness.now)
    harness.client.acknowledge(6, now: harness.now)
    harness.client.acknowledge(99, now: harness.now)
    #expect(harness.sent() == [])
    // Answers of another kind need not wait.
    _ = try harness.receive(publishPacket("a", [9], qos: .exactlyOnce, identifier: 8))
    #expect(harness.sent() == answerPacket(.pubrec, 8))
    harness.client.acknowledge(5, now: harness.now)
    #expect(harness.sent() == [5, 6, 6, 7].flatMap { answerPacket(.puback, $0) })
    // What was told on an earlier connection is not acknowledged on this one.
    _ = try harness.receive(publishPacket("a", [9], qos: .atLeastOnce, identifier: 5))
    #expect(try harness.reconnect(sessionPresent: true) == [])
    harness.client.acknowledge(5, now: harness.now)
    #expect(harness.sent() == [])
  }

  @Test func acknowledgementsByHandWaitForRoom() throws {
    var options = ClientOptions(cleanSession: false)
    options.acknowledgesByHand = true
    let harness = try Harness(options, packetBytesMax: 256)
    try harness.connect()
    let count: UInt16 = 200
    for identifier in 1...count {
      _ = try harness.receive(publishPacket("a", [], qos: .atLeastOnce, identifier: identifier))
    }
    for identifier in 1...count { harness.client.acknowledge(identifier, now: harness.now) }
    #expect(harness.hasUnacknowledged)
    var written: [UInt8] = []
    while true {
      let more = harness.sent()
      if more.isEmpty { break }
      written += more
    }
    #expect(written == (1...count).flatMap { answerPacket(.puback, $0) })
    #expect(!harness.hasUnacknowledged)
  }

  /// [MQTT-4.3.3-2]
  @Test func qos2IsToldOnce() throws {
    let harness = try Harness()
    try harness.connect()
    let first = publishPacket("a", [9], qos: .exactlyOnce, identifier: 7)
    let again = publishPacket("a", [9], qos: .exactlyOnce, identifier: 7, isDuplicate: true)
    #expect(try harness.receive(first).count == 1)
    #expect(try harness.receive(again) == [])
    #expect(try harness.receive(first) == [])
    #expect(harness.sent() == answerPacket(.pubrec, 7) + answerPacket(.pubrec, 7) + answerPacket(.pubrec, 7))
    #expect(try harness.receive(answerPacket(.pubrel, 7)) == [])
    #expect(harness.sent() == answerPacket(.pubcomp, 7))
    // Released: the identifier names a new message from now on.
    #expect(try harness.receive(first).count == 1)
  }

  /// The identifiers of QoS 2 messages survive a reconnect with the session, and only with it.
  @Test func qos2IsToldOnceOverReconnects() throws {
    let harness = try Harness(ClientOptions(cleanSession: false))
    try harness.connect()
    let message = publishPacket("a", [9], qos: .exactlyOnce, identifier: 7, isDuplicate: true)
    #expect(try harness.receive(message).count == 1)
    _ = try harness.reconnect(sessionPresent: true)
    #expect(try harness.receive(message) == [])
    _ = try harness.reconnect(sessionPresent: false)
    #expect(try harness.receive(message).count == 1)
  }

  /// PUBREL is answered even when the message is unknown: our first PUBCOMP may have been lost.
  @Test func pubrelIsAlwaysAnswered() throws {
    let harness = try Harness()
    try harness.connect()
    #expect(try harness.receive(answerPacket(.pubrel, 3) + answerPacket(.pubrel, 3)) == [])
    #expect(harness.sent() == answerPacket(.pubcomp, 3) + answerPacket(.pubcomp, 3))
  }

  @Test func everyIdentifierCanBeInUseAtOnce() throws {
    let harness = try Harness()
    try harness.connect()
    for round in 0..<2 {
      for identifier in UInt16(1)...UInt16(65_535) {
        let told = try harness.receive(publishPacket("a", [], qos: .exactlyOnce, identifier: identifier))
        if told.count != (round == 0 ? 1 : 0) { Issue.record("\(identifier) in round \(round)") }
        _ = harness.sent()
      }
    }
    _ = try harness.receive(answerPacket(.pubrel, 65_535))
    #expect(try harness.receive(publishPacket("a", [], qos: .exactlyOnce, identifier: 65_535)).count == 1)
    #expect(try harness.receive(publishPacket("a", [], qos: .exactlyOnce, identifier: 65_534)).count == 0)
  }

  /// [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-4]
  @Test func answersGoOutInTheOrderOfThePackets() throws {
    let harness = try Harness()
    try harness.connect()
    try harness.publish("x", "", .exactlyOnce)
    try harness.publish("x", "", .exactlyOnce)
    _ = harness.sent()
    _ = try harness.receive(
      publishPacket("a", [], qos: .atLeastOnce, identifier: 9)
        + publishPacket("a", [], qos: .exactlyOnce, identifier: 3)
        + answerPacket(.pubrec, 2) + publishPacket("a", [], qos: .atLeastOnce, identifier: 4)
        + answerPacket(.pubrel, 3) + answerPacket(.pubrec, 1))
    #expect(
      try packets(in: harness.sent()) == [
        answerPacket(.puback, 9), answerPacket(.pubrec, 3), answerPacket(.pubrel, 2), answerPacket(.puback, 4),
        answerPacket(.pubcomp, 3), answerPacket(.pubrel, 1),
      ])
  }

  /// A full output stops reading instead of losing an acknowledgement.
  @Test func acknowledgementsWithoutRoomHoldThePacketBack() throws {
    let harness = try Harness(packetBytesMax: 128)
    try harness.connect()
    var sent: [UInt8] = []
    var told = 0
    for identifier in UInt16(1)...200 {
      told += try harness.receive(publishPacket("a", [], qos: .atLeastOnce, identifier: identifier)).count
      while harness.client.input.freeCount < 10 {
        sent += harness.sent()
        told += try harness.receive([]).count
      }
    }
    sent += harness.sent()
    told += try harness.receive([]).count
    sent += harness.sent()
    #expect(told == 200)
    #expect(try packets(in: sent) == (1...200).map { answerPacket(.puback, $0) })
  }

  // MARK: Packets larger than the input

  /// A message that does not fit is told without payload and acknowledged, or it would come again at every reconnect.
  @Test func tooLargeMessagesLoseTheirPayload() throws {
    for payloadCount in [240, 249, 250, 251, 300, 5000, 70_000] {
      for qos in [QoS.atMostOnce, .atLeastOnce, .exactlyOnce] {
        let harness = try Harness(packetBytesMax: 256)
        try harness.connect()
        let identifier: UInt16 = qos == .atMostOnce ? 0 : 77
        let payload = [UInt8](repeating: 5, count: payloadCount)
        let bytes = publishPacket("a", payload, qos: qos, identifier: identifier)
        let isTruncated = bytes.count > 256
        #expect(
          try harness.receive(bytes + [0xD0, 0]) == [
            .message(
              topic: "a", payload: isTruncated ? [] : payload, qos: qos, packetIdentifier: identifier,
              isTruncated: isTruncated), .event(.pingResponse),
          ], "\(payloadCount) \(qos)")
        #expect(
          harness.sent()
            == (qos == .atMostOnce ? [] : answerPacket(qos == .atLeastOnce ? .puback : .pubrec, identifier)))
      }
    }
  }

  /// A topic that does not fit is not told, but its message is acknowledged as well.
  @Test func tooLongTopicsAreSkipped() throws {
    for topicCount in [240, 247, 248, 249, 250, 251, 252, 253, 254, 255, 256, 300, 65_535] {
      for (qos, payloadCount) in [(QoS.atLeastOnce, 0), (.exactlyOnce, 1), (.atMostOnce, 1000), (.exactlyOnce, 300)] {
        let harness = try Harness(packetBytesMax: 256)
        try harness.connect()
        let topic = String(repeating: "t", count: topicCount)
        let bytes = publishPacket(
          topic, [UInt8](repeating: 1, count: payloadCount), qos: qos, identifier: qos == .atMostOnce ? 0 : 3)
        let told = try harness.receive(bytes + [0xD0, 0])
        guard told.count == 2,
          case .message(let toldTopic, let payload, _, _, _, let identifier, let isTruncated) = told[0]
        else {
          Issue.record("\(topicCount) \(qos): \(told)")
          continue
        }
        #expect(isTruncated == (bytes.count > 256))
        #expect(toldTopic == topic || (isTruncated && toldTopic.isEmpty))
        #expect(!isTruncated || payload.isEmpty)
        #expect(identifier == (qos == .atMostOnce ? 0 : 3))
        #expect(harness.sent().count == (qos == .atMostOnce ? 0 : 4))
      }
    }
  }

  /// Told once with QoS 2, also when it is too large.
  @Test func tooLargeMessagesAreToldOnceWithQoS2() throws {
    let harness = try Harness(packetBytesMax: 256)
    try harness.connect()
    let bytes = publishPacket("a", [UInt8](repeating: 5, count: 900), qos: .exactlyOnce, identifier: 7)
    #expect(try harness.receive(bytes).count == 1)
    #expect(try harness.receive(bytes) == [])
    #expect(harness.sent() == answerPacket(.pubrec, 7) + answerPacket(.pubrec, 7))
  }

  /// A cut in the middle of a too large message forgets it.
  @Test func aCutInATooLargeMessageStartsOver() throws {
    let harness = try Harness(ClientOptions(cleanSession: false), packetBytesMax: 256)
    try harness.connect()
    let bytes = publishPacket("a", [UInt8](repeating: 5, count: 900), qos: .atLeastOnce, identifier: 7)
    #expect(try harness.receive(Array(bytes.prefix(500))) == [])
    #expect(try harness.reconnect(sessionPresent: true) == [])
    #expect(try harness.receive(bytes).count == 1)
  }

  @Test func tooLargePacketsAreCheckedAsWell() throws {
    let body = [UInt8](repeating: 0x61, count: 400)
    let cases: [([UInt8], PeerFault)] = [
      (packet(0x30, field("#") + body), .topicHasWildcard), (packet(0x30, [0, 0] + body), .topicEmpty),
      (packet(0x32, field("a") + [0, 0] + body), .packetIdentifierZero),
      (packet(0x30, [0xFF, 0xFF] + body), .lengthMismatch),
      (packet(0x32, [1, 0x8F] + body), .lengthMismatch),
      (packet(0x32, [1, 0x2C] + [UInt8](repeating: 0x61, count: 300) + [0, 0, 1, 1]), .packetIdentifierZero),
      (packet(0x36, field("a") + body), .publishQoSReserved), (packet(0x90, [0, 1] + body), .packetTooLarge),
      (packet(0x20, body), .packetTooLarge), ([0x40, 0xFF, 0xFF, 0xFF, 0x7F], .packetTooLarge),
    ]
    for (bytes, fault) in cases {
      let harness = try Harness(packetBytesMax: 256)
      try harness.connect()
      #expect(throws: fault) { try harness.receive(bytes) }
    }
  }

  // MARK: Splits

  private let stream: [UInt8] =
    [0x20, 2, 0, 0] + publishPacket("a/b", [1, 2, 3], qos: .atLeastOnce, identifier: 1) + [0xD0, 0]
    + publishPacket("b", [UInt8](repeating: 8, count: 300), qos: .exactlyOnce, identifier: 2)
    + answerPacket(.pubrel, 2) + publishPacket("c", [])
    + publishPacket(
      String(repeating: "t", count: 400), [7], qos: .atLeastOnce, identifier: 300)
    + publishPacket("c", [UInt8](repeating: 8, count: 130)) + answerPacket(.pubrec, 9) + [0xD0, 0]

  private func outcome(_ parts: [[UInt8]]) throws -> ([Told], [UInt8]) {
    let harness = try Harness(packetBytesMax: 256)
    try harness.open()
    var told: [Told] = []
    for part in parts { told += try harness.receive(part) }
    return (told, harness.sent())
  }

  @Test func splittingAtEveryByteChangesNothing() throws {
    let whole = try outcome([stream])
    #expect(whole.0.count == 8)
    for place in 1..<stream.count {
      let split = try outcome([Array(stream.prefix(place)), Array(stream.dropFirst(place))])
      #expect(split.0 == whole.0 && split.1 == whole.1, "split at \(place)")
    }
    let single = try outcome(stream.map { [$0] })
    #expect(single.0 == whole.0 && single.1 == whole.1, "one byte at a time")
    for size in [2, 3, 5, 7, 11, 64, 255, 256, 257] {
      let parts = stride(from: 0, to: stream.count, by: size).map { Array(stream[$0..<min($0 + size, stream.count)]) }
      let split = try outcome(parts)
      #expect(split.0 == whole.0 && split.1 == whole.1, "\(size) bytes at a time")
    }
  }

  /// What is sent does not depend on how it is taken off the output.
  @Test func partialWritesChangeNothing() throws {
    func sent(step: Int) throws -> [UInt8] {
      let harness = try Harness(ClientOptions(cleanSession: false), packetBytesMax: 256)
      try harness.connect()
      var bytes: [UInt8] = []
      for index in 0..<40 {
        while true {
          do throws(PublishRefusal) {
            try harness.publish(
              "t/\(index)", String(repeating: "y", count: index * 5), index % 2 == 0 ? .atMostOnce : .atLeastOnce)
            break
          } catch {
            let part = Array(harness.client.outputBytes().prefix(step))
            harness.client.removeSent(part.count, now: harness.now)
            bytes += part
            if part.isEmpty {
              _ = try harness.receive(answerPacket(.puback, UInt16((index - harness.inflightCount * 2) / 2 + 1)))
            }
          }
        }
        if harness.inflightCount > 2 { _ = try harness.receive(answerPacket(.puback, UInt16(index / 2 - 1))) }
      }
      return bytes + harness.sent()
    }
    let whole = try sent(step: 1000)
    #expect(try packets(in: whole).count == 40)
    for step in [1, 2, 3, 7, 50] { #expect(try sent(step: step) == whole) }
  }
}
