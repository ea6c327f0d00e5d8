// Device-management requests, step by step, against a scripted device.

import PlatformProtocol
import PlatformService
import Testing

@Suite struct ActionTests {
  private let e1 = DeviceKey(typeID: "edge", deviceID: "e1")

  /// A managed device, connected.
  private func managed(_ rig: Rig, clean: Bool = true) -> Int {
    let device = rig.connect("d:local0:edge:e1", clean: clean)
    rig.subscribe(device, "iotdm-1/#")
    manage(rig, device)
    _ = rig.management(device)
    return device
  }

  private func manage(_ rig: Rig, _ device: Int) {
    rig.publish(
      device, "iotdevice-1/mgmt/manage",
      #"{"d":{"lifetime":3600,"supports":{"deviceActions":true,"firmwareActions":true}},"reqId":"m"}"#)
  }

  private func add(
    _ rig: Rig, _ action: String, _ parameters: [ActionParameter] = [], overrides: Bool = false, seconds: Int? = nil
  ) throws -> String {
    let draft = ManagementRequestDraft(
      action: action, parameters: parameters, devices: [e1], timeoutSeconds: seconds, overrides: overrides)
    return try rig.service.addRequest(draft, now: rig.now).id
  }

  private func respond(_ rig: Rig, _ device: Int, _ body: JSONValue?, _ code: Int, _ data: String = "") {
    let id = body?["reqId"]?.string ?? "none"
    rig.publish(device, "iotdevice-1/response", #"{"rc":\#(code),\#(data)"reqId":"\#(id)"}"#)
  }

  private func notify(_ rig: Rig, _ device: Int, _ value: String) {
    rig.publish(
      device, "iotdevice-1/notify", #"{"d":{"fields":[{"field":"mgmt.firmware","value":\#(value)}]}}"#)
  }

  /// How many requests to restart came since this was last asked.
  private func rebootCount(_ rig: Rig, _ device: Int, acknowledges: Bool = true) -> Int {
    var count = 0
    for case .message(let topic, _, _, _, _, let identifier) in rig.received(device) {
      if topic == "iotdm-1/mgmt/initiate/device/reboot" { count += 1 }
      if acknowledges { rig.answer(device, .puback, identifier) }
    }
    return count
  }

  private func progress(_ rig: Rig, _ id: String) throws -> DeviceProgress {
    try #require(try rig.service.request(id).devices.first)
  }

  @Test func rebootsUntilTheDeviceManagesAgain() throws {
    let rig = try Rig()
    let device = managed(rig)
    let id = try add(rig, "device/reboot")
    let request = rig.management(device)
    #expect(request?.path == "iotdm-1/mgmt/initiate/device/reboot")
    #expect(request?.body["d"] == nil)
    respond(rig, device, request?.body, 202)
    #expect(try progress(rig, id).state == .restarting)
    rig.drop(device)
    #expect(try !rig.service.request(id).isComplete)
    _ = managed(rig)
    #expect(try progress(rig, id).state == .done(.success))
    #expect(try rig.service.request(id).isComplete)
  }

  /// A device that accepted, tried, and could not after all, says so before it says that it is there.
  @Test func aRestartThatCameToNothingHasFailed() throws {
    let rig = try Rig()
    var device = managed(rig)
    let id = try add(rig, "device/reboot")
    let request = rig.management(device)
    respond(rig, device, request?.body, 202)
    rig.drop(device)
    device = rig.connect("d:local0:edge:e1")
    rig.subscribe(device, "iotdm-1/#")
    // One that comes again, or is another's, changes nothing.
    respond(rig, device, request?.body, 202)
    respond(rig, device, nil, 500)
    #expect(try progress(rig, id).state == .restarting)
    respond(rig, device, request?.body, 500, #""message":"status 3","#)
    #expect(try progress(rig, id).state == .done(.failed))
    #expect(try progress(rig, id).message == "The device answered 500: status 3")
    manage(rig, device)
    #expect(try progress(rig, id).state == .done(.failed))
  }

  @Test(arguments: [(500, DeviceProgress.Outcome.failed), (501, .unsupported), (400, .failed)])
  func failsAsTheDeviceSays(code: Int, outcome: DeviceProgress.Outcome) throws {
    let rig = try Rig()
    let device = managed(rig)
    let id = try add(rig, "device/factoryReset")
    let request = rig.management(device)
    #expect(request?.path == "iotdm-1/mgmt/initiate/device/factory_reset")
    respond(rig, device, request?.body, code)
    #expect(try progress(rig, id).state == .done(outcome))
  }

  @Test func downloadsInOrder() throws {
    let rig = try Rig()
    let device = managed(rig)
    let id = try add(
      rig, "firmware/download",
      [
        ActionParameter(name: "uri", value: .string("https://fw.example/1")),
        ActionParameter(name: "version", value: .string("1.5.0")),
      ])
    let update = rig.management(device)
    #expect(update?.path == "iotdm-1/device/update")
    let value = update?.body["d"]?["fields"]?.array?.first?["value"]
    #expect(value?["uri"]?.string == "https://fw.example/1")
    #expect(value?["state"]?.integer == 0)
    respond(rig, device, update?.body, 204)
    let observe = rig.management(device)
    #expect(observe?.path == "iotdm-1/observe")
    respond(
      rig, device, observe?.body, 200,
      #""d":{"fields":[{"field":"mgmt.firmware","value":{"state":0,"version":"1.5.0"}}]},"#)
    let initiate = rig.management(device)
    #expect(initiate?.path == "iotdm-1/mgmt/initiate/firmware/download")
    respond(rig, device, initiate?.body, 202)
    notify(rig, device, #"{"state":1}"#)
    #expect(try progress(rig, id).state == .working)
    notify(rig, device, #"{"state":2,"updateStatus":0}"#)
    let cancel = rig.management(device)
    #expect(cancel?.path == "iotdm-1/cancel")
    #expect(try !rig.service.request(id).isComplete)
    respond(rig, device, cancel?.body, 200)
    #expect(try progress(rig, id).state == .done(.success))
    #expect(try rig.service.device(e1).management?.firmware.state == 2)
  }

  @Test func updatesAndKnowsTheNewVersion() throws {
    let rig = try Rig()
    let device = managed(rig)
    notify(rig, device, #"{"state":2,"version":"1.5.0"}"#)
    let id = try add(rig, "firmware/update")
    let observe = rig.management(device)
    #expect(observe?.path == "iotdm-1/observe")
    respond(rig, device, observe?.body, 200)
    let initiate = rig.management(device)
    respond(rig, device, initiate?.body, 202)
    notify(rig, device, #"{"updateStatus":1}"#)
    #expect(try progress(rig, id).message == "The device is installing.")
    notify(rig, device, #"{"state":0,"updateStatus":0}"#)
    respond(rig, device, rig.management(device)?.body, 200)
    #expect(try progress(rig, id).state == .done(.success))
    #expect(try rig.service.device(e1).deviceInfo.fwVersion == "1.5.0")
  }

  @Test func failsWithTheUpdateStatus() throws {
    let rig = try Rig()
    let device = managed(rig)
    let id = try add(rig, "firmware/download")
    respond(rig, device, rig.management(device)?.body, 200)
    respond(rig, device, rig.management(device)?.body, 202)
    notify(rig, device, #"{"state":1}"#)
    notify(rig, device, #"{"state":0,"updateStatus":4}"#)
    let progress = try progress(rig, id)
    #expect(progress.state == .done(.failed))
    #expect(progress.message == "The image's verification failed.")
    #expect(rig.management(device)?.path == "iotdm-1/cancel")
  }

  @Test func allowsOneFirmwareRequestUnlessOverridden() throws {
    let rig = try Rig()
    _ = managed(rig)
    let first = try add(rig, "firmware/download")
    #expect(throws: ServiceError.self) { try add(rig, "firmware/download") }
    _ = try add(rig, "firmware/download", overrides: true)
    #expect(try progress(rig, first).state == .done(.cancelled))
    _ = try add(rig, "device/reboot")
  }

  @Test func timesOut() throws {
    let rig = try Rig()
    _ = managed(rig)
    let id = try add(rig, "device/reboot", seconds: 5)
    rig.wait(4)
    #expect(try !rig.service.request(id).isComplete)
    rig.wait(2)
    #expect(try progress(rig, id).state == .done(.timedOut))
  }

  @Test func refusesWhatIsNotManagedOrNotSupported() throws {
    let rig = try Rig()
    #expect(try progress(rig, add(rig, "device/reboot")).state == .done(.failed))
    let device = managed(rig)
    rig.publish(device, "iotdevice-1/mgmt/manage", #"{"reqId":"m2"}"#)
    #expect(try progress(rig, add(rig, "device/reboot")).state == .done(.unsupported))
    #expect(throws: ServiceError.self) { try add(rig, "device/explode") }
    #expect(throws: ServiceError.self) { try add(rig, "no-bundle/no-action") }
  }

  @Test func runsCustomActions() throws {
    let rig = try Rig()
    let device = try managedWithTools(rig)
    let id = try add(rig, "tools/set", [ActionParameter(name: "seconds", value: .string("30"))])
    let request = rig.management(device)
    #expect(request?.path == "iotdm-1/mgmt/custom/tools/set")
    #expect(request?.body["d"]?["fields"]?.array?.first?["value"]?.string == "30")
    // What a request does not give has the bundle's value.
    #expect(request?.body["d"]?["fields"]?.array?.last?.text == #"{"field":"stream","value":"all"}"#)
    respond(rig, device, request?.body, 200)
    #expect(try progress(rig, id).state == .done(.success))
  }

  @Test(
    arguments: [
      ([], "needs the parameter 'seconds'"), ([("seconds", .string("soon"))], "'seconds'"),
      ([("seconds", .string("30 s"))], "'seconds'"), ([("seconds", .array([]))], "'seconds'"),
      ([("seconds", .integer(30)), ("minutes", .integer(1))], "no parameter 'minutes'"),
      ([("seconds", .integer(30)), ("stream", .string("one"))], nil),
      ([("seconds", .integer(30)), ("mode", .null)], "'mode'"),
    ] as [([(String, JSONValue)], String?)])
  func holdsCustomActionsAgainstTheirBundle(parameters: [(String, JSONValue)], problem: String?) throws {
    let rig = try Rig()
    _ = try managedWithTools(rig)
    do throws(ServiceError) {
      _ = try rig.service.addRequest(
        ManagementRequestDraft(
          action: "tools/set", parameters: parameters.map { ActionParameter(name: $0.0, value: $0.1) }, devices: [e1]),
        now: rig.now)
      #expect(problem == nil)
    } catch {
      #expect(error.kind == .invalid)
      #expect(problem.map(error.message.contains) == true, "\(error.message)")
    }
  }

  /// A device that supports a bundle of one action, connected.
  private func managedWithTools(_ rig: Rig) throws -> Int {
    let bundle = #"""
      {"actions":{"set":{"parameters":[{"name":"seconds","value":"[0-9]{1,5}","required":true},
        {"name":"stream","required":true,"defaultValue":"all"},{"name":"mode","value":"a|b"}]}}}
      """#
    try rig.service.putBundle("tools", try #require(JSONValue(text: bundle)), now: rig.now)
    let device = rig.connect("d:local0:edge:e1")
    rig.subscribe(device, "iotdm-1/#")
    rig.publish(device, "iotdevice-1/mgmt/manage", #"{"d":{"supports":{"tools":true}},"reqId":"m"}"#)
    _ = rig.management(device)
    return device
  }

  @Test func sendsAgainToADeviceThatComesBack() throws {
    let rig = try Rig()
    let device = managed(rig)
    rig.drop(device)
    let id = try add(rig, "device/reboot")
    #expect(try progress(rig, id).message.contains("not connected"))
    let second = rig.connect("d:local0:edge:e1")
    rig.subscribe(second, "iotdm-1/#")
    manage(rig, second)
    // Once on a connection: neither managing nor a refresh of it asks for another restart.
    manage(rig, second)
    #expect(rebootCount(rig, second) == 1)
    #expect(try progress(rig, id).message.isEmpty)
    rig.drop(second)
    let third = rig.connect("d:local0:edge:e1")
    rig.subscribe(third, "iotdm-1/#")
    let request = rig.management(third)
    #expect(request?.path == "iotdm-1/mgmt/initiate/device/reboot")
    manage(rig, third)
    #expect(rebootCount(rig, third) == 0)
    respond(rig, third, request?.body, 202)
    #expect(try progress(rig, id).state == .restarting)
  }

  @Test func sendsAStepOnceWhereItWaitsInTheQueue() throws {
    let rig = try Rig()
    rig.drop(managed(rig, clean: false))
    let id = try add(rig, "device/reboot")
    #expect(try progress(rig, id).message.isEmpty)
    let second = rig.connect("d:local0:edge:e1", clean: false)
    rig.subscribe(second, "iotdm-1/#")
    manage(rig, second)
    #expect(rebootCount(rig, second, acknowledges: false) == 1)
    rig.drop(second)
    // It was not acknowledged, so it comes again by itself, and only so.
    let third = rig.connect("d:local0:edge:e1", clean: false)
    manage(rig, third)
    #expect(rebootCount(rig, third) == 1)
    manage(rig, third)
    #expect(rebootCount(rig, third) == 0)
    rig.drop(third)
    // It was acknowledged, but not answered.
    let fourth = rig.connect("d:local0:edge:e1", clean: false)
    manage(rig, fourth)
    manage(rig, fourth)
    #expect(rebootCount(rig, fourth) == 1)
  }

  @Test func knowsAfterARestartWhatWaits() throws {
    let rig = try Rig()
    rig.drop(managed(rig, clean: false))
    _ = try add(rig, "device/reboot")
    let later = try rig.restart(with: StateModel.state(after: rig.output.operations))
    let device = later.connect("d:local0:edge:e1", clean: false)
    manage(later, device)
    #expect(rebootCount(later, device) == 1)
  }

  @Test func goesOnAfterARestart() throws {
    let rig = try Rig()
    let device = managed(rig, clean: false)
    let id = try add(rig, "device/reboot")
    respond(rig, device, rig.management(device)?.body, 202)
    let later = try rig.restart(with: StateModel.state(after: rig.output.operations))
    #expect(try progress(later, id).state == .restarting)
    _ = managed(later, clean: false)
    #expect(try progress(later, id).state == .done(.success))
  }

  @Test func ignoresAnswersThatNobodyWaitsFor() throws {
    let rig = try Rig()
    let device = managed(rig)
    let id = try add(rig, "device/reboot")
    let request = rig.management(device)
    rig.publish(device, "iotdevice-1/response", #"{"rc":202,"reqId":"other"}"#)
    rig.publish(device, "iotdevice-1/response", #"{"rc":202}"#)
    #expect(try progress(rig, id).requestID != nil)
    respond(rig, device, request?.body, 202)
    respond(rig, device, request?.body, 202)
    rig.publish(device, "iotdevice-1/response", #"{"rc":500,"reqId":"other"}"#)
    #expect(try progress(rig, id).state == .restarting)
  }

  @Test func endsWithTheLifetime() throws {
    let rig = try Rig()
    _ = managed(rig)
    let id = try add(rig, "device/reboot", seconds: 10_000)
    #expect(try rig.service.device(e1).management != nil)
    rig.wait(3601)
    #expect(try rig.service.device(e1).management == nil)
    #expect(try progress(rig, id).state == .done(.failed))
  }
}
