import Bytes
import IoTPlatform
import TestSupport
import Testing

@Suite struct IdentityTests {
  @Test(arguments: ["a", "edge", "E7-0042", "a_b.c-d", "...", String(repeating: "x", count: 36), "000000"])
  func acceptsComponents(text: String) {
    let bytes = Array(text.utf8)
    let isValid = IdentityRules.isValidComponent(bytes.span)
    #expect(isValid)
  }

  @Test(arguments: [
    "", String(repeating: "x", count: 37), "a b", "a/b", "a+b", "#", "a:b", "ä", "a\n", "\0", "a@b", "[", "`", "{",
  ]) func refusesComponents(text: String) {
    let bytes = Array(text.utf8)
    let isValid = IdentityRules.isValidComponent(bytes.span) || IdentityRules.isValidTopicName(bytes.span)
    #expect(!isValid)
  }

  @Test func checksEveryByteValue() {
    for byte in UInt8.min...UInt8.max {
      let expected = String(decoding: [byte], as: Unicode.ASCII.self).contains { character in
        character.isASCII && (character.isLetter || character.isNumber || "-_.".contains(character)) && byte < 0x80
      }
      let bytes = [byte]
      let isValid = IdentityRules.isValidComponent(bytes.span)
      #expect(isValid == expected, "byte \(byte)")
    }
  }

  @Test(arguments: ["ab12cd", "000000", "quickstart", "zzzzzz"]) func acceptsOrganizations(text: String) {
    let bytes = Array(text.utf8)
    let isValid = IdentityRules.isValidOrganization(bytes.span)
    #expect(isValid)
  }

  @Test(arguments: ["", "ab12c", "ab12cde", "AB12CD", "ab-2cd", "Quickstart", "quickstar", "ab12c "])
  func refusesOrganizations(text: String) {
    let bytes = Array(text.utf8)
    let isValid = IdentityRules.isValidOrganization(bytes.span)
    #expect(!isValid)
  }

  @Test func writesClientIdentifiers() {
    var buffer = makeBuffer()
    let (organization, type, id) = (Array("ab12cd".utf8), Array("edge".utf8), Array("e7".utf8))
    buffer.appendClientIdentifier(organization: organization.span, type: type.span, id: id.span)
    #expect(buffer.text == "d:ab12cd:edge:e7")
  }

  @Test func theLongestClientIdentifierIsAsLongAsItsLimit() {
    var buffer = makeBuffer(capacity: IdentityRules.clientIdentifierBytesMax)
    let organization = Array("quickstart".utf8)
    let component = [UInt8](repeating: UInt8(ascii: "x"), count: IdentityRules.componentBytesMax)
    buffer.appendClientIdentifier(organization: organization.span, type: component.span, id: component.span)
    #expect(buffer.hasOverflowed == false)
    #expect(buffer.count == IdentityRules.clientIdentifierBytesMax)
  }
}

@Suite struct TopicTests {
  private func parse(_ topic: String) -> (name: String, format: String)? {
    let bytes = Array(topic.utf8)
    guard case .command(let command) = Topics.classify(bytes.span) else { return nil }
    return (Array(bytes[command.name]).text, Array(bytes[command.format]).text)
  }

  @Test(arguments: [
    ("iot-2/cmd/reboot/fmt/json", "command"), ("iotdm-1/response", "answer"),
    ("iotdm-1/mgmt/initiate/device/reboot", "request"), ("iotdm-1/device/update", "request"),
    ("iotdm-1/responses", "request"), ("iot-2/notify", "notification"), ("iot-2/mon", "notification"),
    ("iot-2/cmd/reboot/fmt/", "stranger"), ("iot-2/cmd//fmt/json", "stranger"), ("iotdm-1", "stranger"),
    ("iot-2/evt/status/fmt/json", "stranger"), ("", "stranger"),
  ]) func classifiesWhatComes(topic: String, expected: String) {
    let bytes = Array(topic.utf8)
    let found =
      switch Topics.classify(bytes.span) {
      case .command: "command"
      case .managementRequest: "request"
      case .managementAnswer: "answer"
      case .notification: "notification"
      case .stranger: "stranger"
      }
    #expect(found == expected)
  }

  @Test func writesEventTopics() {
    var buffer = makeBuffer()
    let name = Array("status".utf8)
    buffer.appendEventTopic(name: name.span)
    #expect(buffer.text == "iot-2/evt/status/fmt/json")
  }

  @Test func theLongestEventTopicIsAsLongAsItsLimit() {
    var buffer = makeBuffer(capacity: Topics.eventTopicBytesMax)
    let name = [UInt8](repeating: UInt8(ascii: "x"), count: IdentityRules.componentBytesMax)
    buffer.appendEventTopic(name: name.span)
    #expect(buffer.hasOverflowed == false)
    #expect(buffer.count == Topics.eventTopicBytesMax)
  }

  @Test func takesCommandTopicsApart() {
    #expect(parse("iot-2/cmd/blink/fmt/json")?.name == "blink")
    #expect(parse("iot-2/cmd/blink/fmt/json")?.format == "json")
    #expect(parse("iot-2/cmd/x/fmt/y")?.format == "y")
  }

  @Test(arguments: [
    "", "iot-2/cmd/", "iot-2/cmd//fmt/json", "iot-2/cmd/blink", "iot-2/cmd/blink/", "iot-2/cmd/blink/fmt",
    "iot-2/cmd/blink/fmt/", "iot-2/cmd/blink/fmt/json/", "iot-2/cmd/blink/fmt/a/b", "iot-2/cmd/a/b/fmt/json",
    "iot-2/evt/blink/fmt/json", "/iot-2/cmd/blink/fmt/json", "iotdm-1/mgmt", "iot-2/cmd/blink/FMT/json",
  ]) func otherTopicsAreNoCommands(topic: String) {
    #expect(parse(topic) == nil)
  }
}

@Suite struct ConnectRefusalTests {
  @Test(arguments: [
    (UInt8(1), "protocol-level", ReconnectClass.slow), (2, "client-identifier", .slow),
    (3, "server-unavailable", .ordinary), (4, "bad-credentials", .slow), (5, "not-authorized", .slow),
    (6, "unknown-code", .slow), (255, "unknown-code", .slow),
  ]) func everyCodeHasANameAndAClass(code: UInt8, name: String, reconnectClass: ReconnectClass) {
    let refusal = ConnectRefusal(returnCode: code)
    #expect(refusal.name.description == name)
    #expect(refusal.reconnectClass == reconnectClass)
  }
}
