import Bytes
import JSON
import TestSupport
import Testing

@testable import IoTPlatform

@Suite struct ManagementMessageTests {
  private func parse(_ text: String) -> (message: ManagementMessage, identifier: String?) {
    let bytes = Array(text: text)
    let message = ManagementMessage(parsing: bytes.span)
    return (message, message.requestIdentifier.map { Array(bytes[$0]).text })
  }

  /// The names and values of all fields; "wrong" where one has no name.
  private func fields(_ text: String) -> [String]? {
    let bytes = Array(text: text)
    var message = ManagementMessage(parsing: bytes.span)
    guard message.hasFields else { return nil }
    var found: [String] = []
    while true {
      switch message.nextField(in: bytes.span) {
      case .end: return found
      case .wrong: return found + ["wrong"]
      case .field(let name, let value):
        found.append(Array(bytes[name]).text + (value.map { "=" + Array(bytes[$0]).text } ?? ""))
      }
    }
  }

  @Test(
    arguments: [
      ("{\"reqId\":\"a-1\"}", "\"a-1\""), ("{\"reqId\" : \"a\\u002d1\" }", "\"a\\u002d1\""), ("{\"reqId\":17}", "17"),
      ("{\"reqId\":-0.5e3}", "-0.5e3"), ("{\"reqId\":\"\"}", "\"\""), ("{\"req\\u0049d\":\"x\"}", "\"x\""),
      ("{\"d\":{\"reqId\":\"inner\"},\"reqId\":\"outer\"}", "\"outer\""), ("{\"reqId\":1,\"reqId\":2}", "2"),
      ("{\"reqId\":null}", nil), ("{\"reqId\":true}", nil), ("{\"reqId\":[1]}", nil), ("{\"reqId\":{\"a\":1}}", nil),
      ("{}", nil), ("{\"d\":{}}", nil), ("{\"other\":[{\"reqId\":1}]}", nil),
    ] as [(String, String?)])
  func findsTheIdentifierAsItStands(text: String, expected: String?) {
    let (message, identifier) = parse(text)
    #expect(identifier == expected)
    #expect(!message.isMalformed)
  }

  @Test(
    arguments: [
      ("", nil), ("rubbish", nil), ("[]", nil), ("[{\"reqId\":1}]", nil), ("\"reqId\"", nil), ("17", nil), ("{", nil),
      ("{\"reqId\":\"a\"", "\"a\""), ("{\"reqId\":\"a\",}", "\"a\""), ("{\"reqId\":\"a\"} x", "\"a\""),
      ("{\"reqId\":\"a\",\"d\":{\"fields\":[", "\"a\""), ("{\"d\":{,\"reqId\":\"a\"}", nil),
      ("{\"reqId\":\"a\",\"d\":" + String(repeating: "[", count: 40), "\"a\""),
      (String(repeating: "{\"d\":", count: 40) + "1" + String(repeating: "}", count: 40), nil),
      ("{\"reqId\":\"\u{1}\"}", nil),
    ] as [(String, String?)])
  func keepsTheIdentifierThatStandsBeforeAFault(text: String, expected: String?) {
    let (message, identifier) = parse(text)
    #expect(message.isMalformed)
    #expect(identifier == expected)
  }

  @Test(
    arguments: [
      ("{\"rc\":200}", 200), ("{\"rc\":404,\"message\":\"no\"}", 404), ("{\"rc\":\"200\"}", nil), ("{\"rc\":-1}", nil),
      ("{\"rc\":2e2}", nil), ("{\"rc\":99999999999999999999}", nil), ("{\"rc\":{}}", nil), ("{}", nil),
    ] as [(String, Int?)])
  func readsTheCode(text: String, expected: Int?) { #expect(parse(text).message.returnCode == expected) }

  @Test(
    arguments: [
      ("{\"d\":{\"fields\":[{\"field\":\"a\"},{\"field\":\"b\",\"value\":{\"x\":[1,2]}}]}}", ["a", "b={\"x\":[1,2]}"]),
      ("{\"d\":{\"fields\":[\"a\",\"b\"]}}", ["a", "b"]), ("{\"d\":{\"data\":[{\"field\":\"a\"}]}}", ["a"]),
      ("{\"d\":{\"fields\":[{\"value\": 1 ,\"more\":{},\"field\":\"a\"}]}}", ["a=1"]), ("{\"d\":{\"fields\":[]}}", []),
      ("{\"d\":{\"fields\":[{\"field\":1}]}}", ["wrong"]), ("{\"d\":{\"fields\":[{}]}}", ["wrong"]),
      ("{\"d\":{\"fields\":[1]}}", ["wrong"]), ("{\"d\":{\"fields\":[[\"a\"]]}}", ["wrong"]),
      ("{\"d\":{\"fields\":{\"field\":\"a\"}}}", nil), ("{\"d\":{\"fields\":\"a\"}}", nil), ("{\"d\":[]}", nil),
      ("{\"d\":null}", nil), ("{\"fields\":[\"a\"]}", nil), ("{\"d\":{\"x\":{\"fields\":[\"a\"]}}}", nil),
      ("{\"d\":{\"fields\":[\"a\"]},\"d\":{}}", nil),
    ] as [(String, [String]?)])
  func readsFieldsOfAllShapes(text: String, expected: [String]?) { #expect(fields(text) == expected) }

  @Test(
    arguments: [
      ("device/update", .update), ("observe", .observe), ("cancel", .cancel), ("mgmt/initiate/device/reboot", .reboot),
      ("mgmt/initiate/device/factory_reset", .factoryReset), ("mgmt/initiate/firmware/download", .downloadFirmware),
      ("mgmt/initiate/firmware/update", .installFirmware), ("mgmt/custom/a/b", .customAction),
      ("mgmt/custom", .other), ("", .other), ("observe/", .other),
    ] as [(String, ManagementRequest)])
  func knowsRequestsByTheirTopics(path: String, expected: ManagementRequest) {
    let topic = Array(text: "iotdm-1/" + path)
    guard case .managementRequest(let request) = Topics.classify(topic.span) else {
      Issue.record("\(path) is no request")
      return
    }
    #expect(request == expected)
  }
}
