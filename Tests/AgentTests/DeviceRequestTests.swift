import Bytes
import Foundation
import HostInterface
import IoTPlatform
import TestSupport
import Testing

@testable import Agent

/// What the device asks of the server by itself.
@Suite struct DeviceRequestTests {
  /// A managed device, and nothing on its way.
  private func makeManaged(_ configuration: String = Managed.example) throws -> Managed {
    let managed = try Managed(configuration)
    managed.rig.host.wall = WallTime(milliseconds: 1_714_558_800_000)
    managed.rig.log.isDiagnosing = true
    try managed.connect()
    try managed.answerManage(200)
    try managed.acknowledge(1)
    return managed
  }

  /// Asks as a local program does; gives the answer's number and word.
  private func ask(_ line: String, _ managed: Managed) -> String {
    let bytes = Array(line.utf8)
    var words = RequestWords(of: bytes.span)
    guard let word = words.next(in: bytes.span), let verb = ControlVerb(named: bytes.span.extracting(word)) else {
      return "no verb"
    }
    let outcome = managed.management.take(
      verb, bytes.span, managed.rig.host.time, &managed.rig.log, &managed.rig.host)
    managed.advance()
    return String(Array(outcome.text).text.prefix { $0 != ":" })
  }

  /// The request that was sent, without its identifier, which is answered with `code` if there is one.
  private func next(_ managed: Managed, answered code: Int? = 200) throws -> String? {
    let sent = try managed.published()
    #expect(sent.count <= 1, "one at a time: \(sent)")
    guard let request = sent.first else { return nil }
    let parts = request.components(separatedBy: "\"reqId\":")
    let identifier = try #require(parts.last).dropLast()
    #expect(identifier.count == 18)
    if let code { managed.receive("response", "{\"rc\":\(code),\"reqId\":\(identifier)}") }
    // Acknowledged, so that the window stays open.
    for number in UInt8(1)...40 { try managed.acknowledge(number) }
    return parts.dropLast().joined()
  }

  @Test(arguments: [
    (
      "location 48.1371 11.5754 --elevation 519 --accuracy 12",
      "iotdevice-1/device/update/location {\"d\":{\"latitude\":48.1371,\"longitude\":11.5754,\"elevation\":519,"
        + "\"accuracy\":12,\"measuredDateTime\":\"2024-05-01T10:20:00.000Z\"},"
    ),
    (
      "location -90 180",
      "iotdevice-1/device/update/location {\"d\":{\"latitude\":-90,\"longitude\":180,"
        + "\"measuredDateTime\":\"2024-05-01T10:20:00.000Z\"},"
    ),
    ("diagnose add-error 4711", "iotdevice-1/add/diag/errorCodes {\"d\":{\"errorCode\":4711},"),
    ("diagnose clear-errors", "iotdevice-1/clear/diag/errorCodes {"),
    (
      "diagnose\tadd-log\tdisk \"91%\" full\t--severity\twarning",
      "iotdevice-1/add/diag/log {\"d\":{\"message\":\"disk \\\"91%\\\" full\",\"severity\":1,"
        + "\"timestamp\":\"2024-05-01T10:20:00.000Z\"},"
    ),
    (
      "diagnose\tadd-log\tdisk 91% full\t--data\t/dev/root 91%\t--severity\twarning",
      "iotdevice-1/add/diag/log {\"d\":{\"message\":\"disk 91% full\",\"severity\":1,"
        + "\"data\":\"L2Rldi9yb290IDkxJQ==\",\"timestamp\":\"2024-05-01T10:20:00.000Z\"},"
    ),
    ("diagnose clear-log", "iotdevice-1/clear/diag/log {"), ("unmanage", "iotdevice-1/mgmt/unmanage {"),
  ])
  func requestsAreAsTheProtocolShowsThem(line: String, expected: String) throws {
    let managed = try makeManaged()
    #expect(ask(line, managed) == "0 queued")
    #expect(try next(managed) == expected)
    #expect(try next(managed) == nil)
  }

  /// RFC 4648, section 10, and bytes that are no text.
  @Test(arguments: [
    ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
    ("foobar", "Zm9vYmFy"), ("0x", ""), ("0x00", "AA=="), ("0xfFfE", "//4="), ("0x14FB9C03D97E", "FPucA9l+"),
    ("0X00", "MFgwMA=="),
  ])
  func dataIsInBase64(data: String, expected: String) throws {
    let managed = try makeManaged()
    #expect(ask("diagnose\tadd-log\ta\t--data\t\(data)", managed) == "0 queued")
    #expect(try next(managed)?.contains(",\"data\":\"\(expected)\",") == true)
  }

  /// Escaped, each of these is six bytes: that it waits would not be true.
  @Test func whatThereIsNeverRoomForIsNotQueued() throws {
    let managed = try makeManaged()
    #expect(ask("diagnose\tadd-log\t" + String(repeating: "\u{1}", count: 350), managed) == "65 too-large")
    #expect(try next(managed) == nil)
    #expect(ask("diagnose\tadd-log\t" + String(repeating: "\u{1}", count: 300), managed) == "0 queued")
    #expect(try next(managed) != nil)
  }

  @Test func whereItIsCanBeObserved() throws {
    let managed = try makeManaged()
    _ = ask("location 48.5 11 --accuracy 2", managed)
    _ = try managed.published()
    managed.receive("observe", "{\"d\":{\"fields\":[{\"field\":\"location\"}]},\"reqId\":\"o\"}")
    #expect(
      try managed.answers() == [
        "{\"rc\":200,\"reqId\":\"o\",\"d\":{\"fields\":[{\"field\":\"location\","
          + "\"value\":{\"latitude\":48.5,\"longitude\":11,\"accuracy\":2}}]}}"
      ])
  }

  @Test(arguments: [
    ("location", "65 number"), ("location 48", "65 number"), ("location 90.1 0", "65 number"),
    ("location 0 -180.5", "65 number"), ("location x 0", "65 number"), ("location 1 2 3", "64 unexpected-word"),
    ("location 1 2 --accuracy", "65 number"), ("location 1 2 --accuracy 1 --elevation 2", "64 unexpected-word"),
    ("diagnose", "64 diagnosis"), ("diagnose x", "64 diagnosis"), ("diagnose add-error", "65 number"),
    ("diagnose add-error -1", "65 number"), ("diagnose add-error 2147483648", "65 number"),
    ("diagnose add-log", "64 diagnosis"), ("diagnose add-log a --severity 7", "64 diagnosis"),
    ("diagnose add-log a --data", "64 diagnosis"), ("diagnose add-log a --data 0x1", "65 data"),
    ("diagnose add-log a --data 0x1g", "65 data"), ("diagnose add-log a --data 0x\u{11}1", "65 data"),
    ("diagnose add-log a b", "64 diagnosis"), ("diagnose clear-log x", "64 unexpected-word"),
    ("unmanage now", "64 unexpected-word"),
  ])
  func whatIsWrongIsNotAsked(line: String, outcome: String) throws {
    let managed = try makeManaged()
    #expect(ask(line, managed) == outcome)
    #expect(try next(managed) == nil)
  }

  @Test func nothingIsAskedBeforeTheDeviceIsManaged() throws {
    let managed = try Managed()
    #expect(ask("diagnose clear-log", managed) == "0 queued")
    try managed.connect()
    #expect(try managed.published().map { $0.prefix(23) } == ["iotdevice-1/mgmt/manage"])
  }

  @Test func whatIsNotAnsweredIsAskedAgain() throws {
    let managed = try makeManaged()
    _ = ask("diagnose clear-log", managed)
    #expect(try next(managed, answered: nil) != nil)
    for pause in [5, 30, 120] {
      managed.pass(.seconds(60))
      #expect(try next(managed, answered: nil) == nil)
      managed.pass(.milliseconds(Int64(pause) * 1000 - 1))
      #expect(try next(managed, answered: nil) == nil)
      managed.pass(.milliseconds(1))
      #expect(try next(managed, answered: nil) == "iotdevice-1/clear/diag/log {")
    }
    managed.pass(.seconds(60))
    #expect(
      managed.rig.host.lines.last
        == "warning management request-dropped request=iotdevice-1/clear/diag/log reason=no-answer")
    #expect(ask("diagnose clear-errors", managed) == "0 queued")
    #expect(try next(managed) == "iotdevice-1/clear/diag/errorCodes {")
  }

  @Test(arguments: [400, 403, 404]) func whatIsRefusedIsGivenUp(code: Int) throws {
    let managed = try makeManaged()
    _ = ask("diagnose clear-log", managed)
    _ = ask("diagnose clear-errors", managed)
    #expect(try next(managed, answered: code) == "iotdevice-1/clear/diag/log {")
    #expect(managed.rig.host.lines.last?.hasSuffix("reason=refused code=\(code)") == true)
    #expect(try next(managed) == "iotdevice-1/clear/diag/errorCodes {")
  }

  @Test func aConflictIsMetWithPatience() throws {
    let managed = try makeManaged()
    _ = ask("diagnose clear-log", managed)
    #expect(try next(managed, answered: 409) != nil)
    managed.pass(.milliseconds(999))
    #expect(try next(managed) == nil)
    managed.pass(.seconds(10))
    #expect(try next(managed) == "iotdevice-1/clear/diag/log {")
  }

  /// A log entry tells when it came up, and has to wait until anybody knows that.
  @Test func timesAreTrueOrLeftOut() throws {
    let managed = try makeManaged()
    managed.rig.host.wall = WallTime(milliseconds: 0)
    _ = ask("location 1 2", managed)
    _ = ask("diagnose add-log a", managed)
    #expect(try next(managed) == "iotdevice-1/device/update/location {\"d\":{\"latitude\":1,\"longitude\":2},")
    #expect(try next(managed) == nil)
    managed.rig.host.wall = WallTime(milliseconds: 1_714_558_860_000)
    managed.pass(.seconds(60))
    #expect(try next(managed)?.contains("\"timestamp\":\"2024-05-01T10:20:00.000Z\"") == true)
  }

  @Test func theOldestGoesWhereThereIsNoRoom() throws {
    let managed = try Managed()
    let text = String(repeating: "x", count: 500)
    for number in 1...5 { #expect(ask("diagnose add-log \(number)\(text)", managed) == "0 queued") }
    #expect(
      managed.rig.host.lines.filter { $0.contains("request-dropped") }
        == Array(repeating: "warning management request-dropped request=iotdevice-1/add/diag/log reason=full", count: 2)
    )
    managed.rig.host.wall = WallTime(milliseconds: 1_714_558_800_000)
    try managed.connect()
    try managed.answerManage(200)
    for number in 3...5 { #expect(try next(managed)?.contains("\"message\":\"\(number)xxx") == true) }
    #expect(try next(managed) == nil)
  }

  // MARK: Leaving

  @Test func whoHasLeftStaysAway() throws {
    let managed = try makeManaged()
    _ = ask("unmanage", managed)
    #expect(try next(managed) == "iotdevice-1/mgmt/unmanage {")
    #expect(managed.rig.host.lines.last == "info management left")
    managed.pass(.minutes(600))
    managed.rig.disconnect()
    try managed.connect()
    #expect(try managed.published() == [])
    #expect(ask("manage", managed) == "0 ok")
    #expect(try managed.published().map { $0.prefix(23) } == ["iotdevice-1/mgmt/manage"])
  }

  @Test func nobodyIsManagedWithoutBeingConfigured() throws {
    let rig = try Rig()
    var arena = makeArena(byteCount: 1 << 16)
    var management = Management(isManaged: false, updates: false, random: RandomSource(seed: 7), in: &arena)
    let line = Array("unmanage".utf8)
    let outcome = management.take(.unmanage, line.span, rig.host.time, &rig.log, &rig.host)
    #expect(outcome == .notManaged)
  }

  // MARK: Faults of the device's own

  private func log(_ level: LogLevel, _ event: StaticString, _ value: StaticString, _ managed: Managed) {
    managed.rig.log.write(level, event, "sensor", value, to: &managed.rig.host)
    if managed.rig.log.beginTurn(managed.rig.host.time, &managed.rig.host) { managed.management.wake() }
    managed.advance()
  }

  @Test func aFaultIsTold() throws {
    let managed = try makeManaged()
    log(.warning, "sensor failed", "a", managed)
    #expect(try next(managed) == "iotdevice-1/add/diag/errorCodes {\"d\":{\"errorCode\":1001},")
    #expect(
      try next(managed) == "iotdevice-1/add/diag/log {\"d\":{\"message\":\"sensor failed sensor=a\",\"severity\":1,"
        + "\"timestamp\":\"2024-05-01T10:20:00.000Z\"},")
    // The same again is no news for an hour.
    managed.pass(.seconds(3599))
    log(.warning, "sensor failed", "a", managed)
    #expect(try next(managed) == nil)
  }

  @Test func faultsOfOneSecondAreToldTogether() throws {
    let managed = try makeManaged()
    log(.warning, "sensor failed", "a", managed)
    log(.warning, "sensor failed", "b", managed)
    log(.info, "sensor recovered", "b", managed)
    log(.warning, "queue dropping", "1", managed)
    log(.error, "management action-failed", "x", managed)
    log(.info, "management action-ended", "y", managed)
    log(.warning, "link lost", "z", managed)
    #expect(try next(managed) == "iotdevice-1/add/diag/errorCodes {\"d\":{\"errorCode\":1001},")
    #expect(try next(managed)?.contains("sensor failed sensor=a\",\"severity\":1") == true)
    #expect(try next(managed) == nil)
    managed.pass(.seconds(1))
    for code in [1001, 1002, 1003, 1005] {
      #expect(try next(managed) == "iotdevice-1/add/diag/errorCodes {\"d\":{\"errorCode\":\(code)},")
    }
    #expect(try next(managed)?.contains("\"message\":\"sensor failed sensor=b, and others: 3\",\"severity\":2") == true)
    #expect(try next(managed) == nil)
  }

  @Test(arguments: [("firmware update-failed", 1006), ("firmware download-failed", 1007)])
  func anUpdateThatFailedIsTold(event: StaticString, code: Int) throws {
    let managed = try makeManaged()
    log(.error, event, "x", managed)
    #expect(try next(managed) == "iotdevice-1/add/diag/errorCodes {\"d\":{\"errorCode\":\(code)},")
    #expect(try next(managed)?.contains("\"message\":\"\(event) sensor=x\",\"severity\":2") == true)
    #expect(try next(managed) == nil)
  }

  @Test func nothingIsToldWhereThatIsNotWanted() throws {
    let managed = try makeManaged()
    managed.rig.log.isDiagnosing = false
    log(.warning, "sensor failed", "a", managed)
    #expect(try next(managed) == nil)
  }

  /// What nobody wants in the log is told all the same.
  @Test func theLogsLevelDoesNotMatter() throws {
    let managed = try makeManaged()
    managed.rig.log.threshold = .error
    let lines = managed.rig.host.lines
    log(.info, "sensor recovered", "a", managed)
    #expect(try next(managed) == "iotdevice-1/add/diag/errorCodes {\"d\":{\"errorCode\":1002},")
    #expect(managed.rig.host.lines == lines)
  }
}
