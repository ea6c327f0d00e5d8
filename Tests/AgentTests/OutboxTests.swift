import Bytes
import HostInterface
import IoTPlatform
import MQTT
import TestSupport
import Testing

@testable import Agent

@Suite struct OutboxTests {
  private let acknowledgements: [[UInt8]] = (1...9).map { [0x40, 2, 0, $0] }

  @Test func sendsAtOnceWhereNothingIsInTheWay() throws {
    let rig = try Rig()
    try rig.connect()
    rig.publish("one", qos: .atMostOnce)
    rig.publish("two")
    #expect(try rig.published() == ["one", "two"])
    #expect(rig.pendingCount == 1)
    try rig.receive(acknowledgements[0])
    #expect(rig.isDrained)
    #expect(rig.acknowledgedCount == 1)
  }

  @Test func keepsWhatIsOwedAndSkipsWhatIsNot() throws {
    let rig = try Rig()
    rig.publish("lost", qos: .atMostOnce)
    rig.publish("kept")
    #expect(rig.outboxCounters.skipped == 1)
    #expect(rig.waitingCount == 1)
    try rig.connect()
    rig.sendQueued()
    #expect(try rig.published() == ["kept"])
  }

  @Test func waitsForTheWindowInOrder() throws {
    let rig = try Rig()
    try rig.connect()
    for number in 1...6 { rig.publish("\(number)") }
    #expect(try rig.published() == ["1", "2", "3", "4"])
    // Nothing overtakes what waits, even where there is room for it.
    try rig.receive(acknowledgements[0])
    rig.publish("7")
    #expect(try rig.published() == [])
    rig.sendQueued()
    #expect(try rig.published() == ["5"])
    try rig.receive(acknowledgements[1] + acknowledgements[2])
    rig.sendQueued()
    #expect(try rig.published() == ["6", "7"])
  }

  @Test func keepsToTheRate() throws {
    let rig = try Rig(messagesPerSecond: 2)
    try rig.connect()
    for number in 1...4 { rig.publish("\(number)") }
    #expect(try rig.published() == ["1", "2"])
    let allowed = rig.outboxDeadline
    #expect(allowed == rig.host.time + .milliseconds(500))
    rig.sendQueued()
    #expect(try rig.published() == [])
    rig.host.time = allowed
    rig.sendQueued()
    #expect(try rig.published() == ["3"])
  }

  @Test func aMessageThatFitsNoPacketIsSetAside() throws {
    let rig = try Rig(packetBytes: 256)
    try rig.connect()
    rig.publish(String(repeating: "x", count: 256))
    #expect(rig.outboxCounters.setAside == 1)
    #expect(rig.host.lines == ["error event too-large topic=iot-2/evt/e/fmt/json packet-size=256"])
    rig.publish("next")
    #expect(try rig.published() == ["next"])
  }

  /// What waits was checked when it came, but what a connection takes is known only once there is one.
  @Test func whatCanNeverBeSentDoesNotBlockThoseBehindIt() throws {
    let rig = try Rig()
    rig.publish(String(repeating: "x", count: 100))
    rig.publish("behind")
    try rig.connect()
    rig.outbox.client.limitPackets(to: 64)
    rig.sendQueued()
    #expect(try rig.published() == ["behind"])
    #expect(rig.outboxCounters.setAside == 1)
    #expect(rig.droppedCount == 1)
    #expect(rig.host.lines == ["error event too-large topic=iot-2/evt/e/fmt/json packet-size=64"])
    // The next connection may take more.
    rig.disconnect()
    try rig.connect()
    rig.publish(String(repeating: "x", count: 100))
    #expect(try rig.published().last?.count == 100)
  }

  @Test func logsTheBeginningAndTheEndOfDropping() throws {
    let rig = try Rig(queueBytes: 256)
    for number in 1...20 { rig.publish("message \(number)") }
    #expect(rig.host.lines.count == 1)
    #expect(rig.host.lines[0].hasPrefix("warning queue dropping policy=oldest waiting="))
    let dropped = rig.droppedCount
    #expect(dropped > 0)
    try rig.connect()
    for identifier in 0..<9 {
      rig.sendQueued()
      _ = try rig.published()
      try rig.receive(acknowledgements[identifier])
    }
    rig.sendQueued()
    #expect(rig.waitingCount == 0)
    #expect(rig.host.lines.last == "info queue drained dropped=\(dropped)")
  }

  @Test func refusalsSayWhetherToWait() {
    func isWorthWaiting(_ refusal: PublishRefusal) -> Bool {
      if case .wait = SendRefusal(refusal) { return true }
      return false
    }
    #expect([.notConnected, .windowFull, .outputFull].allSatisfy(isWorthWaiting))
    #expect(![.tooLarge, .topicInvalid].contains(where: isWorthWaiting))
  }
}
