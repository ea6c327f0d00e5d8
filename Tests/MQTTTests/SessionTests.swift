import Bytes
import TestSupport
import Testing

@testable import MQTT

private let durable = ClientOptions(cleanSession: false)

/// What we publish with QoS 1 and 2, over acknowledgements and reconnects; each rule one test.
@Suite struct SessionTests {
  /// [MQTT-4.3.1-1], [MQTT-2.3.1-5]
  @Test func qos0IsWrittenOnceWithoutIdentifier() throws {
    let harness = try Harness(durable)
    try harness.connect()
    try harness.publish("a/b", "x", .atMostOnce, isRetained: true)
    #expect(harness.sent() == publishPacket("a/b", [0x78], isRetained: true))
    #expect(harness.inflightCount == 0)
    #expect(try harness.reconnect(sessionPresent: true) == [])
  }

  /// [MQTT-4.3.2-1]
  @Test func qos1IsHeldUntilPuback() throws {
    let harness = try Harness(durable)
    try harness.connect()
    try harness.publish("a", "x", .atLeastOnce, token: 77)
    #expect(harness.sent() == publishPacket("a", [0x78], qos: .atLeastOnce, identifier: 1))
    #expect(harness.inflightCount == 1)
    #expect(try harness.receive(answerPacket(.puback, 1)) == [.event(.acknowledged(token: 77))])
    #expect(harness.inflightCount == 0)
    #expect(harness.sent() == [])
    #expect(try harness.reconnect(sessionPresent: true) == [])
  }

  /// [MQTT-4.3.3-1]
  @Test func qos2GoesThroughPubrecAndPubcomp() throws {
    let harness = try Harness(durable)
    try harness.connect()
    try harness.publish("a", "x", .exactlyOnce, token: 5)
    #expect(harness.sent() == publishPacket("a", [0x78], qos: .exactlyOnce, identifier: 1))
    #expect(try harness.receive(answerPacket(.pubrec, 1)) == [])
    #expect(harness.sent() == answerPacket(.pubrel, 1))
    #expect(harness.inflightCount == 1)
    #expect(try harness.receive(answerPacket(.pubcomp, 1)) == [.event(.acknowledged(token: 5))])
    #expect(harness.inflightCount == 0)
  }

  /// [MQTT-4.4.0-1], [MQTT-3.3.1-1], [MQTT-2.3.1-3], [MQTT-4.6.0-1]: same identifiers and order, DUP, PUBREL where due.
  @Test func aPresentSessionIsResumed() throws {
    let harness = try Harness(durable)
    try harness.connect()
    try harness.publish("a", "1", .atLeastOnce)
    try harness.publish("b", "2", .exactlyOnce)
    try harness.publish("c", "3", .exactlyOnce)
    try harness.publish("d", "4", .atLeastOnce)
    _ = try harness.receive(answerPacket(.pubrec, 2))
    _ = harness.sent()
    #expect(
      try packets(in: harness.reconnect(sessionPresent: true)) == [
        publishPacket("a", [0x31], qos: .atLeastOnce, identifier: 1, isDuplicate: true),
        answerPacket(.pubrel, 2),
        publishPacket("c", [0x33], qos: .exactlyOnce, identifier: 3, isDuplicate: true),
        publishPacket("d", [0x34], qos: .atLeastOnce, identifier: 4, isDuplicate: true),
      ])
    // And again, should that connection break as well.
    #expect(try packets(in: harness.reconnect(sessionPresent: true)).count == 4)
  }

  /// A durable session that the server has lost: everything in flight goes out as new, QoS 2 from its beginning.
  @Test func aLostSessionIsBegunAnew() throws {
    let harness = try Harness(durable)
    try harness.connect()
    try harness.publish("a", "1", .atLeastOnce)
    try harness.publish("b", "2", .exactlyOnce)
    _ = try harness.receive(answerPacket(.pubrec, 2))
    // Once with DUP, so that it has to be taken back.
    _ = try harness.reconnect(sessionPresent: true)
    #expect(
      try packets(in: harness.reconnect(sessionPresent: false)) == [
        publishPacket("a", [0x31], qos: .atLeastOnce, identifier: 1),
        publishPacket("b", [0x32], qos: .exactlyOnce, identifier: 2),
      ])
    #expect(try harness.receive(answerPacket(.puback, 1)).count == 1)
    #expect(try harness.receive(answerPacket(.pubrec, 2)).count == 0)
    #expect(try harness.receive(answerPacket(.pubcomp, 2)).count == 1)
    #expect(harness.inflightCount == 0)
  }

  /// [MQTT-3.1.2-6]: with clean sessions every connection is a new one; nothing in flight is lost by that.
  @Test func cleanSessionsSendWhatIsInFlightAsNew() throws {
    let harness = try Harness(ClientOptions(cleanSession: true))
    try harness.connect()
    try harness.publish("a", "1", .atLeastOnce, token: 8)
    #expect(
      try harness.reconnect(sessionPresent: false) == publishPacket("a", [0x31], qos: .atLeastOnce, identifier: 1))
    #expect(try harness.receive(answerPacket(.puback, 1)) == [.event(.acknowledged(token: 8))])
  }

  /// DUP says that there was an earlier attempt: not for what the cut-off connection had no room to write.
  @Test func dupIsOnlySetOnWhatMayHaveBeenSent() throws {
    let harness = try Harness(ClientOptions(cleanSession: false, inflightBytesMax: 1000), packetBytesMax: 256)
    try harness.connect()
    let text = String(repeating: "x", count: 200)
    for _ in 0..<3 {
      try harness.publish("a", text, .atLeastOnce)
      _ = harness.sent()
    }
    // The new session has room for the first only.
    harness.client.linkClosed()
    try harness.open()
    _ = try harness.receive([0x20, 2, 0, 0])
    #expect(try packets(in: harness.client.outputBytes()).map(\.first) == [0x32])
    // Behind two connections without an answer the oldest goes out alone, behind a ping.
    #expect(try harness.reconnect(sessionPresent: true) == [0xC0, 0])
    _ = try harness.receive([0xD0, 0])
    #expect(try packets(in: harness.sent()).map(\.first) == [0x3A])
    _ = try harness.receive(answerPacket(.puback, 1))
    var rest: [UInt8] = []
    while case let more = harness.sent(), !more.isEmpty { rest += more }
    #expect(try packets(in: rest).map(\.first) == [0x32, 0x32])
  }

  /// Nothing is sent again while the connection lasts, however long it takes (section 4.4).
  @Test func nothingIsResentWithinAConnection() throws {
    let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: false))
    try harness.connect()
    try harness.publish("a", "1", .atLeastOnce)
    _ = harness.sent()
    harness.wait(.seconds(59))
    try harness.tick()
    #expect(harness.sent() == [])
  }

  /// [MQTT-4.6.0-1]: new publishes wait until everything earlier has been sent again.
  @Test func newPublishesQueueBehindTheResentOnes() throws {
    let harness = try Harness(ClientOptions(cleanSession: false, inflightBytesMax: 1000), packetBytesMax: 256)
    try harness.connect()
    let text = String(repeating: "x", count: 200)
    for _ in 0..<3 {
      try harness.publish("a", text, .atLeastOnce)
      _ = harness.sent()
    }
    harness.client.linkClosed()
    try harness.open()
    _ = try harness.receive([0x20, 2, 1, 0])
    #expect(throws: PublishRefusal.windowFull) { try harness.publish("b", "", .atLeastOnce) }
    var sent: [UInt8] = []
    while case let more = harness.sent(), !more.isEmpty { sent += more }
    try harness.publish("b", "", .atLeastOnce)
    sent += harness.sent()
    var topics = ""
    for packet in try packets(in: sent) {
      guard case .publish(let publish) = try decode(packet) else { throw PeerFault.lengthMismatch }
      topics += Array(packet[publish.topic]).text
    }
    #expect(topics == "aaab")
  }

  @Test func theWindowIsNeverExceeded() throws {
    for window in [1, 2, 10] {
      let harness = try Harness(ClientOptions(cleanSession: false, inflightMax: window))
      try harness.connect()
      for _ in 0..<window { try harness.publish("a", "1", .exactlyOnce) }
      #expect(throws: PublishRefusal.windowFull) { try harness.publish("a", "1", .atLeastOnce) }
      #expect(harness.inflightCount == window)
      // QoS 0 has no window.
      try harness.publish("a", "1", .atMostOnce)
      // PUBREC does not open the window, PUBCOMP does.
      _ = try harness.receive(answerPacket(.pubrec, 1))
      #expect(throws: PublishRefusal.windowFull) { try harness.publish("a", "1", .atLeastOnce) }
      _ = try harness.receive(answerPacket(.pubcomp, 1))
      try harness.publish("a", "1", .atLeastOnce)
    }
  }

  @Test func theWindowIsBoundedInBytesToo() throws {
    let harness = try Harness(ClientOptions(cleanSession: false, inflightBytesMax: 300), packetBytesMax: 256)
    try harness.connect()
    try harness.publish("a", String(repeating: "x", count: 180), .atLeastOnce)
    _ = harness.sent()
    #expect(throws: PublishRefusal.windowFull) {
      try harness.publish("a", String(repeating: "x", count: 180), .atLeastOnce)
    }
    try harness.publish("a", String(repeating: "x", count: 90), .atLeastOnce)
  }

  @Test func packetsLargerThanTheLimitAreRefusedForGood() throws {
    let harness = try Harness(packetBytesMax: 256)
    try harness.connect()
    // 256 = fixed header 3 + topic 3 + identifier 2 + payload 248.
    #expect(throws: PublishRefusal.tooLarge) {
      try harness.publish("a", String(repeating: "x", count: 249), .atLeastOnce)
    }
    #expect(!harness.fits(250, .atLeastOnce))
    #expect(harness.fits(249, .atLeastOnce))
    try harness.publish("a", String(repeating: "x", count: 248), .atLeastOnce)
    #expect(harness.sent().count == 256)
  }

  @Test func invalidTopicsAreRefused() throws {
    let harness = try Harness()
    try harness.connect()
    for topic in ["", "a/+", "#", "a\0"] {
      #expect(throws: PublishRefusal.topicInvalid) { try harness.publish(topic, "x", .atMostOnce) }
      #expect(throws: PublishRefusal.topicInvalid) { try harness.publish(topic, "x", .exactlyOnce) }
    }
    #expect(harness.sent() == [] && harness.inflightCount == 0)
  }

  @Test func aTopicNameIsWhatPublishTakes() {
    for (topic, isName) in [
      ("", false), ("a/+", false), ("#", false), ("a\0", false), ("a", true), ("iot-2/evt/status/fmt/json", true),
      (String(repeating: "t", count: 65_535), true), (String(repeating: "t", count: 65_536), false),
    ] {
      let bytes = [UInt8](topic.utf8)
      if let name = TopicName(bytes.span) {
        let isSame = Array(name.bytes) == bytes
        #expect(isName && isSame)
      } else {
        #expect(!isName)
      }
    }
  }

  /// [MQTT-2.3.1-1], [MQTT-2.3.1-2]: 1...65535, never 0, never one in use.
  @Test func packetIdentifiersSkipZeroAndThoseInUse() throws {
    let harness = try Harness(ClientOptions(cleanSession: false, firstPacketIdentifier: 65_534))
    try harness.connect()
    var identifiers: [UInt16] = []
    for _ in 0..<4 {
      try harness.publish("a", "", .atLeastOnce)
      identifiers.append(UInt16(harness.sent().suffix(2).reduce(0) { $0 << 8 | Int($1) }))
    }
    #expect(identifiers == [65_534, 65_535, 1, 2])
    let subscription = try #require(harness.subscribe("a", .atMostOnce))
    #expect(subscription == 3)
    _ = harness.sent()
    // Once around: all but the five in use come, in order.
    _ = try harness.receive(answerPacket(.puback, 65_535))
    var expected: UInt16 = 4
    for _ in 0..<65_535 {
      try harness.publish("a", "", .atLeastOnce)
      let bytes = harness.sent()
      let identifier = UInt16(bytes[bytes.count - 2]) << 8 | UInt16(bytes[bytes.count - 1])
      if expected == 65_534 { expected = 65_535 }
      if identifier != expected {
        Issue.record("\(identifier) instead of \(expected)")
        return
      }
      _ = try harness.receive(answerPacket(.puback, identifier))
      expected = expected == 65_535 ? 4 : expected + 1
    }
  }

  /// The identifier is free again only after PUBCOMP [MQTT-2.3.1-3].
  @Test func identifiersStayInUseUntilPubcomp() throws {
    let harness = try Harness(ClientOptions(cleanSession: false, inflightMax: 2))
    try harness.connect()
    try harness.publish("a", "", .exactlyOnce)
    _ = try harness.receive(answerPacket(.pubrec, 1))
    _ = harness.sent()
    for _ in 0..<65_534 {
      try harness.publish("a", "", .atLeastOnce)
      let bytes = harness.sent()
      let identifier = UInt16(bytes[bytes.count - 2]) << 8 | UInt16(bytes[bytes.count - 1])
      if identifier == 1 { Issue.record("identifier 1 was given away while its PUBREL is unacknowledged") }
      _ = try harness.receive(answerPacket(.puback, identifier))
    }
  }

  /// Answers that come in another order (QoS 1 and 2 mixed) leave the others' packets whole.
  @Test func answersMayComeInAnyOrder() throws {
    let harness = try Harness(durable)
    try harness.connect()
    for index in 0..<10 {
      try harness.publish(
        "t\(index)", String(repeating: "\(index)", count: index * 7), .atLeastOnce, token: UInt64(index))
      _ = harness.sent()
    }
    for identifier in [4, 10, 1, 7, 2] as [UInt16] {
      #expect(
        try harness.receive(answerPacket(.puback, identifier)) == [
          .event(.acknowledged(token: UInt64(identifier) - 1))
        ])
    }
    let expected = [2, 4, 5, 7, 8].map { index in
      publishPacket(
        "t\(index)", String(repeating: "\(index)", count: index * 7).utf8Array, qos: .atLeastOnce,
        identifier: UInt16(index + 1), isDuplicate: true)
    }
    #expect(try packets(in: harness.reconnect(sessionPresent: true)) == expected)
  }

  /// An answer for something already finished is no reason to end a connection.
  @Test func strayAnswersAreIgnored() throws {
    let harness = try Harness(durable)
    try harness.connect()
    #expect(try harness.receive(answerPacket(.puback, 7) + answerPacket(.pubcomp, 7)) == [])
    #expect(harness.sent() == [])
    // [MQTT-4.3.3-1]: PUBREC is answered by PUBREL; so a server that kept more of the session than we gets rid of it.
    #expect(try harness.receive(answerPacket(.pubrec, 7)) == [])
    #expect(harness.sent() == answerPacket(.pubrel, 7))
  }

  /// [MQTT-3.3.4-1]
  @Test func answersOfAnotherQualityAreFaults() throws {
    for (qos, answer) in [(QoS.atLeastOnce, PacketType.pubrec), (.atLeastOnce, .pubcomp), (.exactlyOnce, .pubcomp)] {
      let harness = try Harness(durable)
      try harness.connect()
      try harness.publish("a", "x", qos)
      #expect(throws: PeerFault.answerOfWrongKind) { try harness.receive(answerPacket(answer, 1)) }
      #expect(harness.inflightCount == 1, "still held")
    }
  }

  /// RabbitMQ answers QoS 2 with PUBACK: what it can do is found out, and said once.
  @Test func qos2FallsTo1WhereTheServerKnowsNone() throws {
    let harness = try Harness(durable)
    try harness.connect()
    for _ in 0..<2 { try harness.publish("a", "x", .exactlyOnce) }
    #expect(harness.sent().first == 0x34)
    let told = try harness.receive(answerPacket(.puback, 1) + answerPacket(.puback, 2))
    #expect(told == [.event(.qosLowered), .event(.acknowledged(token: 0)), .event(.acknowledged(token: 0))])
    #expect(harness.inflightCount == 0)
    try harness.publish("a", "x", .exactlyOnce)
    #expect(harness.sent().first == 0x32)
    // What has been written at QoS 2 is sent again as it was, whatever comes of it.
    _ = try harness.reconnect(sessionPresent: false)
    try harness.publish("a", "x", .exactlyOnce)
    #expect(harness.sent().first == 0x32)
  }

  /// Before a message is sent again in a new session, the server cannot mean it.
  @Test func aNewSessionCannotAnswerWhatItHasNotSeen() throws {
    let harness = try Harness(ClientOptions(cleanSession: false, inflightBytesMax: 1000), packetBytesMax: 256)
    try harness.connect()
    let text = String(repeating: "x", count: 200)
    for _ in 0..<3 {
      try harness.publish("a", text, .atLeastOnce)
      _ = harness.sent()
    }
    harness.client.linkClosed()
    try harness.open()
    #expect(
      try harness.receive([0x20, 2, 0, 0] + answerPacket(.puback, 3)) == [.event(.connected(sessionPresent: false))])
    #expect(harness.inflightCount == 3)
  }

  /// A server that has half of an exchange would take the next message of the same identifier for this one.
  @Test func halfAnExchangeIsNotAbandoned() throws {
    for (options, isAbandoned) in [(durable, false), (ClientOptions(cleanSession: true), true)] {
      let harness = try Harness(options)
      try harness.connect()
      try harness.publish("poison", "x", .exactlyOnce, token: 41)
      harness.client.linkClosed()
      #expect((harness.abandonOldest() == 41) == isAbandoned)
    }
  }

  /// A resumed session may answer what it has, before that is sent again on this connection.
  @Test func aResumedSessionMayAnswerEarly() throws {
    let harness = try Harness(ClientOptions(cleanSession: false, inflightBytesMax: 1500), packetBytesMax: 256)
    try harness.connect()
    let text = String(repeating: "x", count: 200)
    for index in 0..<4 {
      try harness.publish("\(index)", text, .exactlyOnce, token: UInt64(index))
      _ = harness.sent()
    }
    harness.client.linkClosed()
    try harness.open()
    // There was room for the first only. Then the second is released, the third released and finished.
    _ = try harness.receive([0x20, 2, 1, 0])
    _ = try harness.receive(answerPacket(.pubrec, 2) + answerPacket(.pubrec, 3))
    #expect(try harness.receive(answerPacket(.pubcomp, 3)) == [.event(.acknowledged(token: 2))])
    var sent: [UInt8] = []
    while case let more = harness.sent(), !more.isEmpty { sent += more }
    let text200 = text.utf8Array
    #expect(
      try packets(in: sent) == [
        publishPacket("0", text200, qos: .exactlyOnce, identifier: 1, isDuplicate: true), answerPacket(.pubrel, 2),
        answerPacket(.pubrel, 3), answerPacket(.pubrel, 2),
        publishPacket("3", text200, qos: .exactlyOnce, identifier: 4, isDuplicate: true),
      ])
  }

  @Test func subscriptionsAreAnsweredOneByOne() throws {
    let harness = try Harness()
    try harness.connect()
    #expect(harness.subscribe("a/+", .exactlyOnce) == 1)
    #expect(harness.sent() == packet(0x82, [0, 1] + field("a/+") + [2]))
    #expect(harness.unsubscribe("b") == 2)
    #expect(harness.sent() == packet(0xA2, [0, 2] + field("b")))
    #expect(
      try harness.receive([0x90, 3, 0, 1, 0x80] + answerPacket(.unsuback, 2)) == [
        .event(.subscribed(packetIdentifier: 1, returnCode: 0x80)), .event(.unsubscribed(packetIdentifier: 2)),
      ])
  }

  @Test func subscriptionsAreRefusedWhenInvalidOrTooMany() throws {
    let harness = try Harness()
    try harness.connect()
    for filter in ["", "a#", "+a", "a\0"] { #expect(harness.subscribe(filter, .atMostOnce) == nil) }
    #expect(harness.subscribe(String(repeating: "x", count: 1100), .atMostOnce) == nil)
    #expect(harness.sent() == [])
    for _ in 0..<ClientLimits.requestsMax { #expect(harness.subscribe("a", .atMostOnce) != nil) }
    #expect(harness.subscribe("a", .atMostOnce) == nil)
    _ = try harness.receive([0x90, 3, 0, 1, 0])
    #expect(harness.unsubscribe("a") == 9)
  }

  /// [MQTT-2.3.1-7], [MQTT-3.8.4-5]
  @Test func answersWithoutRequestAreFaults() throws {
    for bytes in [[0x90, 3, 0, 9, 0], [0xB0, 2, 0, 9], [0xB0, 2, 0, 1]] as [[UInt8]] {
      let harness = try Harness()
      try harness.connect()
      _ = harness.subscribe("a", .atMostOnce)
      #expect(throws: PeerFault.subackUnknown) { try harness.receive(bytes) }
    }
    let harness = try Harness()
    try harness.connect()
    _ = harness.subscribe("a", .atMostOnce)
    #expect(throws: PeerFault.subackCodeCount) { try harness.receive([0x90, 4, 0, 1, 0, 0]) }
  }

  /// SUBSCRIBE is not part of the session: it is not sent again, and its identifier is free.
  @Test func requestsEndWithTheConnection() throws {
    let harness = try Harness(durable)
    try harness.connect()
    _ = harness.subscribe("a", .atMostOnce)
    #expect(try harness.reconnect(sessionPresent: true) == [])
    #expect(throws: PeerFault.subackUnknown) { try harness.receive([0x90, 3, 0, 1, 0]) }
  }
}
