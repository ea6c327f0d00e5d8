import Bytes
import TestSupport
import Testing

@testable import MQTT

/// The beginning and the end of a connection.
@Suite struct ConnectTests {
  @Test func connectCarriesTheKeepAliveInSecondsRoundedUp() throws {
    let cases: [(Int64, UInt16)] = [
      (0, 0), (-5, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (60_000, 60), (65_535_000, 65_535), (1 << 40, 65_535),
    ]
    for (milliseconds, seconds) in cases {
      let harness = try Harness(ClientOptions(keepAlive: .milliseconds(milliseconds), cleanSession: true))
      guard case .connect(let connect) = try decode(try harness.open()) else { throw PeerFault.lengthMismatch }
      #expect(connect.keepAliveSeconds == seconds)
      #expect(connect.cleanSession)
    }
  }

  private func refusal(
    clientID: [UInt8], user: [UInt8]? = nil, password: [UInt8]? = nil, will: ([UInt8], [UInt8])? = nil,
    cleanSession: Bool = true
  ) throws -> OpenRefusal? {
    let harness = try Harness(ClientOptions(cleanSession: cleanSession))
    let user = user ?? [], password = password ?? []
    let (topic, payload) = will ?? ([], [])
    do throws(OpenRefusal) {
      try harness.client.open(
        ConnectFields(
          clientID: clientID.span, userName: user.isEmpty ? nil : user.span,
          password: password.isEmpty ? nil : password.span,
          will: will == nil
            ? nil : WillFields(topic: topic.span, payload: payload.span, qos: .atMostOnce, isRetained: false)),
        now: harness.now)
      return nil
    } catch {
      #expect(harness.sent().isEmpty, "nothing is written with \(error)")
      return error
    }
  }

  @Test func connectFieldsAreCheckedBeforeAnythingIsWritten() throws {
    let c = "c".utf8Array
    #expect(try refusal(clientID: c) == nil)
    #expect(try refusal(clientID: []) == nil)
    // [MQTT-3.1.3-7]
    #expect(try refusal(clientID: [], cleanSession: false) == .clientIDEmpty)
    // [MQTT-3.1.3-4]
    #expect(try refusal(clientID: [0xFF]) == .clientIDInvalid)
    #expect(try refusal(clientID: [0]) == .clientIDInvalid)
    // [MQTT-3.1.3-11]
    #expect(try refusal(clientID: c, user: [0xC3]) == .userNameInvalid)
    // [MQTT-3.1.2-22]
    #expect(try refusal(clientID: c, password: [1]) == .passwordWithoutUserName)
    #expect(try refusal(clientID: c, user: c, password: [0, 0xFF]) == nil)
    // [MQTT-3.1.3-10]
    #expect(try refusal(clientID: c, will: ("a/#".utf8Array, [])) == .willTopicInvalid)
    #expect(try refusal(clientID: c, will: ([], [])) == .willTopicInvalid)
    #expect(try refusal(clientID: c, will: ("a".utf8Array, [0])) == nil)
    #expect(try refusal(clientID: c, will: ("a".utf8Array, [UInt8](repeating: 1, count: 70_000))) == .fieldTooLong)
    #expect(try refusal(clientID: [UInt8](repeating: 0x61, count: 70_000)) == .fieldTooLong)
    #expect(try refusal(clientID: [UInt8](repeating: 0x61, count: 2000)) == .tooLarge)
  }

  @Test func aSecondOpenNeedsLinkClosed() throws {
    let harness = try Harness()
    try harness.open()
    #expect(throws: OpenRefusal.alreadyOpen) { try harness.open() }
    harness.client.linkClosed()
    #expect(throws: Never.self) { try harness.open() }
  }

  /// Nothing but CONNECT is written before CONNACK.
  @Test func nothingIsPublishedBeforeConnack() throws {
    let harness = try Harness()
    #expect(throws: PublishRefusal.notConnected) { try harness.publish("a", "b", .atMostOnce) }
    try harness.open()
    #expect(!harness.isConnected)
    #expect(throws: PublishRefusal.notConnected) { try harness.publish("a", "b", .atLeastOnce) }
    #expect(harness.subscribe("a", .atMostOnce) == nil)
    #expect(harness.unsubscribe("a") == nil)
    #expect(harness.sent().isEmpty)
    #expect(try harness.receive([0x20, 2, 0, 0]) == [.event(.connected(sessionPresent: false))])
    #expect(harness.isConnected)
    try harness.publish("a", "b", .atMostOnce)
  }

  /// [MQTT-3.2.0-1]
  @Test func theFirstPacketFromTheServerIsConnack() throws {
    for bytes in [[0xD0, 0], publishPacket("a", [1]), [0x40, 2, 0, 1], [0x30, 0xFF, 0xFF, 0xFF, 0x7F]] as [[UInt8]] {
      let harness = try Harness()
      try harness.open()
      #expect(throws: PeerFault.packetBeforeConnack) { try harness.receive(bytes) }
      #expect(try harness.receive([0x20, 2, 0, 0]) == [], "nothing is read after a fault")
      #expect(!harness.isConnected)
    }
  }

  @Test(
    arguments: [
      ([0x15, 3, 1, 0, 2], PeerFault.serverSpeaksTLS), (Array("HTTP/1.1 400".utf8), .serverSpeaksNoMQTT),
      (Array("SSH-2.0".utf8), .serverSpeaksNoMQTT), (Array("H".utf8), .serverSpeaksNoMQTT),
    ] as [([UInt8], PeerFault)])
  func aStrangerIsNamed(bytes: [UInt8], fault: PeerFault) throws {
    let harness = try Harness()
    try harness.open()
    #expect(throws: fault) { try harness.receive(bytes) }
  }

  @Test func aSecondConnackIsAFault() throws {
    let harness = try Harness()
    try harness.connect()
    #expect(throws: PeerFault.connackTwice) { try harness.receive([0x20, 2, 0, 0]) }
  }

  /// [MQTT-3.2.2-1]
  @Test func sessionPresentAfterACleanStartIsAFault() throws {
    let harness = try Harness(ClientOptions(cleanSession: true))
    try harness.open()
    #expect(throws: PeerFault.sessionPresentAfterClean) { try harness.receive([0x20, 2, 1, 0]) }
  }

  /// Return codes, reserved ones too, are told and not interpreted.
  @Test func refusalsAreToldAndEndTheConnection() throws {
    for code in [1, 2, 3, 4, 5, 6, 200, 255] as [UInt8] {
      let harness = try Harness()
      try harness.open()
      #expect(try harness.receive([0x20, 2, 0, code, 0xD0, 0]) == [.event(.refused(returnCode: code))])
      #expect(!harness.isConnected)
      #expect(harness.deadline != nil, "no state without a deadline")
      harness.client.linkClosed()
      try harness.connect()
      #expect(harness.isConnected)
    }
  }

  @Test func whatOnlyClientsSendIsAFault() throws {
    let packets: [[UInt8]] = [
      packet(0x10, [0, 4] + "MQTT".utf8Array + [4, 2, 0, 0] + field("c")), [0x82, 6, 0, 1, 0, 1, 0x61, 0],
      [0xA2, 5, 0, 1, 0, 1, 0x61], [0xC0, 0], [0xE0, 0],
    ]
    for bytes in packets {
      let harness = try Harness()
      try harness.connect()
      #expect(throws: PeerFault.packetNotForClient) { try harness.receive(bytes) }
    }
  }

  /// [MQTT-3.14.4-2]: nothing is sent behind DISCONNECT.
  @Test func disconnectIsTheLastPacket() throws {
    let harness = try Harness()
    try harness.connect()
    harness.client.disconnect(now: harness.now)
    #expect(throws: PublishRefusal.notConnected) { try harness.publish("a", "b", .atMostOnce) }
    #expect(try harness.receive(publishPacket("a", [], qos: .atLeastOnce, identifier: 3)) == [])
    #expect(try !harness.tickAtDeadline(within: .seconds(59)))
    #expect(harness.sent() == [0xE0, 0])
    #expect(throws: PeerFault.sendTimeout) { try harness.tickAtDeadline(within: .seconds(61)) }
  }

  @Test func disconnectBeforeConnackWritesNothing() throws {
    let harness = try Harness()
    try harness.open()
    harness.client.disconnect(now: harness.now)
    #expect(harness.sent().isEmpty)
    harness.client.linkClosed()
    harness.client.disconnect(now: harness.now)
    #expect(harness.sent().isEmpty && harness.deadline == nil)
  }

  /// DISCONNECT and PINGREQ find room even when publishes have filled the output.
  @Test func fullOutputLeavesRoomForControlPackets() throws {
    let harness = try Harness(packetBytesMax: 256)
    try harness.connect()
    while (try? harness.publish("a", "0123456789", .atMostOnce)) != nil {}
    #expect(throws: PublishRefusal.outputFull) { try harness.publish("a", "0123456789", .atMostOnce) }
    #expect(harness.outputFreeCount >= ClientLimits.controlBytes)
    // Acknowledgements use that room up, except for the last four bytes.
    var acknowledged = 0
    while harness.outputFreeCount >= 8 {
      acknowledged += try harness.receive(publishPacket("t", [], qos: .atLeastOnce, identifier: 9)).count
    }
    #expect(acknowledged >= 12)
    harness.client.disconnect(now: harness.now)
    #expect(harness.sent().suffix(2) == [0xE0, 0])
  }
}
