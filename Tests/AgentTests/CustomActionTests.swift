import Bytes
import HostInterface
import IoTPlatform
import MQTT
import TestSupport
import Testing

@testable import Agent

/// Custom actions over a scripted host: the command runner and device management together.
@Suite struct CustomActionTests {
  private static let configuration = """
    [management]
    [command blink]
    run = /usr/libexec/blink
    [action acme-tools-v1/setInterval]
    run = /usr/libexec/set-interval
    timeout = 10s
    [action acme-tools-v1/restart]
    run = /usr/libexec/restart
    [action other/x]
    run = /usr/libexec/x
    """

  private func makeRig(packetBytes: Int = 8192) throws -> Rig {
    let rig = try Rig(CustomActionTests.configuration, packetBytes: packetBytes)
    try rig.connect()
    _ = try answers(rig)
    return rig
  }

  /// Delivers a request as the server does, and has it taken.
  private func deliver(
    _ action: String, _ payload: String, to rig: Rig, identifier: UInt8 = 1, isDuplicate: Bool = false
  ) throws {
    let topic = Array("iotdm-1/mgmt/custom/\(action)".utf8)
    let body = [UInt8(topic.count / 256), UInt8(topic.count % 256)] + topic + [0, identifier] + Array(payload.utf8)
    let length = [UInt8(body.count % 128) | 0x80, UInt8(body.count / 128)]
    let message = try #require(try rig.receive([0x32 | (isDuplicate ? 8 : 0)] + length + body))
    guard case .managementRequest(let request) = Topics.classify(rig.outbox.input.extracting(message.topic)) else {
      Issue.record("a request was expected")
      return
    }
    let turn = rig.management.take(
      request, rig.outbox.input.extracting(message.payload), isDuplicate: isDuplicate, rig.settings, rig.host.time,
      &rig.log, &rig.host)
    guard case .customAction = turn else {
      return rig.outbox.client.acknowledge(message.packetIdentifier, now: rig.host.time)
    }
    _ = rig.commands.take(
      message, Topics.customAction(rig.outbox.input.extracting(message.topic)), isAction: true, rig.settings,
      rig.clock, &rig.outbox, &rig.management, rig.host.time, &rig.log, &rig.host)
  }

  /// What was answered since the last time, and "ack N" for each request that was acknowledged.
  private func answers(_ rig: Rig) throws -> [String] {
    for _ in 0..<4 {
      rig.management.advance(
        isEnding: false, .granted(.atLeastOnce), rig.settings, rig.clock, &rig.outbox, rig.host.time, &rig.log,
        &rig.host)
    }
    return try rig.sentPackets().compactMap { packet in
      if case .puback(let identifier) = packet.packet { return "ack \(identifier)" }
      return packet.topic == "iotdevice-1/response" ? packet.payload : nil
    }
  }

  private func end(_ rig: Rig, slot: Int = 0, _ state: ProgramState = .exited(0), output: String = "") {
    rig.host.programStates[slot] = state
    rig.host.programOutput = Array(output.utf8)
    rig.advanceCommands()
    rig.host.programStates[slot] = nil
  }

  private static let request =
    #"{"d":{"fields":[{"field":"seconds","value":"30"},{"field":"stream.a-b","value":"all"}]},"reqId":"c-9"}"#

  @Test func itIsAnsweredWhenItHasEnded() throws {
    let rig = try makeRig()
    try deliver("acme-tools-v1/setInterval", Self.request, to: rig)
    #expect(try answers(rig) == ["ack 1"])
    #expect(
      rig.host.started == [
        .init(
          slot: 0, command: 1,
          input: #"{"fields":[{"field":"seconds","value":"30"},{"field":"stream.a-b","value":"all"}]}"#,
          variables: "MOTE_PARAM_seconds=30\0MOTE_PARAM_stream_a_b=all\0\0")
      ])
    end(rig, output: "done\n")
    #expect(try answers(rig) == [#"{"rc":200,"reqId":"c-9"}"#])
    #expect(
      rig.host.lines.last == "info management action-ended action=acme-tools-v1/setInterval outcome=ok status=0")
  }

  @Test(arguments: [
    (ProgramState.exited(3), "trying\nno such \"device\"\n\n", #"status 3: no such \"device\""#),
    (.signalled(9), "", "status 137"),
    (.notStarted(.notExecutable), "", "not-executable"),
    (.notStarted(.noResources), "", "busy"),
  ])
  func whatFailsIsAnsweredWithTheReason(state: ProgramState, output: String, message: String) throws {
    let rig = try makeRig()
    try deliver("other/x", #"{"reqId":7}"#, to: rig)
    #expect(rig.host.started.map(\.input) == ["{}"])
    end(rig, state, output: output)
    #expect(try answers(rig) == ["ack 1", #"{"rc":500,"reqId":7,"message":"\#(message)"}"#])
  }

  @Test func itsTimeIsUp() throws {
    let rig = try makeRig()
    try deliver("acme-tools-v1/setInterval", Self.request, to: rig)
    rig.host.time = rig.host.time + .seconds(10)
    rig.advanceCommands()
    #expect(rig.host.stops == [.init(slot: 0, forcibly: false)])
    end(rig, .signalled(15))
    #expect(try answers(rig) == ["ack 1", #"{"rc":500,"reqId":"c-9","message":"timeout 143"}"#])
  }

  @Test(arguments: [
    ("acme-tools-v1/none", #"{"reqId":"a"}"#, #"{"rc":501,"reqId":"a","message":"not supported"}"#),
    ("blink", #"{"reqId":"a"}"#, #"{"rc":501,"reqId":"a","message":"not supported"}"#),
    ("", #"{"reqId":"a"}"#, #"{"rc":501,"reqId":"a","message":"not supported"}"#),
    ("other/x/y", #"{"d":5,"reqId":"a"}"#, #"{"rc":501,"reqId":"a","message":"not supported"}"#),
    ("other/x", #"{"d":5,"reqId":"a"}"#, #"{"rc":400,"reqId":"a","message":"refused"}"#),
    ("other/x", #"{"d":{"fields":{}},"reqId":"a"}"#, #"{"rc":400,"reqId":"a","message":"refused"}"#),
    ("other/x", #"{"d":{"fields":[1]},"reqId":"a"}"#, #"{"rc":400,"reqId":"a","message":"refused"}"#),
    ("other/x", #"{"reqId":"a","d":{"#, #"{"rc":400,"reqId":"a","message":"malformed"}"#),
    ("other/x", #"{"d":{"fields":[{"field":""}]},"reqId":"a"}"#, #"{"rc":400,"reqId":"a","message":"refused"}"#),
    (
      "other/x", #"{"d":{"fields":[{"field":"a=b\nLD_PRELOAD","value":"/x"}]},"reqId":"a"}"#,
      #"{"rc":400,"reqId":"a","message":"refused"}"#
    ),
    (
      "other/x", #"{"d":{"fields":[{"field":"a","value":"b\u0000LD_PRELOAD=/x"}]},"reqId":"a"}"#,
      #"{"rc":400,"reqId":"a","message":"refused"}"#
    ),
    (
      "other/x", #"{"d":{"fields":[{"field":"a-b","value":"1"},{"field":"a.b","value":"2"}]},"reqId":"a"}"#,
      #"{"rc":400,"reqId":"a","message":"refused"}"#
    ),
  ])
  func whatCannotBeIsRefused(action: String, request: String, answer: String) throws {
    let rig = try makeRig()
    try deliver(action, request, to: rig)
    #expect(Set(try answers(rig)) == ["ack 1", answer])
    #expect(rig.host.started.isEmpty)
  }

  @Test func parametersAreWhateverJSONHas() throws {
    let rig = try makeRig()
    let fields =
      #"[{"field":"n","value":-1.5},{"field":"t","value":true},{"field":"o","value":{"a":[1]}},"#
      + #"{"field":"s","value":"a b\n\"c\""},{"value":"","field":"\u0065"},"old"]"#
    try deliver("other/x", "{\"d\":{\"fields\":\(fields)},\"reqId\":\"a\"}", to: rig)
    #expect(
      rig.host.started.map(\.variables) == [
        "MOTE_PARAM_n=-1.5\0MOTE_PARAM_t=true\0MOTE_PARAM_o={\"a\":[1]}\0MOTE_PARAM_s=a b\n\"c\"\0MOTE_PARAM_e=\0"
          + "MOTE_PARAM_old=\0\0"
      ])
  }

  @Test func thereIsABoundOnParametersAndIdentifiers() throws {
    let rig = try makeRig()
    func fields(_ count: Int) -> String { (0..<count).map { #"{"field":"p\#($0)"}"# }.joined(separator: ",") }
    try deliver("other/x", "{\"d\":{\"fields\":[\(fields(33))]},\"reqId\":\"a\"}", to: rig)
    #expect(try answers(rig).last == #"{"rc":400,"reqId":"a","message":"refused"}"#)
    try deliver("other/x", "{\"d\":{\"fields\":[\(fields(32))]},\"reqId\":\"a\"}", to: rig)
    #expect(rig.host.started.count == 1)
    let long = String(repeating: "x", count: 127)
    try deliver("other/x", "{\"reqId\":\"\(long)\"}", to: rig, identifier: 2)
    #expect(try answers(rig).contains("{\"rc\":400,\"reqId\":\"\(long)\",\"message\":\"the identifier is too long\"}"))
    // Nobody waits for an answer.
    try deliver("other/x", "{}", to: rig, identifier: 3)
    #expect(rig.host.started.count == 2)
    end(rig, slot: 1)
    #expect(try answers(rig).filter { !$0.hasPrefix("ack") } == [])
  }

  @Test func aRedeliveryRunsNothingAndIsAnsweredOnce() throws {
    let rig = try makeRig()
    try deliver("other/x", #"{"reqId":"a"}"#, to: rig)
    rig.disconnect()
    try rig.connect(sessionPresent: true)
    try deliver("other/x", #"{"reqId":"a"}"#, to: rig, isDuplicate: true)
    #expect(rig.host.started.count == 1)
    end(rig)
    #expect(try answers(rig).filter { !$0.hasPrefix("ack") } == [#"{"rc":200,"reqId":"a"}"#])
    rig.outbox.client.input.append(([0x40, 2, 0, 1] as [UInt8]).span)
    while try rig.outbox.client.nextEvent(now: rig.host.time) != nil {}
    rig.disconnect()
    try rig.connect(sessionPresent: true)
    try deliver("other/x", #"{"reqId":"a"}"#, to: rig, isDuplicate: true)
    #expect(try answers(rig).filter { !$0.hasPrefix("ack") } == [])
    #expect(rig.host.started.count == 1)
  }

  @Test func anAnswerOutlastsALostConnection() throws {
    let rig = try makeRig()
    try deliver("other/x", #"{"reqId":"a"}"#, to: rig)
    _ = try answers(rig)
    rig.disconnect()
    end(rig)
    #expect(try answers(rig) == [])
    try rig.connect()
    #expect(try answers(rig) == [#"{"rc":200,"reqId":"a"}"#])
  }

  /// Commands and actions share what programs there may be, and wait in one line.
  @Test func moreThanCanRunWait() throws {
    let rig = try makeRig()
    for number in 1...6 { try deliver("other/x", "{\"reqId\":\(number)}", to: rig, identifier: UInt8(number)) }
    #expect(rig.host.started.count == 4)
    #expect(try answers(rig) == (1...4).map { "ack \($0)" })
    end(rig, slot: 2)
    #expect(rig.host.started.count == 5 && rig.host.started.last?.slot == 2)
    #expect(Set(try answers(rig)) == ["ack 5", #"{"rc":200,"reqId":3}"#])
    end(rig, slot: 2)
    end(rig, slot: 2)
    #expect(
      Set(try answers(rig)) == ["ack 6", #"{"rc":200,"reqId":5}"#, #"{"rc":200,"reqId":6}"#])
  }

  /// What runs is answered while it can be; what waits is the server's.
  @Test func theAgentEnds() throws {
    let rig = try makeRig()
    try deliver("other/x", #"{"reqId":"a"}"#, to: rig)
    rig.commands.prepareEnd(rig.clock, &rig.outbox, &rig.management, rig.host.time, &rig.log, &rig.host)
    #expect(rig.host.stops == [.init(slot: 0, forcibly: true)])
    try deliver("other/x", #"{"reqId":"b"}"#, to: rig, identifier: 2)
    #expect(try answers(rig) == ["ack 1", #"{"rc":500,"reqId":"a","message":"interrupted"}"#])
    #expect(rig.commandDeadline == .never)
  }
}
