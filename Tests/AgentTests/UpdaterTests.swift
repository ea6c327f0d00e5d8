import AgentConfiguration
import Bytes
import Firmware
import HostInterface
import TestSupport
import Testing

@testable import Agent

/// Updates of the firmware, as the server sees them.
@Suite struct UpdaterTests {
  static let configuration = """
    [management]
    lifetime = 2h
    reboot = yes
    firmware-version = 1.4.0
    [firmware]
    installer = command
    run = /sbin/install

    """

  /// A device that is managed.
  static func managed(_ configuration: String = Self.configuration, host: ScriptedHost = ScriptedHost()) throws
    -> Managed
  {
    let managed = try Managed(configuration, inflightMax: 40, host: host)
    try managed.connect()
    try managed.answerManage(200)
    _ = try managed.published()
    return managed
  }

  static let download = "mgmt/initiate/firmware/download"
  static let update = "mgmt/initiate/firmware/update"

  /// The record of protocol 4.10.
  static let record =
    "{\"version\":\"1.5.0\",\"name\":\"edge-os\",\"uri\":\"https://fw.example/e7-1.5.0.img\",\"verifier\":\"\","
    + "\"state\":0,\"updateStatus\":0,\"updatedDateTime\":\"\"}"

  static func request(_ value: String, _ identifier: String) -> String {
    "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\",\"value\":\(value)}]},\"reqId\":\"\(identifier)\"}"
  }

  static let observation = "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\"}]},\"reqId\":\"o1\"}"

  // MARK: The record

  @Test func manageSaysThatFirmwareIsSupported() throws {
    let managed = try Managed(Self.configuration)
    try managed.connect()
    #expect(try managed.published().first?.contains("\"deviceActions\":true,\"firmwareActions\":true}") == true)
  }

  @Test func observingTellsTheValueAsTheProtocolShowsIt() throws {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(Self.record, "u1"))
    managed.receive("observe", Self.observation)
    #expect(
      try managed.answers() == [
        "{\"rc\":204,\"reqId\":\"u1\"}",
        "{\"rc\":200,\"reqId\":\"o1\",\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\",\"value\":\(Self.record)}]}}",
      ])
  }

  /// Shapes of other years, and of some of the members only.
  @Test(arguments: [
    ("{\"url\":\"http://a/b\"}", "{\"version\":\"\",\"name\":\"\",\"uri\":\"http://a/b\",\"verifier\":\"\""),
    (
      "{\"uri\":\"http:\\/\\/a\\/\\u0062\"}", "{\"version\":\"\",\"name\":\"\",\"uri\":\"http://a/b\",\"verifier\":\"\""
    ),
    ("{\"version\":\"2\",\"x\":[1]}", "{\"version\":\"2\",\"name\":\"\",\"uri\":\"\",\"verifier\":\"\""),
    ("{\"version\":null,\"name\":\"n\\\"\"}", "{\"version\":\"\",\"name\":\"n\\\"\",\"uri\":\"\",\"verifier\":\"\""),
    ("{}", "{\"version\":\"\",\"name\":\"\",\"uri\":\"\",\"verifier\":\"\""),
  ])
  func theRecordIsReplaced(value: String, start: String) throws {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(Self.record, "u1"))
    managed.receive("device/update", Self.request(value, "u2"))
    managed.receive("observe", "{\"d\":{\"fields\":[\"mgmt.firmware\"]},\"reqId\":\"o1\"}")
    let answers = try managed.answers()
    #expect(answers.count == 3)
    #expect(answers.last?.contains("\"value\":\(start),\"state\":0,\"updateStatus\":0,") == true, "\(answers)")
  }

  @Test(arguments: [
    ("7", "mgmt.firmware is not an object"), ("{\"version\":7}", "version, name, uri and verifier are texts"),
    ("{\"uri\":[]}", "version, name, uri and verifier are texts"),
    ("{\"version\":\"\(String(repeating: "v", count: 129))\"}", "a text is too long"),
  ])
  func whatIsWrongWithTheRecordIsNamed(value: String, message: String) throws {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(value, "u"))
    #expect(try managed.answers() == ["{\"rc\":400,\"reqId\":\"u\",\"message\":\"\(message)\"}"])
  }

  @Test func membersAreAttributesToo() throws {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(Self.record, "u1"))
    managed.receive(
      "observe", "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware.state\"},\"mgmt.firmware.version\"]},\"reqId\":\"o\"}")
    managed.receive("observe", "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware.x\"}]},\"reqId\":\"p\"}")
    #expect(
      try managed.answers().dropFirst() == [
        "{\"rc\":200,\"reqId\":\"o\",\"d\":{\"fields\":[{\"field\":\"mgmt.firmware.state\",\"value\":0},"
          + "{\"field\":\"mgmt.firmware.version\",\"value\":\"1.5.0\"}]}}",
        "{\"rc\":404,\"reqId\":\"p\",\"d\":{\"fields\":[{\"field\":\"mgmt.firmware.x\"}]}}",
      ])
  }

  @Test func allIsChangedOrNothing() throws {
    let managed = try Self.managed()
    managed.receive(
      "device/update",
      "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\",\"value\":\(Self.record)},{\"field\":\"x\",\"value\":{}}]},"
        + "\"reqId\":\"u\"}")
    managed.receive("observe", "{\"d\":{\"fields\":[\"mgmt.firmware.uri\"]},\"reqId\":\"o\"}")
    #expect(
      try managed.answers() == [
        "{\"rc\":404,\"reqId\":\"u\",\"d\":{\"fields\":[{\"field\":\"x\"}]}}",
        "{\"rc\":200,\"reqId\":\"o\",\"d\":{\"fields\":[{\"field\":\"mgmt.firmware.uri\",\"value\":\"\"}]}}",
      ])
  }

  // MARK: Promises

  @Test func nothingIsSaidBeforeItIsKept() throws {
    let managed = try Self.managed()
    managed.rig.host.storeAnswers = Array(repeating: .pending, count: 100)
    managed.receive("device/update", Self.request(Self.record, "u1"))
    managed.receive("observe", Self.observation)
    managed.receive(Self.download, "{\"reqId\":\"d1\"}")
    #expect(try managed.answers() == [])
    managed.rig.host.storeAnswers = []
    managed.advance()
    #expect(
      try managed.answers().map { $0.prefix(25) }
        == ["{\"rc\":204,\"reqId\":\"u1\"}", "{\"rc\":200,\"reqId\":\"o1\",\"d\"", "{\"rc\":202,\"reqId\":\"d1\"}"].map
      { $0.prefix(25) })
  }

  @Test(arguments: [StorageAnswer.noSpace, .readOnly, .failed]) func whatCannotBeKeptIsRefused(answer: StorageAnswer)
    throws
  {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(Self.record, "u1"))
    _ = try managed.answers()
    managed.rig.host.storeAnswers = [answer]
    managed.receive(Self.download, "{\"reqId\":\"d1\"}")
    #expect(try managed.answers() == ["{\"rc\":500,\"reqId\":\"d1\",\"message\":\"\(answer.name)\"}"])
    #expect(managed.rig.host.lines.contains("warning firmware not-stored reason=\(answer.name)"))
    // It is as if nobody had asked.
    managed.receive(Self.update, "{\"reqId\":\"x\"}")
    managed.receive(Self.download, "{\"reqId\":\"d1\"}")
    #expect(
      try managed.answers() == [
        "{\"rc\":400,\"reqId\":\"x\",\"message\":\"no image is downloaded\"}", "{\"rc\":202,\"reqId\":\"d1\"}",
      ])
  }

  @Test func aDeviceThatCannotKeepAnythingSaysSo() throws {
    var host = ScriptedHost()
    host.storeAnswers = [.readOnly]
    let managed = try Managed(Self.configuration, host: host)
    try managed.connect()
    #expect(try managed.published().first?.contains("\"firmwareActions\":false}") == true)
    #expect(managed.rig.host.lines.contains("error firmware unavailable reason=\"nothing can be kept\""))
  }

  // MARK: Refusals

  @Test(arguments: [
    ("{}", Self.download, "no uri"), (Self.record, Self.update, "no image is downloaded"),
    (
      "{\"uri\":\"http://a/b\",\"verifier\":\"0123456789abcdef0123456789abcdef\"}", Self.download,
      "the verifier is not sha256"
    ),
  ])
  func whatIsMissingIsNamed(value: String, path: String, message: String) throws {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(value, "u"))
    managed.receive(path, "{\"reqId\":\"r\"}")
    #expect(try managed.answers().last == "{\"rc\":400,\"reqId\":\"r\",\"message\":\"\(message)\"}")
    let action = path == Self.download ? "download" : "update"
    #expect(managed.rig.host.lines.last?.hasPrefix("warning firmware refused action=\(action) reason=") == true)
  }

  @Test func oneThingAtATime() throws {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(Self.record, "u"))
    managed.receive(Self.download, "{\"reqId\":\"d1\"}")
    managed.receive(Self.download, "{\"reqId\":\"d2\"}")
    managed.receive(Self.update, "{\"reqId\":\"d3\"}")
    managed.receive("device/update", Self.request(Self.record, "d4"))
    // The same once more, as a server that has not heard the answer sends it.
    managed.receive(Self.download, "{\"reqId\":\"d1\"}")
    let running = "\"message\":\"a download is running\"}"
    #expect(
      try managed.answers().dropFirst() == [
        "{\"rc\":202,\"reqId\":\"d1\"}", "{\"rc\":400,\"reqId\":\"d2\",\(running)",
        "{\"rc\":400,\"reqId\":\"d3\",\(running)",
        "{\"rc\":400,\"reqId\":\"d4\",\(running)", "{\"rc\":202,\"reqId\":\"d1\"}",
      ])
  }

  @Test func whoeverCannotBeAnsweredAsksInVain() throws {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(Self.record, "u"))
    managed.receive(Self.download, "{}")
    managed.receive(Self.download, "{\"reqId\":\"\(String(repeating: "r", count: 127))\"}")
    #expect(try managed.answers().last?.hasSuffix(",\"message\":\"the identifier is too long\"}") == true)
    #expect(managed.rig.host.lines.contains("warning management no-identifier action=download"))
    managed.receive("observe", "{\"d\":{\"fields\":[\"mgmt.firmware.state\"]},\"reqId\":\"o\"}")
    #expect(try managed.answers().last?.contains("\"value\":0") == true)
  }

  // MARK: Notices

  /// A device that downloads, and whose server observes it.
  private func observed() throws -> Managed {
    let managed = try Self.managed()
    managed.receive("device/update", Self.request(Self.record, "u"))
    managed.receive("observe", Self.observation)
    _ = try managed.answers()
    managed.receive(Self.download, "{\"reqId\":\"d1\"}")
    return managed
  }

  /// The last notice without its identifier, and that.
  private func notice(_ messages: [String]) throws -> (text: String, identifier: String) {
    let message = try #require(messages.last { $0.hasPrefix("iotdevice-1/notify ") })
    let parts = message.dropFirst(19).components(separatedBy: ",\"reqId\":\"")
    try #require(parts.count == 2)
    return (parts[0], String(parts[1].dropLast(2)))
  }

  @Test func theAnswerComesFirst() throws {
    let managed = try observed()
    let messages = try managed.published()
    #expect(messages.count == 2)
    #expect(messages.first == "iotdevice-1/response {\"rc\":202,\"reqId\":\"d1\"}")
    let text = try notice(messages).text
    #expect(text == "{\"d\":{\"fields\":[{\"field\":\"mgmt.firmware\",\"value\":{\"state\":1,\"updateStatus\":0}}]}")
  }

  /// What goes on is told once on a connection, and not with each manage request for another lifetime.
  @Test func aRefreshIsNoNews() throws {
    let managed = try observed()
    let identifier = try notice(managed.published()).identifier
    managed.receive("response", "{\"rc\":200,\"reqId\":\"\(identifier)\"}")
    managed.pass(.seconds(6048))
    try managed.answerManage(200)
    managed.pass(.seconds(1))
    #expect(try managed.published() == [])
  }

  @Test func aNoticeIsRepeatedUntilItIsAnswered() throws {
    let managed = try observed()
    var last = try notice(managed.published()).identifier
    for seconds in [5, 30, 120] {
      managed.pass(AgentLimits.manageTimeout)
      managed.pass(.seconds(Int64(seconds)))
      let next = try notice(managed.published()).identifier
      #expect(next != last)
      last = next
    }
    managed.receive("response", "{\"rc\":200,\"reqId\":\"\(last)\"}")
    managed.pass(.minutes(10))
    #expect(try managed.published() == [])
  }

  @Test func whoDoesNotObserveIsNotTold() throws {
    let managed = try observed()
    let identifier = try notice(managed.published()).identifier
    managed.receive("response", "{\"rc\":404,\"reqId\":\"\(identifier)\"}")
    managed.rig.disconnect()
    managed.advance()
    try managed.connect()
    try managed.answerManage(200)
    #expect(try managed.published() == [])
  }

  @Test func whoObservesIsToldAgainOnTheNextConnection() throws {
    let managed = try observed()
    let identifier = try notice(managed.published()).identifier
    managed.receive("response", "{\"rc\":200,\"reqId\":\"\(identifier)\"}")
    managed.rig.disconnect()
    managed.advance()
    try managed.connect()
    try managed.answerManage(200)
    #expect(try notice(managed.published()).text.contains("\"state\":1"))
  }

  @Test func cancelEndsIt() throws {
    let managed = try observed()
    _ = try managed.published()
    managed.receive("cancel", "{\"d\":{\"data\":[{\"field\":\"mgmt.firmware\"}]},\"reqId\":\"c\"}")
    #expect(try managed.answers() == ["{\"rc\":200,\"reqId\":\"c\"}"])
    managed.pass(.minutes(10))
    #expect(try managed.published() == [])
  }

  // MARK: Other actions

  @Test func aRestartIsAllowedDuringADownload() throws {
    let managed = try observed()
    _ = try managed.published()
    managed.receive("mgmt/initiate/device/reboot", "{\"reqId\":\"r\"}")
    #expect(try managed.answers() == ["{\"rc\":202,\"reqId\":\"r\"}"])
  }

  /// A device whose installer wants a restart, and whose agent starts once more in the same run of the machine.
  private func restarting(_ host: ScriptedHost = ScriptedHost(), action: [UInt8]? = nil) throws -> Managed {
    var host = host
    host.storedClock = action
    if host.firmwareRecord == nil {
      var arena = makeArena(byteCount: 1 << 16)
      var job = FirmwareJob(isSupported: true, in: &arena)
      job.stage = .restarting
      job.run = host.bootIdentifier()
      host.firmwareRecord = (0..<job.record.count).map { job.record[$0] }
    }
    let configuration = Self.configuration.replacingOccurrences(of: "reboot = yes", with: "reboot = /sbin/restart")
    let managed = try Managed(configuration, host: host)
    managed.pass(AgentLimits.stopTimeout)
    return managed
  }

  @Test func aRestartThatAnUpdateNeedsIsTriedAgainByTheNextAgent() throws {
    let first = try restarting()
    #expect(first.rig.host.actions == ["/sbin/restart"])
    // It dies, and the machine runs on.
    let managed = try restarting(action: first.rig.host.stored.last)
    #expect(managed.rig.host.actions == [])
    managed.pass(AgentLimits.restartPatience)
    managed.pass(AgentLimits.stopTimeout)
    #expect(managed.rig.host.lines.contains("error management action-failed action=reboot reason=not-restarted"))
    #expect(managed.rig.host.actions == ["/sbin/restart"])
    #expect(!managed.rig.host.lines.contains { $0.contains("update-failed") })
  }

  @Test func aRestartThatFailsEndsTheUpdateInAWord() throws {
    let managed = try restarting()
    managed.rig.host.actionState = .exited(1)
    managed.advance()
    managed.pass(.seconds(1))
    #expect(managed.rig.host.lines.contains("error firmware update-failed reason=not-restarted status=5"))
    // Whoever asks for a restart then gets one.
    try managed.connect()
    managed.receive("mgmt/initiate/device/reboot", "{\"reqId\":\"r\"}")
    #expect(try managed.answers() == ["{\"rc\":202,\"reqId\":\"r\"}"])
  }

  // MARK: Records

  /// A record damaged at any place is another record, or none; never a fault.
  @Test func anyBytesAreARecord() throws {
    let managed = try observed()
    let record = try #require(managed.rig.host.firmwareRecord)
    var host = ScriptedHost()
    var arena = makeArena(byteCount: 1 << 16)
    var job = FirmwareJob(isSupported: true, in: &arena)
    var damagedCount = 0
    for index in record.indices {
      for value in [0, 0xFF, record[index] &+ 1, record[index] ^ 0x80] as [UInt8] {
        host.firmwareRecord = record
        host.firmwareRecord?[index] = value
        if job.read(&host) == .damaged { damagedCount += 1 }
        // It can be told, and changed.
        let request = Array(text: "{\"uri\":\"http://a/b\"}")
        var scratch = makeBuffer([], capacity: 8192)
        _ = job.appendValue(of: 0..<13, in: Array(text: "mgmt.firmware").span, to: &scratch)
        _ = job.replace(by: request.span, &scratch)
        let uri = job.text(.uri).isEmpty
        #expect(!uri, "byte \(index)")
      }
    }
    #expect(damagedCount > 40)
    for count in 0..<record.count {
      host.firmwareRecord = Array(record.prefix(count))
      let answer = job.read(&host)
      #expect(answer == .damaged)
    }
  }
}
