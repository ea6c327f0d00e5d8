// API keys: what each may do, and what ends with it.

import Bytes
import MQTT
import PlatformProtocol
import PlatformService
import Testing

@Suite struct KeyTests {
  private func add(
    _ rig: Rig, _ key: String, _ role: KeyRole, seconds: Int64? = nil
  ) throws {
    let expires = seconds.map { rig.now.wall.milliseconds + $0 * 1000 }
    _ = try rig.service.addAPIKey(
      APIKeyDraft(key: key, token: Rig.token, role: role, expires: expires), now: rig.now)
  }

  @Test func whoReadsPublishesNothing() throws {
    let rig = try Rig()
    try add(rig, "a-local0-reader", .read)
    try add(rig, "a-local0-operator", .operate)
    let reader = rig.connect("a:local0:reader", user: "a-local0-reader")
    rig.subscribe(reader, "iot-2/type/+/id/+/cmd/+/fmt/+")
    let operating = rig.connect("a:local0:operator", user: "a-local0-operator")
    rig.publish(operating, "iot-2/type/edge/id/e1/cmd/blink/fmt/json")
    #expect(rig.messages(reader) == ["iot-2/type/edge/id/e1/cmd/blink/fmt/json {}"])
    rig.publish(reader, "iot-2/type/edge/id/e1/cmd/blink/fmt/json")
    #expect(rig.output.closed[reader] == .notAuthorized)
    // Nor by a will.
    let will = rig.connect(
      "a:local0:reader", user: "a-local0-reader", will: ("iot-2/type/edge/id/e1/cmd/blink/fmt/json", "{}"))
    #expect(rig.output.closed[will] == .notAuthorized)
  }

  @Test func whatIsTakenBackEndsWhatItHasOpened() throws {
    let rig = try Rig()
    try add(rig, "a-local0-other", .administer)
    let one = rig.connect("a:local0:one", user: "a-local0-other")
    let other = rig.connect("a:local0:other")
    var filter = ObservationFilter(organization: "local0")
    filter.client = "a-local0-other"
    let observer = try rig.service.observe(filter)
    let token = try rig.service.rotateAPIKey("a-local0-other", now: rig.now)
    #expect(rig.output.closed == [one: .byAdministrator])
    #expect(rig.output.endedObservers == [observer])
    #expect(
      rig.received(rig.connect("a:local0:one", user: "a-local0-other")).first
        == .connack(sessionPresent: false, code: 5))
    let again = rig.connect("a:local0:one", user: "a-local0-other", password: token)
    #expect(rig.received(again).first == .connack(sessionPresent: false, code: 0))
    try rig.service.removeAPIKey("a-local0-other", now: rig.now)
    #expect(rig.output.closed[again] == .byAdministrator)
    #expect(rig.output.closed[other] == nil)
    #expect(rig.service.credential(user: "a-local0-other", now: rig.now) == nil)
  }

  @Test func endsWithItsTime() throws {
    let rig = try Rig()
    try add(rig, "a-local0-guest", .operate, seconds: 60)
    let guest = rig.connect("a:local0:guest", user: "a-local0-guest", keepAlive: 0)
    rig.wait(59)
    #expect(rig.output.closed[guest] == nil)
    #expect(rig.service.role(ofKey: "a-local0-guest", now: rig.now) == .operate)
    rig.wait(1)
    #expect(rig.output.closed[guest] == .byAdministrator)
    #expect(rig.service.role(ofKey: "a-local0-guest", now: rig.now) == nil)
    #expect(rig.service.credential(user: "a-local0-guest", now: rig.now) == nil)
    let late = rig.connect("a:local0:guest", user: "a-local0-guest")
    #expect(rig.received(late) == [.connack(sessionPresent: false, code: 5)])
  }

  /// Where all is registered anew at each start, that takes microseconds each.
  @Test(arguments: [(true, "$6$"), (false, "$quick$")])
  func hashesOnceWhatIsKept(isKept: Bool, prefix: String) throws {
    let output = RecordedOutput()
    let now = Moment(instant: Instant(milliseconds: 0), wall: WallTime(milliseconds: 0))
    let service = PlatformService(
      ServiceConfiguration(organization: "local0", isKept: isKept, random: { UInt64.random(in: .min ... .max) }),
      output: output, now: now)
    let made = try service.addAPIKey(APIKeyDraft(token: Rig.token), now: now)
    #expect(made.key.tokenHash.hasPrefix(prefix))
    let found = try #require(service.credential(user: made.key.key, now: now))
    #expect(found.matches(Rig.token) && !found.matches(Rig.token + "x") && !found.matches(""))
  }

  @Test func someoneIsLeftToMakeKeys() throws {
    let rig = try Rig()
    try add(rig, "a-local0-reader", .read)
    #expect(throws: ServiceError.self) { try rig.service.removeAPIKey(Rig.apiKey, now: rig.now) }
    try add(rig, "a-local0-other", .administer)
    try rig.service.removeAPIKey(Rig.apiKey, now: rig.now)
  }
}
