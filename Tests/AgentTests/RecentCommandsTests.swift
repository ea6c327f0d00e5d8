import Bytes
import HostInterface
import IoTPlatform
import MQTT
import TestSupport
import Testing

@testable import Agent

/// Commands that come again, that look as if they did, and that wait.
@Suite struct RecentCommandsTests {
  /// `mqtt` are keys of `[mqtt]`.
  private func makeRig(_ mqtt: String = "", packetBytes: Int = 8192) throws -> Rig {
    let rig = try Rig(mqtt + "\n[event e]\n[command blink]\nrun = /usr/libexec/blink", packetBytes: packetBytes)
    rig.host.wall = WallTime(milliseconds: 0)
    try rig.connect()
    return rig
  }

  /// Loses the connection and makes a new one.
  private func reconnect(_ rig: Rig, sessionPresent: Bool = true) throws {
    rig.disconnect()
    try rig.connect(sessionPresent: sessionPresent)
    rig.sendAll()
  }

  /// Delivers a command as the server does, and has it taken; identifier 0 is QoS 0.
  private func deliver(
    _ name: String, _ payload: String = "", to rig: Rig, identifier: UInt8, isDuplicate: Bool = false,
    isRetained: Bool = false
  ) throws {
    let topic = Array("iot-2/cmd/\(name)/fmt/json".utf8)
    let number = identifier > 0 ? [0, identifier] : []
    let body = [0, UInt8(topic.count)] + topic + number + Array(payload.utf8)
    let flags: UInt8 = (isDuplicate ? 8 : 0) | (identifier > 0 ? 2 : 0) | (isRetained ? 1 : 0)
    let length = body.count < 128 ? [UInt8(body.count)] : [UInt8(body.count % 128) | 0x80, UInt8(body.count / 128)]
    let message = try #require(try rig.receive([0x30 | flags] + length + body))
    guard case .command(let command) = Topics.classify(rig.outbox.input.extracting(message.topic)) else {
      Issue.record("a command was expected")
      return
    }
    _ = rig.commands.take(
      message, command, isAction: false, rig.settings, rig.clock, &rig.outbox, &rig.management, rig.host.time, &rig.log,
      &rig.host)
  }

  /// What the client has written: packet identifiers acknowledged, and outcomes.
  private func written(_ rig: Rig) throws -> [String] {
    try rig.sentPackets().compactMap { sent in
      switch sent.packet {
      case .puback(let packetIdentifier): return "ack \(packetIdentifier)"
      case .publish:
        let words = (sent.payload ?? "").split(separator: "\"")
        return "\(words[5]) \(words[9])"
      default: return nil
      }
    }
  }

  /// The server has what was published, in the order of packet identifiers.
  private func acknowledge(_ packetIdentifier: UInt8, _ rig: Rig) throws {
    try rig.receive([0x40, 2, 0, packetIdentifier])
  }

  private func endProgram(_ slot: Int, _ rig: Rig) {
    rig.host.programStates = [slot: .exited(0)]
    rig.advanceCommands()
    rig.host.programStates = [:]
  }

  // MARK: Again

  @Test func carriesARedeliveryOutOnceAndSaysSo() throws {
    let rig = try makeRig()
    try deliver("blink", "once", to: rig, identifier: 1)
    #expect(try written(rig) == ["ack 1"])
    // An impatient server's second copy on the same connection cannot be anything else.
    try deliver("blink", "once", to: rig, identifier: 1, isDuplicate: true)
    #expect(try written(rig) == ["ack 1"])
    try reconnect(rig)
    try deliver("blink", "once", to: rig, identifier: 1, isDuplicate: true)
    #expect(try written(rig) == ["ack 1", "blink redelivered"])
    // That acknowledgement can be lost, too.
    try reconnect(rig)
    try deliver("blink", "once", to: rig, identifier: 1, isDuplicate: true)
    #expect(rig.host.started.count == 1)
    #expect(rig.commandCount == 1)
  }

  @Test func takesWhatComesInANewSession() throws {
    let rig = try makeRig()
    try deliver("blink", "once", to: rig, identifier: 1)
    try reconnect(rig, sessionPresent: false)
    try deliver("blink", "once", to: rig, identifier: 1, isDuplicate: true)
    #expect(rig.host.started.count == 2)
  }

  @Test func takesWhatComesAfterTheIdentifierWasUsedAnew() throws {
    let rig = try makeRig()
    try deliver("blink", "once", to: rig, identifier: 1)
    try deliver("blink", "other", to: rig, identifier: 1)
    try reconnect(rig)
    try deliver("blink", "once", to: rig, identifier: 1, isDuplicate: true)
    #expect(rig.host.started.map(\.input) == ["once", "other", "once"])
  }

  /// A new command, equal to an earlier one, with the same identifier; its first copy was lost.
  @Test func takesAnEqualCommandOnceTheAcknowledgementIsProved() throws {
    for isProved in [false, true] {
      let rig = try makeRig()
      try deliver("blink", "once", to: rig, identifier: 1)
      endProgram(0, rig)
      // The outcome was written behind the acknowledgement.
      if isProved { try acknowledge(1, rig) }
      rig.host.time = rig.host.time + AgentLimits.redeliveryMax + .seconds(1)
      try reconnect(rig)
      try deliver("blink", "once", to: rig, identifier: 1, isDuplicate: true)
      #expect(rig.host.started.count == (isProved ? 2 : 1))
    }
  }

  /// A server that falls back to what it stored a moment ago delivers what it has the acknowledgement of.
  @Test func doesNotTakeAProvedCommandAgainSoonAfter() throws {
    let rig = try makeRig()
    try deliver("blink", "once", to: rig, identifier: 1)
    endProgram(0, rig)
    try acknowledge(1, rig)
    try reconnect(rig)
    try deliver("blink", "once", to: rig, identifier: 1, isDuplicate: true)
    #expect(rig.host.started.count == 1)
  }

  /// As RabbitMQ does it: its identifiers count anew on each connection.
  @Test func knowsARedeliveryWithANewIdentifier() throws {
    let rig = try makeRig()
    try deliver("blink", "a", to: rig, identifier: 71)
    try deliver("blink", "b", to: rig, identifier: 72)
    try reconnect(rig)
    try deliver("blink", "a", to: rig, identifier: 1, isDuplicate: true)
    try deliver("blink", "b", to: rig, identifier: 2, isDuplicate: true)
    #expect(rig.host.started.map(\.input) == ["a", "b"])
    #expect(try written(rig) == ["ack 1", "blink redelivered", "ack 2", "blink redelivered"])
    // Each entry answers for one delivery.
    try deliver("blink", "b", to: rig, identifier: 3, isDuplicate: true)
    #expect(rig.host.started.map(\.input) == ["a", "b", "b"])
  }

  @Test func takesAnEqualCommandWithAnotherIdentifierWhereTheFirstWasAcknowledged() throws {
    let rig = try makeRig()
    try deliver("blink", "a", to: rig, identifier: 1)
    endProgram(0, rig)
    try acknowledge(1, rig)
    try reconnect(rig)
    try deliver("blink", "a", to: rig, identifier: 2, isDuplicate: true)
    #expect(rig.host.started.count == 2)
  }

  @Test func doesNotWaitForeverForARedelivery() throws {
    let rig = try makeRig()
    try deliver("blink", "a", to: rig, identifier: 1)
    try reconnect(rig)
    // Nothing comes again, although the server answers for more than a minute.
    rig.host.time = rig.host.time + AgentLimits.redeliveryMax + .seconds(1)
    rig.publish("{}")
    try acknowledge(1, rig)
    try reconnect(rig)
    try deliver("blink", "a", to: rig, identifier: 1, isDuplicate: true)
    #expect(rig.host.started.count == 2)
  }

  // MARK: Waiting

  @Test func waitsUnacknowledgedUntilAProgramCanRun() throws {
    let rig = try makeRig()
    for number in 1...6 { try deliver("blink", "\(number)", to: rig, identifier: UInt8(number)) }
    #expect(rig.host.started.map(\.input) == ["1", "2", "3", "4"])
    #expect(try written(rig) == ["ack 1", "ack 2", "ack 3", "ack 4"])
    // What needs no program is answered, and acknowledged behind those that wait [MQTT-4.6.0-2].
    try deliver("ping", to: rig, identifier: 7)
    #expect(try written(rig) == ["ping ok"])
    endProgram(2, rig)
    #expect(rig.host.started.last == ScriptedHost.StartedProgram(slot: 2, command: 0, input: "5"))
    #expect(try written(rig) == ["blink ok", "ack 5"])
    endProgram(0, rig)
    #expect(rig.host.started.last?.input == "6")
    #expect(try written(rig) == ["blink ok", "ack 6", "ack 7"])
    #expect(rig.commandCount == 7)
  }

  @Test func isBusyWhenTooManyWait() throws {
    let rig = try makeRig()
    let waitingMax = RecentCommands.waitingMax
    for number in 1...(HostLimits.programsMax + waitingMax) {
      try deliver("blink", "\(number)", to: rig, identifier: UInt8(number))
    }
    rig.sendAll()
    try deliver("blink", "one more", to: rig, identifier: 99)
    #expect(try written(rig) == ["blink busy"])
    for _ in 0..<waitingMax { endProgram(0, rig) }
    #expect(rig.host.started.count == HostLimits.programsMax + waitingMax)
    #expect(try rig.sentPackets().last?.bytes == [0x40, 2, 0, 99])
  }

  @Test func isBusyWhenTheWaitingHaveTooManyBytes() throws {
    let rig = try makeRig(packetBytes: 1024)
    let text = String(repeating: "x", count: 400)
    for number in 1...6 { try deliver("blink", text, to: rig, identifier: UInt8(number)) }
    rig.sendAll()
    try deliver("blink", text, to: rig, identifier: 7)
    #expect(try written(rig) == ["blink busy"])
    // A smaller one still fits.
    try deliver("blink", "x", to: rig, identifier: 8)
    #expect(try written(rig) == [])
  }

  @Test func waitsAlsoWhereTheSystemHasNoRoomNow() throws {
    let rig = try makeRig()
    try deliver("blink", "1", to: rig, identifier: 1)
    rig.host.programStart = .noResources
    try deliver("blink", "2", to: rig, identifier: 2)
    #expect(try written(rig) == ["ack 1"])
    rig.host.programStart = .started
    endProgram(0, rig)
    #expect(rig.host.started.map(\.input) == ["1", "2"])
  }

  @Test func goesOnWaitingOverConnections() throws {
    let rig = try makeRig()
    for number in 1...6 { try deliver("blink", "\(number)", to: rig, identifier: UInt8(number)) }
    rig.sendAll()
    try reconnect(rig)
    // The server delivers again what was not acknowledged.
    try deliver("blink", "5", to: rig, identifier: 5, isDuplicate: true)
    try deliver("blink", "6", to: rig, identifier: 6, isDuplicate: true)
    #expect(try written(rig) == [])
    endProgram(0, rig)
    #expect(try written(rig) == ["blink ok", "ack 5"])
    endProgram(1, rig)
    #expect(try written(rig) == ["blink ok", "ack 6"])
    #expect(rig.host.started.map(\.input) == ["1", "2", "3", "4", "5", "6"])
  }

  @Test func runsWhatWaitedWithoutAConnection() throws {
    let rig = try makeRig()
    for number in 1...4 { try deliver("blink", "\(number)", to: rig, identifier: UInt8(number)) }
    try deliver("blink", "5", to: rig, identifier: 5)
    try deliver("blink", "6", to: rig, identifier: 0)
    rig.sendAll()
    rig.disconnect()
    endProgram(0, rig)
    endProgram(1, rig)
    #expect(rig.host.started.map(\.input) == ["1", "2", "3", "4", "5", "6"])
    try rig.connect(sessionPresent: true)
    try deliver("blink", "5", to: rig, identifier: 5, isDuplicate: true)
    #expect(rig.host.started.count == 6)
  }

  /// In a new session the server has forgotten what waits here; what is equal to it is another one.
  @Test func keepsWhatWaitsIntoANewSession() throws {
    let rig = try makeRig()
    for number in 1...5 { try deliver("blink", "\(number)", to: rig, identifier: UInt8(number)) }
    try reconnect(rig, sessionPresent: false)
    try deliver("blink", "5", to: rig, identifier: 5, isDuplicate: true)
    for slot in 0..<2 { endProgram(slot, rig) }
    #expect(rig.host.started.map(\.input) == ["1", "2", "3", "4", "5", "5"])
    #expect(try written(rig).contains("ack 5"))
  }

  @Test func leavesToTheServerWhatComesAtTheEnd() throws {
    let rig = try makeRig()
    for number in 1...5 { try deliver("blink", "\(number)", to: rig, identifier: UInt8(number)) }
    rig.sendAll()
    rig.commands.prepareEnd(rig.clock, &rig.outbox, &rig.management, rig.host.time, &rig.log, &rig.host)
    endProgram(0, rig)
    try deliver("blink", "6", to: rig, identifier: 6)
    #expect(try written(rig) == ["blink ok"])
    #expect(rig.host.started.count == 4)
  }

  // MARK: Retained

  @Test func doesNotCarryOutWhatIsRetained() throws {
    let rig = try makeRig()
    for identifier in [1, 2, 0] {
      try deliver("blink", "old", to: rig, identifier: UInt8(identifier), isRetained: true)
      try reconnect(rig)
    }
    try deliver("blink", "old", to: rig, identifier: 3, isRetained: true)
    #expect(try written(rig) == ["ack 3"])
    #expect(rig.host.started.isEmpty)
    #expect(rig.host.lines == ["warning command retained command=blink"])
    // It comes with each connection.
    let taking = try makeRig("retained-commands = yes")
    try deliver("blink", "old", to: taking, identifier: 1, isRetained: true)
    #expect(taking.host.started.count == 1)
  }
}
