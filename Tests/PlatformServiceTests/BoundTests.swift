// What a client cannot make the platform do: hold bytes that nobody reads, answer more than it is read, live for ever.

import Bytes
import MQTT
import PlatformProtocol
import PlatformService
import TestSupport
import Testing

@Suite struct BoundTests {
  private func pingreq(_ count: Int) -> [UInt8] { (0..<count).flatMap { _ in [0xC0, 0] as [UInt8] } }

  @Test func readsNothingBehindADelayedConnect() throws {
    let rig = try Rig()
    for _ in 0..<4 { _ = rig.connect("d:local0:edge:e1", password: "wrong password") }
    let delayed = rig.connect("d:local0:edge:e1")
    #expect(rig.feed(delayed, pingreq(1000)) == 0)
    let pause = try #require(rig.output.pauses[delayed])
    #expect(pause - rig.now.instant == .seconds(1))
    rig.wait(1)
    // The delay is over: it is read again, at once.
    #expect(try #require(rig.output.pauses[delayed]) <= rig.now.instant)
    #expect(rig.feed(delayed, pingreq(1)) == 2)
    #expect(rig.received(delayed) == [.connack(sessionPresent: false, code: 0), .pingresp])
  }

  @Test func keepAliveGoesOnAfterAPause() throws {
    let rig = try Rig(rates: .standard)
    let device = rig.connect("d:local0:edge:e1", keepAlive: 2)
    for number in 1...14 { rig.publish(device, "iot-2/evt/a/fmt/json", identifier: UInt16(number)) }
    #expect(rig.output.pauses[device] != nil)
    rig.wait(2)
    #expect(rig.output.closed[device] == nil)
    rig.wait(2)
    #expect(rig.output.closed[device] == .keepAlive)
  }

  /// While nothing is read from a client, its silence is ours.
  @Test func keepAliveWaitsWhileNothingIsRead() throws {
    let rig = try Rig()
    let held = rig.connect("d:local0:edge:e1", keepAlive: 2)
    for _ in 0..<10 {
      rig.service.pauseReading(held, until: rig.now.instant + .seconds(1), now: rig.now)
      rig.wait(1)
    }
    #expect(rig.output.closed[held] == nil)
    let blocked = rig.connect("d:local0:edge:e2", keepAlive: 2)
    rig.service.setWritable(blocked, false, now: rig.now)
    rig.wait(29)
    #expect(rig.output.closed[blocked] == nil)
    rig.wait(1)
    #expect(rig.output.closed[blocked] == .slowConsumer)
  }

  /// Commands for a device that asks over HTTP are bounded in bytes as well.
  @Test func mailboxesAreBounded() throws {
    let rig = try Rig()
    let key = DeviceKey(typeID: "edge", deviceID: "e1")
    let filter = CommandFilter(typeID: "edge", deviceID: "e1", name: nil)
    #expect(try rig.service.takeCommand(filter, as: .device(key), now: rig.now) == nil)
    let payload = [UInt8](repeating: 0x20, count: 100_000)
    for number in 0..<20 {
      try rig.service.publish(
        .command, to: key, name: "c\(number)", format: "bin", payload: payload, as: .application(key: Rig.apiKey),
        now: rig.now)
    }
    var names: [String] = []
    while let command = try rig.service.takeCommand(filter, as: .device(key), now: rig.now) {
      names.append(command.name)
    }
    #expect(names == (15..<20).map { "c\($0)" })
  }

  /// And so are those for all devices together: a fleet that asks once and never again holds only so much.
  @Test func allMailboxesTogetherAreBounded() throws {
    let rig = try Rig()
    let payload = [UInt8](repeating: 0x20, count: 128 << 10)
    let ofOne = ServiceLimits.mailboxBytesMax / payload.count
    let fitting = ServiceLimits.mailboxBytesTotalMax / ServiceLimits.mailboxBytesMax
    func filter(_ device: Int) -> CommandFilter { CommandFilter(typeID: "edge", deviceID: "m\(device)", name: nil) }
    func take(_ device: Int) throws -> ObservedMessage? {
      let key = DeviceKey(typeID: "edge", deviceID: "m\(device)")
      return try rig.service.takeCommand(filter(device), as: .device(key), now: rig.now)
    }
    func send(_ device: Int) throws {
      try rig.service.publish(
        .command, to: DeviceKey(typeID: "edge", deviceID: "m\(device)"), name: "c", format: "bin", payload: payload,
        as: .application(key: Rig.apiKey), now: rig.now)
    }
    for device in 0...fitting {
      let draft = DeviceDraft(typeID: "edge", deviceID: "m\(device)", token: Rig.token)
      _ = try rig.service.addDevice(draft, now: rig.now)
      #expect(try take(device) == nil)
      for _ in 0..<ofOne { try send(device) }
    }
    // The last one's had no room any more, and that is counted.
    #expect(try take(fitting) == nil)
    #expect(rig.service.counters.droppedFromQueues == ofOne)
    // What is taken makes room, and so does a device that is removed.
    #expect(try take(0) != nil)
    try send(fitting)
    #expect(try take(fitting) != nil)
    try rig.service.removeDevice(DeviceKey(typeID: "edge", deviceID: "m1"), now: rig.now)
    for _ in 0...ofOne { try send(fitting) }
    var count = 0
    while try take(fitting) != nil { count += 1 }
    #expect(count == ofOne)
  }

  @Test func oneInputSendsOnlySoMuch() throws {
    let rig = try Rig()
    for number in 0..<200 {
      let name = "many\(number)"
      _ = try rig.service.addDevice(DeviceDraft(typeID: "edge", deviceID: name, token: Rig.token), now: rig.now)
      rig.disconnect(rig.connect("d:local0:edge:\(name)"))
    }
    let greedy = rig.connect("a:local0:app")
    var packet = makeBuffer(capacity: 200)
    let filter = Array(text: "iot-2/type/+/id/+/mon")
    _ = packet.appendSubscribe(packetIdentifier: 9, filter: filter.span, qos: .atMostOnce)
    let one = Array(packet.span)
    _ = rig.received(greedy)
    rig.feed(greedy, one)
    #expect(rig.messages(greedy).count == 200)
    rig.feed(greedy, (0..<1000).flatMap { _ in one })
    let sent = try #require(rig.output.sent[greedy]).count
    #expect(sent < ServiceLimits.burstBytesMax + 100_000)
    #expect(rig.service.counters.droppedForBlocked > 100_000)
    // The next input is served again.
    rig.output.sent[greedy] = nil
    rig.feed(greedy, one)
    #expect(rig.messages(greedy).count == 200)
  }

  @Test func durableSessionsOfClientsThatStayAwayEnd() throws {
    let rig = try Rig()
    let away = rig.connect("d:local0:edge:e1", clean: false)
    let here = rig.connect("d:local0:edge:e2", clean: false, keepAlive: 0)
    rig.drop(away)
    rig.leap(7 * 24 * 3600 - 60)
    #expect(StateModel.state(after: rig.output.operations).sessions.count == 2)
    rig.leap(120)
    #expect(StateModel.state(after: rig.output.operations).sessions.map(\.clientID) == ["d:local0:edge:e2"])
    #expect(rig.output.closed[here] == nil)
    rig.drop(here)
  }

  /// Whatever the clock says after a restart, clients get an hour to come back.
  @Test func sessionsOutliveAClockThatJumps() throws {
    let rig = try Rig()
    rig.drop(rig.connect("d:local0:edge:e1", clean: false))
    var state = StateModel.state(after: rig.output.operations)
    state.sessions[0].awaySince = 0
    let later = try rig.restart(with: state)
    later.leap(3500)
    #expect(
      later.received(later.connect("d:local0:edge:e1", clean: false)) == [.connack(sessionPresent: true, code: 0)])
    let late = try rig.restart(with: state)
    late.leap(3700)
    #expect(late.received(late.connect("d:local0:edge:e1", clean: false)) == [.connack(sessionPresent: false, code: 0)])
  }
}

@Suite struct RestartTests {
  private let device = DeviceKey(typeID: "edge", deviceID: "e1")

  @Test func gatewaysAreStillTheWayToTheirDevices() throws {
    let rig = try Rig()
    let gateway = rig.connect("g:local0:gate:g1", clean: false)
    rig.subscribe(gateway, "iot-2/type/+/id/+/cmd/+/fmt/+")
    rig.publish(gateway, "iot-2/type/edge/id/e1/evt/a/fmt/json")
    rig.drop(gateway)
    let later = try rig.restart(with: StateModel.state(after: rig.output.operations))
    let application = later.connect("a:local0:app")
    later.publish(application, "iot-2/type/edge/id/e1/cmd/blink/fmt/json")
    let again = later.connect("g:local0:gate:g1", clean: false)
    #expect(later.messages(again) == ["iot-2/type/edge/id/e1/cmd/blink/fmt/json {}"])
  }

  @Test func connectionStatesAreKnown() throws {
    let rig = try Rig()
    _ = rig.connect("d:local0:edge:e1")
    let gone = rig.connect("d:local0:edge:e2")
    rig.disconnect(gone)
    let later = try rig.restart(with: StateModel.state(after: rig.output.operations))
    let states = later.service.connectionStates()
    #expect(states.map(\.clientID) == ["d:local0:edge:e1", "d:local0:edge:e2"])
    #expect(states.map(\.action) == [.disconnect, .disconnect])
    // What was there when the platform ended is not there any more, and that is kept.
    #expect(states.map(\.closeCode) == [.shutdown, .clean])
    #expect(states[0].port == 1883)
    let watcher = later.connect("a:local0:app")
    later.subscribe(watcher, "iot-2/type/+/id/+/mon")
    #expect(later.messages(watcher).count == 2)
    let operations = rig.output.operations + later.output.operations
    let kept = StateModel.state(after: operations).devices.first { $0.key == device }
    #expect(kept?.connection?.isConnected == false)
  }
}
