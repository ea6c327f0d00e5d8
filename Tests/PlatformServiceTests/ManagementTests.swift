// What a managed device tells, right and wrong.

import PlatformProtocol
import PlatformService
import Testing

@Suite struct ManagementTests {
  private let e1 = DeviceKey(typeID: "edge", deviceID: "e1")

  private func managed(_ rig: Rig) -> Int {
    let device = rig.connect("d:local0:edge:e1")
    rig.subscribe(device, "iotdm-1/#")
    _ = ask(rig, device, "mgmt/manage", "{}")
    return device
  }

  /// The code of the answer to a request.
  private func ask(_ rig: Rig, _ device: Int, _ path: String, _ data: String) -> Int64? {
    rig.publish(device, "iotdevice-1/\(path)", #"{"d":\#(data),"reqId":"r"}"#)
    let answer = rig.management(device)
    return answer?.path == "iotdm-1/response" ? answer?.body["rc"]?.integer : nil
  }

  @Test(arguments: [
    ("2024-05-01T10:20:00Z", 200), ("2024-05-01T10:20:00.5+02:00", 200), ("2024-05-01T10:20Z", 200),
    // As the vendor's Python SDK has it.
    ("2024-05-01T10:20:00.123456", 200), ("2024-02-29T23:59:60-0330", 200), ("2024-05-01T10:20:00", 200),
    ("", 400), ("yesterday", 400), ("2024-05-01", 400), ("2023-02-29T10:20:00Z", 400), ("2024-13-01T10:20:00Z", 400),
    ("2024-05-01T24:20:00Z", 400), ("2024-05-01T10:60:00Z", 400), ("2024-05-01T10:20:61Z", 400),
    ("2024-05-01T10:20:00Z and on", 400), ("2024-05-01T10:20:00.Z", 400), ("1714558800", 400),
  ])
  func wantsTheTimeOfALogEntry(timestamp: String, code: Int64) throws {
    let rig = try Rig()
    let device = managed(rig)
    let entry = #"{"message":"m","timestamp":"\#(timestamp)","severity":1}"#
    #expect(ask(rig, device, "add/diag/log", entry) == code)
    #expect(try rig.service.device(e1).log.map(\.timestamp) == (code == 200 ? [timestamp] : []))
    #expect(ask(rig, device, "add/diag/log", #"{"message":"m","severity":1}"#) == 400)
  }

  @Test(arguments: [
    (#""""#, 200), (#""AA==""#, 200), (#""AAA=""#, 200), (#""+/aZ""#, 200), ("null", 200), (#""A""#, 400),
    (#""A===""#, 400), (#""AA=A""#, 400), (#""hi you!!""#, 400), ("7", 400), ("{}", 400),
  ])
  func wantsBase64(data: String, code: Int64) throws {
    let rig = try Rig()
    let device = managed(rig)
    let entry = #"{"message":"m","timestamp":"2024-05-01T10:20:00Z","severity":1,"data":\#(data)}"#
    #expect(ask(rig, device, "add/diag/log", entry) == code)
  }

  @Test(arguments: [
    ("metadata", "7", 400), ("metadata", #"{"a":1}"#, 200), ("metadata", "null", 400),
    ("metadata", #"{"a":"\#(String(repeating: "x", count: ServiceLimits.metadataBytesMax))"}"#, 400),
    ("mgmt.firmware", #"{"state":2,"updateStatus":6}"#, 200), ("mgmt.firmware", #"{"state":3}"#, 400),
    ("mgmt.firmware", #"{"state":-1}"#, 400), ("mgmt.firmware", #"{"state":"1"}"#, 400),
    ("mgmt.firmware", #"{"updateStatus":7}"#, 400), ("mgmt.firmware", #"{"version":7}"#, 400),
    ("mgmt.firmware", #"{"version":null,"other":7}"#, 200), ("mgmt.firmware", "7", 400),
    ("mgmt.firmware.state", "1", 200), ("mgmt.firmware.state", "4", 400), ("mgmt.firmware.uri", "{}", 400),
    ("no.such", "1", 404),
  ])
  func holdsNotificationsAgainstWhatTheyAreAbout(field: String, value: String, code: Int64) throws {
    let rig = try Rig()
    let device = managed(rig)
    let before = try rig.service.device(e1)
    // The first field is right: with a bad one behind it none is taken.
    let fields = #"{"field":"deviceInfo","value":{"model":"new"}},{"field":"\#(field)","value":\#(value)}"#
    #expect(ask(rig, device, "notify", #"{"fields":[\#(fields)]}"#) == code)
    let after = try rig.service.device(e1)
    #expect(after.deviceInfo.model == (code == 200 ? "new" : nil))
    if code != 200 { #expect(after.metadata == before.metadata && after.management == before.management) }
  }

  @Test func takesAllOfAManageRequestOrNothing() throws {
    let rig = try Rig()
    let device = managed(rig)
    #expect(ask(rig, device, "mgmt/manage", #"{"metadata":{"a":1},"deviceInfo":{"model":7}}"#) == 400)
    #expect(try rig.service.device(e1).metadata == nil)
  }
}
