import Bytes
import TestSupport
import Testing

@testable import MQTT

private let minute = ClientOptions(keepAlive: .seconds(60), cleanSession: true)
/// When a ping goes out with a keep alive of 60 s.
private let pingPause = TimeSpan.milliseconds(59_500)

/// Keep alive and deadlines: every wait ends.
@Suite struct TimeTests {
  @Test func withoutConnectionThereIsNoDeadline() throws {
    let harness = try Harness(minute)
    #expect(harness.deadline == nil)
    try harness.tick()
    try harness.connect()
    harness.client.linkClosed()
    #expect(harness.deadline == nil)
  }

  /// [MQTT-3.1.2-23]: in the absence of other packets, PINGREQ; and never later than the keep alive.
  @Test func anIdleConnectionPingsOncePerKeepAlive() throws {
    let harness = try Harness(minute)
    try harness.connect()
    for _ in 0..<3 {
      #expect(harness.deadline == harness.now + pingPause)
      harness.wait(.milliseconds(59_499))
      try harness.tick()
      #expect(harness.sent() == [])
      harness.wait(.milliseconds(1))
      try harness.tick()
      #expect(harness.sent() == [0xC0, 0])
      #expect(try harness.receive([0xD0, 0]) == [.event(.pingResponse)])
    }
  }

  @Test func noKeepAliveNoPing() throws {
    let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: true))
    try harness.connect()
    #expect(harness.deadline == nil)
    harness.wait(.minutes(100_000))
    try harness.tick()
    #expect(harness.sent() == [])
  }

  /// Publishing with QoS 0 keeps the server content, but says nothing about the way back: ping if nothing is received.
  @Test func steadyPublishingDoesNotHideADeadLink() throws {
    let harness = try Harness(minute)
    try harness.connect()
    var pings = 0
    do {
      for _ in 0..<20 {
        harness.wait(.seconds(5))
        try harness.publish("a", "x", .atMostOnce)
        try harness.tick()
        pings += try packets(in: harness.sent()).count { $0 == [0xC0, 0] }
      }
      Issue.record("the dead link was not noticed")
    } catch let fault as PeerFault {
      #expect(fault == .pingTimeout)
      #expect(pings == 1)
      // Silence 59.5 s (seen at 60), then 20 s for the answer.
    }
  }

  /// And the other way: receiving alone does not free us from sending.
  @Test func steadyReceivingDoesNotReplacePings() throws {
    let harness = try Harness(minute)
    try harness.connect()
    var pings = 0
    for _ in 0..<30 {
      harness.wait(.seconds(5))
      _ = try harness.receive(publishPacket("a", [1]))
      try harness.tick()
      if harness.sent() == [0xC0, 0] {
        pings += 1
        _ = try harness.receive([0xD0, 0])
      }
    }
    #expect(pings == 2)
  }

  /// PINGRESP has a deadline of its own, and time to come.
  @Test func pingrespIsAwaitedForItsOwnTime() throws {
    let cases: [(TimeSpan, TimeSpan?, TimeSpan)] = [
      (.seconds(60), nil, .seconds(20)), (.seconds(10), nil, .seconds(10)), (.seconds(60), .seconds(45), .seconds(45)),
    ]
    for (keepAlive, timeout, expected) in cases {
      let harness = try Harness(ClientOptions(keepAlive: keepAlive, cleanSession: true, pingTimeout: timeout))
      try harness.connect()
      #expect(try harness.tickAtDeadline(within: keepAlive))
      #expect(harness.sent() == [0xC0, 0])
      harness.wait(expected)
      harness.now.milliseconds -= 1
      if expected < keepAlive { try harness.tick() }
      harness.wait(.milliseconds(1))
      #expect(throws: PeerFault.pingTimeout) { try harness.tick() }
      #expect(!harness.isConnected)
    }
  }

  /// While PINGRESP is awaited for longer than the keep alive, the rule about sending still holds.
  @Test func pingsGoOnWhileAnAnswerIsAwaited() throws {
    let harness = try Harness(ClientOptions(keepAlive: .seconds(10), cleanSession: true, pingTimeout: .seconds(25)))
    try harness.connect()
    var pings: [Int64] = []
    let start = harness.now
    #expect(throws: PeerFault.pingTimeout) {
      while try harness.tickAtDeadline(within: .seconds(60)) {
        if harness.sent() == [0xC0, 0] { pings.append((harness.now - start).milliseconds) }
      }
    }
    #expect(pings == [9_500, 19_000, 28_500])
  }

  @Test func connackIsAwaitedForSixtySeconds() throws {
    let harness = try Harness(minute)
    try harness.open()
    #expect(harness.deadline == harness.now + .seconds(60))
    harness.wait(.milliseconds(59_999))
    try harness.tick()
    #expect(harness.sent() == [], "no ping before CONNACK")
    harness.wait(.milliseconds(1))
    #expect(throws: PeerFault.connackTimeout) { try harness.tick() }
  }

  @Test func publishesAreAwaitedForTheirTime() throws {
    for (qos, answer) in [(QoS.atLeastOnce, nil), (.exactlyOnce, nil), (.exactlyOnce, PacketType.pubrec)] {
      let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: true))
      try harness.connect()
      try harness.publish("a", "x", qos)
      _ = harness.sent()
      if let answer {
        // The answer begins the time anew: PUBCOMP is another wait.
        harness.wait(.seconds(50))
        _ = try harness.receive(answerPacket(answer, 1))
        _ = harness.sent()
      }
      #expect(harness.deadline == harness.now + .seconds(60))
      harness.wait(.seconds(60))
      #expect(throws: PeerFault.publishTimeout) { try harness.tick() }
      #expect(harness.inflightCount == 1)
    }
  }

  /// The oldest message's time runs; answers to younger ones do not prolong it.
  @Test func youngerAnswersDoNotHideALostOne() throws {
    let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: true))
    try harness.connect()
    try harness.publish("a", "x", .atLeastOnce)
    _ = harness.sent()
    let start = harness.now
    #expect(throws: PeerFault.publishTimeout) {
      for identifier in UInt16(2)...20 {
        harness.wait(.seconds(10))
        try harness.publish("a", "x", .atLeastOnce)
        _ = harness.sent()
        _ = try harness.receive(answerPacket(.puback, identifier))
        try harness.tick()
      }
    }
    #expect(harness.now - start == .seconds(60))
  }

  @Test func theNextOldestGetsItsOwnTime() throws {
    let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: true))
    try harness.connect()
    try harness.publish("a", "x", .atLeastOnce)
    try harness.publish("a", "x", .atLeastOnce)
    _ = harness.sent()
    harness.wait(.seconds(50))
    _ = try harness.receive(answerPacket(.puback, 1))
    #expect(harness.deadline == harness.now + .seconds(60))
    _ = try harness.receive(answerPacket(.puback, 2))
    #expect(harness.deadline == nil)
  }

  @Test func resentMessagesAreAwaitedToo() throws {
    let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: false))
    try harness.connect()
    try harness.publish("a", "x", .atLeastOnce)
    harness.wait(.seconds(30))
    _ = try harness.reconnect(sessionPresent: true)
    #expect(harness.deadline == harness.now + .seconds(60))
  }

  @Test func requestsAreAwaitedForTheirTime() throws {
    let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: true))
    try harness.connect()
    _ = harness.subscribe("a", .atMostOnce)
    _ = harness.sent()
    harness.wait(.seconds(30))
    _ = harness.unsubscribe("b")
    _ = harness.sent()
    _ = try harness.receive([0x90, 3, 0, 1, 0])
    #expect(harness.deadline == harness.now + .seconds(60))
    harness.wait(.seconds(60))
    #expect(throws: PeerFault.requestTimeout) { try harness.tick() }
  }

  @Test func youngerRequestsDoNotHideAnUnansweredOne() throws {
    let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: true))
    try harness.connect()
    let start = harness.now
    _ = harness.subscribe("a", .atMostOnce)
    _ = harness.sent()
    #expect(throws: PeerFault.requestTimeout) {
      for _ in 0..<20 {
        harness.wait(.seconds(10))
        let identifier = try #require(harness.unsubscribe("b"))
        _ = harness.sent()
        _ = try harness.receive(answerPacket(.unsuback, identifier))
        try harness.tick()
      }
    }
    #expect(harness.now - start == .seconds(60))
  }

  /// An output that nobody takes is a dead link, whatever is in it.
  @Test func outputMustMove() throws {
    let harness = try Harness(ClientOptions(keepAlive: .zero, cleanSession: true))
    try harness.connect()
    try harness.publish("a", "x", .atMostOnce)
    harness.wait(.seconds(50))
    try harness.publish("a", "x", .atMostOnce)
    harness.wait(.seconds(9))
    try harness.tick()
    harness.client.removeSent(1, now: harness.now)
    harness.wait(.seconds(59))
    try harness.tick()
    harness.wait(.seconds(1))
    #expect(throws: PeerFault.sendTimeout) { try harness.tick() }
  }

  /// A ping behind a large packet on a slow line: its time runs from when it was sent.
  @Test func theTimeOfAnAnswerRunsFromWhenTheQuestionWasSent() throws {
    let harness = try Harness(
      ClientOptions(keepAlive: .seconds(60), cleanSession: true, inflightBytesMax: 4096), packetBytesMax: 2048)
    try harness.connect()
    try harness.publish("a", String(repeating: "x", count: 1800), .atLeastOnce)
    while !harness.client.output.isEmpty {
      harness.wait(.seconds(10))
      try harness.tick()
      harness.client.removeSent(min(100, harness.client.output.count), now: harness.now)
    }
    // 190 s and more have gone by.
    harness.wait(.seconds(19))
    try harness.tick()
    harness.wait(.seconds(1))
    #expect(throws: PeerFault.pingTimeout) { try harness.tick() }
  }

  /// A large message that trickles in holds up the answers behind it; that is no silence.
  @Test func aPacketInProgressHoldsTheDeadlines() throws {
    let harness = try Harness(minute, packetBytesMax: 256)
    try harness.connect()
    try harness.publish("a", "x", .atLeastOnce)
    _ = harness.sent()
    let bytes = publishPacket("big", [UInt8](repeating: 3, count: 1100), qos: .atLeastOnce, identifier: 5)
    for start in stride(from: 0, to: bytes.count, by: 100) {
      harness.wait(.seconds(15))
      _ = try harness.receive(Array(bytes[start..<min(start + 100, bytes.count)]))
      try harness.tick()
      _ = harness.sent()
    }
    // Once it is whole, the answers have to come.
    harness.wait(.seconds(20))
    #expect(throws: PeerFault.pingTimeout) { try harness.tick() }
  }

  /// But it does not do so for ever: a peer may keep talking and never answer.
  @Test func packetsInProgressHoldTheDeadlinesTenTimesAtMost() throws {
    let harness = try Harness(minute)
    try harness.connect()
    let start = harness.now
    var pinged: Instant?
    let half = publishPacket("a", [1, 2, 3])
    _ = try harness.receive(Array(half.prefix(4)))
    #expect(throws: PeerFault.pingTimeout) {
      while harness.now < start + .minutes(60) {
        harness.wait(.seconds(1))
        _ = try harness.receive(Array(half.dropFirst(4)))
        _ = try harness.receive(Array(half.prefix(4)))
        try harness.tick()
        if harness.sent() == [0xC0, 0], pinged == nil { pinged = harness.now }
      }
    }
    #expect(pinged.map { harness.now - $0 } == .seconds(200))
  }

  /// Half a packet and then nothing is silence.
  @Test func aPacketThatStopsInTheMiddleIsATimeout() throws {
    let harness = try Harness(minute)
    try harness.connect()
    _ = try harness.receive([0x30, 10, 0])
    #expect(throws: PeerFault.pingTimeout) {
      while try harness.tickAtDeadline(within: .seconds(100)) { _ = harness.sent() }
    }
    #expect(harness.now.milliseconds < 5_000_000 + 80_000)
  }

  /// The machine slept: the answer that waits in the system is read before time is judged.
  @Test func afterSuspendThePingIsTriedBeforeGivingUp() throws {
    let harness = try Harness(minute)
    try harness.connect()
    harness.wait(.minutes(600))
    try harness.tick()
    #expect(harness.sent() == [0xC0, 0])
    #expect(harness.deadline == harness.now + .seconds(20))
  }

  /// With a full output a ping has no room; then the output's own deadline counts, and nobody wakes up in vain.
  @Test func aFullOutputWaitsForItsOwnDeadline() throws {
    let harness = try Harness(ClientOptions(keepAlive: .seconds(10), cleanSession: true), packetBytesMax: 128)
    try harness.connect()
    while (try? harness.publish("a", "0123456789", .atMostOnce)) != nil {}
    while harness.outputFreeCount >= 8 {
      _ = try harness.receive(publishPacket("t", [], qos: .atLeastOnce, identifier: 9))
    }
    let start = harness.now
    var ticks = 0
    #expect(throws: PeerFault.self) {
      while try harness.tickAtDeadline(within: .minutes(10)) { ticks += 1 }
    }
    #expect(ticks < 10)
    #expect(harness.now - start <= .seconds(61))
  }

  /// Extreme settings and times do not trap.
  @Test func extremeTimesSaturate() throws {
    let forever = TimeSpan.milliseconds(.max)
    let harness = try Harness(
      ClientOptions(
        keepAlive: forever, cleanSession: true, connackTimeout: forever, acknowledgementTimeout: forever,
        pingTimeout: forever))
    harness.now = Instant(milliseconds: .max - 10)
    try harness.connect()
    try harness.publish("a", "x", .exactlyOnce)
    // That is never.
    #expect(harness.deadline == nil)
    harness.now = Instant(milliseconds: .max)
    try? harness.tick()
    _ = harness.sent()
  }
}
