// A gateway of the Standard role speaks for the devices of its resource group, and for no other.

import PlatformProtocol
import PlatformService
import TestSupport
import Testing

@Suite struct GatewayRoleTests {
  private let gate = DeviceKey(typeID: "gate", deviceID: "g1")

  private func rig(group: Set<DeviceKey>) throws -> Rig {
    let rig = try Rig()
    try rig.service.updateDevice(gate, now: rig.now) { $0.resourceGroup = group }
    return rig
  }

  private func fault(_ rig: Rig, _ gateway: Int) throws -> Int64? {
    let notification = try #require(rig.messages(gateway).first { $0.contains("/notify ") })
    return JSONValue(text: String(notification.drop { $0 != "{" }))?["RC"]?.integer
  }

  @Test func speaksForItsGroupOnly() throws {
    let rig = try rig(group: [DeviceKey(typeID: "edge", deviceID: "e1")])
    let listener = rig.connect("a:local0:app")
    rig.subscribe(listener, "iot-2/type/+/id/+/evt/+/fmt/+")
    let gateway = rig.connect("g:local0:gate:g1")
    rig.subscribe(gateway, "iot-2/type/gate/id/g1/notify", qos: .atMostOnce)
    _ = rig.received(gateway)
    _ = rig.received(listener)
    rig.publish(gateway, "iot-2/type/edge/id/e1/evt/a/fmt/json")
    rig.publish(gateway, "iot-2/type/gate/id/g1/evt/a/fmt/json", identifier: 2)
    #expect(rig.messages(listener).count == 2)
    _ = rig.received(gateway)
    // A device that is registered, and one that is not: neither is in the group, and none is registered.
    for name in ["e2", "new"] {
      rig.publish(gateway, "iot-2/type/edge/id/\(name)/evt/a/fmt/json", identifier: 3)
      #expect(try fault(rig, gateway) == 180)
    }
    #expect(rig.messages(listener).isEmpty)
    #expect(throws: ServiceError.self) { try rig.service.device(DeviceKey(typeID: "edge", deviceID: "new")) }
  }

  @Test func subscribesForItsGroupOnly() throws {
    let rig = try rig(group: [DeviceKey(typeID: "edge", deviceID: "e1")])
    let gateway = rig.connect("g:local0:gate:g1")
    _ = rig.received(gateway)
    rig.subscribe(gateway, "iot-2/type/edge/id/e1/cmd/+/fmt/+")
    rig.subscribe(gateway, "iot-2/type/edge/id/e2/cmd/+/fmt/+")
    #expect(rig.received(gateway) == [.suback(9, [1]), .suback(9, [0x80])])
  }

  @Test func losesADeviceThatLeavesTheGroup() throws {
    let rig = try rig(group: [DeviceKey(typeID: "edge", deviceID: "e1")])
    let application = rig.connect("a:local0:app")
    let gateway = rig.connect("g:local0:gate:g1")
    rig.subscribe(gateway, "iot-2/type/+/id/+/cmd/+/fmt/+", qos: .atMostOnce)
    rig.publish(gateway, "iot-2/type/edge/id/e1/evt/a/fmt/json")
    _ = rig.received(gateway)
    rig.publish(application, "iot-2/type/edge/id/e1/cmd/blink/fmt/json")
    #expect(rig.messages(gateway).count == 1)
    try rig.service.updateDevice(gate, now: rig.now) { $0.resourceGroup = [] }
    rig.publish(application, "iot-2/type/edge/id/e1/cmd/blink/fmt/json", identifier: 2)
    #expect(rig.messages(gateway).isEmpty)
    try rig.service.updateDevice(gate, now: rig.now) { $0.resourceGroup = nil }
    rig.publish(application, "iot-2/type/edge/id/e1/cmd/blink/fmt/json", identifier: 3)
    #expect(rig.messages(gateway).count == 1)
  }

  @Test func onlyGatewaysHaveARole() throws {
    let rig = try Rig()
    #expect(throws: ServiceError.self) {
      try rig.service.updateDevice(DeviceKey(typeID: "edge", deviceID: "e1"), now: rig.now) { $0.resourceGroup = [] }
    }
    var draft = DeviceDraft(typeID: "edge", deviceID: "e9")
    draft.resourceGroup = []
    #expect(throws: ServiceError.self) { try rig.service.addDevice(draft, now: rig.now) }
  }

  @Test func watchesOnlyThoseThatItSpeaksFor() throws {
    let rig = try Rig()
    let gateway = rig.connect("g:local0:gate:g1")
    rig.publish(gateway, "iot-2/type/edge/id/e1/evt/a/fmt/json")
    func watch() {
      rig.subscribe(gateway, "iot-2/type/+/id/+/mon", qos: .atMostOnce)
      rig.subscribe(gateway, "iot-2/type/edge/id/e2/mon", qos: .atMostOnce)
    }
    func topics() -> Set<String> { Set(rig.messages(gateway).map { String($0.prefix { $0 != " " }) }) }
    watch()
    #expect(topics() == ["iot-2/type/gate/id/g1/mon"])
    _ = rig.connect("d:local0:edge:e1")
    _ = rig.connect("d:local0:edge:e2")
    // Nor of a device that nobody has registered.
    _ = rig.connect("d:local0:edge:nobody")
    #expect(topics() == ["iot-2/type/edge/id/e1/mon"])
    watch()
    #expect(topics() == ["iot-2/type/gate/id/g1/mon", "iot-2/type/edge/id/e1/mon"])
    try rig.service.updateDevice(gate, now: rig.now) { $0.resourceGroup = [] }
    watch()
    #expect(topics() == ["iot-2/type/gate/id/g1/mon"])
  }

  @Test func registersByASubscriptionToDeviceManagement() throws {
    let rig = try Rig()
    let gateway = rig.connect("g:local0:gate:g1")
    _ = rig.received(gateway)
    let new = DeviceKey(typeID: "edge", deviceID: "new")
    // A filter for all devices is about none of them.
    rig.subscribe(gateway, "iotdm-1/type/edge/id/+/#")
    rig.subscribe(gateway, "iotdm-1/#")
    #expect(throws: ServiceError.self) { try rig.service.device(new) }
    rig.subscribe(gateway, "iotdm-1/type/edge/id/new/#")
    #expect(try rig.service.device(new).registeredBy == gate)
    rig.subscribe(gateway, "iotdm-1/type/nowhere/id/new/#")
    try rig.service.updateDevice(gate, now: rig.now) { $0.resourceGroup = [] }
    rig.subscribe(gateway, "iotdm-1/type/edge/id/e1/#")
    #expect(rig.received(gateway) == [1, 1, 1, 0x80, 0x80].map { .suback(9, [$0]) })
  }

  /// However many failed before: the pause holds for the last of them.
  @Test func rememberedFailuresMakeRoom() throws {
    let rig = try Rig()
    let gateway = rig.connect("g:local0:gate:g1", keepAlive: 0)
    rig.subscribe(gateway, "iot-2/type/gate/id/g1/notify", qos: .atMostOnce)
    for number in 0...ServiceLimits.failedRegistrationsMax {
      rig.publish(gateway, "iot-2/type/unknown/id/d\(number)/evt/a/fmt/json")
    }
    _ = rig.received(gateway)
    rig.publish(gateway, "iot-2/type/unknown/id/d\(ServiceLimits.failedRegistrationsMax)/evt/a/fmt/json")
    #expect(rig.messages(gateway).last?.contains("not tried again yet") == true)
    rig.leap(601)
    rig.publish(gateway, "iot-2/type/unknown/id/d\(ServiceLimits.failedRegistrationsMax)/evt/a/fmt/json")
    #expect(rig.messages(gateway).last?.contains("not registered") == true)
  }
}
