import Bytes
import HostInterface
import IoTPlatform
import MQTT
import TestSupport
import Testing

@testable import Agent

@Suite struct UplinkTests {
  private let connack: [UInt8] = [0x20, 2, 0, 0]

  private func advance(_ rig: Rig, isEnding: Bool = false) {
    rig.uplink.advance(
      isEnding: isEnding, rig.settings, &rig.clock, &rig.outbox.client, rig.host.time, &rig.log, &rig.host)
  }

  private func receive(_ rig: Rig) -> Received {
    rig.uplink.receive(&rig.outbox.client, rig.host.time, &rig.log, &rig.host)
  }

  @discardableResult
  private func flush(_ rig: Rig) -> Flushed {
    rig.uplink.flush(&rig.outbox.client, rig.host.time, &rig.log, &rig.host)
  }

  @discardableResult
  private func watch(_ rig: Rig) -> Bool {
    rig.uplink.watch(&rig.outbox.client, rig.host.time, &rig.log, &rig.host)
  }

  /// Receives until there is nothing more; gives what concerns others.
  private func receiveAll(_ rig: Rig) -> [String] {
    var found: [String] = []
    while true {
      switch receive(rig) {
      case .nothing: return found
      case .handled: continue
      case .connected(let sessionPresent): found.append("connected \(sessionPresent)")
      case .message: found.append("message")
      case .acknowledged(let token): found.append("acknowledged \(token)")
      case .lost(let byPeer):
        found.append("lost \(byPeer)")
        return found
      }
    }
  }

  /// A rig whose connection the server has accepted.
  private func makeOnline(subscribing: Bool = false) throws -> Rig {
    let rig = try Rig()
    if subscribing { rig.uplink.subscribe(to: Topics.commandFilter, qos: .atLeastOnce) }
    advance(rig)
    flush(rig)
    rig.host.inbox = connack
    #expect(receiveAll(rig) == ["connected false"])
    #expect(rig.isOnline)
    _ = rig.host.takeSent()
    return rig
  }

  @Test func opensTheLinkToTheConfiguredServer() throws {
    let rig = try Rig()
    rig.host.wall = WallTime(milliseconds: 0)
    rig.host.linkStates = [.opening, .open]
    advance(rig)
    #expect(
      rig.host.opened == [
        ScriptedHost.OpenedLink(
          slot: .message, host: "ab12cd.messaging.internetofthings.ibmcloud.com", port: 8883, security: .verified,
          certificateTime: Rig.buildTime)
      ])
    flush(rig)
    #expect(rig.host.sent.isEmpty)
    advance(rig)
    flush(rig)
    let connect = rig.host.takeSent()
    guard case .connect(let fields) = try Packet.decode(connect.span) else {
      Issue.record("CONNECT was expected")
      return
    }
    #expect(Array(connect[fields.clientID]).text == "d:ab12cd:edge:e7-0042")
  }

  @Test func aCheckedCertificateProvesTheTime() throws {
    let rig = try Rig()
    rig.advanceClock()
    rig.host.certificateStart = WallTime(milliseconds: Rig.buildTime.milliseconds + 5000)
    advance(rig)
    rig.advanceClock()
    #expect(rig.host.stored.map { $0.last } == [1], "what the certificate says of itself")
  }

  @Test func triesAgainLaterAfterAFailure() throws {
    let rig = try Rig()
    rig.host.linkStates = [.failed(.connectionRefused)]
    advance(rig)
    #expect(rig.host.closeCount == 1)
    let deadline = rig.uplinkDeadline
    #expect(deadline > rig.host.time)
    #expect(rig.isQuiet)
    advance(rig)
    #expect(rig.host.opened.count == 1)
    rig.host.time = deadline
    #expect(!rig.isQuiet)
    advance(rig)
    #expect(rig.host.opened.count == 2)
  }

  @Test func beginsNothingNewWhileItIsToEnd() throws {
    let rig = try Rig()
    advance(rig, isEnding: true)
    #expect(rig.host.opened.isEmpty)
  }

  @Test func saysWhoEndedAConnection() throws {
    let byPeer = try makeOnline()
    byPeer.host.linkEnd = .closedByPeer
    #expect(receiveAll(byPeer) == ["lost true"])
    // A reset is a way of closing, too: that of a server that has not read all it was sent.
    let reset = try makeOnline()
    reset.host.linkEnd = .connectionLost
    #expect(receiveAll(reset) == ["lost true"])
    let deaf = try makeOnline()
    deaf.host.linkEnd = .tlsFailed
    #expect(receiveAll(deaf) == ["lost false"])
    let faulty = try makeOnline()
    faulty.host.inbox = [0xF0, 0]
    #expect(receiveAll(faulty) == ["lost false"])
    #expect(faulty.host.lines.last?.hasPrefix("error mqtt fault") == true)
    let refused = try Rig()
    advance(refused)
    refused.host.inbox = [0x20, 2, 0, 5]
    #expect(receiveAll(refused) == ["lost false"])
    #expect(refused.host.lines.last?.hasPrefix("error mqtt refused code=5") == true)
  }

  @Test func isQuietOnlyWhenNothingIsLeftToDo() throws {
    let rig = try makeOnline()
    _ = rig.uplinkDeadline
    #expect(rig.isQuiet)
    rig.host.inbox = [0xD0, 0]
    #expect(!rig.isQuiet)
    #expect(receiveAll(rig) == [])
    #expect(rig.isQuiet)
    // Whoever stops in the middle has to come back, whatever the host says.
    rig.uplink.interruptReceiving()
    #expect(!rig.isQuiet)
    #expect(receiveAll(rig) == [])
    // The ping's time.
    rig.host.time = rig.uplinkDeadline
    #expect(!rig.isQuiet)
    watch(rig)
    flush(rig)
    #expect(rig.host.sent == [0xC0, 0])
  }

  @Test func endsWithDISCONNECT() throws {
    let rig = try makeOnline()
    rig.uplink.end(&rig.outbox.client, rig.host.time, &rig.log, &rig.host)
    #expect(rig.host.sent == [0xE0, 0])
    #expect(rig.isEnded)
    #expect(!rig.isOnline)
  }

  // MARK: Subscriptions

  /// Answers the SUBSCRIBE that was sent last.
  private func answer(_ rig: Rig, _ returnCode: UInt8) throws {
    let packet = rig.host.takeSent()
    try #require(packet.count > 4 && packet[0] == 0x82)
    rig.host.inbox = [0x90, 3, packet[2], packet[3], returnCode]
    _ = receiveAll(rig)
  }

  /// Loses the connection and gets another one, up to what follows CONNACK.
  private func reconnect(_ rig: Rig) {
    rig.host.linkEnd = .connectionLost
    _ = receiveAll(rig)
    rig.host.time = rig.uplinkDeadline
    advance(rig)
    flush(rig)
    rig.host.inbox = connack
    _ = receiveAll(rig)
    _ = rig.host.takeSent()
    watch(rig)
    flush(rig)
  }

  @Test func subscribesOnEachConnection() throws {
    let rig = try makeOnline(subscribing: true)
    watch(rig)
    flush(rig)
    guard case .asked = rig.subscription(to: Topics.commandFilter) else {
      Issue.record("SUBSCRIBE was expected")
      return
    }
    try answer(rig, 1)
    #expect(rig.subscription(to: Topics.commandFilter).isGranted)
    reconnect(rig)
    #expect(!rig.subscription(to: Topics.commandFilter).isGranted)
    #expect(rig.host.sent.first == 0x82)
  }

  @Test func aRefusalIsAStateAndIsTriedAgainOnTheNextConnection() throws {
    let rig = try makeOnline(subscribing: true)
    watch(rig)
    flush(rig)
    try answer(rig, 0x80)
    guard case .refused = rig.subscription(to: Topics.commandFilter) else {
      Issue.record("a refusal was expected")
      return
    }
    #expect(rig.host.lines.last == "warning mqtt subscription-refused filter=iot-2/cmd/+/fmt/+")
    watch(rig)
    flush(rig)
    #expect(rig.host.sent.isEmpty)
    reconnect(rig)
    #expect(rig.host.sent.first == 0x82)
  }

  @Test func eachFilterHasItsOwnAnswer() throws {
    let rig = try makeOnline()
    var table = Subscriptions()
    let filters: [StaticString] = ["a/+", "b/#", "c"]
    for filter in filters { table.want(filter, qos: .atLeastOnce) }
    table.want("a/+", qos: .atLeastOnce)
    #expect(table.wantedCount == 3)
    table.ask(&rig.outbox.client, now: rig.host.time)
    #expect(table.wantedCount == 0)
    let identifiers = filters.map { filter -> UInt16 in
      guard case .asked(let identifier) = table.state(of: filter) else { return 0 }
      return identifier
    }
    #expect(Set(identifiers).count == 3)
    #expect(table.note(packetIdentifier: identifiers[1], returnCode: 0x80)?.isSameText(as: "b/#") == true)
    #expect(table.note(packetIdentifier: identifiers[2], returnCode: 0) == nil)
    #expect(table.note(packetIdentifier: 999, returnCode: 0x80) == nil)
    #expect(!table.state(of: "a/+").isGranted && !table.state(of: "b/#").isGranted)
    #expect(table.state(of: "c").isGranted)
    guard case .unwanted = table.state(of: "d") else {
      Issue.record("nobody asked for this")
      return
    }
  }
}
