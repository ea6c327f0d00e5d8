import Bytes
import PlatformProtocol
import Testing

@testable import PlatformService

/// What a page watches costs the platform little, whoever watches.
@Suite struct ObservationTests {
  private func events(_ rig: Rig) -> [ObservedMessage] {
    rig.output.observations.compactMap { if case .event(let message) = $0 { message } else { nil } }
  }

  @Test func isMadeOnceForAll() throws {
    let rig = try Rig()
    for _ in 0..<3 { _ = try rig.service.observe(ObservationFilter(organization: "local0")) }
    let key = DeviceKey(typeID: "edge", deviceID: "e1")
    var count = 0
    func make() -> Observation {
      count += 1
      return .deviceChanged(key)
    }
    rig.service.tellObservers(rig.service.own, device: key, .events, make())
    #expect(count == 1 && rig.output.observations.count == 3)
    rig.service.tellObservers(rig.service.own, device: key, .commands, make())
    #expect(count == 1)
  }

  @Test func leavesLongPayloadsOut() throws {
    let rig = try Rig()
    _ = try rig.service.observe(ObservationFilter(organization: "local0", includesChanges: false))
    let device = rig.connect("d:local0:edge:e1")
    let max = ServiceLimits.observedPayloadBytesMax
    for size in [0, max, max + 1] {
      rig.publish(device, "iot-2/evt/a/fmt/text", String(repeating: "x", count: size), qos: .atMostOnce)
    }
    let seen = events(rig)
    #expect(seen.map(\.payloadSize) == [0, max, max + 1])
    #expect(seen.map(\.payload.count) == [0, max, 0])
    #expect(seen.map(\.isPayloadLeftOut) == [false, false, true])
  }

  @Test func listsGetNoPayloads() throws {
    let rig = try Rig()
    var filter = ObservationFilter(organization: "local0", includesChanges: false)
    filter.includesPayloads = false
    _ = try rig.service.observe(filter)
    rig.publish(rig.connect("d:local0:edge:e1"), "iot-2/evt/a/fmt/text", "seven", qos: .atMostOnce)
    #expect(events(rig).map(\.payload) == [[]])
    #expect(events(rig).map(\.payloadSize) == [5])
  }

  /// A command that is asked for over HTTP is whole, however long: only who watches gets less.
  @Test func commandsStayWhole() throws {
    let rig = try Rig()
    let key = DeviceKey(typeID: "edge", deviceID: "e1")
    let filter = CommandFilter(typeID: "edge", deviceID: "e1", name: nil)
    #expect(try rig.service.takeCommand(filter, as: .device(key), now: rig.now) == nil)
    _ = try rig.service.observe(ObservationFilter(organization: "local0", includesCommands: true))
    let size = ServiceLimits.observedPayloadBytesMax + 1
    rig.publish(
      rig.connect("a:local0:app"), "iot-2/type/edge/id/e1/cmd/c/fmt/text", String(repeating: "x", count: size),
      qos: .atMostOnce)
    #expect(try rig.service.takeCommand(filter, as: .device(key), now: rig.now)?.payload.count == size)
  }

  @Test func quickstartLeavesRoomForOthers() throws {
    let rig = try Rig()
    let anyone = ObservationFilter(organization: "quickstart")
    var last = 0
    for _ in 0..<ServiceLimits.quickstartObserversMax { last = try rig.service.observe(anyone) }
    #expect(throws: ServiceError.self) { try rig.service.observe(anyone) }
    for _ in ServiceLimits.quickstartObserversMax..<ServiceLimits.observersMax {
      _ = try rig.service.observe(ObservationFilter(organization: "local0"))
    }
    #expect(throws: ServiceError.self) { try rig.service.observe(ObservationFilter(organization: "local0")) }
    rig.service.stopObserving(last)
    _ = try rig.service.observe(anyone)
  }

  /// Who watches one device, or one kind of messages, is told of nothing else.
  @Test func tellsThoseWhoWatch() throws {
    let rig = try Rig()
    func watch(_ deviceID: String?, _ typeID: String? = nil, events: Bool, commands: Bool) throws -> ObserverID {
      try rig.service.observe(
        ObservationFilter(
          organization: "local0", typeID: typeID, deviceID: deviceID, includesEvents: events,
          includesCommands: commands, includesChanges: false))
    }
    let all = try watch(nil, events: true, commands: true)
    let one = try watch("e1", events: true, commands: false)
    let commands = try watch("e1", "edge", events: false, commands: true)
    _ = try watch("e1", "gate", events: true, commands: true)
    _ = try watch("e2", events: true, commands: true)
    let gone = try watch("e1", events: true, commands: true)
    rig.service.stopObserving(gone)
    let key = DeviceKey(typeID: "edge", deviceID: "e1")
    for (kind, told) in [(MessageKind.event, [all, one]), (.command, [all, commands])] {
      rig.output.told.removeAll()
      try rig.service.publish(
        kind, to: key, name: "n", format: "json", payload: [0x30], as: .application(key: Rig.apiKey), now: rig.now)
      #expect(rig.output.told.sorted() == told)
    }
  }

  @Test func nobodyTakesAllStreams() throws {
    let rig = try Rig()
    var filter = ObservationFilter(organization: "quickstart")
    filter.client = "192.0.2.1"
    var last = 0
    for _ in 0..<ServiceLimits.observersOfClientMax { last = try rig.service.observe(filter) }
    #expect(throws: ServiceError.self) { try rig.service.observe(filter) }
    var other = filter
    other.client = "192.0.2.2"
    _ = try rig.service.observe(other)
    rig.service.stopObserving(last)
    _ = try rig.service.observe(filter)
  }
}
