import AgentConfiguration
import Bytes
import HostInterface
import IoTPlatform
import MQTT
import TestSupport
import Testing

@testable import Agent

/// Device management over a scripted host, without the rest of the agent.
final class Managed {
  let rig: Rig
  var management: Management
  var arena = makeArena(byteCount: 1 << 17)

  static let example = """
    [management]
    lifetime = 2h
    reboot = yes
    factory-reset = /sbin/reset
    serial-number = S-0042
    manufacturer = Acme
    model = E7
    device-class = Edge
    description = press monitor
    firmware-version = 1.4.0
    hardware-version = B
    location = hall 3, row 2

    """

  init(
    _ configuration: String = Managed.example, queueBytes: Int = 8192, messagesPerSecond: Int = 0,
    packetBytes: Int = 2048, inflightMax: Int = 4, host: ScriptedHost = ScriptedHost()
  ) throws {
    rig = try Rig(
      configuration, packetBytes: packetBytes, queueBytes: queueBytes, messagesPerSecond: messagesPerSecond,
      inflightMax: inflightMax)
    rig.host = host
    management = Management(
      isManaged: true, updates: rig.settings.firmware.isConfigured, random: RandomSource(seed: 7), in: &arena)
    advance()
  }

  var isBusy: Bool { management.isBusy }
  var deadline: Instant { management.deadline }
  var keepsOffline: Bool { management.keepsOffline }

  /// One turn, or more where it asks for them at once.
  func advance(_ subscription: SubscriptionState = .granted(.atLeastOnce), isEnding: Bool = false) {
    for _ in 0..<8 {
      management.advance(
        isEnding: isEnding, subscription, rig.settings, rig.clock, &rig.outbox, rig.host.time, &rig.log, &rig.host)
      guard management.deadline <= rig.host.time else { break }
    }
    rig.sendQueued()
  }

  /// Is accepted by a server, and told that it may manage.
  func connect() throws {
    try rig.connect()
    management.beginConnection()
    advance()
  }

  /// A message of the server.
  func receive(_ path: String, _ payload: String, isDuplicate: Bool = false) {
    let bytes = Array(text: payload)
    let topic = Array(text: "iotdm-1/" + path)
    switch Topics.classify(topic.span) {
    case .managementRequest(let request):
      _ = management.take(
        request, bytes.span, isDuplicate: isDuplicate, rig.settings, rig.host.time, &rig.log, &rig.host)
    case .managementAnswer: management.takeAnswer(bytes.span, rig.settings, rig.host.time, &rig.log, &rig.host)
    default: Issue.record("\(path) is not about device management")
    }
    advance()
  }

  /// A request of the server in a packet, as the agent takes it; gives the packets that were acknowledged since.
  func deliver(_ path: String, _ payload: String, packet: UInt8, isDuplicate: Bool = false) throws -> [UInt16] {
    let topic = Array(text: "iotdm-1/" + path)
    let body = [0, UInt8(topic.count)] + topic + [0, packet] + Array(text: payload)
    let message = try #require(try rig.receive([0x32 | (isDuplicate ? 8 : 0), UInt8(body.count)] + body))
    let bytes = Array(text: payload)
    guard case .managementRequest(let request) = Topics.classify(topic.span) else { return [] }
    let turn = management.take(
      request, bytes.span, isDuplicate: isDuplicate, rig.settings, rig.host.time, &rig.log, &rig.host)
    switch turn {
    case .taken: rig.outbox.client.acknowledge(message.packetIdentifier, now: rig.host.time)
    case .pending: management.hold(message.packetIdentifier)
    case .customAction: Issue.record("nobody is here to carry it out")
    }
    advance()
    return try acknowledged()
  }

  /// The packets that were acknowledged since the last time.
  func acknowledged() throws -> [UInt16] {
    try rig.sentPackets().compactMap { sent in
      guard case .puback(let identifier) = sent.packet else { return nil }
      return identifier
    }
  }

  /// What was published since the last time, as `TOPIC PAYLOAD`.
  func published() throws -> [String] {
    try rig.sentPackets().compactMap { packet in packet.topic.map { "\($0) \(packet.payload ?? "")" } }
  }

  /// The answers since the last time.
  func answers() throws -> [String] {
    try published().compactMap { $0.hasPrefix("iotdevice-1/response ") ? String($0.dropFirst(21)) : nil }
  }

  /// The server has the message that was sent with this packet identifier.
  func acknowledge(_ identifier: UInt8) throws {
    let bytes: [UInt8] = [0x40, 2, 0, identifier]
    rig.outbox.client.input.append(bytes.span)
    while let event = try rig.outbox.client.nextEvent(now: rig.host.time) {
      guard case .acknowledged(let token) = event else { continue }
      if Management.isOwn(token) {
        management.acknowledge(token, rig.host.time)
      } else {
        rig.outbox.acknowledge(token, rig.host.time)
      }
    }
    advance()
  }

  /// The manage request that was sent, answered `code`.
  func answerManage(_ code: Int) throws {
    let sent = try #require(try published().last { $0.hasPrefix("iotdevice-1/mgmt/manage ") })
    let identifier = try #require(sent.components(separatedBy: "\"reqId\":").last).dropLast()
    receive("response", "{\"rc\":\(code),\"reqId\":\(identifier)}")
  }

  func pass(_ span: TimeSpan) {
    rig.host.time = rig.host.time + span
    advance()
  }
}

@Suite struct ManagementTests {
  // MARK: Being managed

  @Test func manageIsAsTheProtocolShowsIt() throws {
    let managed = try Managed()
    try managed.connect()
    let sent = try managed.published()
    #expect(sent.count == 1)
    let expected =
      "iotdevice-1/mgmt/manage {\"d\":{\"lifetime\":7200,"
      + "\"supports\":{\"deviceActions\":true,\"firmwareActions\":false},"
      + "\"deviceInfo\":{\"serialNumber\":\"S-0042\",\"manufacturer\":\"Acme\",\"model\":\"E7\","
      + "\"deviceClass\":\"Edge\","
      + "\"description\":\"press monitor\",\"fwVersion\":\"1.4.0\",\"hwVersion\":\"B\","
      + "\"descriptiveLocation\":\"hall 3, row 2\"}},\"reqId\":\""
    #expect(sent[0].hasPrefix(expected) && sent[0].count == expected.count + 18, "\(sent[0])")
  }

  @Test func whatIsNotKnownIsNotSent() throws {
    let managed = try Managed("[management]\nlifetime = 0\n")
    try managed.connect()
    let sent = try managed.published()
    #expect(
      sent[0].hasPrefix(
        "iotdevice-1/mgmt/manage {\"d\":{\"lifetime\":0,"
          + "\"supports\":{\"deviceActions\":false,\"firmwareActions\":false}},\"reqId\":\""))
    managed.receive("response", "{\"rc\":200,\"reqId\":\(sent[0].suffix(19).dropLast())}")
    #expect(managed.deadline == .never)
  }

  @Test func waitsForItsSubscription() throws {
    let managed = try Managed()
    try managed.rig.connect()
    managed.advance(.wanted)
    #expect(try managed.published() == [])
  }

  @Test func isRefreshedBeforeItsLifetimeEnds() throws {
    let managed = try Managed()
    try managed.connect()
    try managed.answerManage(200)
    let wait = managed.deadline - managed.rig.host.time
    #expect(wait >= .seconds(5472) && wait <= .seconds(6048))
    managed.pass(wait)
    #expect(try managed.published().count == 1)
  }

  @Test func asksAgainLaterEachTime() throws {
    let managed = try Managed()
    try managed.connect()
    for (number, seconds) in ([5, 30, 120, 600, 600] as [Int64]).enumerated() {
      #expect(try managed.published().count == 1)
      try managed.acknowledge(UInt8(number + 1))
      managed.pass(AgentLimits.manageTimeout)
      let wait = managed.deadline - managed.rig.host.time
      #expect(wait >= .milliseconds(seconds * 800) && wait <= .seconds(seconds))
      managed.pass(wait)
    }
    #expect(managed.rig.host.lines.filter { $0.hasPrefix("warning management no-answer retry-in=") }.count == 5)
  }

  @Test(
    arguments: [
      (409, 1...10), (404, 3600...3600), (500, 4...5), (503, 4...5), (0, 4...5),
    ] as [(Int, ClosedRange<Int64>)])
  func aRefusalIsMetAsItDeserves(code: Int, seconds: ClosedRange<Int64>) throws {
    let managed = try Managed()
    try managed.connect()
    try managed.answerManage(code)
    let wait = managed.deadline - managed.rig.host.time
    #expect(wait >= .seconds(seconds.lowerBound) && wait <= .seconds(seconds.upperBound))
    #expect(managed.rig.host.lines.last?.hasPrefix("warning management refused code=\(code) retry-in=") == true)
    managed.pass(wait)
    #expect(try managed.published().count == 1)
  }

  @Test(arguments: [400, 403]) func whatIsWrongIsNotRepeated(code: Int) throws {
    let managed = try Managed()
    try managed.connect()
    try managed.answerManage(code)
    try managed.acknowledge(1)
    #expect(managed.deadline == .never)
    #expect(managed.rig.host.lines.last == "warning management refused code=\(code)")
    managed.rig.disconnect()
    try managed.connect()
    #expect(try managed.published().count == 1)
  }

  @Test(arguments: [
    "{\"rc\":200}", "{\"rc\":200,\"reqId\":\"0123456789abcdef\"}", "{\"reqId\":17}", "rubbish",
    "{\"rc\":200,\"reqId\":17}",
  ])
  func answersOfOthersCountForNothing(answer: String) throws {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    managed.receive("response", answer)
    #expect(managed.deadline == managed.rig.host.time + AgentLimits.manageTimeout)
  }

  /// The standard actions are to work even where a bundle is not installed, which it may be later.
  @Test func bundlesThatTheServerDoesNotKnowAreLeftOut() throws {
    let actions = ["acme-tools-v1/a", "acme-tools-v1/b", "other/a"].map { "[action \($0)]\nrun = /x\n" }.joined()
    let managed = try Managed("[management]\nlifetime = 1h\n" + actions)
    let standard = "\"supports\":{\"deviceActions\":false,\"firmwareActions\":false"
    func supports() throws -> [String] {
      try managed.published().compactMap { sent in
        sent.range(of: "\"supports\":\\{[^}]*\\}", options: .regularExpression).map { String(sent[$0]) }
      }
    }
    try managed.connect()
    let first = try managed.published()
    #expect(first[0].contains(standard + ",\"acme-tools-v1\":true,\"other\":true}"), "\(first)")
    let identifier = try #require(first[0].components(separatedBy: "\"reqId\":").last).dropLast()
    managed.receive("response", "{\"rc\":403,\"reqId\":\(identifier)}")
    let second = try managed.published()
    #expect(second.count == 1 && second[0].contains(standard + "}"), "\(second)")
    let next = try #require(second[0].components(separatedBy: "\"reqId\":").last).dropLast()
    managed.receive("response", "{\"rc\":403,\"reqId\":\(next)}")
    try managed.acknowledge(1)
    try managed.acknowledge(2)
    // Once is enough.
    #expect(managed.deadline == .never)
    #expect(try supports() == [])
    managed.rig.disconnect()
    try managed.connect()
    #expect(try supports() == [standard + ",\"acme-tools-v1\":true,\"other\":true}"])
  }

  // MARK: Answers

  static let shapes: [(path: String, payload: String, answer: String?)] = [
    // What is not there.
    (
      "mgmt/initiate/firmware/download", "{\"reqId\":\"a\"}",
      "{\"rc\":501,\"reqId\":\"a\",\"message\":\"not supported\"}"
    ),
    (
      "mgmt/initiate/firmware/update", "{\"reqId\":\"a\"}", "{\"rc\":501,\"reqId\":\"a\",\"message\":\"not supported\"}"
    ),
    // What is malformed.
    ("observe", "rubbish", nil),
    ("observe", "{\"reqId\":\"a\"", "{\"rc\":400,\"reqId\":\"a\",\"message\":\"malformed\"}"),
    (
      "device/update", "{\"reqId\":\"a\",\"d\":\(String(repeating: "[", count: 99))",
      "{\"rc\":400,\"reqId\":\"a\",\"message\":\"malformed\"}"
    ),
    ("observe", "{\"reqId\":\"a\"}", "{\"rc\":400,\"reqId\":\"a\",\"message\":\"no fields\"}"),
    ("observe", "{\"reqId\":\"a\",\"d\":{\"fields\":[{}]}}", "{\"rc\":400,\"reqId\":\"a\"}"),
    ("cancel", "{\"reqId\":\"a\"}", "{\"rc\":400,\"reqId\":\"a\"}"),
    (
      "device/update", "{\"reqId\":\"a\",\"d\":{\"fields\":[{\"field\":\"metadata\"}]}}", "{\"rc\":400,\"reqId\":\"a\"}"
    ),
    ("device/update", "{\"reqId\":\"a\",\"d\":{}}", "{\"rc\":400,\"reqId\":\"a\"}"),
    // What is observed, in the shapes of all years.
    (
      "observe", "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\"}]},\"reqId\":\"o1\"}",
      "{\"rc\":404,\"reqId\":\"o1\",\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\"}]}}"
    ),
    (
      "observe", "{\"d\":{\"fields\":[\"deviceInfo.model\"]},\"reqId\":\"o1\",\"extra\":[]}",
      "{\"rc\":200,\"reqId\":\"o1\",\"d\":{\"fields\":[{\"field\":\"deviceInfo.model\",\"value\":\"E7\"}]}}"
    ),
    (
      "observe",
      "{\"d\":{\"fields\":[{\"field\":\"deviceInfo.fwVersion\"},{\"field\":\"x\"},{\"field\":\"location\"}]},"
        + "\"reqId\":\"o1\"}",
      "{\"rc\":404,\"reqId\":\"o1\",\"d\":{\"fields\":[{\"field\":\"x\"},{\"field\":\"location\"}]}}"
    ),
    ("cancel", "{\"d\":{\"data\":[{\"field\":\"mgmt.firmware\"}]},\"reqId\":\"c\"}", "{\"rc\":200,\"reqId\":\"c\"}"),
    ("cancel", "{\"d\":{\"fields\":[\"mgmt.firmware\"]},\"reqId\":\"c\"}", "{\"rc\":200,\"reqId\":\"c\"}"),
    // What is changed: all or nothing.
    (
      "device/update", "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\",\"value\":{}}]},\"reqId\":\"u\"}",
      "{\"rc\":404,\"reqId\":\"u\",\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\"}]}}"
    ),
    (
      "device/update",
      "{\"d\":{\"fields\":[{\"field\":\"location\",\"value\":{\"latitude\":\"north\"}}]},\"reqId\":\"u\"}",
      "{\"rc\":400,\"reqId\":\"u\"}"
    ),
    (
      "device/update", "{\"d\":{\"fields\":[{\"field\":\"deviceInfo\",\"value\":{\"model\":1}}]},\"reqId\":\"u\"}",
      "{\"rc\":400,\"reqId\":\"u\"}"
    ),
    (
      "device/update",
      "{\"d\":{\"fields\":[{\"field\":\"metadata\",\"value\":{\"x\":\"\(String(repeating: "y", count: 1100))\"}}]},"
        + "\"reqId\":\"u\"}", "{\"rc\":500,\"reqId\":\"u\"}"
    ),
    (
      "device/update", "{\"d\":{\"fields\":[{\"field\":\"metadata\",\"value\":{\"x\":[1]}}]},\"reqId\":\"u\"}",
      "{\"rc\":204,\"reqId\":\"u\"}"
    ),
    (
      "device/update", "{\"d\":{\"fields\":[{\"field\":\"location\",\"value\":{\"latitude\":1,\"longitude\":2}}]}}", nil
    ),
    // Actions.
    ("mgmt/initiate/device/reboot", "{}", nil), ("mgmt/initiate/device/reboot", "{\"reqId\":null}", nil),
    (
      "mgmt/initiate/device/reboot", "{\"reqId\":\"\(String(repeating: "r", count: 127))\"}",
      "{\"rc\":500,\"reqId\":\"\(String(repeating: "r", count: 127))\",\"message\":\"the identifier is too long\"}"
    ),
    ("mgmt/initiate/device/reboot", "{\"reqId\":\"a\"}", "{\"rc\":202,\"reqId\":\"a\"}"),
    ("mgmt/initiate/device/factory_reset", "{\"reqId\":\"a\",\"d\":{\"x\":1}}", "{\"rc\":202,\"reqId\":\"a\"}"),
  ]

  @Test(arguments: shapes.indices) func eachRequestHasItsAnswer(index: Int) throws {
    let (path, payload, answer) = Self.shapes[index]
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    // Before the server has answered the manage request.
    managed.receive(path, payload)
    #expect(try managed.answers() == (answer.map { [$0] } ?? []), "\(path) \(payload)")
  }

  @Test func changesAreObservedAndTold() throws {
    let managed = try Managed("[management]\nmodel = E7\ndescription = old\n")
    try managed.connect()
    try managed.answerManage(200)
    managed.receive(
      "device/update",
      "{\"d\":{\"fields\":[{\"field\":\"deviceInfo\",\"value\":{\"description\":\"n\\u0065w\",\"else\":1}},"
        + "{\"field\":\"location\",\"value\":{\"latitude\":48.1,\"longitude\":11.5}}]},\"reqId\":\"1\"}")
    managed.receive(
      "device/update",
      "{\"d\":{\"fields\":[{\"field\":\"deviceInfo\",\"value\":{\"hwVersion\":\"C\"}}]},\"reqId\":\"2\"}")
    managed.receive("observe", "{\"d\":{\"fields\":[\"deviceInfo\",\"location\"]},\"reqId\":\"3\"}")
    #expect(
      try managed.answers() == [
        "{\"rc\":204,\"reqId\":\"1\"}", "{\"rc\":204,\"reqId\":\"2\"}",
        "{\"rc\":200,\"reqId\":\"3\",\"d\":{\"fields\":[{\"field\":\"deviceInfo\",\"value\":{\"model\":\"E7\","
          + "\"description\":\"n\\u0065w\",\"hwVersion\":\"C\"}},"
          + "{\"field\":\"location\",\"value\":{\"latitude\":48.1,\"longitude\":11.5}}]}}",
      ])
  }

  @Test func noneOfSeveralChangesIsMadeWhereOneCannotBe() throws {
    let managed = try Managed("[management]\n")
    try managed.connect()
    _ = try managed.published()
    managed.receive(
      "device/update",
      "{\"d\":{\"fields\":[{\"field\":\"metadata\",\"value\":{\"a\":1}},{\"field\":\"nonsense\",\"value\":{}}]},"
        + "\"reqId\":\"1\"}")
    managed.receive("observe", "{\"d\":{\"fields\":[\"metadata\"]},\"reqId\":\"2\"}")
    #expect(
      try managed.answers() == [
        "{\"rc\":404,\"reqId\":\"1\",\"d\":{\"fields\":[{\"field\":\"nonsense\"}]}}",
        "{\"rc\":404,\"reqId\":\"2\",\"d\":{\"fields\":[{\"field\":\"metadata\"}]}}",
      ])
  }

  @Test func aRedeliveryIsAnsweredOnce() throws {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    managed.receive("cancel", "{\"d\":{\"fields\":[]},\"reqId\":\"x\"}")
    managed.receive("cancel", "{\"d\":{\"fields\":[]},\"reqId\":\"x\"}", isDuplicate: true)
    #expect(try managed.answers() == ["{\"rc\":200,\"reqId\":\"x\"}"])
    // One that was never heard of is new, whatever its mark says.
    managed.receive("cancel", "{\"d\":{\"fields\":[]},\"reqId\":\"y\"}", isDuplicate: true)
    #expect(try managed.answers() == ["{\"rc\":200,\"reqId\":\"y\"}"])
  }

  @Test func anAnswerWaitsForTheWindowAndOvertakesEvents() throws {
    let managed = try Managed()
    try managed.connect()
    for number in 0..<6 { managed.rig.publish("{\"n\":\(number)}") }
    managed.receive("cancel", "{\"d\":{\"fields\":[]},\"reqId\":\"x\"}")
    // The manage request and three events are the window.
    #expect(try managed.published().count == 4)
    #expect(managed.isBusy)
    try managed.acknowledge(1)
    #expect(try managed.published() == ["iotdevice-1/response {\"rc\":200,\"reqId\":\"x\"}"])
  }

  @Test func anAnswerWaitsForTheRate() throws {
    let managed = try Managed(messagesPerSecond: 1)
    try managed.connect()
    _ = try managed.published()
    managed.receive("cancel", "{\"d\":{\"fields\":[]},\"reqId\":\"x\"}")
    #expect(try managed.answers() == [])
    #expect(managed.deadline > managed.rig.host.time && managed.deadline <= managed.rig.host.time + .seconds(1))
    managed.pass(managed.deadline - managed.rig.host.time)
    #expect(try managed.answers() == ["{\"rc\":200,\"reqId\":\"x\"}"])
  }

  @Test func anAnswerWaitsForAConnection() throws {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    managed.rig.disconnect()
    managed.receive("cancel", "{\"d\":{\"fields\":[]},\"reqId\":\"x\"}")
    try managed.rig.connect()
    managed.advance()
    #expect(try managed.answers() == ["{\"rc\":200,\"reqId\":\"x\"}"])
  }

  @Test func whatFindsNoRoomIsSaidToBeLost() throws {
    let managed = try Managed()
    for number in 0..<400 { managed.receive("cancel", "{\"d\":{\"fields\":[]},\"reqId\":\"long-\(number)\"}") }
    #expect(managed.rig.host.lines.contains("error management answer-dropped"))
    try managed.rig.connect()
    managed.advance()
    let first = try managed.answers()
    #expect(first.first == "{\"rc\":200,\"reqId\":\"long-0\"}")
  }

  // MARK: Actions

  private let reboot = "mgmt/initiate/device/reboot"

  @Test func nothingIsPromisedBeforeItIsKept() throws {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    managed.rig.host.storeAnswers = [.pending, .pending, .pending, .pending]
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    // Not even where the same comes again meanwhile.
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    #expect(try managed.answers() == [])
    managed.rig.host.storeAnswers = []
    managed.advance()
    #expect(try managed.answers() == ["{\"rc\":202,\"reqId\":\"a\"}"])
    #expect(managed.rig.host.actions == [])
  }

  /// Until it is on flash, the server is to keep it as well.
  @Test func aRequestIsAcknowledgedWhenItIsKept() throws {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    managed.rig.host.storeAnswers = Array(repeating: .pending, count: 40)
    #expect(try managed.deliver(reboot, "{\"reqId\":\"a\"}", packet: 7) == [])
    // On another connection it comes in another packet, and the first is nobody's.
    managed.rig.disconnect()
    try managed.connect()
    #expect(try managed.deliver(reboot, "{\"reqId\":\"a\"}", packet: 8, isDuplicate: true) == [])
    managed.rig.host.storeAnswers = []
    managed.advance()
    #expect(try managed.acknowledged() == [8])
    // What is refused, or known already, is acknowledged at once.
    #expect(try managed.deliver(reboot, "{\"reqId\":\"b\"}", packet: 9) == [9])
    #expect(try managed.deliver(reboot, "{\"reqId\":\"a\"}", packet: 10) == [10])
  }

  @Test(arguments: [StorageAnswer.noSpace, .readOnly, .failed]) func whatCannotBeKeptIsAcknowledged(
    answer: StorageAnswer
  ) throws {
    let managed = try Managed()
    try managed.connect()
    managed.rig.host.storeAnswers = [answer]
    #expect(try managed.deliver(reboot, "{\"reqId\":\"a\"}", packet: 7) == [7])
  }

  @Test(arguments: [StorageAnswer.noSpace, .readOnly, .failed]) func whatCannotBeKeptIsRefused(answer: StorageAnswer)
    throws
  {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    managed.rig.host.storeAnswers = [answer]
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    #expect(try managed.answers() == ["{\"rc\":500,\"reqId\":\"a\",\"message\":\"\(answer.name)\"}"])
    // It is taken back, as it may have had its effect all the same.
    #expect(managed.rig.host.stored.last?[2] == 0)
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    #expect(try managed.answers() == ["{\"rc\":202,\"reqId\":\"a\"}"])
  }

  @Test func itBeginsWhenTheServerHasTheAnswer() throws {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    try managed.acknowledge(1)
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    #expect(!managed.keepsOffline)
    managed.pass(.seconds(1))
    #expect(managed.rig.host.actions == [])
    _ = try managed.published()
    try managed.acknowledge(2)
    #expect(managed.keepsOffline)
    #expect(managed.rig.host.actions == [""])
  }

  @Test func itBeginsAlsoWhereTheServerDoesNotSay() throws {
    let managed = try Managed()
    try managed.connect()
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    managed.pass(AgentLimits.answerTimeout)
    #expect(managed.rig.host.actions == [])
    managed.pass(AgentLimits.stopTimeout)
    #expect(managed.rig.host.actions == [""])
  }

  @Test func aSecondActionHasToWait() throws {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    managed.receive("mgmt/initiate/device/factory_reset", "{\"reqId\":\"b\"}")
    #expect(
      try managed.answers() == [
        "{\"rc\":202,\"reqId\":\"a\"}", "{\"rc\":500,\"reqId\":\"b\",\"message\":\"another action is pending\"}",
      ])
  }

  /// The record of a refused action is still to be emptied: the next one waits for that, and is not in its own way.
  @Test func anActionThatWaitsForTheRecordIsKnown() throws {
    let managed = try Managed()
    try managed.connect()
    managed.rig.host.storeAnswers = [.noSpace, .noSpace]
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    _ = try managed.answers()
    managed.receive(reboot, "{\"reqId\":\"b\"}")
    managed.receive(reboot, "{\"reqId\":\"b\"}")
    #expect(try managed.answers() == [])
    managed.pass(AgentLimits.storageRetryPause)
    #expect(try managed.answers() == ["{\"rc\":202,\"reqId\":\"b\"}"])
  }

  @Test func whatHasNoChanceIsRefused() throws {
    let managed = try Managed()
    try managed.connect()
    _ = try managed.published()
    managed.rig.host.mayAct = false
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    #expect(
      try managed.answers() == ["{\"rc\":500,\"reqId\":\"a\",\"message\":\"not permitted, or not executable\"}"])
    #expect(managed.rig.host.stored == [])
  }

  /// Writing file systems hangs: the machine is restarted all the same.
  @Test func aRestartThatHangsIsForced() throws {
    let managed = try Managed()
    try managed.connect()
    try managed.answerManage(200)
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    managed.pass(AgentLimits.answerTimeout)
    managed.pass(AgentLimits.stopTimeout)
    managed.pass(AgentLimits.syncTimeout)
    #expect(managed.rig.host.rebootCount == 1)
    managed.pass(AgentLimits.restartPatience)
    #expect(managed.rig.host.lines.last == "error management action-failed action=reboot reason=not-restarted")
    #expect(!managed.keepsOffline)
  }

  @Test func aProgramThatHangsIsEnded() throws {
    let managed = try Managed()
    try managed.connect()
    managed.receive("mgmt/initiate/device/factory_reset", "{\"reqId\":\"a\"}")
    managed.pass(AgentLimits.answerTimeout)
    managed.pass(AgentLimits.stopTimeout)
    managed.pass(AgentLimits.actionTimeout)
    #expect(managed.rig.host.actionStops == 1)
    managed.rig.host.actionState = .signalled(9)
    managed.advance()
    #expect(
      managed.rig.host.lines.last == "error management action-failed action=factory-reset reason=timeout status=137")
    _ = try managed.published()
    #expect(!managed.keepsOffline)
  }

  @Test func nothingNewBeginsAtTheEnd() throws {
    let managed = try Managed()
    try managed.connect()
    managed.receive(reboot, "{\"reqId\":\"a\"}")
    managed.rig.host.time = managed.rig.host.time + .minutes(1)
    managed.advance(isEnding: true)
    #expect(managed.deadline == .never)
    #expect(managed.rig.host.actions == [])
  }

  // MARK: The record

  /// A record that any other program may have written there.
  @Test func recordsThatCannotBeRightAreNone() throws {
    var wrong: [[UInt8]] = [[], [1], Array(repeating: 0, count: 152), Array(repeating: 0xFF, count: 200)]
    var record = Array(repeating: UInt8(0), count: 152)
    record[0] = 1
    for (index, value) in [(0, 2), (1, 9), (6, 16)] {
      var copy = record
      copy[2] = 1
      copy[1] = 1
      copy[index] = UInt8(value)
      wrong.append(copy)
    }
    for content in wrong {
      let managed = try Managed(stored: content)
      try managed.connect()
      #expect(try managed.published().count == 1, "\(content)")
    }
  }
}

extension Managed {
  /// Starts with a record.
  fileprivate convenience init(stored: [UInt8]) throws {
    try self.init()
    rig.host.storedClock = stored
    try readAgain()
  }

  private func readAgain() throws {
    management = Management(
      isManaged: true, updates: rig.settings.firmware.isConfigured, random: RandomSource(seed: 7), in: &arena)
    advance()
  }
}
