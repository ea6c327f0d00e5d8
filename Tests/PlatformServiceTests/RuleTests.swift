// Topics, identities, rates and JSON, each by itself.

import Bytes
import MQTT
import PlatformProtocol
import PlatformService
import TestSupport
import Testing

@Suite struct RuleTests {
  @Test(arguments: [
    ("d:local0:edge:e1", true), ("g:local0:edge:e1", true), ("a:local0:app", true), ("A:local0:app", true),
    ("A:local0:app:one", true), ("d:quickstart:t:d", true), ("", false), ("d", false), ("d:", false), ("d::::", false),
    ("D:local0:edge:e1", false), ("d:local0:edge", false), ("d:local0:edge:", false), ("d:local0::e1", false),
    ("d:local0:edge:e1:x", false), ("a:local0:app:one", false), ("A:local0:app:one:two", false),
    ("d:LOCAL0:edge:e1", false), ("d:local:edge:e1", false), ("d:local0:ed/ge:e1", false),
    ("d:local0:..:e1", false), ("d:local0:edge:.", false), ("a:local0:..", false), ("d:local0:...:e1", true),
    ("d:local0:\(String(repeating: "t", count: 36)):e1", true),
    ("d:local0:\(String(repeating: "t", count: 37)):e1", false),
  ])
  func understandsClientIdentifiers(text: String, isValid: Bool) {
    #expect((ClientIdentity(Array(text: text).span) != nil) == isValid)
  }

  /// What a client that tidies its path would take for another place is nobody's name.
  @Test(arguments: [".", ".."])
  func registersNoDots(name: String) throws {
    let rig = try Rig()
    #expect(throws: ServiceError.self) { try rig.service.addType(DeviceTypeRecord(id: name), now: rig.now) }
    for (type, id) in [("edge", name), (name, "e9")] {
      #expect(throws: ServiceError.self) {
        try rig.service.addDevice(DeviceDraft(typeID: type, deviceID: id), now: rig.now)
      }
    }
    #expect(throws: ServiceError.self) {
      try rig.service.publish(
        .event, to: DeviceKey(typeID: "edge", deviceID: "e1"), name: name, format: "json", payload: [0x30],
        as: .application(key: Rig.apiKey), now: rig.now)
    }
    // Nor does a gateway register it at first contact.
    let gateway = rig.connect("g:local0:gate:g1")
    rig.publish(gateway, "iot-2/type/edge/id/\(name)/evt/a/fmt/json")
    rig.subscribe(gateway, "iot-2/type/edge/id/\(name)/cmd/+/fmt/+")
    #expect(rig.service.devices(typeID: "edge").map(\.deviceID) == ["e1", "e2"])
    #expect(!CustomParameter.isValidName(name))
  }

  @Test(arguments: [
    "null", "true", "0", "-1.50e+3", #""""#, #""a\"b\\c\n""#, "[]", "[1,[2,{}]]",
    #"{"a":{"b":[null,false]},"c":"ü€😀"}"#,
  ])
  func keepsJSON(text: String) throws {
    #expect(try #require(JSONValue(text: text)).text == text)
  }

  @Test func readsJSONStrictly() {
    for text in ["", "{", "[1,]", "{\"a\" 1}", "nul", "1 2", "\"\u{1}\"", String(repeating: "[", count: 100)] {
      #expect(JSONValue(text: text) == nil, "\(text)")
    }
    #expect(JSONValue(text: #"{"a":1,"a":2}"#)?["a"]?.integer == 2)
    #expect(JSONValue(text: #""\u00fc\ud83d\ude00""#)?.string == "ü😀")
    #expect(JSONValue(text: "1.0")?.integer == nil)
  }

  @Test(arguments: [
    ("[0-9]{1,3}", "120", true), ("[0-9]{1,3}", "1200", false), ("[0-9]{1,3}", "", false), ("on|off", "off", true),
    ("on|off", "offf", false), ("^(a|b)*c$", "ababc", true), ("(?:ab)+?", "abab", true), ("a{2,}", "a", false),
    ("a{2,}", "aaaa", true), ("a{0}b", "b", true), ("\\d+\\.\\d*", "3.", true), ("[^a-c\\]]x", "]x", false),
    ("[^a-c\\]]x", "dx", true), ("[\\w.-]+", "a_b-c.9", true), ("[]a]+", "a]a", true), ("\\u00fc\\x41", "üA", true),
    (".", "\n", false), (".*", "😀ü", true), ("", "", true), ("", "x", false), ("a||b", "", true),
    ("\\S\\s\\W", "a !", true),
    ("(a*)*b", "b", true), ("a^b", "ab", false), ("[a-]", "-", true),
  ])
  func matchesWholeValues(pattern: String, value: String, isMatch: Bool) throws {
    let description = JSONValue.members(["name": .string("p"), "value": .string(pattern)])
    let rig = try Rig()
    let bundle = JSONValue.members(["actions": .members(["go": .members(["parameters": .array([description])])])])
    try rig.service.putBundle("b", bundle, now: rig.now)
    let draft = ManagementRequestDraft(
      action: "b/go", parameters: [ActionParameter(name: "p", value: .string(value))],
      devices: [DeviceKey(typeID: "edge", deviceID: "e1")])
    if isMatch {
      _ = try rig.service.addRequest(draft, now: rig.now)
    } else {
      #expect(throws: ServiceError.self) { try rig.service.addRequest(draft, now: rig.now) }
    }
  }

  /// What would have to go back is not understood, and what would be too large is not taken.
  @Test(arguments: [
    "(", ")", "[a", "a**+", "*a", "a{2", "a{3,2}", "(?=a)", "(?<n>a)", "(a)\\1", "\\b", "\\p{L}", "[a-[b]]", "[z-a]",
    "\\",
    "((a{100}){100}){100}", "a{99999}", String(repeating: "(", count: 60) + String(repeating: ")", count: 60),
    String(repeating: "a", count: 1025),
  ])
  func refusesOtherExpressions(pattern: String) {
    let description = JSONValue.members(["name": .string("p"), "value": .string(pattern)])
    #expect(throws: ServiceError.self) { try CustomParameter(description) }
  }

  /// An engine that goes back would take longer than the world for these.
  @Test(arguments: ["(a+)+$b", "(a|aa)*c", "(a*)*(a*)*(a*)*d", "(.*)(.*)(.*)(.*)(.*)[^a]e"])
  func matchesInBoundedTime(pattern: String) throws {
    try matchesWholeValues(pattern: pattern, value: String(repeating: "a", count: 4096), isMatch: false)
  }

  @Test func slowsDownAboveTheRate() throws {
    let rig = try Rig(rates: .standard)
    let device = rig.connect("d:local0:edge:e1")
    _ = rig.received(device)
    for number in 1...15 { rig.publish(device, "iot-2/evt/a/fmt/json", identifier: UInt16(number)) }
    // Ten a second: the eleventh is still taken, and then there is a pause.
    #expect(rig.received(device).count == 11)
    let pause = try #require(rig.output.pauses[device])
    #expect(pause - rig.now.instant == .milliseconds(100))
    rig.wait(1)
    rig.ping(device)
    #expect(rig.received(device) == [.pingresp])
  }

  @Test func eachFailureDoublesTheWait() {
    var memory = FailureMemory(freeCount: 2)
    var now = Instant(milliseconds: 0)
    var waits: [Int64?] = []
    for _ in 1...10 {
      _ = memory.note("192.0.2.1", now: now)
      waits.append(memory.wait("192.0.2.1", now: now).map { $0.milliseconds / 1000 })
    }
    #expect(waits == [nil, nil, 1, 2, 4, 8, 16, 32, 64, 64])
    #expect(memory.wait("192.0.2.2", now: now) == nil)
    now = now + .seconds(63)
    #expect(memory.wait("192.0.2.1", now: now) == .seconds(1))
    now = now + .seconds(1)
    #expect(memory.wait("192.0.2.1", now: now) == nil)
    // One more after that time, and it waits again; after an hour all is forgotten.
    #expect(memory.note("192.0.2.1", now: now) == 11)
    #expect(memory.wait("192.0.2.1", now: now) == .seconds(64))
    now = now + ServiceLimits.failureMemory
    #expect(memory.note("192.0.2.1", now: now) == 1)
  }

  @Test func remembersOnlySoManyFailures() {
    var memory = FailureMemory(freeCount: 0)
    for number in 0..<(2 * ServiceLimits.failureRecordsMax) {
      _ = memory.note("\(number)", now: Instant(milliseconds: Int64(number)))
    }
    let now = Instant(milliseconds: Int64(2 * ServiceLimits.failureRecordsMax))
    let known = (0..<(2 * ServiceLimits.failureRecordsMax)).count { memory.wait("\($0)", now: now) != nil }
    #expect(known <= ServiceLimits.failureRecordsMax)
    #expect(memory.wait("\(2 * ServiceLimits.failureRecordsMax - 1)", now: now) != nil)
  }

  @Test func countsBytesAsWell() throws {
    let rig = try Rig(rates: .standard)
    let device = rig.connect("d:local0:edge:e1")
    rig.publish(device, "iot-2/evt/a/fmt/bin", String(repeating: "x", count: 122_880))
    #expect(try #require(rig.output.pauses[device]) - rig.now.instant == .milliseconds(2000))
  }

  @Test func answersFailuresLaterEachTime() throws {
    let rig = try Rig()
    for _ in 0..<4 {
      let id = rig.connect("d:local0:edge:e1", password: "wrong password")
      #expect(rig.received(id) == [.connack(sessionPresent: false, code: 5)])
      #expect(rig.output.closed[id] == .authenticationFailed)
    }
    let fifth = rig.connect("d:local0:edge:e1", password: "wrong password")
    #expect(rig.received(fifth).isEmpty)
    // Another one meanwhile is dropped without an answer.
    let sixth = rig.connect("d:local0:edge:e1")
    #expect(rig.output.closed[sixth] == .delayed)
    #expect(rig.received(sixth).isEmpty)
    rig.wait(1)
    #expect(rig.received(fifth) == [.connack(sessionPresent: false, code: 5)])
    let seventh = rig.connect("d:local0:edge:e1")
    #expect(rig.received(seventh).isEmpty)
    rig.wait(2)
    #expect(rig.received(seventh) == [.connack(sessionPresent: false, code: 0)])
    // An hour later all is forgotten.
    rig.drop(seventh)
    rig.wait(3601)
    #expect(rig.received(rig.connect("d:local0:edge:e1")) == [.connack(sessionPresent: false, code: 0)])
  }

  @Test func takesBytesInAnyPieces() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1")
    _ = rig.received(device)
    let bytes: [UInt8] = [0xC0, 0, 0xC0, 0]
    #expect(rig.feed(device, Array(bytes[..<1])) == 0)
    #expect(rig.feed(device, Array(bytes[..<3])) == 2)
    #expect(rig.feed(device, bytes) == 4)
    #expect(rig.received(device) == [.pingresp, .pingresp, .pingresp])
  }

  @Test func survivesAnyBytes() throws {
    let rig = try Rig()
    for seed in 0..<2000 {
      var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
      func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
      }
      let id = seed % 3 == 0 ? rig.connect("g:local0:gate:g1") : rig.connect("d:local0:edge:e1")
      let kinds: [UInt8] = [0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x82, 0xA2, 0xC0, 0xE0]
      let count = Int(next() % 60)
      var bytes = [kinds[Int(next() % 11)], UInt8(count)]
      for _ in 0..<count { bytes.append(UInt8(truncatingIfNeeded: next() % 3 == 0 ? next() % 16 : next())) }
      rig.feed(id, bytes)
      rig.drop(id)
    }
    #expect(rig.service.connectionCount == 0)
  }

  @Test func removesADeviceWithAllThatIsItsOwn() throws {
    let rig = try Rig()
    let key = DeviceKey(typeID: "edge", deviceID: "e1")
    let device = rig.connect("d:local0:edge:e1", clean: false)
    try rig.service.removeDevice(key, now: rig.now)
    #expect(rig.output.closed[device] == .byAdministrator)
    #expect(throws: ServiceError.self) { try rig.service.device(key) }
    let state = StateModel.state(after: rig.output.operations)
    #expect(state.sessions.isEmpty)
    #expect(!state.devices.contains { $0.key == key })
    #expect(rig.received(rig.connect("d:local0:edge:e1")) == [.connack(sessionPresent: false, code: 5)])
  }

  @Test func keepsTheLastEvents() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1")
    for number in 0..<7 {
      rig.publish(device, "iot-2/evt/e\(number)/fmt/json", "\(number)")
      rig.wait(1)
    }
    rig.publish(device, "iot-2/evt/e6/fmt/text", "new")
    let events = try rig.service.lastEvents(DeviceKey(typeID: "edge", deviceID: "e1"))
    #expect(Set(events.map(\.eventID)) == ["e2", "e3", "e4", "e5", "e6"])
    let last = try #require(events.first { $0.eventID == "e6" })
    #expect(last.payload.text == "new" && last.format == "text")
  }

  @Test func tellsObservers() throws {
    let rig = try Rig()
    let observer = try rig.service.observe(ObservationFilter(organization: "local0", deviceID: "e1"))
    let device = rig.connect("d:local0:edge:e1")
    let other = rig.connect("d:local0:edge:e2")
    rig.publish(device, "iot-2/evt/a/fmt/json", "1")
    rig.publish(other, "iot-2/evt/a/fmt/json", "2")
    let payloads = rig.output.observations.compactMap {
      if case .event(let message) = $0 { message.payload.text } else { nil }
    }
    #expect(payloads == ["1"])
    rig.service.stopObserving(observer)
    rig.publish(device, "iot-2/evt/a/fmt/json", "3")
    #expect(rig.output.observations.count == 2)
  }

  @Test func forgetsTheEventsOfARemovedDevice() throws {
    let rig = try Rig()
    let key = DeviceKey(typeID: "edge", deviceID: "e1")
    rig.publish(rig.connect("d:local0:edge:e1"), "iot-2/evt/a/fmt/json", "old")
    try rig.service.removeDevice(key, now: rig.now)
    _ = try rig.service.addDevice(DeviceDraft(typeID: "edge", deviceID: "e1", token: Rig.token), now: rig.now)
    rig.wait(20)
    #expect(StateModel.state(after: rig.output.operations).lastEvents.isEmpty)
  }

  @Test func anEventTooLargeToKeepEndsTheOneBefore() throws {
    let rig = try Rig()
    let key = DeviceKey(typeID: "edge", deviceID: "e1")
    let device = rig.connect("d:local0:edge:e1")
    for name in ["a", "b"] { rig.publish(device, "iot-2/evt/\(name)/fmt/json", "small") }
    rig.wait(20)
    #expect(StateModel.state(after: rig.output.operations).lastEvents.count == 2)
    let large = String(repeating: "x", count: ServiceLimits.lastEventBytesMax + 1)
    for _ in 0..<2 { rig.publish(device, "iot-2/evt/a/fmt/json", large) }
    #expect(try rig.service.lastEvents(key).map(\.eventID) == ["b"])
    rig.wait(20)
    #expect(StateModel.state(after: rig.output.operations).lastEvents.map(\.1.eventID) == ["b"])
  }
}
