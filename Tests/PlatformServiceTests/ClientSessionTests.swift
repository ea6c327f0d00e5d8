// Sessions: what is in flight, what waits, what is stored before it is acknowledged.

import MQTT
import PlatformService
import Testing

@Suite struct ClientSessionTests {
  @Test func acknowledgesAfterTheCommitOfWhatWasStored() throws {
    let rig = try Rig()
    let keeper = rig.connect("a:local0:keeper", clean: false)
    rig.subscribe(keeper, "iot-2/type/+/id/+/evt/+/fmt/+")
    rig.disconnect(keeper)
    let device = rig.connect("d:local0:edge:e1")
    rig.output.waits.removeAll()
    rig.publish(device, "iot-2/evt/a/fmt/json", qos: .atLeastOnce)
    #expect(rig.output.waits.map(\.connection) == [device])
    rig.output.waits.removeAll()
    rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: 2)
    rig.answer(device, .pubrel, 2)
    // PUBREC waits for the message; a clean session's identifier is not stored, so PUBCOMP waits for nothing.
    #expect(rig.output.waits.map(\.connection) == [device])
  }

  @Test func storesNothingForCleanSessions() throws {
    let rig = try Rig()
    let application = rig.connect("a:local0:app")
    rig.subscribe(application, "iot-2/type/+/id/+/evt/+/fmt/+")
    let device = rig.connect("d:local0:edge:e1")
    rig.output.operations.removeAll()
    rig.output.waits.removeAll()
    rig.publish(device, "iot-2/evt/a/fmt/json")
    #expect(rig.output.operations.isEmpty)
    #expect(rig.output.waits.isEmpty)
  }

  @Test func takesAMessageOfQoS2Once() throws {
    let rig = try Rig()
    let application = rig.connect("a:local0:app")
    rig.subscribe(application, "iot-2/type/+/id/+/evt/+/fmt/+", qos: .exactlyOnce)
    let device = rig.connect("d:local0:edge:e1")
    _ = rig.received(device)
    rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: 5)
    rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: 5, dup: true)
    rig.answer(device, .pubrel, 5)
    rig.answer(device, .pubrel, 5)
    #expect(rig.received(device) == [.pubrec(5), .pubrec(5), .pubcomp(5), .pubcomp(5)])
    #expect(rig.messages(application).count == 1)
    // The identifier is free again.
    rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: 5)
    #expect(rig.messages(application).count == 1)
  }

  /// MQTT 3.1.1 has no receive maximum: paho's clients have 20 messages open, others as many as they like.
  @Test func answersManyMessagesOfQoS2OneAfterTheOther() throws {
    let rig = try Rig()
    let application = rig.connect("a:local0:app")
    rig.subscribe(application, "iot-2/type/+/id/+/evt/+/fmt/+", qos: .atMostOnce)
    _ = rig.received(application)
    let device = rig.connect("d:local0:edge:e1")
    _ = rig.received(device)
    for number in 1...30 {
      rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: UInt16(number))
    }
    #expect(rig.output.closed[device] == nil)
    #expect(rig.messages(application).count == 30)
    #expect(rig.received(device) == (1...10).map { .pubrec($0) })
    // Who repeats a message that waits for its answer is not answered earlier, nor is the message delivered again.
    rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: 30, dup: true)
    #expect(rig.received(device) == [])
    for number in UInt16(1)...30 {
      rig.answer(device, .pubrel, number)
      #expect(rig.received(device) == [.pubcomp(number)] + (number <= 20 ? [.pubrec(number + 10)] : []))
    }
    #expect(rig.messages(application).isEmpty)
  }

  @Test func answersWhatWaitedOnAnEarlierConnection() throws {
    let rig = try Rig()
    var device = rig.connect("d:local0:edge:e1", clean: false)
    for number in 1...12 {
      rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: UInt16(number))
    }
    rig.drop(device)
    device = rig.connect("d:local0:edge:e1", clean: false)
    _ = rig.received(device)
    for number in 11...12 {
      rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: UInt16(number), dup: true)
    }
    #expect(rig.received(device) == [.pubrec(11), .pubrec(12)])
    #expect(rig.service.counters.received == 14)
  }

  /// [MQTT-4.8.0-1]: an acknowledgement of another kind than the message's breaks the protocol.
  @Test(arguments: [
    (QoS.atLeastOnce, PacketType.pubrec), (.atLeastOnce, .pubcomp), (.exactlyOnce, .puback), (.exactlyOnce, .pubcomp),
  ])
  func closesOnAnAcknowledgementOfAnotherKind(qos: QoS, type: PacketType) throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1", clean: false)
    rig.subscribe(device, "iot-2/cmd/+/fmt/+", qos: .exactlyOnce)
    let application = rig.connect("a:local0:app")
    rig.publish(application, "iot-2/type/edge/id/e1/cmd/c/fmt/json", qos: qos)
    rig.answer(device, type, 1)
    #expect(rig.output.closed[device] == .protocolError)
    // The message is still owed.
    let again = rig.connect("d:local0:edge:e1", clean: false)
    #expect(rig.messages(again).count == 1)
  }

  @Test func ignoresLateAcknowledgements() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1")
    _ = rig.received(device)
    for type in [PacketType.puback, .pubrec, .pubcomp] { rig.answer(device, type, 77) }
    #expect(rig.received(device) == [.pubrel(77)])
    #expect(rig.output.closed[device] == nil)
  }

  @Test func sendsQoS2InFourSteps() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1", clean: false)
    rig.subscribe(device, "iot-2/cmd/+/fmt/+", qos: .exactlyOnce)
    let application = rig.connect("a:local0:app")
    _ = rig.received(device)
    rig.publish(application, "iot-2/type/edge/id/e1/cmd/c/fmt/json", qos: .exactlyOnce)
    #expect(
      rig.received(device) == [
        .message(topic: "iot-2/cmd/c/fmt/json", payload: "{}", qos: 2, dup: false, retained: false, identifier: 1)
      ])
    rig.drop(device)
    // Not yet released: sent again, with the same identifier.
    let second = rig.connect("d:local0:edge:e1", clean: false)
    #expect(
      rig.received(second) == [
        .connack(sessionPresent: true, code: 0),
        .message(topic: "iot-2/cmd/c/fmt/json", payload: "{}", qos: 2, dup: true, retained: false, identifier: 1),
      ])
    rig.answer(second, .pubrec, 1)
    #expect(rig.received(second) == [.pubrel(1)])
    rig.drop(second)
    // Released: only the release is sent again.
    let third = rig.connect("d:local0:edge:e1", clean: false)
    #expect(rig.received(third) == [.connack(sessionPresent: true, code: 0), .pubrel(1)])
    rig.answer(third, .pubcomp, 1)
    rig.drop(third)
    let fourth = rig.connect("d:local0:edge:e1", clean: false)
    #expect(rig.received(fourth) == [.connack(sessionPresent: true, code: 0)])
  }

  @Test func keepsTheWindow() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1")
    rig.subscribe(device, "iot-2/cmd/+/fmt/+")
    let application = rig.connect("a:local0:app")
    for number in 0..<25 { rig.publish(application, "iot-2/type/edge/id/e1/cmd/c/fmt/json", "\(number)") }
    #expect(rig.messages(device).count == ServiceLimits.deviceInflightMax)
    for identifier in 1...5 { rig.answer(device, .puback, UInt16(identifier)) }
    #expect(rig.messages(device) == (10..<15).map { "iot-2/cmd/c/fmt/json \($0)" })
  }

  @Test func dropsTheOldestOfTooMany() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1", clean: false)
    rig.subscribe(device, "iot-2/cmd/+/fmt/+")
    rig.disconnect(device)
    let application = rig.connect("a:local0:app")
    let surplus = 7
    for number in 0..<(ServiceLimits.queuedMessagesMax + surplus) {
      rig.publish(application, "iot-2/type/edge/id/e1/cmd/c/fmt/json", "\(number)")
    }
    #expect(rig.service.counters.droppedFromQueues == surplus)
    let second = rig.connect("d:local0:edge:e1", clean: false)
    #expect(rig.messages(second).first == "iot-2/cmd/c/fmt/json \(surplus)")
  }

  @Test func boundsBytesThatWait() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1", clean: false)
    rig.subscribe(device, "iot-2/cmd/+/fmt/+")
    rig.disconnect(device)
    let application = rig.connect("a:local0:app")
    let payload = String(repeating: "x", count: 100_000)
    for _ in 0..<200 { rig.publish(application, "iot-2/type/edge/id/e1/cmd/c/fmt/json", payload) }
    #expect(rig.service.counters.droppedFromQueues > 100)
    let second = rig.connect("d:local0:edge:e1", clean: false)
    #expect(!rig.messages(second).isEmpty)
  }

  @Test func holdsBackFromWhoTakesNothing() throws {
    let rig = try Rig()
    let application = rig.connect("a:local0:app")
    rig.subscribe(application, "iot-2/type/+/id/+/evt/+/fmt/+")
    let device = rig.connect("d:local0:edge:e1")
    _ = rig.received(application)
    rig.service.setWritable(application, false, now: rig.now)
    rig.publish(device, "iot-2/evt/a/fmt/json", "0", qos: .atMostOnce)
    rig.publish(device, "iot-2/evt/a/fmt/json", "1")
    #expect(rig.received(application).isEmpty)
    rig.service.setWritable(application, true, now: rig.now)
    #expect(rig.messages(application) == ["iot-2/type/edge/id/e1/evt/a/fmt/json 1"])
    rig.service.setWritable(application, false, now: rig.now)
    rig.wait(31)
    #expect(rig.output.closed[application] == .slowConsumer)
  }

  @Test func restoresWhatWasStored() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1", clean: false)
    rig.subscribe(device, "iot-2/cmd/+/fmt/+", qos: .exactlyOnce)
    let application = rig.connect("a:local0:app")
    for qos in [QoS.atLeastOnce, .exactlyOnce, .exactlyOnce] {
      rig.publish(application, "iot-2/type/edge/id/e1/cmd/c\(qos.rawValue)/fmt/json", qos: qos, identifier: 3)
      rig.answer(application, .pubrel, 3)
    }
    rig.publish(device, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: 77)
    rig.answer(device, .pubrec, 2)
    let later = try rig.restart(with: StateModel.state(after: rig.output.operations))
    let again = later.connect("d:local0:edge:e1", clean: false)
    #expect(
      later.received(again) == [
        .connack(sessionPresent: true, code: 0),
        .message(topic: "iot-2/cmd/c1/fmt/json", payload: "{}", qos: 1, dup: true, retained: false, identifier: 1),
        .pubrel(2),
        .message(topic: "iot-2/cmd/c2/fmt/json", payload: "{}", qos: 2, dup: true, retained: false, identifier: 3),
      ])
    // The client's own message was taken: only its acknowledgement is missing.
    later.publish(again, "iot-2/evt/a/fmt/json", qos: .exactlyOnce, identifier: 77, dup: true)
    #expect(later.received(again) == [.pubrec(77)])
    #expect(later.service.counters.received == 1)
  }

  @Test func numbersMessagesOnAfterARestart() throws {
    let rig = try Rig()
    let device = rig.connect("d:local0:edge:e1", clean: false)
    rig.subscribe(device, "iot-2/cmd/+/fmt/+")
    rig.disconnect(device)
    let application = rig.connect("a:local0:app")
    for _ in 0..<3 { rig.publish(application, "iot-2/type/edge/id/e1/cmd/c/fmt/json") }
    let later = try rig.restart(with: StateModel.state(after: rig.output.operations))
    let commander = later.connect("a:local0:app")
    later.publish(commander, "iot-2/type/edge/id/e1/cmd/c/fmt/json")
    let again = later.connect("d:local0:edge:e1", clean: false)
    let identifiers = later.received(again).compactMap {
      if case .message(_, _, _, _, _, let identifier) = $0 { identifier } else { nil }
    }
    #expect(identifiers == [1, 2, 3, 4])
  }
}

/// What a database would hold after some operations.
enum StateModel {
  static func state(after operations: [StoreOperation]) -> StoredState {
    var state = StoredState()
    for operation in operations {
      switch operation {
      case .putType(let type):
        state.types.removeAll { $0.id == type.id }
        state.types.append(type)
      case .putDevice(let device):
        state.devices.removeAll { $0.key == device.key }
        state.devices.append(device)
      case .removeDevice(let key):
        state.devices.removeAll { $0.key == key }
        state.lastEvents.removeAll { $0.0 == key }
      case .putLastEvent(let key, let event):
        state.lastEvents.removeAll { $0.0 == key && $0.1.eventID == event.eventID }
        state.lastEvents.append((key, event))
      case .removeLastEvent(let key, let eventID):
        state.lastEvents.removeAll { $0.0 == key && $0.1.eventID == eventID }
      case .putConnection(let key, let status):
        for index in state.devices.indices where state.devices[index].key == key {
          state.devices[index].connection = status
        }
      case .putKey(let key): state.keys.append(key)
      case .putSession(let session):
        state.sessions.removeAll { $0.number == session.number }
        state.sessions.append(session)
      case .removeSession(let number):
        state.sessions.removeAll { $0.number == number }
        state.messages.removeAll { $0.session == number }
        state.identifiers.removeAll { $0.session == number }
      case .putMessage(let message): state.messages.append(message)
      case .releaseMessage(let session, let sequence):
        for index in state.messages.indices
        where state.messages[index].session == session && state.messages[index].sequence == sequence {
          state.messages[index].isReleased = true
        }
      case .removeMessage(let session, let sequence):
        state.messages.removeAll { $0.session == session && $0.sequence == sequence }
      case .putIdentifier(let session, let identifier): state.identifiers.append((session, identifier))
      case .removeIdentifier(let session, let identifier):
        state.identifiers.removeAll { $0.session == session && $0.identifier == identifier }
      case .putRequest(let request):
        state.requests.removeAll { $0.id == request.id }
        state.requests.append(request)
      case .putProgress(let id, let progress):
        for index in state.requests.indices where state.requests[index].id == id {
          state.requests[index].devices = state.requests[index].devices.map {
            $0.device == progress.device ? progress : $0
          }
        }
      case .removeRequest(let id): state.requests.removeAll { $0.id == id }
      default: break
      }
    }
    return state
  }
}
