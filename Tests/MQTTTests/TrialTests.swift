import Bytes
import TestSupport
import Testing

@testable import MQTT

/// A message that ends every connection is found out and can be given up; one that a bad network keeps from arriving is
/// not.
@Suite struct TrialTests {
  private let durable = ClientOptions(cleanSession: false)
  private let pingRequest: [UInt8] = [0xC0, 0]
  private let pingResponse: [UInt8] = [0xD0, 0]

  /// A client with two messages in flight, behind two connections that ended without an answer.
  private func suspicious(_ options: ClientOptions? = nil) throws -> Harness {
    let harness = try Harness(options ?? durable)
    try harness.connect()
    try harness.publish("poison", "x", .atLeastOnce, token: 41)
    try harness.publish("food", "y", .atLeastOnce, token: 42)
    for attempts in 1...2 {
      harness.client.linkClosed()
      #expect(harness.attempts == attempts)
      if attempts == 1 { try harness.connect() }
    }
    return harness
  }

  private func poison(_ payload: String = "x", identifier: UInt16 = 1) -> [UInt8] {
    publishPacket("poison", payload.utf8Array, qos: .atLeastOnce, identifier: identifier, isDuplicate: true)
  }

  /// A connection on which the message goes out alone, up to the moment at which it has.
  private func tryAlone(_ harness: Harness) throws {
    #expect(try harness.connect(sessionPresent: true) == pingRequest)
    #expect(try harness.receive(pingResponse) == [.event(.pingResponse)])
    #expect(harness.sent() == poison())
  }

  @Test func subscriptionsDoNotWaitForTheTrial() throws {
    let harness = try suspicious()
    try harness.connect()
    #expect(harness.subscribe("a", .atLeastOnce) == 3)
    #expect(harness.sent().first == 0x82)
  }

  @Test func theOldestGoesOutAloneBehindAPing() throws {
    let harness = try suspicious()
    try tryAlone(harness)
    // Nothing else goes with it.
    #expect(!harness.isConnected)
    for qos in [QoS.atMostOnce, .atLeastOnce] {
      #expect(throws: PublishRefusal.notConnected) { try harness.publish("other", "z", qos) }
    }
    // It is harmless: all others follow, and so do new ones.
    #expect(try harness.receive(answerPacket(.puback, 1)) == [.event(.acknowledged(token: 41))])
    #expect(harness.isConnected)
    #expect(
      harness.sent() == publishPacket("food", [0x79], qos: .atLeastOnce, identifier: 2, isDuplicate: true))
    try harness.publish("other", "z", .atMostOnce)
    harness.client.linkClosed(byPeerAt: harness.now)
    #expect(harness.attempts == 0)
  }

  @Test func aCloseRightBehindItIsAProof() throws {
    let harness = try suspicious()
    for attempts in 3...5 {
      try tryAlone(harness)
      harness.wait(.seconds(29))
      harness.client.linkClosed(byPeerAt: harness.now)
      #expect(harness.attempts == attempts)
    }
    #expect(harness.abandonOldest() == 41)
    #expect(harness.attempts == 0)
    #expect(
      try harness.connect(sessionPresent: true)
        == publishPacket("food", [0x79], qos: .atLeastOnce, identifier: 2, isDuplicate: true))
    #expect(harness.abandonOldest() == nil, "not while connected")
    _ = try harness.receive(answerPacket(.puback, 2))
    harness.client.linkClosed()
    #expect(harness.attempts == 0 && harness.inflightCount == 0)
    #expect(harness.abandonOldest() == nil)
  }

  /// Each of these ends speaks for a bad network, and makes all proofs void.
  @Test func aBadNetworkIsNoProof() throws {
    let ends: [(String, (Harness) throws -> Void)] = [
      (
        "before CONNACK",
        {
          try $0.open(); $0.client.linkClosed(byPeerAt: $0.now)
        }
      ),
      (
        "before the ping is answered",
        {
          try $0.connect(sessionPresent: true); $0.client.linkClosed(byPeerAt: $0.now)
        }
      ),
      (
        "not by the peer",
        {
          try tryAlone($0); $0.client.linkClosed()
        }
      ),
      (
        "long behind it",
        {
          try tryAlone($0); $0.wait(.seconds(31)); $0.client.linkClosed(byPeerAt: $0.now)
        }
      ),
      (
        "in the middle of it",
        { harness in
          try harness.connect(sessionPresent: true)
          _ = try harness.receive(pingResponse)
          harness.client.removeSent(5, now: harness.now)
          harness.client.linkClosed(byPeerAt: harness.now)
        }
      ),
      (
        "by us, who were not answered",
        { harness in
          try tryAlone(harness)
          harness.wait(.seconds(61))
          #expect(throws: PeerFault.publishTimeout) { try harness.tick() }
          harness.client.linkClosed()
        }
      ),
    ]
    for (name, end) in ends {
      let harness = try suspicious()
      try tryAlone(harness)
      harness.client.linkClosed(byPeerAt: harness.now)
      #expect(harness.attempts == 3)
      try end(harness)
      // Of five more connections none counts.
      #expect(harness.attempts == -3, "\(name)")
      for attempts in -2...3 {
        try tryAlone(harness)
        harness.client.linkClosed(byPeerAt: harness.now)
        #expect(harness.attempts == attempts)
      }
    }
  }

  /// A network that was good for an hour is good.
  @Test(arguments: [(3599, -15), (3600, 0)] as [(Int64, Int)])
  func aBadNetworkIsForgiven(pause: Int64, attemptsBehindIt: Int) throws {
    let harness = try suspicious()
    for attempts in [-3, -8, -13, -13] {
      try harness.connect(sessionPresent: true)
      harness.client.linkClosed(byPeerAt: harness.now)
      #expect(harness.attempts == attempts)
    }
    harness.wait(.seconds(pause))
    try tryAlone(harness)
    _ = try harness.receive(answerPacket(.puback, 1))
    harness.client.linkClosed()
    #expect(harness.attempts == attemptsBehindIt)
  }

  /// A connection that did not come about says nothing about either.
  @Test func refusedConnectionsSayNothing() throws {
    let harness = try suspicious()
    try tryAlone(harness)
    harness.client.linkClosed(byPeerAt: harness.now)
    harness.client.linkClosed()
    try harness.open()
    #expect(try harness.receive([0x20, 2, 0, 3]) == [.event(.refused(returnCode: 3))])
    harness.client.linkClosed()
    #expect(harness.attempts == 3)
  }

  /// A trial has its deadlines like any connection, and pings when it is quiet.
  @Test func aTrialKeepsTheConnectionAlive() throws {
    let harness = try suspicious(ClientOptions(keepAlive: .seconds(10), cleanSession: false))
    #expect(try harness.connect(sessionPresent: true) == pingRequest)
    harness.wait(.seconds(10))
    #expect(throws: PeerFault.pingTimeout) { try harness.tick() }
    harness.client.linkClosed()
    try tryAlone(harness)
    harness.wait(.seconds(10))
    try harness.tick()
    #expect(harness.sent() == pingRequest)
    #expect(try harness.receive(pingResponse) == [.event(.pingResponse)])
    #expect(harness.sent() == [])
    harness.client.disconnect(now: harness.now)
    #expect(harness.sent() == [0xE0, 0])
  }

  /// A resumed session may answer before the message goes out again.
  @Test func anEarlyAnswerEndsTheTrial() throws {
    let harness = try suspicious()
    #expect(try harness.connect(sessionPresent: true) == pingRequest)
    #expect(try harness.receive(answerPacket(.puback, 1)) == [.event(.acknowledged(token: 41))])
    #expect(harness.isConnected && harness.attempts == 2)
    #expect(
      harness.sent() == publishPacket("food", [0x79], qos: .atLeastOnce, identifier: 2, isDuplicate: true))
  }

  // MARK: The server's limit

  /// A client that has had `confirmed` bytes confirmed and gives up a message of each of the sizes in `abandoned`.
  private func limit(confirmed: Int?, abandoned: [Int]) throws -> Harness {
    let harness = try Harness(durable)
    // Eight bytes are not payload.
    if let confirmed {
      try harness.connect()
      try harness.publish("a", String(repeating: "x", count: confirmed - 8), .atLeastOnce)
      _ = try harness.receive(answerPacket(.puback, 1))
      harness.client.linkClosed()
    }
    for size in abandoned {
      try harness.connect()
      _ = harness.sent()
      try harness.publish("a", String(repeating: "x", count: size - 8), .atLeastOnce, token: 7)
      harness.client.linkClosed()
      #expect(harness.abandonOldest() == 7)
    }
    return harness
  }

  @Test func aLimitIsLearntFromWhatIsTwiceAsLarge() throws {
    #expect(try limit(confirmed: 200, abandoned: [399]).publishBytesMax == 1024)
    let harness = try limit(confirmed: 200, abandoned: [400])
    #expect(harness.publishBytesMax == 399)
    #expect(!harness.fits(393, .atLeastOnce) && harness.fits(392, .atLeastOnce))
    try harness.connect()
    #expect(throws: PublishRefusal.tooLarge) {
      try harness.publish("a", String(repeating: "x", count: 394), .atMostOnce)
    }
    harness.client.linkClosed()
    // The server may have been mended a day later.
    harness.wait(.seconds(86_399))
    try harness.connect()
    #expect(harness.publishBytesMax == 399)
    harness.client.linkClosed()
    harness.wait(.seconds(1))
    try harness.connect()
    #expect(harness.publishBytesMax == 1024)
  }

  @Test func aLimitIsLearntFromTwo() throws {
    #expect(try limit(confirmed: 200, abandoned: [300]).publishBytesMax == 1024)
    #expect(try limit(confirmed: nil, abandoned: [300]).publishBytesMax == 1024)
    #expect(try limit(confirmed: 200, abandoned: [300, 280]).publishBytesMax == 279)
    #expect(try limit(confirmed: nil, abandoned: [300, 320]).publishBytesMax == 299)
    // What is no larger than what got through was given up for another reason.
    #expect(try limit(confirmed: 200, abandoned: [150, 150, 150]).publishBytesMax == 1024)
  }

  @Test func whatIsTooLargeAndInFlightIsGivenUpAsWell() throws {
    let harness = try limit(confirmed: 100, abandoned: [])
    try harness.connect()
    for (token, size) in [(1, 500), (2, 90), (3, 520), (4, 80)] as [(UInt64, Int)] {
      try harness.publish("a", String(repeating: "x", count: size), .atLeastOnce, token: token)
      _ = harness.sent()
    }
    #expect(harness.abandonTooLarge() == nil)
    harness.client.linkClosed()
    #expect(harness.abandonOldest() == 1)
    #expect(harness.abandonTooLarge() == 3)
    #expect(harness.abandonTooLarge() == nil)
    #expect(harness.inflightCount == 2)
  }
}
