// What comes without a connection: rates of HTTP, and commands that wait for devices that ask for them.

import Bytes
import PlatformProtocol
import PlatformService
import Testing

@Suite struct RateTests {
  private let device = DeviceKey(typeID: "edge", deviceID: "e1")

  private func publish(
    _ rig: Rig, as principal: Principal, bytes: Int = 2
  ) throws -> TimeSpan? {
    try rig.service.publish(
      .event, to: device, name: "a", format: "json", payload: [UInt8](repeating: 0x20, count: bytes), as: principal,
      now: rig.now)
  }

  @Test func answersLaterAboveTheRate() throws {
    let rig = try Rig(rates: .standard)
    #expect(try publish(rig, as: .device(device)) == nil)
    #expect(try publish(rig, as: .device(device)) == .seconds(1))
    // An application has a rate of its own: two a second.
    #expect(try publish(rig, as: .application(key: Rig.apiKey)) == nil)
    #expect(try publish(rig, as: .application(key: Rig.apiKey)) == nil)
    #expect(try publish(rig, as: .application(key: Rig.apiKey)) == .milliseconds(500))
    rig.wait(2)
    #expect(try publish(rig, as: .device(device)) == nil)
  }

  @Test func countsBytesAndRefusesWhoIsFarTooFast() throws {
    let rig = try Rig(rates: .standard)
    // 4 KB a second; the answer is not held back for longer than ten.
    #expect(try publish(rig, as: .device(device), bytes: 12_288) == .seconds(2))
    #expect(try publish(rig, as: .device(device), bytes: 100_000) == .seconds(10))
    #expect(throws: ServiceError.self) { try publish(rig, as: .device(device)) }
    let received = rig.service.counters.received
    rig.wait(17)
    #expect(try publish(rig, as: .device(device)) != nil)
    #expect(rig.service.counters.received == received + 1)
  }

  @Test func hasNoLimitWhereThePlanHasNone() throws {
    let rig = try Rig(rates: .unlimited)
    for _ in 0..<100 { #expect(try publish(rig, as: .device(device)) == nil) }
  }

  @Test func quickstartTakesOneASecondInEveryPlan() throws {
    let rig = try Rig(rates: .unlimited)
    #expect(try publish(rig, as: .quickstart) == nil)
    #expect(throws: ServiceError(.unavailable, "Quickstart takes one message a second from a device.")) {
      try publish(rig, as: .quickstart)
    }
    #expect(rig.service.counters.droppedByRate == 1)
    rig.wait(1)
    #expect(try publish(rig, as: .quickstart) == nil)
  }

  /// What is dropped does not count: a device that is too fast is heard once a second, and not never.
  @Test func quickstartHearsWhoIsTooFast() throws {
    let rig = try Rig()
    let fast = rig.connect("d:quickstart:t:d1")
    let observer = try rig.service.observe(ObservationFilter(organization: "quickstart"))
    for _ in 0..<10 {
      for _ in 0..<3 { rig.publish(fast, "iot-2/evt/a/fmt/json", qos: .atMostOnce) }
      rig.wait(1)
    }
    rig.service.stopObserving(observer)
    let events = rig.output.observations.filter { if case .event = $0 { true } else { false } }
    #expect(events.count == 10)
    #expect(rig.service.counters.droppedByRate == 20)
  }
}

@Suite struct MailboxTests {
  private let device = DeviceKey(typeID: "edge", deviceID: "e1")

  private let gate = DeviceKey(typeID: "gate", deviceID: "g1")

  private func send(_ rig: Rig, _ name: String, to device: DeviceKey? = nil) throws {
    try rig.service.publish(
      .command, to: device ?? self.device, name: name, format: "json", payload: Array("{}".utf8),
      as: .application(key: Rig.apiKey), now: rig.now)
  }

  private func take(_ rig: Rig, _ name: String? = nil) throws -> String? {
    try rig.service.takeCommand(
      CommandFilter(typeID: "edge", deviceID: "e1", name: name), as: .device(device), now: rig.now
    ).map { $0.name }
  }

  private func takeAny(_ rig: Rig, device: String? = nil) throws -> String? {
    try rig.service.takeCommand(
      CommandFilter(typeID: device == nil ? nil : "edge", deviceID: device, name: nil), as: .gateway(gate), now: rig.now
    ).map { "\($0.device.deviceID) \($0.name)" }
  }

  @Test func keepsCommandsFromTheFirstTimeThatADeviceAsks() throws {
    let rig = try Rig()
    try send(rig, "early")
    #expect(try take(rig) == nil)
    for name in ["a", "b", "a"] { try send(rig, name) }
    #expect(try take(rig, "b") == "b")
    #expect(try take(rig) == "a")
    #expect(try take(rig) == "a")
    #expect(try take(rig) == nil)
  }

  @Test func dropsTheOldestAndTheOld() throws {
    let rig = try Rig()
    #expect(try take(rig) == nil)
    for number in 0...ServiceLimits.mailboxCommandsMax { try send(rig, "c\(number)") }
    #expect(try take(rig) == "c1")
    rig.leap(48 * 3600)
    #expect(try take(rig) == nil)
  }

  @Test func endsForADeviceThatDoesNotAsk() throws {
    let rig = try Rig()
    #expect(try take(rig) == nil)
    rig.leap(48 * 3600)
    try send(rig, "late")
    #expect(try take(rig) == nil)
  }

  @Test func gatewaysAskForThoseThatTheySpeakFor() throws {
    let rig = try Rig()
    #expect(try takeAny(rig, device: "e1") == nil)
    try send(rig, "other", to: DeviceKey(typeID: "edge", deviceID: "e2"))
    try send(rig, "mine")
    try send(rig, "own", to: gate)
    #expect(try takeAny(rig) == "e1 mine")
    #expect(try takeAny(rig) == "g1 own")
    #expect(try takeAny(rig) == nil)
    // First contact registers; a device that leaves the group is no longer spoken for.
    #expect(try takeAny(rig, device: "new") == nil)
    #expect(try rig.service.device(DeviceKey(typeID: "edge", deviceID: "new")).registeredBy == gate)
    try rig.service.updateDevice(gate, now: rig.now) { $0.resourceGroup = [] }
    try send(rig, "late")
    #expect(try takeAny(rig) == nil)
    #expect(throws: ServiceError.self) { try takeAny(rig, device: "e1") }
  }

  @Test func nobodyAsksForOthers() throws {
    let rig = try Rig()
    let filter = CommandFilter(typeID: "edge", deviceID: "e2", name: nil)
    for principal in [Principal.device(device), .application(key: Rig.apiKey), .quickstart] {
      #expect(throws: ServiceError.self) { try rig.service.takeCommand(filter, as: principal, now: rig.now) }
    }
    #expect(throws: ServiceError.self) {
      try rig.service.takeCommand(
        CommandFilter(typeID: nil, deviceID: nil, name: nil), as: .device(device), now: rig.now)
    }
  }
}
